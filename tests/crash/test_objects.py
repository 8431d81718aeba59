"""Processes that read objects as a store tells of them are killed: every row is there once."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.crash.scene import Scene
    from tests.services.kafka import Kafka
    from tests.services.s3 import S3

pytestmark = [pytest.mark.service, pytest.mark.slow]

OBJECTS = 300
ROWS_EACH = 200


class Uploader:
    """Puts objects, and tells of each once, twice or more, as stores may."""

    def __init__(self, kafka: Kafka, s3: S3, topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self._client = s3.client()
        self._bucket = s3.create_bucket(f"crash-{topic}")
        self._stopping = threading.Event()
        self.rows = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Uploader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        rng = random.Random(7)
        events: list[dict[str, Any]] = []
        for number in range(OBJECTS):
            if self._stopping.wait(0.003):
                return
            first = number * ROWS_EACH
            body = b"".join(b'{"id": %d}\n' % n for n in range(first, first + ROWS_EACH))
            key = f"part {number}"
            put = self._client.put_object(Bucket=self._bucket, Key=key, Body=body)
            described = {"key": key.replace(" ", "+"), "eTag": put["ETag"].strip('"')}
            stored = {"bucket": {"name": self._bucket}, "object": described}
            events.append({"eventName": "ObjectCreated:Put", "s3": stored})
            again = [event for event in events[-9:] if rng.random() < 0.3]
            message = json.dumps({"Records": [events[-1], *again]}).encode()
            # Keys go to one partition each, as those of MinIO: so repeats do.
            self._kafka.produce(self._topic, [message], partition=0)
            self.rows = first + ROWS_EACH


@pytest.fixture
def uploader(scene: Scene, kafka: Kafka, s3: S3) -> Iterator[Uploader]:
    topic = kafka.create_topic()
    access = f"{kafka.bootstrap} {topic} {s3.endpoint} {s3.access_key} {s3.secret_key}"
    (scene.folder / "objects").write_text(access)
    with Uploader(kafka, s3, topic) as uploader:
        yield uploader


def test_killed_while_objects_come(scene: Scene, uploader: Uploader) -> None:
    rng = random.Random(6)
    for point, workers in (("after_put", 1), ("before_commit", 2)):
        scene.kill(point, "from_objects", count=2, workers=workers, bounded=False, takeover=True)
    for _ in range(2):
        process = scene.start("from_objects", bounded=False, takeover=True)
        scene.wait_for_slots(2, process, "from_objects")
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
    uploader.__exit__()
    scene.finish("from_objects", takeover=True)
    scene.check(expected=range(uploader.rows), pipeline="from_objects")
