"""What `read_kafka` promises, against a real broker."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest
from frazil import col

from tests.e2e.lake import CHECKPOINT, Lake
from tests.e2e.waiting import PATIENCE_S, running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service

SCHEMA = {"id": int}
# Messages that a producer keeps for a broker that is away.
QUEUED_MAX = 50_000


def numbers(*values: int) -> list[bytes]:
    return [b'{"id": %d}' % value for value in values]


class Job:
    """A pipeline from a topic into memory, whose checkpoints outlive it."""

    def __init__(self, folder: Path, kafka: Kafka, topic: str, **options: Any) -> None:
        options = {"servers": kafka.bootstrap, "schema": SCHEMA, **options}
        self.source = f"kafka:{topic}"
        self.sink = fz.read_kafka(topic, **options).write_memory()
        self.pipeline = fz.Pipeline(
            "job", self.sink, checkpoint=str(folder), checkpoint_every="50ms"
        )

    def run(self) -> fz.RunReport:
        return self.pipeline.run(until="now", quiet=True)

    def ids(self) -> list[int]:
        """The ids that a run to the present end commits."""
        self.run()
        return self.committed

    @property
    def committed(self) -> list[int]:
        ids: list[int] = self.sink.table()["id"].to_pylist()
        return ids


# -- rows


def test_tombstones(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, [*numbers(1), {"value": None, "key": b"k"}, *numbers(2)])
    with pytest.raises(fz.errors.DecodeError, match=rf"{topic}-0@1.*tombstone"):
        Job(tmp_path / "fail", kafka, topic).run()
    skipping = Job(tmp_path / "skip", kafka, topic, tombstones="skip")
    report = skipping.run().sources[skipping.source]
    assert skipping.committed == [1, 2]
    assert (report.read, report.dropped, report.partitions[f"{topic}-0"].lag) == (2, 0, 0)
    dropping = Job(tmp_path / "drop", kafka, topic, on_bad_row="drop")
    report = dropping.run().sources[dropping.source]
    assert dropping.committed == [1, 2]
    assert (report.read, report.good, report.dropped) == (3, 2, 1)


def test_bad_rows_land_with_the_good_ones(kafka: Kafka, lake: Lake) -> None:
    topic = kafka.create_topic(partitions=2)
    orders = fz.read_kafka(topic, servers=kafka.bootstrap, schema=SCHEMA)
    pipeline = fz.Pipeline(
        "rejecting",
        orders.write_iceberg("bad.good_rows", catalog=lake.catalog),
        orders.rejected.write_iceberg("bad.bad_rows", catalog=lake.catalog),
        checkpoint=CHECKPOINT,
        checkpoint_every="50ms",
    )
    for start in (0, 10):
        for partition in range(2):
            lines = [*numbers(start), b'{"id": "x"}', b"", *numbers(start + 1), b'{"id": 1e30}']
            kafka.produce(topic, lines, partition=partition)
        report = pipeline.run(until="now", quiet=True)
        assert report.sources[f"kafka:{topic}"].read == 10
        assert report.sources[f"kafka:{topic}"].rejected == 6
    assert sorted(lake.read("bad.good_rows")["id"].to_pylist()) == [0, 0, 1, 1, 10, 10, 11, 11]
    bad = sorted(
        (row["partition"], row["position"], row["column"], row["raw"], row["raw_bytes"])
        for row in lake.read("bad.bad_rows").select(
            ["partition", "position", "column", "raw", "raw_bytes"]
        ).to_pylist()
    )  # fmt: skip
    assert bad == [
        (f"{topic}-{partition}", at + start, *rest)
        for partition in range(2)
        for start in (0, 5)
        for at, *rest in [
            (1, "id", b'{"id": "x"}', 11),
            (2, None, b"", 0),
            (4, "id", b'{"id": 1e30}', 12),
        ]
    ]
    assert lake.slots("bad.good_rows") == lake.slots("bad.bad_rows")


def test_aborted_transactions_at_the_end(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    producer = kafka.producer(transactional_id=f"{topic}-writer")
    producer.init_transactions(30)
    for values, end in [
        (range(3), producer.commit_transaction),
        (range(100, 103), producer.abort_transaction),
    ]:
        producer.begin_transaction()
        for value in numbers(*values):
            producer.produce(topic, value)
        producer.flush(30)
        end(30)
    job = Job(tmp_path, kafka, topic)
    report = job.run().sources[job.source].partitions[f"{topic}-0"]
    assert job.committed == [0, 1, 2]
    assert (report.end["offset"], report.lag) == (8, 0)
    assert Job(tmp_path, kafka, topic).ids() == []
    kafka.produce(topic, numbers(5))
    assert Job(tmp_path, kafka, topic).ids() == [5]
    everything = Job(tmp_path / "all", kafka, topic, isolation="read_uncommitted")
    assert everything.ids() == [0, 1, 2, 100, 101, 102, 5]


# -- starts


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("earliest", [0, 1, 2, 3]),
        ("latest", []),
        (datetime.fromtimestamp(2.5, UTC), [2, 3]),
        (datetime.fromtimestamp(4000, UTC), []),
        (2, [2, 3]),
    ],
)
def test_starts(kafka: Kafka, tmp_path: Path, start: Any, expected: list[int]) -> None:
    topic = kafka.create_topic()
    rows = enumerate(numbers(*range(4)), 1)  # to librdkafka a timestamp of 0 is now
    kafka.produce(topic, [{"value": value, "timestamp": 1_000 * n} for n, value in rows])
    start = {topic: {0: start}} if isinstance(start, int) else start
    assert Job(tmp_path, kafka, topic, start=start).ids() == expected
    kafka.produce(topic, numbers(4))
    # What came since then is read, wherever the first run began.
    assert Job(tmp_path, kafka, topic, start=start).ids() == [4]


def test_starts_that_are_not_there(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    with pytest.raises(fz.errors.PlanError, match="start gives offset 99"):
        Job(tmp_path / "high", kafka, topic, start={topic: {0: 99}}).run()
    with pytest.raises(fz.errors.PlanError, match="no such partition"):
        Job(tmp_path / "many", kafka, topic, start={topic: {0: 0, 1: 0}}).run()


def test_group_offsets_follow_the_table(kafka: Kafka, lake: Lake) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(0, 1, 2))
    orders = fz.read_kafka(topic, servers=kafka.bootstrap, schema=SCHEMA, group=f"{topic}-group")
    pipeline = fz.Pipeline(
        "grouped",
        orders.write_iceberg("grouped.orders", catalog=lake.catalog),
        checkpoint=CHECKPOINT,
        checkpoint_every="50ms",
    )
    with running(pipeline) as handle:
        wait_until(lambda: kafka.group_offset(f"{topic}-group", topic) == 3, handle)
        lake.service.stop()
        kafka.produce(topic, numbers(3, 4))
        wait_until(lambda: handle.status.pending_epochs == 1, handle)
        wait_until(lambda: bool(handle.status.trouble), handle)
        assert kafka.group_offset(f"{topic}-group", topic) == 3
        lake.service.start()
        wait_until(lambda: kafka.group_offset(f"{topic}-group", topic) == 5, handle)
    assert sorted(lake.read("grouped.orders")["id"].to_pylist()) == [0, 1, 2, 3, 4]


# -- the connection


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-256", "TLS"])
def test_security(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(1, 2))
    monkeypatch.setenv("KAFKA_PASSWORD", kafka.password)

    def job(folder: str, authority: str) -> Job:
        if how == "TLS":
            security: Any = fz.Tls(ca=authority)
            servers = kafka.tls["bootstrap.servers"]
        else:
            password = fz.secret("KAFKA_PASSWORD")
            security = fz.Sasl(username=kafka.user, password=password, mechanism=how)  # type: ignore[arg-type]
            servers = kafka.sasl()["bootstrap.servers"]
        return Job(tmp_path / folder, kafka, topic, servers=servers, security=security)

    assert job("good", str(kafka.certificates.ca)).ids() == [1, 2]
    monkeypatch.setenv("KAFKA_PASSWORD", "not-the-password")
    expected = fz.errors.ConnectError if how == "TLS" else fz.errors.AuthError
    started = time.monotonic()
    with pytest.raises(expected) as caught:
        job("bad", str(kafka.certificates.other_ca)).run()
    assert time.monotonic() - started < 10
    assert not caught.value.retryable
    assert "not-the-password" not in str(caught.value)
    assert "security=" in str(caught.value)


def test_topic_missing(kafka: Kafka, tmp_path: Path) -> None:
    with pytest.raises(fz.errors.PlanError, match="reading topic never-made: there is no such"):
        Job(tmp_path, kafka, "never-made").run()


def test_retention_overtook_us(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(0, 1))
    policies = {"fail": [], "earliest": [5, 6], "latest": []}
    for policy in policies:
        assert Job(tmp_path / policy, kafka, topic, on_truncated=policy).ids() == [0, 1]
    kafka.produce(topic, numbers(*range(2, 7)))
    kafka.delete_records(topic, {0: 5})
    with pytest.raises(fz.errors.FrazilError, match=rf"{topic}-0@2: the rows from 2 to 4 are no"):
        Job(tmp_path / "fail", kafka, topic).run()
    for policy, expected in list(policies.items())[1:]:
        assert Job(tmp_path / policy, kafka, topic, on_truncated=policy).ids() == expected
    kafka.produce(topic, numbers(7))
    for policy in list(policies)[1:]:
        assert Job(tmp_path / policy, kafka, topic, on_truncated=policy).ids() == [7]


@pytest.mark.slow
def test_broker_away_at_start(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(1, 2))
    kafka.stop()
    with pytest.raises(fz.errors.ConnectError, match="refused"):
        Job(tmp_path / "hasty", kafka, topic, give_up_after="1s").run()
    job = Job(tmp_path / "patient", kafka, topic)
    with running(job.pipeline) as handle:
        wait_until(lambda: "refused" in handle.status.trouble.get("sources", ""), handle)
        kafka.start()
        wait_until(lambda: job.committed == [1, 2], handle)
    # Asking for the end ends the waiting.
    kafka.stop()
    handle = Job(tmp_path / "patient", kafka, topic).pipeline.start(quiet=True)
    wait_until(lambda: bool(handle.status.trouble), handle)
    assert handle.stop().sinks["memory"].rows == 0


@pytest.mark.slow
def test_broker_killed_under_load(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic(partitions=2)
    producer = kafka.producer(enable_idempotence=True)
    ended = threading.Event()
    sent: list[int] = []

    def produce() -> None:
        while not ended.is_set():
            for _ in range(100):
                if len(producer) < QUEUED_MAX:
                    producer.produce(topic, b'{"id": %d}' % len(sent), partition=len(sent) % 2)
                    sent.append(len(sent))
            producer.poll(0.005)

    job = Job(tmp_path, kafka, topic)
    thread = threading.Thread(target=produce)
    thread.start()
    try:
        with running(job.pipeline) as handle:
            wait_until(lambda: len(job.committed) > 5_000, handle)
            kafka.kill()
            kafka.start()
            before = len(job.committed)
            wait_until(lambda: len(job.committed) > before + 5_000, handle)
            ended.set()
            thread.join()
            assert producer.flush(PATIENCE_S) == 0
            wait_until(lambda: len(job.committed) >= len(sent), handle)
    finally:
        ended.set()
        thread.join()
    # The topic says what was produced, once each.
    stored = [message.value() for message in kafka.read(topic)]
    assert sorted(stored) == sorted(numbers(*sent))
    assert sorted(job.committed) == sent
    assert job.pipeline.run(until="now", quiet=True).sinks["memory"].rows == 0


def test_filtered_to_nothing_still_moves_on(kafka: Kafka, tmp_path: Path) -> None:
    """Rows that no sink gets are read once all the same."""
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(1, 2))

    def run() -> fz.RunReport:
        kept = fz.read_kafka(topic, servers=kafka.bootstrap, schema=SCHEMA).filter(col("id") > 9)
        sink = kept.write_memory()
        return fz.Pipeline("none", sink, checkpoint=str(tmp_path)).run(until="now", quiet=True)

    assert run().sources[f"kafka:{topic}"].read == 2
    assert run().sources[f"kafka:{topic}"].read == 0
