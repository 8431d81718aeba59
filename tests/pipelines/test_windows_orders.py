"""Whoever does the work, in any order, cut off anywhere: the same rows, to the last bit."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from datetime import timedelta
from random import Random

import frazil as fz
import pytest
from frazil import col
from frazil.errors import PlanError

from tests.pipelines.events import (
    BEGIN,
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
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more orders.
SEEDS = int(os.environ.get("FRAZIL_SEEDS", "12"))

ALL = (
    "rows",
    "total",
    "share",
    "least",
    "average",
    "kinds",
    "some",
    "name",
    "first",
    "last",
    "last_id",
)


def rough(rng: Random, partitions: list[list[Event]]) -> list[list[Event]]:
    """Doubles whose plain sums depend on the order."""
    return [
        [
            {**event, "x": round(math.exp(3 + rng.gauss(0, 1)), 2) * rng.choice([1, -1, 1e6, 1e-6])}
            for event in events
        ]
        for events in partitions
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_and_crashes(seed: int) -> None:
    """Five processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = rough(rng, draw_partitions(rng))
    query = draw_query(rng, partitions, cut=CUTS[seed % len(CUTS)], aggregates=ALL)
    straight = Processes(partitions, query.streams)
    straight.run(close_windows=True)
    processes = Processes(partitions, query.streams)
    crashes = 0
    for step in (6, *rng.sample(range(3, 40), 4)):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            crashes += 1
    processes.run_drawn(rng, close_windows=True)
    for name in ("results", "late", "bad"):
        assert processes.rows(name) == straight.rows(name), query
    assert crashes > 0


@pytest.mark.parametrize("cut", [CUTS[0], CUTS[2], CUTS[5], CUTS[7]], ids=lambda cut: cut.kind)
def test_crashed_at_every_step(cut: Cut) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    rng = Random(5)
    partitions = rough(rng, draw_partitions(rng, most=2, rows=20, whole=True))
    query = draw_query(rng, partitions, cut=cut, aggregates=ALL)
    straight = Processes(partitions, query.streams)
    counter = CrashAt()
    straight.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=counter)
    straight.run(close_windows=True)
    assert counter.steps > 30
    for step in range(1, counter.steps + 1):
        processes = Processes(partitions, query.streams)
        with pytest.raises(Crash):
            processes.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=CrashAt(step))
        processes.run(seed=step, workers=1 + step % 3, close_windows=True)
        assert processes.rows("results") == straight.rows("results"), step
        assert processes.rows("late") == straight.rows("late"), step


