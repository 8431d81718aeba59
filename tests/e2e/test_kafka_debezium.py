"""Change events in a real broker: what is left is the table, over a restart in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest

if TYPE_CHECKING:
    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service

Row = dict[str, Any]


class User(fz.Schema):
    id: int
    name: str
    n: int | None


def messages(random: Random, count: int, table: dict[int, Row]) -> list[list[Row]]:
    """Messages of random statements on a table, by partition."""
    parts: list[list[Row]] = [[], []]
    for _ in range(count):
        id_ = random.randrange(20)
        old = table.get(id_)
        new = {"id": id_, "name": random.choice("abc"), "n": random.choice([None, 1, 2])}
        event: Row
        if old is not None and random.random() < 0.4:
            del table[id_]
            event = {"op": "d", "before": {"id": id_}, "after": None}
        else:
            table[id_] = new
            event = {"op": "c" if old is None else "u", "before": None, "after": new}
        key = json.dumps({"id": id_}).encode()
        part = parts[id_ % 2]
        part.append({"key": key, "value": json.dumps(event).encode()})
        if event["op"] == "d":
            part.append({"key": key, "value": None})
    return parts


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_left_is_the_table(workers: int, kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic(partitions=2)
    read = fz.read_kafka(
        topic, servers=kafka.bootstrap, format="debezium-json", schema=User, key=["id"]
    )
    sink = read.write_memory()
    random, table, produced, counted = Random(workers), dict[int, Row](), 0, 0
    for _ in range(2):
        for number, part in enumerate(messages(random, 300, table)):
            kafka.produce(topic, part, partition=number)
            produced += len(part)
        pipeline = fz.Pipeline("users", sink, checkpoint=str(tmp_path / "state"), workers=workers)
        report = pipeline.run(until="now", quiet=True)
        (source,) = report.sources.values()
        assert source.dropped > 0
        counted += source.read
    assert counted == produced
    left = sorted(sink.table().to_pylist(), key=lambda row: row["id"])
    assert left == [table[id_] for id_ in sorted(table)]
