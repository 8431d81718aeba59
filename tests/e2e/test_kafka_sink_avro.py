"""Avro that `write_kafka` sends, through a real broker and a real registry."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from frazil.errors import ConfigError, ConnectError, SchemaError

if TYPE_CHECKING:
    from tests.services.kafka import Kafka
    from tests.services.schema_registry import SchemaRegistry

pytestmark = pytest.mark.service

MONEY = pa.decimal128(12, 2)
ORDERS = pa.schema(
    [
        pa.field("id", pa.int64(), False),
        pa.field("amount", MONEY),
        pa.field("at", pa.timestamp("us", "UTC"), False),
        pa.field("tags", pa.list_(pa.string())),
    ]
)


def orders(count: int, schema: pa.Schema = ORDERS, **more: list[Any]) -> pa.Table:
    columns: dict[str, Any] = {
        "id": list(range(count)),
        "amount": [None if n % 7 == 0 else Decimal(n).scaleb(-2) for n in range(count)],
        "at": list(range(count)),
        "tags": [["a", None][: n % 3] for n in range(count)],
        **more,
    }
    return pa.table(
        {name: pa.array(columns[name], schema.field(name).type) for name in schema.names}, schema
    )


def send(
    rows: fz.Stream,
    folder: Path,
    kafka: Kafka,
    registry: SchemaRegistry,
    topic: str,
    format: Any = "avro",
    **options: Any,
) -> fz.RunReport:
    sink = rows.write_kafka(
        topic, servers=kafka.bootstrap, format=format, registry=registry.url, **options
    )
    pipeline = fz.Pipeline("send", sink, checkpoint=str(folder), checkpoint_every="50ms")
    return pipeline.run(until="now", quiet=True)


def by_confluent(kafka: Kafka, registry: SchemaRegistry, topic: str) -> list[tuple[Any, Any]]:
    """Keys and values as Confluent's own deserializer reads them; a text key as its bytes."""
    found = []
    with SchemaRegistryClient({"url": registry.url}) as client:
        reader = AvroDeserializer(client)
        for message in kafka.read(topic):
            key, value = message.key(), message.value()
            if key is not None and key[:1] == b"\0":
                key = reader(key, SerializationContext(topic, MessageField.KEY))
            if value is not None:
                value = reader(value, SerializationContext(topic, MessageField.VALUE))
            found.append((key, value))
    return found


