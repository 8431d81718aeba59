"""The Kafka broker of the benchmarks: the one of the tests, on an empty disk, not measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cache import scratch_dir
from tests.services.kafka import Kafka

FLUSH_S = 60.0


class Broker:
    """A running broker."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self.servers = kafka.bootstrap

    def create(self, topic: str, *, partitions: int) -> str:
        """Make a topic that keeps everything."""
        return self._kafka.create_topic(topic, partitions=partitions)

    def producer(self, **settings: Any) -> Any:
        """A client that batches as a busy service's would."""
        batching = {"linger_ms": 20, "batch_size": 1 << 20, "queue_buffering_max_messages": 200_000}
        return self._kafka.producer(**{"acks": "all", **batching, **settings})

    def fill(
        self,
        topic: str,
        path: Path,
        *,
        partitions: int,
        partition_of: Callable[[int, bytes], int] | None = None,
    ) -> str:
        """Make a topic of a file's lines, by number and line, or spread over it in turn."""
        self.create(topic, partitions=partitions)
        place = partition_of or (lambda number, _: number % partitions)
        producer = self.producer()
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                while True:
                    try:
                        producer.produce(topic, line.rstrip(b"\n"), partition=place(number, line))
                        break
                    except BufferError:  # its queue is full; poll makes room
                        producer.poll(0.1)
                if number % 1000 == 0:
                    producer.poll(0)
        if producer.flush(FLUSH_S):
            raise TimeoutError(f"filling {topic}: not acknowledged in {FLUSH_S:.0f} s")
        return topic


@contextmanager
def broker() -> Iterator[Broker]:
    """A broker that ends with the block."""
    folder = scratch_dir("kafka")
    kafka = Kafka(folder)
    kafka.start()
    try:
        yield Broker(kafka)
    finally:
        kafka.stop()
        shutil.rmtree(folder, ignore_errors=True)
