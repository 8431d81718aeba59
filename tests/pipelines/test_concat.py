"""A history, then what is live: one state and one watermark, in any order of work, cut anywhere."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from random import Random

import frazil as fz
import pytest
from frazil import col
from frazil.errors import PlanChanged, PlanError

from tests.pipelines.events import (
    CUTS,
    SECOND,
    Cut,
    Event,
    Query,
    counted,
    draw_partitions,
    draw_query,
    events_at,
    us_of,
)
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.joins import JoinProcesses, Sides

# FRAZIL_SEEDS=500 draws more orders.
SEEDS = int(os.environ.get("FRAZIL_SEEDS", "12"))


class SeamProcesses(JoinProcesses):
    """A pipeline over a history and what is live, and its checkpoints."""

    NAMES = ("history", "live")


def draw_sides(rng: Random, **options: int | bool) -> Sides:
    """Events of both; live ones begin before, at or behind the end of the history."""
    history = draw_partitions(rng, most=3, **options)  # type: ignore[arg-type]
    live = draw_partitions(rng, most=3, **options)  # type: ignore[arg-type]
    later = timedelta(seconds=rng.choice([0, 60, 120, 250]))
    for event in (event for events in live for event in events if event["at"] is not None):
        event["at"] += later
    return history, live


def streams(query: Query, history: fz.Stream, live: fz.Stream) -> dict[str, fz.Stream]:
    """What is kept of the two as one."""
    windows = query.windows(fz.concat(query.timed(history), query.timed(live)))
    bad = history.rejected.union(live.rejected)  # those without a time
    return {"results": windows, "late": windows.late, "bad": bad}


def seam(query: Query, history: list[list[Event]]) -> int | None:
    """The frontier with which live partitions begin (us)."""
    times = [
        us_of(event["at"])
        for events in history
        for event in events
        if event["at"] is not None and not (query.filter == "before" and event["id"] % 3 == 0)
    ]
    return max(times, default=None)


def check(processes: SeamProcesses, query: Query, sides: Sides, *, all_closed: bool) -> None:
    """All that comes out is what DuckDB gives."""
    history, live = map(list, sides)
    begin = seam(query, history)
    starts = {} if begin is None else {len(history) + p: begin for p in range(len(live))}
    names = [f"memory-{p}" for p in [*range(len(history)), *range(len(live))]]
    named = replace(query, names=names)
    expected = named.oracle([*history, *live], starts, over=len(history))
    assert processes.rows("late") == counted(expected.late), query
    found = processes.rows("results")
    assert found == counted(expected.results(all_closed=all_closed)), query


@pytest.mark.parametrize("seed", range(SEEDS))
def test_as_duckdb_does(seed: int) -> None:
    """At the end of the rows, and when that is the end of all."""
    rng = Random(seed)
    sides = draw_sides(rng)
    query = draw_query(rng, [*sides[0], *sides[1]])
    processes = SeamProcesses(sides, lambda *both: streams(query, *both))
    processes.run_drawn(rng)
    check(processes, query, sides, all_closed=False)
    processes.run_drawn(rng, close_windows=True)
    check(processes, query, sides, all_closed=True)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_and_crashes(seed: int) -> None:
    """Five processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(1000 + seed)
    sides = draw_sides(rng)
    query = draw_query(rng, [*sides[0], *sides[1]], cut=CUTS[seed % len(CUTS)])
    processes = SeamProcesses(sides, lambda *both: streams(query, *both))
    crashes = 0
    for step in (6, *rng.sample(range(3, 60), 4)):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            crashes += 1
    processes.run_drawn(rng, close_windows=True)
    check(processes, query, sides, all_closed=True)
    assert crashes > 0


