"""As-of joins against DuckDB: any order of work, any number of workers, cut off anywhere."""

from __future__ import annotations

import os
from datetime import timedelta
from random import Random

import frazil as fz
import pytest
from frazil.run.state_chains import StateChains

from tests.pipelines.events import counted, draw_partitions, events_at
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.joins import AsofQuery, JoinProcesses, Sides, apart, draw_asof
from tests.pipelines.test_joins import check

# FRAZIL_SEEDS=500 draws more orders.
SEEDS = int(os.environ.get("FRAZIL_SEEDS", "12"))


def draw_sides(rng: Random, *, whole: bool = False) -> Sides:
    """Events of both sides."""
    left = draw_partitions(rng, most=3, whole=whole)
    return left, apart(draw_partitions(rng, most=3, whole=whole))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_join_as_duckdb_does(seed: int) -> None:
    """What is known at the end of the rows, and when that is the end of all."""
    rng = Random(seed)
    sides, query = draw_sides(rng), draw_asof(rng)
    processes = JoinProcesses(sides, query.streams)
    processes.run_drawn(rng)
    check(processes, query, sides)
    processes.run_drawn(rng, close_windows=True)
    check(processes, query, sides, all_closed=True)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_and_crashes(seed: int) -> None:
    """Five processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    sides, query = draw_sides(rng), draw_asof(rng)
    processes = JoinProcesses(sides, query.streams)
    crashes = 0
    for step in (6, *rng.sample(range(3, 40), 4)):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            crashes += 1
    processes.run_drawn(rng, close_windows=True)
    check(processes, query, sides, all_closed=True)
    assert crashes > 0


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [None, 3])
def test_crashed_at_every_step(tolerance: int | None) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    rng = Random(5)
    sides = (
        draw_partitions(rng, most=2, rows=20, whole=True),
        apart(draw_partitions(rng, most=2, rows=20, whole=True)),
    )
    query = AsofQuery(how="left", tolerance=tolerance, out_of_order=(5, 5))
    straight = JoinProcesses(sides, query.streams)
    counter = CrashAt()
    straight.run(seed=3, workers=2, batch_rows=1, every_s=0.015, hook=counter)
    assert counter.steps > 20
    for step in range(1, counter.steps + 1):
        processes = JoinProcesses(sides, query.streams)
        with pytest.raises(Crash):
            processes.run(seed=3, workers=2, batch_rows=1, every_s=0.015, hook=CrashAt(step))
        processes.run(seed=step, workers=1 + step % 3, close_windows=True)
        check(processes, query, sides, all_closed=True)


@pytest.mark.parametrize("stalled", [[], [0], [0, 100]], ids=["empty", "begun", "stopped"])
@pytest.mark.parametrize("side", [0, 1])
def test_one_partition_stands_still(stalled: list[int], side: int) -> None:
    """Left rows wait for the right stream, and for nothing else."""
    rng = Random(1)
    given = [list(draw_partitions(rng, most=2, rows=40, whole=True)) for _ in range(2)]
    given[side].append(events_at(*stalled))
    sides = (given[0], apart(given[1]))
    query = AsofQuery(how="left", tolerance=None, out_of_order=(5, 5))
    for workers in (1, 2, 4):
        processes = JoinProcesses(sides, query.streams)
        processes.run(workers=workers, seed=workers, batch_rows=3, every_s=0.02)
        check(processes, query, sides)
        processes.run(workers=3 - workers // 2, close_windows=True)
        check(processes, query, sides, all_closed=True)


def test_rows_at_the_bounds() -> None:
    """Of the same time, a microsecond later, and just as old as may be."""
    lefts = events_at(10, 20, 30, 41)
    rights = events_at(10, 20, 25, 25, 36)
    rights[1]["at"] += timedelta(microseconds=1)
    query = AsofQuery(how="left", tolerance=5, out_of_order=(0, 0))
    processes = JoinProcesses(([lefts], [rights]), query.streams)
    processes.run(close_windows=True)
    check(processes, query, ([lefts], [rights]), all_closed=True)
    pairs = {(row["id"], row["id_r"]) for row in processes.table()}
    assert pairs == {(0, 0), (1, None), (2, 3), (3, 4)}


def test_rows_of_one_time_in_two_partitions() -> None:
    """Which of them counts does not depend on who comes first."""
    lefts = [events_at(*range(10, 40))]
    rights = [events_at(*range(10, 40)), events_at(*range(10, 40))]
    query = AsofQuery(how="inner", tolerance=None, out_of_order=(0, 0))
    named = [[{**e, "x": float(p)} for e in events] for p, events in enumerate(rights)]
    found = []
    for seed in range(6):
        processes = JoinProcesses((lefts, named), query.streams)
        processes.run(seed=seed, workers=1 + seed % 3, batch_rows=1 + seed, close_windows=True)
        found.append(processes.rows("results"))
    assert len(found[0]) == 30
    assert all(rows == found[0] for rows in found)


@pytest.mark.parametrize("tolerance", [None, 5])
def test_state_does_not_grow(tolerance: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither with the backlog nor with the rows that a key has had."""
    # Each checkpoint has all of the state, and no changes to it.
    monkeypatch.setattr(StateChains, "due", lambda self: set(self._operators))
    query = AsofQuery(how="left", tolerance=tolerance, out_of_order=(1, 1))
    largest = []
    rng = Random(0)
    for seconds in (60, 900):
        seldom = [{**event, "x": rng.random()} for event in events_at(*range(seconds))]
        often = events_at(*(s for s in range(seconds) for _ in range(10)))
        for sides in (([seldom], [often]), ([often], [seldom])):
            processes = JoinProcesses(sides, query.streams)
            processes.run(seed=3, batch_rows=10, every_s=0.01, retain=10_000)
            sizes = [sum(file.size for file in each.state_files) for each in processes.manifests()]
            largest.append(max(sizes))
    assert max(largest[2:]) < 1.3 * max(largest[:2]), largest


def test_windows_of_an_asof_join() -> None:
    """It has the event time of the left rows: none of it is late for a window."""
    rng = Random(3)
    sides = draw_sides(rng, whole=True)
    query = AsofQuery(how="left", tolerance=None, out_of_order=(20, 5))

    def streams(left: fz.Stream, right: fz.Stream) -> dict[str, fz.Stream]:
        joined = query.streams(left, right)["results"]
        windows = joined.group_by("user").window(fz.tumbling("20s")).agg(rows=fz.count())
        return {"joined": joined, "windows": windows}

    processes = JoinProcesses(sides, streams)
    processes.run_drawn(rng, close_windows=True)
    joined = query.oracle(sides).results(all_closed=True)
    assert processes.rows("joined") == counted(joined)
    assert sum(row["rows"] for row in processes.table("windows")) == len(joined)
