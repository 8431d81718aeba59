"""Windows over a topic: rows by their own partition's watermark, over restarts, exactly once."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest
from frazil import col

from tests.e2e.lake import CHECKPOINT, Lake
from tests.e2e.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from frazil.run.runner import Handle

    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service

START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DISORDER_S = 10


class Click(fz.Schema):
    page: str
    at: datetime
    n: int


def click(page: str, seconds: float, n: int) -> bytes:
    at = START + timedelta(seconds=seconds)
    return json.dumps({"page": page, "at": at.isoformat(), "n": n}).encode()


def clicks(seed: int, count: int) -> list[tuple[str, float, int]]:
    """Rows of a partition; some come up to two minutes late."""
    drawn = random.Random(seed)
    rows = []
    time = 0.0
    for number in range(count):
        time += drawn.random() * 2
        late = drawn.choice([0, 0, 0, 0, 3, 9, 70, 120])
        rows.append((f"/{drawn.randint(0, 5)}", max(0.0, time - late), number))
    return rows


def expected(partitions: list[list[tuple[str, float, int]]]) -> tuple[Counter[Any], Counter[Any]]:
    """Rows of windows of a minute, and late rows, by the definition of the row's watermark."""
    windows: Counter[Any] = Counter()
    late: Counter[Any] = Counter()
    for rows in partitions:
        front = float("-inf")
        for page, time, n in rows:
            window = int(time // 60)
            if (window + 1) * 60 <= front - DISORDER_S:
                late[(page, n)] += 1
            else:
                windows[(page, window)] += n
            front = max(front, time)
    return windows, late


def pipeline(kafka: Kafka, topic: str, folder: Path) -> fz.Pipeline:
    rows = fz.read_kafka(topic, servers=kafka.bootstrap, format="json", schema=Click)
    timed = rows.event_time("at", out_of_order=f"{DISORDER_S}s")
    minutes = timed.group_by("page").window(fz.tumbling("1m")).agg(total=col("n").sum())
    return fz.Pipeline(
        "clicks",
        minutes.write_files(str(folder / "minutes"), format="json"),
        minutes.late.write_files(str(folder / "late"), format="json"),
        rows.rejected.write_files(str(folder / "rejected"), format="json"),
        checkpoint=str(folder / "checkpoint"),
        checkpoint_every="100ms",
        workers=2,
    )


def written(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.jsonl")) if folder.exists() else []
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_windows_over_runs(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic(partitions=3)
    partitions = [clicks(seed, 400) for seed in range(3)]
    far = click("/0", 400 * 24 * 3600, 1_000_000)  # would close every window
    for begin, end in ((0, 150), (150, 151), (151, 400)):
        for number, rows in enumerate(partitions):
            values = [click(*row) for row in rows[begin:end]]
            if begin == 151 and number == 1:
                values.insert(7, far)
            kafka.produce(topic, values, partition=number)
        last = end == 400
        pipeline(kafka, topic, tmp_path).run(until="now", quiet=True, close_windows=last)

    windows, late = expected(partitions)
    assert late, "some rows have to be late"
    rows = written(tmp_path / "minutes")
    found = {
        (
            row["page"],
            int((datetime.fromisoformat(row["window_start"]) - START).total_seconds()) // 60,
        ): row["total"]
        for row in rows
    }
    assert len(found) == len(rows)
    assert found == dict(windows)
    assert Counter((row["page"], row["n"]) for row in written(tmp_path / "late")) == late
    (bad,) = written(tmp_path / "rejected")
    assert bad["partition"] == f"{topic}-1"
    assert "max_ahead" in bad["reason"]

    with pytest.raises(fz.PlanError, match="close_windows"):
        pipeline(kafka, topic, tmp_path).run(until="now", quiet=True)


def test_open_windows_are_kept_on_s3(kafka: Kafka, lake: Lake) -> None:
    topic = kafka.create_topic(partitions=2)
    partitions = [clicks(seed, 200) for seed in range(10, 12)]

    def pipeline(workers: int) -> fz.Pipeline:
        rows = fz.read_kafka(topic, servers=kafka.bootstrap, format="json", schema=Click)
        timed = rows.event_time("at", out_of_order=f"{DISORDER_S}s")
        minutes = timed.group_by("page").window(fz.tumbling("1m")).agg(total=col("n").sum())
        sink = minutes.write_iceberg("clicks.minutes", catalog=lake.catalog)
        return fz.Pipeline("clicks_s3", sink, checkpoint=CHECKPOINT, workers=workers)

    for begin, end in ((0, 80), (80, 200)):
        for number, rows in enumerate(partitions):
            kafka.produce(topic, [click(*row) for row in rows[begin:end]], partition=number)
        # Another number of workers has the keys of other ones.
        pipeline(workers=1 if begin else 2).run(until="now", quiet=True, close_windows=end == 200)
    windows, _ = expected(partitions)
    found = Counter(
        {
            (row["page"], int((row["window_start"] - START).total_seconds()) // 60): row["total"]
            for row in lake.read("clicks.minutes").to_pylist()
        }
    )
    assert found == windows


def test_a_silent_partition_rests(kafka: Kafka, tmp_path: Path) -> None:
    """Windows close without it, it is no late row's fault, and its own old rows are late."""
    topic = kafka.create_topic(partitions=2)
    rows = fz.read_kafka(topic, servers=kafka.bootstrap, format="json", schema=Click)
    timed = rows.event_time("at", out_of_order="10s", idle_after="300ms")
    minutes = timed.group_by("page").window(fz.tumbling("1m")).agg(total=col("n").sum())

    def start() -> Handle:
        return fz.Pipeline(
            "clicks",
            minutes.write_files(str(tmp_path / "minutes"), format="json"),
            minutes.late.write_files(str(tmp_path / "late"), format="json"),
            checkpoint=str(tmp_path / "checkpoint"),
            checkpoint_every="50ms",
            workers=2,
        ).start(quiet=True)

    def totals() -> list[int]:
        return sorted(row["total"] for row in written(tmp_path / "minutes"))

    handle = start()
    kafka.produce(topic, [click("/", 5, 1), click("/", 65, 2), click("/", 125, 4)], partition=0)
    wait_until(lambda: totals() == [1], handle)
    assert "rests" in handle.describe_time()
    # To the one that was silent: late for the first minute, in time for the second.
    kafka.produce(topic, [click("/", 6, 8), click("/", 70, 16)], partition=1)
    wait_until(lambda: len(written(tmp_path / "late")) == 1, handle)
    kafka.produce(topic, [click("/", 300, 32)], partition=0)  # then both rest
    wait_until(lambda: totals() == [1, 4, 18], handle)
    handle.stop()
    handle.wait()
    assert [row["n"] for row in written(tmp_path / "late")] == [8]
    # What was promised for it counts after a restart too.
    handle = start()
    kafka.produce(topic, [click("/", 71, 64)], partition=1)
    wait_until(lambda: len(written(tmp_path / "late")) == 2, handle)
    handle.stop()
    handle.wait()
    assert totals() == [1, 4, 18]
