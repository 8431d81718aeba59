"""A bounded look at a stream: `Stream.head`."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from frazil.changes import changes_of
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import ConfigError, PlanError
from frazil.pipeline import Pipeline
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare, settings_of

if TYPE_CHECKING:
    import pyarrow as pa
    from frazil.stream import Stream

HEAD_ROWS_MAX = 100_000
"""Rows of a sample."""
EPOCH_S = 0.1
"""How often a sample that is not full yet is brought over (seconds)."""


class _Limit:
    """Lets the first rows through and then asks for the end."""

    __qualname__ = "Stream.head"

    def __init__(self, rows: int) -> None:
        self._left = rows
        self.full = threading.Event()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        taken = batch.slice(0, self._left)
        self._left -= taken.num_rows
        if not self._left:
            self.full.set()
        return taken


def sample(stream: Stream, rows: int) -> pa.Table:
    """Read rows of a stream, with checkpoints in memory only and nothing acknowledged.

    Raises
    ------
    ConfigError
        If the number of rows is not offered.
    PlanError
        If a source begins where its group is, which reading would move.
    """
    if not isinstance(rows, int) or not 0 < rows <= HEAD_ROWS_MAX:
        raise ConfigError(f"n={rows!r} rows", f"1 to {HEAD_ROWS_MAX}")
    if changes_of(stream._port) is not None:
        stream = stream.as_log()
    limit = _Limit(rows)
    sink = stream.map_batches(limit, schema=stream.schema).write_memory(name="head")
    pipeline = Pipeline("head", sink)
    runnable = prepare(pipeline, store=MemoryStore("head"))
    for node in runnable.plan["nodes"]:
        if node["kind"] == "source" and node["options"].get("group"):
            if node["options"].get("start") == "group":
                raise PlanError(
                    f'{node["name"]} has start="group", and a look would move the group',
                    "look at the same topic with another start",
                )
            del node["options"]["group"]
    for readers in runnable.readers:
        readers.only_look()
    settings = replace(
        settings_of(pipeline, bounded=True, quiet=True),
        checkpoint_every_s=EPOCH_S,
        wait_at_start=False,
        stopped=True,
    )
    coordinator = Coordinator(runnable, settings)
    watcher = threading.Thread(target=_stop_when_full, args=(limit, coordinator), daemon=True)
    watcher.start()
    try:
        coordinator.run()
    finally:
        limit.full.set()
        watcher.join()
    return sink.table()


def _stop_when_full(limit: _Limit, coordinator: Coordinator) -> None:
    limit.full.wait()
    coordinator.stop()
