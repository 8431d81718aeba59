"""Runs a golden pipeline: straight, in a drawn order, and with crashes at every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frazil as fz
from frazil.checkpoint.memory_store import MemoryStore
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings
from pyiceberg.catalog import Catalog, load_catalog

from tests.model.event_log import EventLog

if TYPE_CHECKING:
    from frazil.report import RunReport

    from tests.pipelines.golden import Build, Golden

# A checkpoint after so many seconds of the simulated clock: 1000 steps each.
EVERY_S = 0.02


class Crash(BaseException):
    """The process is thought to be gone from here on; nothing handles it."""


class World:
    """A catalog, a checkpoint log, and one golden pipeline."""

    def __init__(self, folder: Path, build: Build, *, batch_rows: int = 7) -> None:
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.catalog: Catalog = load_catalog("default", **self.properties)
        self._build = build
        self._batch_rows = batch_rows
        self.store = MemoryStore()
        self.events: list[dict[str, Any]] = []
        self.golden: Golden = build(self.properties)

    def run(
        self,
        *,
        seed: int | None = None,
        workers: int = 1,
        hook: Callable[[str], None] = lambda _: None,
    ) -> RunReport:
        """Run to the end of the input, as a new process would."""
        golden = self._build(self.properties)
        pipeline = fz.Pipeline("golden", *golden.sinks.values(), checkpoint="unused")
        runnable = prepare(pipeline, hook=hook, store=self.store)
        for node in runnable.plan["nodes"]:
            if node["kind"] == "source" and node["connector"] == "memory":
                node["options"]["batch_rows"] = self._batch_rows
        settings = RunSettings(
            workers=workers,
            bounded=True,
            takeover=True,
            checkpoint_every_s=EVERY_S,
            simulated_seed=seed,
        )
        return Coordinator(runnable, settings, hook=hook, events=self.events).run()

    def check(self) -> None:
        """Every table has what plain Python says, and the log did only what it may."""
        for name, expected in self.golden.expected.items():
            found = self.catalog.load_table(name).scan().to_arrow().to_pylist()
            assert _counted(found) == _counted(expected), name
        pipeline = fz.Pipeline("golden", *self.golden.sinks.values(), checkpoint="unused")
        sinks = [node["id"] for node in pipeline.plan.json["nodes"] if node["kind"] == "sink"]
        EventLog(sinks).check(self.events)


class CrashAt:
    """A hook that raises at the n-th step, whatever step it is; 0 never does, but counts."""

    def __init__(self, step: int = 0) -> None:
        self.step, self.steps = step, 0

    def __call__(self, name: str) -> None:
        if name == "before_orphan":
            return  # by a thread of its own, so not in the drawn order
        self.steps += 1
        if self.steps == self.step:
            raise Crash(name)


def _counted(rows: list[Any]) -> Counter[tuple[tuple[str, Any], ...]]:
    return Counter(tuple(sorted(_items(row))) for row in rows)


def _items(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (name, value.isoformat() if isinstance(value, datetime) else repr(value))
        for name, value in row.items()
    ]
