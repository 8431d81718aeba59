"""Random events through random windows: results and late rows are what DuckDB says they are."""

from __future__ import annotations

import os
from random import Random

import pytest

from tests.pipelines.events import counted, draw_partitions, draw_query
from tests.pipelines.processes import Processes

# Random cases; FRAZIL_SEEDS=2000 makes more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "60")))


@pytest.mark.parametrize("seed", SEEDS)
def test_windows_as_duckdb(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_partitions(rng)
    query = draw_query(rng, partitions)
    processes = Processes(partitions, query.streams)
    expected = query.oracle(partitions)
    if rng.random() < 0.5:
        processes.run_drawn(rng)
        assert processes.rows("results") == counted(expected.results(all_closed=False)), query
        assert processes.rows("late") == counted(expected.late), query
    processes.run_drawn(rng, close_windows=True)
    assert processes.rows("results") == counted(expected.results(all_closed=True)), query
    assert processes.rows("late") == counted(expected.late), query
    timeless = [e for events in partitions for e in events if e["at"] is None]
    assert query.filter == "before" or processes.rows("bad").total() == len(timeless)


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
