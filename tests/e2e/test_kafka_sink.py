"""What `write_kafka` promises, against a real broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col

from tests.e2e.lake import CHECKPOINT, Lake
from tests.e2e.waiting import running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service


def run(stream: fz.Stream, folder: Path, kafka: Kafka, topic: str, **options: Any) -> fz.RunReport:
    sink = stream.write_kafka(topic, servers=kafka.bootstrap, **options)
    pipeline = fz.Pipeline("send", sink, checkpoint=str(folder), checkpoint_every="50ms")
    return pipeline.run(until="now", quiet=True)


def values(kafka: Kafka, topic: str, **options: Any) -> list[Any]:
    found = [message.value() for message in kafka.read(topic, **options)]
    return [None if value is None else json.loads(value) for value in found]


def keys(kafka: Kafka, topic: str) -> list[bytes | None]:
    return [message.key() for message in kafka.read(topic)]


def staged(folder: Path) -> list[Path]:
    return sorted((folder / "send" / "staged").glob("*"))


ROWS = [
    {"id": 1, "name": "ada", "at": "2026-01-01"},
    {"id": 2, "name": 'a "quoted"\nline', "at": None},
    {"id": 3, "name": None, "at": "2026-01-02"},
]


def test_rows_are_sent_once(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    rows = fz.read_memory(ROWS)
    report = run(rows, tmp_path, kafka, topic, key="name")
    assert report.sinks[f"kafka:{topic}"].rows == 3
    assert values(kafka, topic) == ROWS
    assert keys(kafka, topic) == [b"ada", b'a "quoted"\nline', None]
    # A run without new rows sends nothing, and removes what was staged.
    assert run(rows, tmp_path, kafka, topic, key="name").sinks[f"kafka:{topic}"].rows == 0
    assert values(kafka, topic) == ROWS
    assert staged(tmp_path) == []


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("id", [b"1", b"2", b"3"]),
        ("day", [b"1970-01-02", b"1970-01-03", b"1970-01-04"]),
        ("raw", [b"\x00\xff", b"", b"x"]),
        (["id", "day"], [b'{"id":%d,"day":"1970-01-0%d"}' % (n, n + 1) for n in (1, 2, 3)]),
        ((), [None, None, None]),
    ],
)
def test_keys(kafka: Kafka, tmp_path: Path, key: Any, expected: list[bytes]) -> None:
    topic = kafka.create_topic()
    table = pa.table(
        {
            "id": [1, 2, 3],
            "day": pa.array([1, 2, 3], pa.date32()),
            "raw": pa.array([b"\x00\xff", b"", b"x"], pa.binary()),
        }
    )
    run(fz.read_memory(table), tmp_path, kafka, topic, key=key, compression="lz4")
    assert keys(kafka, topic) == expected


def test_rows_of_a_key_stay_in_order(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic(partitions=3)
    rows = fz.read_generator(rows=20_000).select("id", "user")
    run(rows, tmp_path, kafka, topic, key="user")
    messages = kafka.read(topic)
    assert len(messages) == 20_000
    seen: dict[bytes, tuple[int, int]] = {}
    for message in messages:
        number = json.loads(message.value())["id"]
        partition, before = seen.get(message.key(), (message.partition(), -1))
        assert (partition, number > before) == (message.partition(), True)
        seen[message.key()] = (partition, number)


def test_changes_are_upserts_and_tombstones(kafka: Kafka, tmp_path: Path) -> None:
    source, topic = kafka.create_topic(), kafka.create_topic(partitions=2)
    events = [
        {"op": "c", "before": None, "after": {"id": 1, "name": "a"}},
        {"op": "c", "before": None, "after": {"id": 2, "name": "b"}},
        {"op": "u", "before": {"id": 1, "name": "a"}, "after": {"id": 1, "name": "c"}},
        {"op": "d", "before": {"id": 2, "name": "b"}, "after": None},
        {"op": "u", "before": {"id": 1, "name": "c"}, "after": {"id": 3, "name": "c"}},
    ]
    kafka.produce(source, [json.dumps(event).encode() for event in events])
    users = fz.read_kafka(
        source,
        servers=kafka.bootstrap,
        schema={"id": int, "name": str},
        key=["id"],
        format="debezium-json",
    )
    run(users, tmp_path, kafka, topic)
    found: dict[bytes, list[Any]] = {}
    for message in kafka.read(topic):
        value = message.value()
        found.setdefault(message.key(), []).append(value and json.loads(value)["name"])
    assert found == {b"1": ["a", "c", None], b"2": ["b", None], b"3": ["c"]}


def test_changes_without_their_key_are_refused() -> None:
    totals = fz.read_memory([{"id": 1, "user": "ada"}]).group_by("user").agg(n=fz.count())
    assert "changes" in repr(totals)
    totals.write_kafka("totals", servers="x:1", key="user")
    with pytest.raises(fz.errors.PlanError, match="leave key= out") as raised:
        totals.write_kafka("totals", servers="x:1", key="n")
    assert "as_log" in str(raised.value)
    with pytest.raises(fz.errors.ModeMismatch, match="have no key"):
        totals.select("n").write_kafka("totals", servers="x:1")
    totals.as_log().write_kafka("totals", servers="x:1", key="n")


def test_what_is_too_large_ends_the_run_before_anything_is_sent(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic = kafka.create_topic()
    rows = fz.read_memory([{"id": 1, "text": "x"}, {"id": 2, "text": "y" * 3_000}])
    with pytest.raises(fz.errors.PlanError, match="max_message=2000: 2"):
        run(rows, tmp_path, kafka, topic, key="id", max_message="2kB")
    assert values(kafka, topic, isolation="read_uncommitted") == []
    run(rows, tmp_path, kafka, topic, key="id", max_message="4kB")
    assert [row["id"] for row in values(kafka, topic)] == [1, 2]


def test_the_broker_takes_no_such_message(kafka: Kafka, tmp_path: Path) -> None:
    """The epoch waits in the log until the topic takes it."""
    topic = kafka.create_topic(config={"max.message.bytes": "1000"})
    rows = fz.read_memory([{"id": 1, "text": "x" * 5_000}])
    with pytest.raises(fz.errors.SinkError, match=r"raise max\.message\.bytes of the topic"):
        run(rows, tmp_path, kafka, topic)
    assert values(kafka, topic) == []


def test_no_such_topic(kafka: Kafka, tmp_path: Path) -> None:
    with pytest.raises(fz.errors.FrazilError, match="make the topic"):
        run(fz.read_memory([{"id": 1}]), tmp_path, kafka, "nobody-made-it")
    assert not (tmp_path / "send").exists()


def test_broker_away(kafka: Kafka, tmp_path: Path) -> None:
    """Rows wait for the broker; nothing is lost or doubled."""
    topic = kafka.create_topic()
    rows = fz.read_generator(rate=2_000).select("id")
    sink = rows.write_kafka(topic, servers=kafka.bootstrap, key="id")
    pipeline = fz.Pipeline("send", sink, checkpoint=str(tmp_path), checkpoint_every="50ms")
    with running(pipeline) as handle:
        wait_until(lambda: bool(handle.status.committed_rows), handle)
        kafka.kill()
        wait_until(lambda: bool(handle.status.trouble), handle)
        kafka.start()
        before = handle.status.epoch
        wait_until(lambda: handle.status.epoch > before + 2, handle)
        report = handle.stop()
    numbers = [row["id"] for row in values(kafka, topic)]
    assert sorted(numbers) == list(range(report.sources["generator:0"].read))


def test_large_epochs_go_in_several_transactions(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    rows = fz.read_generator(rows=120_000).select("id", text=fz.lit("x" * 700))
    sink = rows.write_kafka(topic, servers=kafka.bootstrap, key="id")
    pipeline = fz.Pipeline("send", sink, checkpoint=str(tmp_path), checkpoint_every="1h")
    assert pipeline.run(until="now", quiet=True).sinks[f"kafka:{topic}"].epochs == 1
    messages = kafka.read(topic)
    assert [int(message.key()) for message in messages] == list(range(120_000))
    # Each transaction ends with a marker, which takes an offset.
    assert kafka.offsets(topic)[0][1] >= 120_002


def test_explain(tmp_path: Path) -> None:
    rows = fz.read_memory([{"id": 1}]).filter(col("id") > 0)
    sink = rows.write_kafka("orders", servers="localhost:9092", key="id")
    text = fz.Pipeline("send", sink, checkpoint=str(tmp_path)).explain()
    assert "write_kafka kafka:orders" in text
    assert "exactly once (to readers with isolation read_committed)" in text


def test_messages_wait_on_s3(kafka: Kafka, lake: Lake) -> None:
    topic = kafka.create_topic()
    rows = fz.read_generator(rows=1_000).select("id")
    pipeline = fz.Pipeline(
        "sending",
        rows.write_iceberg("sent.rows", catalog=lake.catalog),
        rows.write_kafka(topic, servers=kafka.bootstrap),
        checkpoint=CHECKPOINT,
    )
    pipeline.run(until="now", quiet=True)
    assert sorted(row["id"] for row in values(kafka, topic)) == list(range(1_000))
    assert sorted(lake.read("sent.rows")["id"].to_pylist()) == list(range(1_000))
    pipeline.run(until="now", quiet=True)
    assert len(values(kafka, topic)) == 1_000