def test_rows_are_read_by_others_and_by_ourselves(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic = kafka.create_topic(partitions=2)
    table = orders(2_000)
    report = send(fz.read_memory(table), tmp_path, kafka, schema_registry, topic, key="id")
    assert report.sinks[f"kafka:{topic}"].rows == 2_000
    found = by_confluent(kafka, schema_registry, topic)
    wanted = {row["id"]: row for row in table.to_pylist()}
    assert {key: value for key, value in found} == wanted
    assert len(found) == 2_000
    # A second run registers nothing new and sends nothing.
    assert send(fz.read_memory(table), tmp_path, kafka, schema_registry, topic, key="id")
    assert versions(schema_registry, f"{topic}-value") == [1]
    assert versions(schema_registry, f"{topic}-key") == [1]
    read = fz.read_kafka(
        topic, servers=kafka.bootstrap, format="avro", registry=schema_registry.url
    )
    assert read.schema.names == ORDERS.names
    sink = read.write_memory()
    fz.Pipeline("back", sink, checkpoint=str(tmp_path / "back")).run(until="now", quiet=True)
    assert sink.table().sort_by("id").to_pylist() == table.to_pylist()


def versions(registry: SchemaRegistry, subject: str) -> list[int]:
    with SchemaRegistryClient({"url": registry.url}) as client:
        return list(client.get_versions(subject))


def test_changes_are_upserts_and_tombstones(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    source, topic = kafka.create_topic(), kafka.create_topic()
    events = [
        {"op": "c", "before": None, "after": {"id": 1, "name": "a"}},
        {"op": "u", "before": {"id": 1, "name": "a"}, "after": {"id": 1, "name": "b"}},
        {"op": "d", "before": {"id": 1}, "after": None},
    ]
    kafka.produce(source, [json.dumps(event).encode() for event in events])
    users = fz.read_kafka(
        source,
        servers=kafka.bootstrap,
        schema={"id": int, "name": str},
        key=["id"],
        format="debezium-json",
    )
    send(users, tmp_path, kafka, schema_registry, topic)
    assert by_confluent(kafka, schema_registry, topic) == [
        (1, {"id": 1, "name": "a"}),
        (1, {"id": 1, "name": "b"}),
        (1, None),
    ]


def test_keys_of_several_columns_and_keys_as_text(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    rows = fz.read_memory([{"id": 1, "day": "monday"}])
    topic, other = kafka.create_topic(), kafka.create_topic()
    send(rows, tmp_path / "a", kafka, schema_registry, topic, key=["day", "id"])
    assert by_confluent(kafka, schema_registry, topic) == [
        ({"day": "monday", "id": 1}, {"id": 1, "day": "monday"})
    ]
    texts = fz.Avro(keys="text", subject=f"{other}.rows", record="shop.Row")
    send(rows, tmp_path / "b", kafka, schema_registry, other, format=texts, key="id")
    assert by_confluent(kafka, schema_registry, other) == [(b"1", {"id": 1, "day": "monday"})]
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        latest = client.get_latest_version(f"{other}.rows")
        assert json.loads(latest.schema.schema_str)["name"] == "shop.Row"
        assert f"{other}-key" not in client.get_subjects()


def test_columns_come_and_the_registry_says_which(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic = kafka.create_topic()
    subject = f"{topic}-value"
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        send(fz.read_memory(orders(3)), tmp_path / "a", kafka, schema_registry, topic)
        client.set_compatibility(subject, "BACKWARD")
        more = ORDERS.append(pa.field("note", pa.string()))
        rows = fz.read_memory(orders(3, more, note=["x", None, "y"]))
        send(rows, tmp_path / "b", kafka, schema_registry, topic)
        assert versions(schema_registry, subject) == [1, 2]
        found = [value for _, value in by_confluent(kafka, schema_registry, topic)]
        assert [row.get("note") for row in found] == [None] * 3 + ["x", None, "y"]
        # A column that has to be there cannot be read from what was sent before.
        strict = ORDERS.append(pa.field("must", pa.string(), False))
        rows = fz.read_memory(orders(3, strict, must=["x", "x", "y"]))
        with pytest.raises(SchemaError, match="refuses the schema of the columns") as error:
            send(rows, tmp_path / "c", kafka, schema_registry, topic)
        assert subject in str(error.value)
        assert "compatibility" in str(error.value)
    assert len(kafka.read(topic)) == 6


def test_a_schema_that_is_there(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic = kafka.create_topic()
    rows = fz.read_memory([{"id": 1, "kind": "B"}])
    by = {"kafka": kafka, "registry": schema_registry, "topic": topic}
    missing = fz.Avro(auto_register=False)
    with pytest.raises(ConfigError, match="does not have the schema of the columns"):
        send(rows, tmp_path / "a", format=missing, **by)
    with pytest.raises(ConfigError, match="has no version latest"):
        send(rows, tmp_path / "b", format=fz.Avro(version="latest"), **by)
    fields = [
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "id", "type": "int"},
        {"name": "rest", "type": ["null", "string"], "default": None},
    ]
    record = {"type": "record", "name": "Row", "fields": fields}
    schema_registry.register(f"{topic}-value", record)
    send(rows, tmp_path / "c", format=fz.Avro(version=1), **by)
    wanted = {"kind": "B", "id": 1, "rest": None}
    assert by_confluent(kafka, schema_registry, topic) == [(None, wanted)]
    lossy = {"type": "record", "name": "Row", "fields": [{"name": "id", "type": "string"}]}
    schema_registry.register(f"{topic}.lossy", lossy)
    with pytest.raises(SchemaError, match="cast the column"):
        send(
            rows.select("id"),
            tmp_path / "d",
            format=fz.Avro(subject=f"{topic}.lossy", version="latest"),
            **by,
        )
    assert len(kafka.read(topic)) == 1


def test_a_registry_that_is_away_at_the_start(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    sink = fz.read_memory([{"id": 1}]).write_kafka(
        topic, servers=kafka.bootstrap, format="avro", registry="http://127.0.0.1:9"
    )
    pipeline = fz.Pipeline("send", sink, checkpoint=str(tmp_path))
    with pytest.raises(ConnectError, match="does not answer"):
        pipeline.run(until="now", quiet=True)
    assert kafka.read(topic) == []
