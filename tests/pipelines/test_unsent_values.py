"""Values that were not sent: in any order, over any crashes, the table has those of the source."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from frazil.checkpoint.memory_store import MemoryStore
from pyiceberg.catalog import load_catalog

from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.pages import (
    AVRO_IDS,
    PROTO,
    PROTO_ID,
    PROTO_IDS,
    Event,
    avro_line,
    page_events,
    pages,
    proto_line,
)
from tests.pipelines.upserts import Mirrors
from tests.python.connect_avro import Registry
from tests.python.proto_files import Proto
from tests.python.test_registry_client import Server

if TYPE_CHECKING:
    import frazil as fz
    from frazil.run.runnable import Runnable

    from tests.services.duckdb_reader import DuckdbReader

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "4")))


def json_line(event: Event) -> bytes:
    return json.dumps(event).encode()


def deal(
    events: Sequence[Event | None],
    folder: Path,
    rng: Random,
    line: Callable[[Event], bytes] = json_line,
) -> None:
    """Put events into two partitions by key, in files of a few: a process reads one at once."""
    parts: list[list[Event]] = [[], []]
    for event in events:
        if event is not None:
            parts[(event["after"] or event["before"])["id"] % 2].append(event)
    for number, part in enumerate(parts):
        lane = folder / str(number)
        lane.mkdir(parents=True)
        at = 0
        for file in range(len(part)):
            some = part[at : at + rng.randrange(1, 9)]
            at += len(some)
            if some:
                lines = b"".join(line(event) + b"\n" for event in some)
                (lane / f"{file:04}.jsonl").write_bytes(lines)


class PageMirror(Mirrors):
    """A table by key of change events in files.

    In Avro or Protobuf the server is their registry.
    """

    def __init__(
        self,
        folder: Path,
        rng: Random,
        count: int,
        kind: str = "debezium-json",
        server: Server | None = None,
    ) -> None:
        self.kind, self.server, registry = kind, server, Registry()
        line, ids = json_line, range(8)
        if kind == "debezium-avro":
            line, ids = partial(avro_line, registry), AVRO_IDS
        if kind == "debezium-protobuf":
            line, ids = partial(proto_line, Proto(PROTO, "Envelope").type()), PROTO_IDS
        events, self.rows_left = page_events(rng, count, ids)
        deal(events, folder / "in", rng, line)
        if server is not None:
            for id_, texts in registry.texts.items():
                server.answers[f"/schemas/ids/{id_}"] = [(200, {"schema": texts[-1]})]
            proto = {"schema": PROTO, "schemaType": "PROTOBUF"}
            server.answers.setdefault(f"/schemas/ids/{PROTO_ID}", [(200, proto)])
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.catalog = load_catalog("default", **self.properties)
        self.version = 2
        self.keys = {"pages": ["id"]}
        read: fz.Stream = pages(folder / "in", ["body", "raw"], lanes="by_folder")
        sink = read.write_iceberg("t.pages", catalog=self.properties, mode="upsert", key=["id"])
        self.sinks = {"pages": sink}
        self.store = MemoryStore()

    def give(self, runnable: Runnable, batch_rows: int, partitions: int | None = None) -> None:
        """Say what the lines of the files are, if they are no JSON: a reader of files does not."""
        if self.server is None:
            return
        url = self.server.url
        for node in runnable.plan["nodes"]:
            if node["kind"] == "source":
                node["format"] = {**node["format"], "kind": self.kind, "registry": url}
        assert isinstance(runnable.registries, dict)
        runnable.registries[url] = {"url": url, "timeout_ms": 5_000}

    def check_pages(self, reader: DuckdbReader) -> None:
        """The table has just the rows of the source."""
        rows = [
            {**row, "raw": None if row["raw"] is None else base64.b64decode(row["raw"])}
            for row in self.rows_left
        ]
        self.check("pages", rows, reader)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.start()
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["debezium-json", "debezium-avro", "debezium-protobuf"])
@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(
    seed: int, kind: str, server: Server, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    known = None if kind == "debezium-json" else server
    mirror = PageMirror(tmp_path, rng, 250, kind, known)
    crashes = 0
    for step in (6, *rng.sample(range(3, 60), 4)):
        try:
            mirror.run_drawn(rng, hook=CrashAt(step), every_s=0.01)
        except Crash:
            crashes += 1
    mirror.run_drawn(rng)
    mirror.check_pages(duckdb_reader)
    assert crashes > 0


@pytest.mark.slow
def test_crashed_at_every_step(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    counter = CrashAt()
    whole = PageMirror(tmp_path, Random(5), 60)
    whole.run(seed=3, workers=2, every_s=0.012, hook=counter)
    whole.check_pages(duckdb_reader)
    assert counter.steps > 30
    for step in range(1, counter.steps + 1):
        folder = tmp_path / str(step)
        folder.mkdir()
        mirror = PageMirror(folder, Random(5), 60)
        with pytest.raises(Crash):
            mirror.run(seed=3, workers=2, every_s=0.012, hook=CrashAt(step))
        mirror.run(seed=step, workers=1 + step % 3)
        mirror.check_pages(duckdb_reader)
