"""Pipelines that read Kafka, through the engine's runner."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import frazil as fz
import pytest

if TYPE_CHECKING:
    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service

# Seconds until a running pipeline must have shown what a test waits for; reached only on failure.
WAIT_SECONDS_MAX = 60.0


class Order(fz.Schema):
    id: int


def orders(ids: range) -> list[bytes]:
    return [json.dumps({"id": number}).encode() for number in ids]


def ids_in(folder: Path) -> list[int]:
    return sorted(
        json.loads(line)["id"]
        for file in folder.rglob("*.json*")
        for line in file.read_text().splitlines()
    )


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_metadata_and_rejected_rows_of_a_bounded_run(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic(partitions=2)
    kafka.produce(topic, [*orders(range(3)), b"no json"], partition=0)
    kafka.produce(
        topic,
        [
            {"value": b'{"id": 9}', "key": b"k", "headers": [("h", b"1")], "timestamp": 1_000},
            {"value": None, "key": b"k"},
        ],
        partition=1,
    )
    read = fz.read_kafka(
        topic,
        servers=kafka.bootstrap,
        schema=Order,
        metadata=["key", "topic", "partition", "offset", "timestamp", "headers"],
    )
    rows, rejected = read.write_memory(), read.rejected.write_memory(name="bad")
    pipeline = fz.Pipeline("metadata", rows, rejected, checkpoint=str(tmp_path / "state"))
    pipeline.run(until="now", quiet=True)
    found = sorted(rows.table().to_pylist(), key=lambda row: row["id"])
    assert [row["id"] for row in found] == [0, 1, 2, 9]
    last = found[-1]
    assert (last["_key"], last["_topic"], last["_partition"], last["_offset"]) == (
        b"k",
        topic,
        1,
        0,
    )
    assert last["_timestamp"].timestamp() == 1.0
    assert last["_headers"] == [{"key": "h", "value": b"1"}]
    bad = {(row["partition"], row["position"]) for row in rejected.table().to_pylist()}
    assert bad == {(f"{topic}-0", 3), (f"{topic}-1", 1)}


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False])
def test_no_row_of_a_new_partition_is_lost(kafka: Kafka, tmp_path: Path, running: bool) -> None:
    """Also with start="latest", and whether the partition comes while a run is on or between."""
    topic = kafka.create_topic()
    kafka.produce(topic, orders(range(5)))
    out = tmp_path / "out"

    def pipeline() -> fz.Pipeline:
        sink = fz.read_kafka(
            topic, servers=kafka.bootstrap, schema=Order, start="latest"
        ).write_files(str(out), format="json")
        return fz.Pipeline(
            "grow", sink, checkpoint=str(tmp_path / "state"), checkpoint_every="200ms"
        )

    def new_ids() -> list[int]:
        return [number for number in ids_in(out) if number >= 20]

    def grow() -> None:
        kafka.add_partitions(topic, 2)
        kafka.produce(topic, orders(range(20, 23)), partition=1)

    def reads() -> bool:
        """The run is on: what is produced now is behind its start."""
        kafka.produce(topic, orders(range(10, 11)), partition=0)
        return bool(ids_in(out))

    handle = pipeline().start(quiet=True)
    try:
        wait_until(reads)
        if running:
            grow()
            wait_until(lambda: len(new_ids()) >= 3)
    finally:
        handle.stop()
    if not running:
        grow()
        pipeline().run(until="now", quiet=True)
    assert new_ids() == [20, 21, 22]
    assert set(ids_in(out)) == {10, 20, 21, 22}