def test_crashed_when_all_is_closed() -> None:
    """What the last manifest has comes into its tables, though the pipeline is not run again."""
    query = Query(cut=CUTS[0], out_of_order=5)
    straight = Processes([events_at(1, 30, 50)], query.streams)
    counter = CrashAt()
    straight.run(close_windows=True, hook=counter)
    refused = 0
    for step in range(1, counter.steps + 1):
        processes = Processes([events_at(1, 30, 50)], query.streams)
        with pytest.raises(Crash):
            processes.run(close_windows=True, hook=CrashAt(step))
        if processes.manifests()[-1:] and processes.manifests()[-1].closed:
            refused += 1
            with pytest.raises(PlanError, match="close_windows"):
                processes.run(close_windows=True)
        else:
            processes.run(close_windows=True)
        assert processes.rows("results") == straight.rows("results"), step
    assert refused > 2


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut.kind}-{cut.size}-{cut.every}")
@pytest.mark.parametrize("stalled", [[], [0], [0, 100]], ids=["empty", "begun", "stopped"])
def test_one_partition_stands_still(cut: Cut, stalled: list[int]) -> None:
    """It holds windows open while others go on; what is late there is late all the same."""
    rng = Random(1)
    partitions = [*draw_partitions(rng, most=3, rows=60), events_at(*stalled)]
    query = Query(cut=cut, out_of_order=5, aggregates=("rows", "total"))
    expected = query.oracle(partitions)
    for workers in (1, 2, 4):
        processes = Processes(partitions, query.streams)
        processes.run(workers=workers, seed=workers, batch_rows=3, every_s=0.02)
        assert processes.rows("results") == counted(expected.results(all_closed=False))
        assert processes.rows("late") == counted(expected.late)
        processes.run(workers=3 - workers // 2, close_windows=True)
        assert processes.rows("results") == counted(expected.results(all_closed=True))
    closed = expected.results(all_closed=False)
    assert bool(closed) == (stalled == [0, 100])
    assert expected.late


def test_rows_at_the_bounds() -> None:
    """At the row watermark, at the end of a window, a microsecond before it."""
    query = Query(cut=Cut("tumbling", 20, 20), out_of_order=5)
    rows = events_at(0, 25, 20, 19, 40, 45, 39, 20)
    rows[1]["at"] -= timedelta(microseconds=1)  # the watermark is a microsecond before 20
    processes = Processes([rows], query.streams)
    processes.run(batch_rows=1)
    expected = query.oracle([rows])
    assert processes.rows("results") == counted(expected.results(all_closed=False))
    assert processes.rows("late") == counted(expected.late)
    # 19 s: the watermark, 19.999999, is before the end. 39 and 20 s: it is 40 s, the end.
    assert [row["id"] for row in expected.late] == [6, 7]
    found = {us_of(row["window_start"]) - us_of(BEGIN): row["rows"] for row in processes.table()}
    assert found == {0: 2, 20 * SECOND: 2}


def test_rows_at_the_bounds_of_sessions() -> None:
    """At the gap's end and a microsecond behind it, and at the row watermark, less the lateness."""
    query = Query(cut=Cut("session", 10, 0), out_of_order=5, lateness=2, keys=())
    rows = events_at(0, 10, 20, 40, 33, 32, 37)
    rows[2]["at"] += timedelta(microseconds=1)
    # Row 3 brings the watermark to 35 s: 33 s is as late as may be, 32 s is later.
    expected = query.oracle([rows])
    assert [row["id"] for row in expected.late] == [5]
    begin = {us_of(row["window_start"]) - us_of(BEGIN): row for row in expected.rows}
    assert {us: row["rows"] for us, row in begin.items()} == {
        0: 2,
        20 * SECOND + 1: 1,
        33 * SECOND: 3,
    }
    assert [row["closed"] for row in begin.values()].count(True) == 2
    # The session of 20.000001 s is over at 30.000001 s: closed at a watermark behind 32.000001 s.
    for last, closed in ((37, 1), (38, 2)):
        events = [*rows[:3], *events_at(last)]
        processes = Processes([events], query.streams)
        processes.run(batch_rows=1)
        assert len(processes.table()) == closed, last


@pytest.mark.parametrize("seed", range(4))
def test_windows_and_sessions_of_sessions(seed: int) -> None:
    """Sessions have event time of their own: none is late for what is computed of them."""
    rng = Random(seed)
    partitions = draw_partitions(rng, rows=60, whole=True)

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="20s")
        visits = timed.group_by("user").window(fz.session(gap="3s")).agg(rows=fz.count())
        total = col("rows").sum()
        return {
            "visits": visits,
            "minutes": visits.group_by().window(fz.tumbling("20s")).agg(rows=total),
            "stays": visits.group_by("user").window(fz.session(gap="9s")).agg(rows=total),
        }

    processes = Processes(partitions, streams)
    for _ in range(3):
        try:
            processes.run_drawn(rng, hook=CrashAt(rng.randrange(3, 40)), every_s=0.01)
        except Crash:
            continue
    processes.run_drawn(rng, close_windows=True)
    visits = processes.table("visits")
    minutes: Counter[int] = Counter()
    for row in visits:
        minutes[us_of(row["window_end"]) // (20 * SECOND) * 20 * SECOND] += row["rows"]
    found = {us_of(row["window_start"]): row["rows"] for row in processes.table("minutes")}
    assert found == minutes
    stays = []
    for row in sorted(visits, key=lambda row: (str(row["user"]), us_of(row["window_end"]))):
        user, end = row["user"], us_of(row["window_end"])
        if stays and stays[-1][0] == user and end <= stays[-1][2]:
            stays[-1][2:] = [end + 9 * SECOND, stays[-1][3] + row["rows"]]
        else:
            stays.append([user, end, end + 9 * SECOND, row["rows"]])
    assert Counter(map(str, stays)) == Counter(
        str([row["user"], us_of(row["window_start"]), us_of(row["window_end"]), row["rows"]])
        for row in processes.table("stays")
    )
    assert len(stays) > 2


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_late_for_some_windows_while_another_lags(seed: int, workers: int) -> None:
    """A row is in the later ones of its windows, though the first are still open for others."""
    query = Query(cut=Cut("hopping", 40, 10), out_of_order=0, keys=())
    ahead, behind = events_at(5, 34, 5, 90), events_at(1, 2, 3, 4, 6, 7, 8, 9, 34, 90)
    processes = Processes([ahead, behind], query.streams)
    processes.run(seed=seed, workers=workers, batch_rows=2)
    expected = query.oracle([ahead, behind])
    assert processes.rows("results") == counted(expected.results(all_closed=False))
    assert processes.rows("late") == counted(expected.late)
    # Row 2 of `ahead` is late for the windows that end at 10, 20 and 30 s, and in that to 40 s.
    assert len([row for row in expected.late if row["partition"] == "memory-0"]) == 3


@pytest.mark.parametrize("seed", range(4))
def test_filter_before_and_behind_event_time(seed: int) -> None:
    """Rows that are left out behind event_time have moved it."""
    rng = Random(seed)
    partitions = draw_partitions(rng, rows=80, whole=True)
    found = {}
    for where in ("before", "after"):
        query = Query(cut=CUTS[2], out_of_order=5, filter=where)
        processes = Processes(partitions, query.streams)
        processes.run_drawn(rng)
        expected = query.oracle(partitions)
        assert processes.rows("results") == counted(expected.results(all_closed=False))
        found[where] = processes.rows("late")
        assert found[where] == counted(expected.late)
    assert found["before"] != found["after"]


@pytest.mark.parametrize("seed", range(6))
def test_minutes_into_hours(seed: int) -> None:
    """A window of windows gives what the large window gives directly, of the rows it has."""
    rng = Random(seed)
    partitions = rough(rng, draw_partitions(rng, rows=80, whole=True))
    on_time = [sorted(events, key=lambda event: us_of(event["at"])) for events in partitions]

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s")
        small = timed.group_by("user").window(fz.tumbling("10s"))
        minutes = small.agg(
            rows=fz.count(),
            total=col("n").sum(),
            most=col("n").max(),
            last=col("n").last(),
            share=col("x").sum(),
        )
        large = minutes.group_by("user").window(fz.tumbling("60s"))
        hours = large.agg(
            rows=col("rows").sum(),
            total=col("total").sum(),
            most=col("most").max(),
            last=col("last").last(),
        )
        direct = timed.group_by("user").window(fz.tumbling("60s"))
        return {
            "minutes": minutes,
            "hours": hours,
            "direct": direct.agg(
                rows=fz.count(),
                total=col("n").sum(),
                most=col("n").max(),
                last=col("n").last(),
            ),
        }

    straight = Processes(on_time, streams)
    straight.run(close_windows=True)
    processes = Processes(on_time, streams)
    for _ in range(4):
        try:
            processes.run_drawn(rng, hook=CrashAt(rng.randrange(3, 40)), every_s=0.01)
        except Crash:
            continue
        assert not processes.rows("hours") - processes.rows("direct")
    processes.run_drawn(rng, close_windows=True)
    apart = len({e["at"] for p in on_time for e in p}) == sum(map(len, on_time))
    for name in ("minutes", "hours", "direct"):
        assert processes.rows(name) == straight.rows(name)
    if apart:
        assert processes.rows("hours") == processes.rows("direct")
    assert processes.rows("hours").total() > 2


@pytest.mark.parametrize(("seed", "workers"), [(None, 2), (1, 1), (2, 2), (3, 4)])
def test_more_keys_than_a_channel_takes(seed: int | None, workers: int) -> None:
    """Windows are given out in pieces, with barriers and deaths between them."""
    count, long = 24_000, "x" * 200
    rng = Random(str(seed))
    partitions: list[list[Event]] = []
    for first in (0, count // 2):
        names = [f"{long}{n}" for n in range(first, first + count // 2)]
        partitions.append(
            [
                {"id": n, "at": BEGIN + timedelta(seconds=n * 12 // count), "user": name, "n": 1}
                for n, name in enumerate(rng.sample(names, len(names)))
            ]
        )
    for partition in partitions:
        end = {"id": count, "at": BEGIN + timedelta(seconds=300), "user": "end", "n": 1}
        partition.append(end)

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="0s").group_by("user")
        small = timed.window(fz.hopping("4s", every="2s")).agg(rows=fz.count())
        large = small.group_by("user").window(fz.tumbling("60s"))
        return {"results": large.agg(windows=fz.count(), rows=col("rows").sum())}

    processes = Processes(partitions, streams)
    for _ in range(3):
        with contextlib.suppress(Crash):
            hook = CrashAt(rng.randrange(4, 30))
            processes.run(seed=seed, workers=workers, batch_rows=4_000, every_s=0.02, hook=hook)
    processes.run(seed=seed, workers=workers, batch_rows=4_000, every_s=0.02)
    rows = processes.table()
    assert len({row["user"] for row in rows}) == len(rows) == count
    assert all(row["windows"] == row["rows"] == 2 for row in rows)


@pytest.mark.parametrize("seed", range(6))
def test_union_of_streams_with_times_of_their_own(seed: int) -> None:
    """Each judges its rows by its own out_of_order; a window waits for both."""
    rng, cut = Random(seed), CUTS[seed]
    partitions = draw_partitions(rng, whole=True)

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        even = events.filter(col("id") % 2 == 0).event_time("at", out_of_order="0s")
        odd = events.filter(col("id") % 2 == 1).event_time("at", out_of_order="20s")
        windows = even.union(odd).group_by("user").window(cut.window)
        results = windows.agg(rows=fz.count(), total=col("n").sum(), last=col("id").last())
        return {"results": results, "late": results.late}

    straight, processes = Processes(partitions, streams), Processes(partitions, streams)
    straight.run(close_windows=True)
    for step in rng.sample(range(3, 40), 3):
        with contextlib.suppress(Crash):
            processes.run_drawn(rng, hook=CrashAt(step), every_s=0.01, batch_rows=1)
    processes.run_drawn(rng, close_windows=True)
    for name in ("results", "late"):
        assert processes.rows(name) == straight.rows(name)
    late: list[Event] = []
    for rest, out_of_order in ((0, 0), (1, 20)):
        half = [
            [{**event, "place": n} for n, event in enumerate(events) if event["id"] % 2 == rest]
            for events in partitions
        ]
        late += Query(cut=cut, out_of_order=out_of_order).oracle(half).late
    assert straight.rows("late") == counted(late)
