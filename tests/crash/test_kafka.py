"""Processes that send to Kafka are killed: a reader of what is committed has each row once."""

from __future__ import annotations

import io
import json
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from tests.crash.pipelines import ROWS

if TYPE_CHECKING:
    from tests.crash.scene import Scene
    from tests.services.kafka import Kafka
    from tests.services.schema_registry import SchemaRegistry

pytestmark = [pytest.mark.service, pytest.mark.slow]

POINTS = [
    "before_fence_put",
    "after_prepare",
    "before_put",
    "after_put",
    "after_load",
    "before_commit",
    "after_commit",
    "before_ack",
    "after_gc",
]


@pytest.fixture
def topic(scene: Scene, kafka: Kafka) -> str:
    """An empty topic that the scene's pipelines write to."""
    name = kafka.create_topic(partitions=2)
    (scene.folder / "topic").write_text(f"{kafka.bootstrap} {name}")
    return name


def check(scene: Scene, kafka: Kafka, topic: str) -> None:
    """Every row is there once."""
    found = Counter(json.loads(message.value())["id"] for message in kafka.read(topic))
    assert found == Counter(range(ROWS)), (found.total(), found.most_common(5))
    scene.check_log("to_kafka")


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, scene: Scene, kafka: Kafka, topic: str) -> None:
    for count, workers in ((2, 1), (3, 2)):
        last = 1 if point in ("before_fence_put", "after_load") else count
        scene.kill(point, "to_kafka", count=last, workers=workers, takeover=True)
    scene.finish("to_kafka", workers=2)
    check(scene, kafka, topic)
    scene.finish("to_kafka")
    assert list((scene.folder / "checkpoints" / "topic" / "staged").iterdir()) == []


def test_killed_while_it_sends_avro(
    scene: Scene, kafka: Kafka, schema_registry: SchemaRegistry
) -> None:
    """Each row once, and all with the one id that the first process had registered."""
    topic = kafka.create_topic(partitions=2)
    place = f"{kafka.bootstrap} {topic} {schema_registry.url}"
    (scene.folder / "topic").write_text(place)
    for point in ("before_put", "after_commit"):
        scene.kill(point, "to_kafka", workers=2, takeover=True)
    scene.finish("to_kafka", workers=2)
    ids, schemas = Counter[int](), Counter[bytes]()
    fields = [{"name": "id", "type": "long"}, {"name": "country", "type": "string"}]
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": fields})
    for message in kafka.read(topic):
        value = message.value()
        assert value is not None
        schemas[bytes(value[:5])] += 1
        row: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
        ids[row["id"]] += 1
    assert ids == Counter(range(ROWS)), (ids.total(), ids.most_common(5))
    assert len(schemas) == 1
    scene.check_log("to_kafka")


def test_killed_at_any_time(scene: Scene, kafka: Kafka, topic: str) -> None:
    rng = random.Random(1)
    for workers in (1, 2, 1, 2, 1):
        process = scene.start("to_kafka", workers=workers, takeover=True)
        time.sleep(rng.uniform(0.3, 1.0))
        process.kill()
    scene.finish("to_kafka", workers=2)
    check(scene, kafka, topic)


@pytest.mark.parametrize("point", ["after_load", "before_commit", "after_commit"])
def test_zombie_wakes_behind_the_next(point: str, scene: Scene, kafka: Kafka, topic: str) -> None:
    """A process stops while it sends; another goes on to the end; then the first wakes."""
    count = 1 if point == "after_load" else 3
    zombie = scene.freeze(point, "to_kafka", count=count)
    scene.finish("to_kafka", takeover=True)
    zombie.resume()
    zombie.end()
    check(scene, kafka, topic)
