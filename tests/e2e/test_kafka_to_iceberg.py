"""The main job: JSON of a Kafka topic into a table in S3, by the public API alone."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col

from tests.e2e.lake import CHECKPOINT, Lake
from tests.services.rows import arrow_rows, sorted_lines

if TYPE_CHECKING:
    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service


class Order(fz.Schema):
    id: int
    user: str | None
    amount: fz.Decimal[12, 2]
    at: datetime.datetime = fz.field(time_unit="ms")
    tags: list[str] | None


def order(number: int) -> bytes:
    return json.dumps(
        {
            "id": number,
            "user": None if number % 7 == 0 else f"Käthe-{number % 5}",
            "amount": f"{number}.{number % 100:02}",
            "at": 1_750_000_000_000 + number * 3_600_000,
            "ignored": {"deep": [number]},
            "tags": ["a", "b\n"] if number % 2 else None,
        }
    ).encode()


def wanted(numbers: range) -> list[dict[str, Any]]:
    """Rows of the table, in the form the readers give."""
    return [
        {
            "id": number,
            "name": None if number % 7 == 0 else f"Käthe-{number % 5}",
            "amount": f"{number}.{number % 100:02}",
            "at": (
                datetime.datetime.fromtimestamp(1_750_000_000, datetime.UTC)
                + datetime.timedelta(hours=number)
            ).isoformat(timespec="microseconds"),
            "tags": ["a", "b\n"] if number % 2 else None,
        }
        for number in numbers
        if number % 3
    ]


def test_three_runs(kafka: Kafka, lake: Lake) -> None:
    topic = kafka.create_topic(partitions=3)

    def produce(numbers: range) -> None:
        for partition in range(3):
            kafka.produce(topic, map(order, numbers[partition::3]), partition=partition)

    def pipeline() -> fz.Pipeline:
        orders = fz.read_kafka(topic, servers=kafka.bootstrap, schema=Order)
        kept = orders.filter(col("id") % 3 != 0).select(
            "id", "amount", "at", "tags", name=col("user")
        )
        sink = kept.write_iceberg(
            "orders.three", catalog=lake.catalog, partition_by=["month(at)", "bucket(2, name)"]
        )
        return fz.Pipeline(
            "orders_three", sink, checkpoint=CHECKPOINT, checkpoint_every="100ms", workers=2
        )

    produce(range(3_000))
    first = pipeline().run(until="now", quiet=True)
    assert first.sinks["orders.three"].rows == 2_000
    assert first.sources[f"kafka:{topic}"].read == 3_000
    assert {part.lag for part in first.sources[f"kafka:{topic}"].partitions.values()} == {0}
    assert sorted_lines(arrow_rows(lake.read("orders.three"))) == sorted_lines(wanted(range(3_000)))
    produce(range(3_000, 5_000))
    second = pipeline().run(until="now", quiet=True)
    assert second.sources[f"kafka:{topic}"].read == 2_000
    head = lake.table("orders.three").metadata_location
    third = pipeline().run(until="now", quiet=True)
    assert third.sources[f"kafka:{topic}"].read == 0
    assert third.sinks["orders.three"].rows == 0
    assert lake.table("orders.three").metadata_location == head
    assert sorted_lines(arrow_rows(lake.read("orders.three"))) == sorted_lines(wanted(range(5_000)))
    slots = lake.slots("orders.three")
    assert slots == sorted(set(slots))


# -- every type

STAMP = datetime.datetime(2026, 3, 1, 23, 59, 59, 123456)
UTC_STAMP = STAMP.replace(tzinfo=datetime.UTC)
COLUMNS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [True, False]),
    (pa.int8(), [-128, 127]),
    (pa.int16(), [-(2**15), 2**15 - 1]),
    (pa.int32(), [-(2**31), 2**31 - 1]),
    (pa.int64(), [-(2**63), 2**63 - 1]),
    (pa.uint8(), [0, 255]),
    (pa.uint16(), [0, 2**16 - 1]),
    (pa.uint32(), [0, 2**32 - 1]),
    (pa.float32(), [0.5, float("-inf")]),
    (pa.float64(), [-0.0, 1e300]),
    (pa.decimal128(7, 2), [decimal.Decimal("-12345.67"), decimal.Decimal("0.00")]),
    (pa.decimal128(18, 0), [decimal.Decimal(10**17), decimal.Decimal(-1)]),
    (pa.decimal128(38, 10), [decimal.Decimal("-1234567890123456789012345678.0123456789")] * 2),
    (pa.date32(), [datetime.date(1969, 12, 31), datetime.date(9999, 12, 31)]),
    (pa.time32("s"), [datetime.time(0, 0, 1), datetime.time(23, 59, 59)]),
    (pa.time32("ms"), [datetime.time(0, 0, 0, 1000)] * 2),
    (pa.time64("us"), [datetime.time.min, datetime.time.max]),
    (pa.timestamp("s"), [STAMP.replace(microsecond=0), datetime.datetime(1, 1, 1)]),
    (pa.timestamp("ms"), [STAMP.replace(microsecond=123000)] * 2),
    (pa.timestamp("us"), [STAMP, datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)]),
    (pa.timestamp("s", "UTC"), [UTC_STAMP.replace(microsecond=0)] * 2),
    (pa.timestamp("ms", "UTC"), [UTC_STAMP.replace(microsecond=123000)] * 2),
    (pa.timestamp("us", "UTC"), [UTC_STAMP, UTC_STAMP]),
    (pa.string(), ["", "Grüße \U0001f9ca\x00"]),
    (pa.large_string(), ["large", ""]),
    (pa.binary(), [b"", b"\x00\xff"]),
    (pa.large_binary(), [b"large", b""]),
    (pa.binary(3), [b"abc", b"\xff\xff\xff"]),
    (pa.uuid(), [uuid.UUID(int=5).bytes, uuid.UUID(int=2**128 - 1).bytes]),
    (pa.list_(pa.int32()), [[], [1, None, 3]]),
    (pa.large_list(pa.string()), [["a", None], []]),
    (pa.list_(pa.list_(pa.float64())), [[[], None, [1.5]], []]),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), [{"a": 1, "b": None}, {"a": 2, "b": ""}]),
    (pa.map_(pa.string(), pa.int64()), [[], [("k", 1), ("l", None)]]),
    (
        pa.map_(pa.int32(), pa.list_(pa.struct([("x", pa.decimal128(5, 1))]))),
        [[(1, [{"x": decimal.Decimal("1.5")}, None])], []],
    ),
    (
        pa.struct([("s", pa.struct([("l", pa.list_(pa.timestamp("us", "UTC")))]))]),
        [{"s": {"l": [UTC_STAMP, None]}}, {"s": None}],
    ),
]


def test_every_type(lake: Lake) -> None:
    """Two rows of values at the edges and one of nulls, as both readers see them."""
    names = [f"c{number:02}" for number in range(len(COLUMNS))]
    schema = pa.schema([(name, type_) for name, (type_, _) in zip(names, COLUMNS, strict=True)])
    rows = [
        {name: values[at] for name, (_, values) in zip(names, COLUMNS, strict=True)}
        for at in range(2)
    ]
    data = pa.Table.from_pylist([*rows, dict.fromkeys(names)], schema=schema)
    sink = fz.read_memory(data).write_iceberg("types.every", catalog=lake.catalog)
    report = fz.Pipeline("types", sink, checkpoint=CHECKPOINT).run(until="now", quiet=True)
    assert report.sinks["types.every"].rows == 3
    assert sorted_lines(arrow_rows(lake.read("types.every"))) == sorted_lines(arrow_rows(data))
