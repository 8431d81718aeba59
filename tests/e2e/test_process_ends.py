"""Pipelines of Kafka and S3 whose process is killed, or stopped and replaced: rows land once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from frazil.checkpoint import open_store
from frazil.checkpoint.inspect import list_state

from tests.e2e.lake import CHECKPOINT, Lake

if TYPE_CHECKING:
    from tests.services.kafka import Kafka

pytestmark = [pytest.mark.service, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("stream_program.py")
PARTITIONS = 2
# Rows a second that are produced while processes come and go.
RATE = 20_000
# Seconds something may take that is waited for; reached only when a test fails.
PATIENCE_S = 60.0
EXIT_FENCED = 76


class Producing:
    """A thread that produces ids 0, 1, 2, ... until it is ended."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._producer = kafka.producer()
        self._topic = topic
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._end.set()
        self._thread.join()
        assert self._producer.flush(PATIENCE_S) == 0

    def _run(self) -> None:
        while not self._end.wait(0.02):
            for number in range(self.sent, self.sent + RATE // 50):
                self._producer.produce(
                    self._topic, b'{"id": %d}' % number, partition=number % PARTITIONS
                )
            self.sent += RATE // 50
            self._producer.poll(0)


class Stream:
    """The program, its topic, its table and its checkpoint log."""

    def __init__(self, kafka: Kafka, lake: Lake, table: str, logs: Path) -> None:
        self.topic = kafka.create_topic(partitions=PARTITIONS)
        self.table = table
        self._kafka = kafka
        self._lake = lake
        self._logs = logs
        s3 = lake.s3
        self._store = open_store(
            f"{CHECKPOINT}/{table}",
            {
                "endpoint": s3.endpoint,
                "access_key_id": s3.access_key,
                "secret_access_key": s3.secret_key,
                "region": s3.region,
            },
        )
        self._environment = {
            **os.environ,
            **lake.environment,
            "E2E_TOPIC": self.topic,
            "E2E_SERVERS": kafka.bootstrap,
            "E2E_CATALOG": lake.service.uri,
            "E2E_S3": s3.endpoint,
            "E2E_TABLE": table,
            "E2E_CHECKPOINT": CHECKPOINT,
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "frazil", "run", str(PROGRAM), *options]
        with self.log(len(self.processes)).open("wb") as log:
            process = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def log(self, number: int) -> Path:
        return self._logs / f"process-{number}.log"

    def newest(self) -> int:
        """The newest slot of the checkpoint log; 0 if there is none."""
        return max((info.slot for info in list_state(self._store)), default=0)

    def await_slots(self, count: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until the log has grown by so many slots."""
        wanted = self.newest() + count
        deadline = time.monotonic() + PATIENCE_S
        while self.newest() < wanted:
            code, log = process.poll(), self.log(self.processes.index(process))
            assert code is None, f"the process ended with {code}: {log.read_text()}"
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def finish(self, sent: int) -> None:
        """Read what is left; then the table has every row once."""
        assert self.start("--until", "now").wait(PATIENCE_S) == 0
        stored = [message.value() for message in self._kafka.read(self.topic)]
        assert sorted(stored) == sorted(b'{"id": %d}' % number for number in range(sent))
        ids = self._lake.read(self.table)["id"].to_pylist()
        assert len(ids) == sent
        assert sorted(ids) == list(range(sent))
        slots = self._lake.slots(self.table)
        assert slots == sorted(set(slots))


@pytest.fixture
def stream(
    kafka: Kafka, lake: Lake, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Stream]:
    name = request.node.name.removeprefix("test_")
    made = Stream(kafka, lake, f"ends.{name}", tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_killed_anywhere(kafka: Kafka, stream: Stream) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with Producing(kafka, stream.topic) as producing:
        for _ in range(3):
            process = stream.start()
            stream.await_slots(chance.randint(1, 8), process)
            time.sleep(chance.uniform(0, 0.15))
            process.kill()
            process.wait()
        producing.end()
        stream.finish(producing.sent)


def test_zombie_is_fenced(kafka: Kafka, stream: Stream) -> None:
    with Producing(kafka, stream.topic) as producing:
        zombie = stream.start()
        stream.await_slots(4, zombie)
        zombie.send_signal(signal.SIGSTOP)
        heir = stream.start("--takeover")
        stream.await_slots(6, heir)
        zombie.send_signal(signal.SIGCONT)
        assert zombie.wait(PATIENCE_S) == EXIT_FENCED
        assert "Fenced: " in stream.log(0).read_text()
        stream.await_slots(4, heir)
        producing.end()
        heir.send_signal(signal.SIGTERM)
        assert heir.wait(PATIENCE_S) == 0
        stream.finish(producing.sent)
