"""Interval joins against DuckDB: any order of work, any number of workers, cut off anywhere."""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from random import Random

import frazil as fz
import pytest
from frazil import col
from frazil.run.state_chains import StateChains

from tests.pipelines.events import (
    CUTS,
    SECOND,
    Query,
    counted,
    draw_partitions,
    events_at,
    us_of,
)
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.joins import (
    HOWS,
    AnyJoin,
    JoinProcesses,
    JoinQuery,
    Sides,
    draw_join,
    windows_joined,
)

# FRAZIL_SEEDS=500 draws more orders.
SEEDS = int(os.environ.get("FRAZIL_SEEDS", "12"))


def draw_sides(rng: Random, **options: int) -> Sides:
    """Events of both sides."""
    return draw_partitions(rng, most=3, **options), draw_partitions(rng, most=3, **options)


def check(
    processes: JoinProcesses, query: AnyJoin, sides: Sides, *, all_closed: bool = False
) -> None:
    """All that a join gives is what DuckDB gives."""
    expected = query.oracle(sides)
    assert processes.rows("results") == counted(expected.results(all_closed=all_closed)), query
    assert processes.rows("late") == counted(expected.late), query
    assert processes.rows("late_right") == counted(expected.late_right), query


@pytest.mark.parametrize("seed", range(SEEDS))
def test_join_as_duckdb_does(seed: int) -> None:
    """What is known at the end of the rows, and when that is the end of all."""
    rng = Random(seed)
    sides = draw_sides(rng)
    query = draw_join(rng, how=HOWS[seed % len(HOWS)])
    processes = JoinProcesses(sides, query.streams)
    processes.run_drawn(rng)
    check(processes, query, sides)
    processes.run_drawn(rng, close_windows=True)
    check(processes, query, sides, all_closed=True)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_and_crashes(seed: int) -> None:
    """Five processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    sides = draw_sides(rng)
    query = draw_join(rng, how=HOWS[seed % len(HOWS)])
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
@pytest.mark.parametrize("how", ["left", "full", "semi"])
def test_crashed_at_every_step(how: str) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    rng = Random(5)
    sides = (
        draw_partitions(rng, most=2, rows=20, whole=True),
        draw_partitions(rng, most=2, rows=20, whole=True),
    )
    query = JoinQuery(how=how, before=5, after=2, out_of_order=(5, 5))
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


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("stalled", [[], [0], [0, 100]], ids=["empty", "begun", "stopped"])
@pytest.mark.parametrize("side", [0, 1])
def test_one_partition_stands_still(how: str, stalled: list[int], side: int) -> None:
    """It holds rows without a partner back while others go on."""
    rng = Random(1)
    given = [list(draw_partitions(rng, most=2, rows=40, whole=True)) for _ in range(2)]
    given[side].append(events_at(*stalled))
    sides = (given[0], given[1])
    query = JoinQuery(how=how, before=5, after=2, out_of_order=(5, 5))
    for workers in (1, 2, 4):
        processes = JoinProcesses(sides, query.streams)
        processes.run(workers=workers, seed=workers, batch_rows=3, every_s=0.02)
        check(processes, query, sides)
        processes.run(workers=3 - workers // 2, close_windows=True)
        check(processes, query, sides, all_closed=True)


def test_rows_at_the_bounds() -> None:
    """Just as far before and after as may be, and a microsecond further."""
    lefts, rights = events_at(100), events_at(95, 95, 102, 102)
    rights[0]["at"] -= timedelta(microseconds=1)
    rights[3]["at"] += timedelta(microseconds=1)
    query = JoinQuery(how="full", before=5, after=2, out_of_order=(0, 5))
    processes = JoinProcesses(([lefts], [rights]), query.streams)
    processes.run(close_windows=True)
    check(processes, query, ([lefts], [rights]), all_closed=True)
    pairs = {(row["id"], row["id_r"]) for row in processes.table()}
    assert pairs == {(0, 1), (0, 2), (None, 0), (None, 3)}


@pytest.mark.parametrize("seed", range(6))
def test_windows_of_a_join(seed: int) -> None:
    """A join has event time: no row of it is late for what is computed of it."""
    rng = Random(seed)
    how = HOWS[seed % len(HOWS)]
    sides = (draw_partitions(rng, whole=True), draw_partitions(rng, whole=True))
    query = JoinQuery(how=how, before=5, after=9, out_of_order=(20, 5))
    time = {"right": "at_r", "full": "event_time"}.get(how, "at")

    def streams(left: fz.Stream, right: fz.Stream) -> dict[str, fz.Stream]:
        joined = query.streams(left, right)["results"]
        windows = joined.group_by("user").window(fz.tumbling("20s"))
        totals = windows.agg(rows=fz.count(), first=col("n").first(), last=col("n").last())
        return {"joined": joined, "windows": totals}

    processes = JoinProcesses(sides, streams)
    for _ in range(3):
        try:
            processes.run_drawn(rng, hook=CrashAt(rng.randrange(3, 40)), every_s=0.01)
        except Crash:
            continue
    processes.run_drawn(rng, close_windows=True)
    joined = query.oracle(sides).results(all_closed=True)
    assert processes.rows("joined") == counted(joined)
    straight = JoinProcesses(sides, streams)
    straight.run(close_windows=True)
    assert processes.rows("windows") == straight.rows("windows")  # also which row is the last
    expected: Counter[tuple[str | None, int]] = Counter()
    for row in joined:
        expected[row["user"], us_of(row[time]) // (20 * SECOND) * 20 * SECOND] += 1
    found = {
        (row["user"], us_of(row["window_start"])): row["rows"] for row in processes.table("windows")
    }
    assert found == expected


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stream_with_itself(workers: int) -> None:
    """Both sides of a join come from one reader."""
    rng = Random(workers)
    partitions = draw_partitions(rng, whole=True)
    query = JoinQuery(how="left", before=5, after=0, out_of_order=(20, 20))

    def streams(left: fz.Stream, right: fz.Stream) -> dict[str, fz.Stream]:
        return query.streams(left, left)

    processes = JoinProcesses((partitions, partitions), streams)
    processes.run_drawn(rng, every_s=0.01)
    processes.run_drawn(rng, workers=workers, close_windows=True)
    check(processes, query, (partitions, partitions), all_closed=True)


@pytest.mark.parametrize("how", ["inner", "full"])
def test_state_does_not_grow_with_the_backlog(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both streams are read in step, however much of them is waiting."""
    # Each checkpoint has all of the state, and no changes to it.
    monkeypatch.setattr(StateChains, "due", lambda self: set(self._operators))
    query = JoinQuery(how=how, before=5, after=5, out_of_order=(1, 1))
    largest = []
    rng = Random(0)
    for seconds in (60, 900):
        seldom = [{**event, "x": rng.random()} for event in events_at(*range(seconds))]
        often = events_at(*(s for s in range(seconds) for _ in range(10)))
        sides = ([seldom], [often])
        processes = JoinProcesses(sides, query.streams)
        processes.run(seed=3, batch_rows=10, every_s=0.01, retain=10_000)
        sizes = [sum(file.size for file in each.state_files) for each in processes.manifests()]
        assert len(sizes) > 5
        largest.append(max(sizes))
    assert largest[1] < 1.3 * largest[0], largest


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("seed", range(2))
def test_per_window(how: str, seed: int) -> None:
    """Windows of both streams side by side, as DuckDB joins them."""
    rng = Random(seed)
    sides = draw_sides(rng)
    cut = CUTS[rng.choice([0, 2, 5])]
    lefts = Query(cut=cut, out_of_order=5, lateness=10 * seed, aggregates=("rows", "total"))
    rights = Query(cut=cut, out_of_order=20, aggregates=("rows",))

    def streams(left: fz.Stream, right: fz.Stream) -> dict[str, fz.Stream]:
        counted_right = rights.stream(right).rename(rows="rows_r")
        joined = lefts.stream(left).join(counted_right, on="user", how=how)  # type: ignore[arg-type]
        return {"results": joined, "bad": left.rejected, "bad_right": right.rejected}

    processes = JoinProcesses(sides, streams)
    for _ in range(3):
        try:
            processes.run_drawn(rng, hook=CrashAt(rng.randrange(3, 40)), every_s=0.01)
        except Crash:
            continue
    processes.run_drawn(rng, close_windows=True)
    expected = windows_joined(
        lefts.oracle(sides[0]).results(all_closed=True),
        rights.oracle(sides[1]).results(all_closed=True),
        how,
    )
    assert processes.rows("results") == counted(expected)
    assert expected
