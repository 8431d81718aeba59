"""Random events through random windows: results and late rows are what DuckDB says they are."""

from __future__ import annotations

import os
from random import Random

import frazil as fz
import pyarrow as pa
import pytest
from frazil.checkpoint.memory_store import MemoryStore
from frazil.read import _encoded
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

from tests.pipelines.events import EVENT_SCHEMA, Event, counted, draw_partitions, draw_query

# Random cases; FRAZIL_SEEDS=2000 makes more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "60")))


def source(partitions: list[list[Event]]) -> fz.Stream:
    table = pa.Table.from_pylist([event for events in partitions for event in events], EVENT_SCHEMA)
    return fz.read_memory(table, partitions=len(partitions), name="events")


def run(
    sinks: list[fz.Sink],
    partitions: list[list[Event]],
    store: MemoryStore,
    rng: Random,
    *,
    close_windows: bool = False,
) -> None:
    """One run, of these partitions: the reader itself would deal the rows in turn."""
    runnable = prepare(fz.Pipeline("random", *sinks, checkpoint="unused"), store=store)
    for node in runnable.plan["nodes"]:
        if node["kind"] == "source":
            parts = [pa.Table.from_pylist(each, EVENT_SCHEMA) for each in partitions]
            node["options"]["partitions"] = [_encoded(part, 1)[0] for part in parts]
            node["options"]["batch_rows"] = rng.choice([1, 2, 7, 16_384])
    settings = RunSettings(
        workers=rng.choice([1, 2, 4]),
        bounded=True,
        quiet=True,
        takeover=True,
        checkpoint_every_s=rng.choice([0.01, 0.05, 10]),
        simulated_seed=rng.randrange(2**31),
        close_windows=close_windows,
    )
    Coordinator(runnable, settings).run()


@pytest.mark.parametrize("seed", SEEDS)
def test_windows_as_duckdb(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_partitions(rng)
    query = draw_query(rng, partitions)
    events = source(partitions)
    windows = query.stream(events)
    results, late = windows.write_memory(name="results"), windows.late.write_memory(name="late")
    bad = events.rejected.write_memory(name="bad")
    expected = query.oracle(partitions)
    store = MemoryStore()
    at_once = rng.random() < 0.5
    if not at_once:
        run([results, late, bad], partitions, store, rng)
        open_ = expected.results(all_closed=False)
        assert counted(results.table().to_pylist()) == counted(open_), query
        assert counted(late.table().to_pylist()) == counted(expected.late), query
    run([results, late, bad], partitions, store, rng, close_windows=True)
    assert counted(results.table().to_pylist()) == counted(expected.results(all_closed=True)), query
    assert counted(late.table().to_pylist()) == counted(expected.late), query
    timeless = [e for events in partitions for e in events if e["at"] is None]
    assert query.filter == "before" or len(bad.table()) == len(timeless)


def test_cases_are_not_trivial() -> None:
    """Most cases close windows, leave some open, and have late rows."""
    closed = left = late = 0
    for seed in range(40):
        rng = Random(seed)
        partitions = draw_partitions(rng)
        expected = draw_query(rng, partitions).oracle(partitions)
        closed += any(row["closed"] for row in expected.rows)
        left += not all(row["closed"] for row in expected.rows)
        late += bool(expected.late)
    assert min(closed, left, late) >= 25, (closed, left, late)