@pytest.mark.parametrize("cut", [CUTS[0], CUTS[2], CUTS[7]], ids=lambda cut: cut.kind)
def test_crashed_at_every_step(cut: Cut) -> None:
    """Before the seam, in it and behind it; then with another number of workers."""
    rng = Random(3)
    sides = draw_sides(rng, rows=12, whole=True)
    query = draw_query(rng, [*sides[0], *sides[1]], cut=cut, out_of_order=5)

    def begun() -> SeamProcesses:
        return SeamProcesses(sides, lambda *both: streams(query, *both))

    straight = begun()
    counter = CrashAt()
    straight.run(seed=3, workers=2, batch_rows=1, every_s=0.012, hook=counter, retain=100)
    check(straight, query, sides, all_closed=False)
    crossed = [m for m in straight.manifests() if any(state.ended for state in m.sources.values())]
    assert 2 < len(crossed) < len(straight.manifests()) - 2
    for step in range(1, counter.steps + 1):
        processes = begun()
        with pytest.raises(Crash):
            processes.run(seed=3, workers=2, batch_rows=1, every_s=0.012, hook=CrashAt(step))
        processes.run(seed=step, workers=1 + step % 3, close_windows=True)
        check(processes, query, sides, all_closed=True)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_rows_at_the_seam(workers: int) -> None:
    """A window spans it; what is late is so by the watermark at which the history ended."""
    query = Query(cut=Cut("tumbling", 20, 20), out_of_order=5)
    # The history ends at 45 s in the partition that came furthest: its watermark is 40 s then.
    history = [events_at(1, 21, 30), events_at(45, 41)]
    live = [events_at(39, 19, 40, 44, 70), events_at(59)]
    processes = SeamProcesses((history, live), lambda *both: streams(query, *both))
    processes.run(workers=workers, batch_rows=1, every_s=0.02)
    check(processes, query, (history, live), all_closed=False)
    late = {(us_of(row["at"]) // SECOND % 60, row["partition"]) for row in processes.table("late")}
    assert late == {(39, "memory-0"), (19, "memory-0")}
    counts = {us_of(row["window_start"]) // SECOND % 60: row for row in processes.table()}
    assert {start: row["rows"] for start, row in counts.items()} == {0: 1, 20: 2}
    processes.run(workers=workers, close_windows=True)
    counts = {us_of(row["window_start"]) // SECOND % 60: row for row in processes.table()}
    assert counts[40]["rows"] == 5  # two of the history, three live


@pytest.mark.parametrize(("of_history", "of_live"), [(20, 5), (5, 20)])
def test_another_disorder(of_history: int, of_live: int) -> None:
    """The watermark goes on where it stood, whatever the disorder of the two is."""

    def build(history: fz.Stream, live: fz.Stream) -> dict[str, fz.Stream]:
        both = fz.concat(
            history.event_time("at", out_of_order=f"{of_history}s"),
            live.event_time("at", out_of_order=f"{of_live}s"),
        )
        windows = both.group_by().window(fz.tumbling("1s")).agg(rows=fz.count())
        return {"results": windows, "late": windows.late}

    stood = 100 - of_history
    # As late as may be, then late; then by the live rows' own disorder.
    live = events_at(stood, stood - 1, 130, 130 - of_live, 129 - of_live)
    for workers in (1, 2):
        processes = SeamProcesses(([events_at(100)], [live]), build)
        processes.run(workers=workers, batch_rows=1)
        assert [row["id"] for row in processes.table("late")] == [1, 4]


def test_history_is_read_once() -> None:
    """It may grow or go: once it is read to its end nobody looks at it."""
    query = Query(cut=Cut("tumbling", 20, 20), out_of_order=5)
    sides = ([events_at(1, 21)], [events_at(30, 50, 70)])
    processes = SeamProcesses(sides, lambda *both: streams(query, *both))
    processes.run()
    processes.sides = {"history": [events_at(1, 21, 90), events_at(95)], "live": sides[1]}
    processes.run(close_windows=True, workers=2)
    check(processes, query, sides, all_closed=True)


def test_a_history_of_several() -> None:
    """Of a union, and of a concat: each is read when those before it have been."""
    second = fz.tumbling("10s")

    def build(history: fz.Stream, live: fz.Stream) -> dict[str, fz.Stream]:
        old, older, oldest = (
            fz.read_memory(
                [{**event, "id": event["id"] + 10 * n} for event in events_at(*seconds)],
                schema=history.schema,
                name=name,
            ).event_time("at", out_of_order="0s")
            for n, (name, seconds) in enumerate(
                {"old": (30, 35), "older": (20, 25, 15), "oldest": (0, 10, 5)}.items()
            )
        )
        timed = [each.event_time("at", out_of_order="0s") for each in (history, live)]
        before = fz.concat(oldest, older.union(timed[0]))
        whole = fz.concat(fz.concat(before, old), timed[1])
        windows = whole.group_by().window(second).agg(rows=fz.count())
        return {"results": windows, "late": windows.late}

    class Several(SeamProcesses):
        def partitions_of(self, source: str) -> list[list[Event]]:
            if source in self.sides:
                return [list(events) for events in self.sides[source]]
            seconds = {"old": (30, 35), "older": (20, 25, 15), "oldest": (0, 10, 5)}[source]
            return [events_at(*seconds)]

    for seed in range(6):
        processes = Several(([events_at(12, 22)], [events_at(29, 40, 60)]), build)
        processes.run(seed=seed, workers=1 + seed % 3, batch_rows=1, every_s=0.02)
        # 5 s: behind 10 s of its own; 15 s: behind 25 s; 29 s: behind 35 s of the last history.
        late = sorted(us_of(row["at"]) // SECOND % 60 for row in processes.table("late"))
        assert late == [5, 15, 29]
        rows = {us_of(r["window_start"]) // SECOND % 60: r["rows"] for r in processes.table()}
        assert rows == {0: 1, 10: 2, 20: 3, 30: 2, 40: 1}


@pytest.mark.parametrize("sides", [([[]], [events_at(1, 30)]), ([events_at(1, 30)], [[]])])
def test_one_of_them_is_empty(sides: Sides) -> None:
    query = Query(cut=Cut("tumbling", 20, 20), out_of_order=5)
    for workers in (1, 2):
        processes = SeamProcesses(sides, lambda *both: streams(query, *both))
        processes.run(workers=workers)
        check(processes, query, sides, all_closed=False)
        processes.run(workers=workers, close_windows=True)
        check(processes, query, sides, all_closed=True)


def test_a_history_before_what_was_read() -> None:
    """Its rows would come into windows that are closed."""
    query = Query(cut=Cut("tumbling", 20, 20), out_of_order=5)

    def alone(_: fz.Stream, live: fz.Stream) -> dict[str, fz.Stream]:
        windows = query.windows(query.timed(live)).named("w")
        return {"results": windows, "late": windows.late}

    def together(history: fz.Stream, live: fz.Stream) -> dict[str, fz.Stream]:
        windows = query.windows(fz.concat(query.timed(history), query.timed(live))).named("w")
        return {"results": windows, "late": windows.late}

    sides = ([events_at(1, 21)], [events_at(30, 50, 70)])
    processes = SeamProcesses(sides, alone)
    processes.run()
    changed = SeamProcesses(sides, together)
    changed.store = processes.store
    with pytest.raises(PlanChanged, match="live has been read already"):
        changed.run()


def test_what_is_kept_is_what_a_union_keeps() -> None:
    """Steps in event-time order go over the seam too."""

    def build(history: fz.Stream, live: fz.Stream) -> dict[str, fz.Stream]:
        timed = [each.event_time("at", out_of_order="5s") for each in (history, live)]
        both = fz.concat(*timed)
        return {"results": both.group_by("user").running(total=col("n").sum())}

    sides = ([events_at(1, 9, 5), events_at(2)], [events_at(10, 30, 26)])
    found = []
    for workers in (1, 2):
        processes = SeamProcesses(sides, build)
        processes.run(workers=workers, batch_rows=1, close_windows=True)
        found.append([row["total"] for row in processes.table()])
    assert sorted(found[0]) == sorted(found[1]) == [0, 0, 2, 3, 3, 5, 6]


def test_two_that_wait_for_each_other() -> None:
    timed = [
        fz.read_memory(events_at(1), name=name).event_time("at", out_of_order="5s")
        for name in ("a", "b")
    ]
    sinks = [
        fz.concat(*pair).write_memory(name=name)
        for name, pair in (("ab", timed), ("ba", timed[::-1]))
    ]
    with pytest.raises(PlanError, match="before itself"):
        fz.Pipeline("both", *sinks).run(until="now", quiet=True)
