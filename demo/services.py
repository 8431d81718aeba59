"""The services of `make demo-s3`: a Kafka broker that holds the events, and an S3 server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from tests.services.kafka import Kafka
from tests.services.s3 import S3

TOPIC = "events"
PARTITIONS = 4
BUCKET = "demo"


class Services:
    """A broker and an S3 server for as long as the context lasts."""

    def __init__(self, folder: Path, events: Iterable[list[str]]) -> None:
        self.kafka = Kafka(folder.resolve() / "kafka")
        self.s3 = S3(folder.resolve() / "s3")
        self._events = events
        self.warehouse = f"s3://{BUCKET}/warehouse"
        self.catalog = {
            "type": "sql",
            "uri": f"sqlite:///{folder.resolve()}/catalog.db",
            "warehouse": self.warehouse,
            **self.s3.iceberg_properties,
        }

    def __enter__(self) -> Services:
        self.kafka.start()
        self.s3.start()
        self.s3.create_bucket(BUCKET)
        self.kafka.create_topic(TOPIC, partitions=PARTITIONS)
        for lines in self._events:
            for partition in range(PARTITIONS):
                rows = (line.rstrip("\n").encode() for line in lines[partition::PARTITIONS])
                self.kafka.produce(TOPIC, rows, partition=partition)
        self.environment = {
            "DEMO_TOPIC": TOPIC,
            "DEMO_SERVERS": self.kafka.bootstrap,
            "DEMO_WAREHOUSE": self.warehouse,
            "DEMO_CATALOG": self.catalog["uri"],
            "DEMO_S3": self.s3.endpoint,
            "DEMO_S3_KEY": self.s3.access_key,
            "DEMO_S3_SECRET": self.s3.secret_key,
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kafka.stop()
        self.s3.stop()
