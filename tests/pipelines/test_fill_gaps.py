"""Windows without gaps: DuckDB's windows, filled in Python; in any order, crashed anywhere."""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import frazil as fz
import pytest
from frazil import col
from frazil.errors import PlanChanged

from tests.pipelines.events import (
    CUTS,
    SECOND,
    Cut,
    Event,
    counted,
    draw_partitions,
    draw_query,
    events_at,
    us_of,
)
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))

DOUBLES = {"share", "average", "part", "last"}
NO_NUMBERS = {"latest", "name"}


class Filled:
    """A pipeline whose windows are filled."""

    def __init__(self, rng: Random, partitions: list[list[Event]]) -> None:
        cut = rng.choice([cut for cut in CUTS if cut.kind != "session"])
        self.query = draw_query(rng, partitions, cut=cut, filter="none")
        self.most = rng.choice([1, 2, 5, 30])
        self.how = {
            name: rng.choice(["null", "previous", *["zero"] * (name not in NO_NUMBERS)])
            for name in self.query.aggregates
        }

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        windows = self.query.stream(events)
        fills: Any = self.how
        filled = windows.fill_gaps(most=self.most, columns=fills)
        return {"results": filled, "late": windows.late, "bad": events.rejected}

    def expected(self, partitions: list[list[Event]], *, ended: bool) -> list[Event]:
        """The windows that DuckDB gives, and rows between and behind those of each key."""
        oracle = self.query.oracle(partitions)
        times = [[us_of(e["at"]) for e in events if e["at"] is not None] for events in partitions]
        behind = (self.query.out_of_order + self.query.lateness) * SECOND
        known = all(times)
        w = 2**62 if ended else min(map(max, times)) - behind if known else -(2**62)
        rows = oracle.results(all_closed=ended)
        by_key: dict[tuple[object, ...], list[Event]] = defaultdict(list)
        for row in rows:
            by_key[tuple(row[key] for key in self.query.keys)].append(row)
        for own in by_key.values():
            own.sort(key=lambda row: row["window_end"])
            for row, following in zip(own, [*own[1:], None], strict=True):
                end = us_of(row["window_end"])
                for _ in range(self.most):
                    end += self.query.cut.every * SECOND
                    if end > w or (following and end >= us_of(following["window_end"])):
                        break
                    rows.append(self._made_up(row, end))
        return rows

    def _made_up(self, row: Event, end: int) -> Event:
        values = {
            "previous": row,
            "null": dict.fromkeys(row),
            "zero": {name: 0.0 if name in DOUBLES else 0 for name in row},
        }
        return {
            **row,
            "window_start": _at(_start(self.query.cut, end)),
            "window_end": _at(end),
            **{name: values[how][name] for name, how in self.how.items()},
        }

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        expected = self.expected(partitions, ended=ended)
        said = (self.query, self.how, self.most)
        assert processes.rows("results") == counted(expected), said
        assert processes.rows("late") == counted(self.query.oracle(partitions).late)


def _start(cut: Cut, end: int) -> int:
    if cut.kind != "cumulating":
        return end - cut.size * SECOND
    size, offset = cut.size * SECOND, cut.offset * SECOND
    return (end - 1 - offset) // size * size + offset


def _at(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


@pytest.mark.parametrize("seed", SEEDS)
def test_as_duckdb_filled(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_partitions(rng)
    filled = Filled(rng, partitions)
    processes = Processes(partitions, filled.streams)
    processes.run_drawn(rng)
    filled.check(processes, partitions)
    if rng.random() < 0.5:  # another run without new rows makes up none
        processes.run_drawn(rng)
        filled.check(processes, partitions)
    processes.run_drawn(rng, close_windows=True)
    filled.check(processes, partitions, ended=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_partitions(rng)
    filled = Filled(rng, partitions)
    processes = Processes(partitions, filled.streams)
    crashes = 0
    for step in (6, *rng.sample(range(3, 40), 4)):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            crashes += 1
    if rng.random() < 0.5:
        processes.run_drawn(rng)
        filled.check(processes, partitions)
    processes.run_drawn(rng, close_windows=True)
    filled.check(processes, partitions, ended=True)
    assert crashes > 0


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_partitions(Random(5), most=2, rows=20, whole=True)
    filled = Filled(Random(1), partitions)
    fixed = {"cut": Cut("tumbling", 20, 20), "keys": ("user",), "aggregates": ["rows", "total"]}
    filled.query = draw_query(Random(1), partitions, out_of_order=5, filter="none", **fixed)
    filled.how, filled.most = {"rows": "zero", "total": "previous"}, 3
    counter = CrashAt()
    whole = Processes(partitions, filled.streams)
    whole.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=counter)
    filled.check(whole, partitions)
    assert any(row["rows"] == 0 for row in whole.table())
    for step in range(1, counter.steps + 1):
        processes = Processes(partitions, filled.streams)
        with pytest.raises(Crash):
            processes.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=CrashAt(step))
        processes.run(seed=step, workers=1 + step % 3)
        filled.check(processes, partitions)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-27", 23), ("2026-10-23", 25)])
def test_days_of_a_zone(day: str, hours: int) -> None:
    """Those on which the clocks change have so many hours; without keys, and filled by null."""
    first = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    events = events_at(0, 1)
    events[0]["at"], events[1]["at"] = first, first + timedelta(days=5)

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="0s").group_by()
        days = timed.window(fz.tumbling("1 day", zone="Europe/Berlin")).agg(n=fz.count())
        return {"results": days.fill_gaps(most=30)}

    processes = Processes([events], streams)
    processes.run()
    rows = sorted(processes.table(), key=lambda row: row["window_end"])
    assert [row["n"] for row in rows] == [1, None, None, None, None]
    lengths = [(row["window_end"] - row["window_start"]) // timedelta(hours=1) for row in rows]
    assert lengths == [24, 24, hours, 24, 24]
    ends = [row["window_end"] for row in rows]
    assert [row["window_start"] for row in rows[1:]] == ends[:-1]


def test_what_follows() -> None:
    """It is windowed, joined per window, and filters before it make gaps."""

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="0s").group_by("user")
        minutes = timed.window(fz.tumbling("1m")).agg(n=fz.count(), twice=2 * fz.count())
        filled = minutes.filter(col("n") > 1).fill_gaps("zero", most=5).named("filled")
        hours = filled.group_by().window(fz.tumbling("1h")).agg(n=col("n").sum(), rows=fz.count())
        joined = minutes.join(filled, on="user", suffix="_filled")
        best = filled.group_by().top_n(1, by="n")
        return {"filled": filled, "hours": hours, "joined": joined, "best": best}

    processes = Processes([events_at(0, 1, 70, 130, 131, 250)], streams)
    processes.run()
    rows = [
        (row["window_start"].minute, row["n"], row["twice"]) for row in processes.table("filled")
    ]
    assert sorted(rows) == [(0, 2, 4), (1, 0, 0), (2, 2, 4), (3, 0, 0)]
    processes.run(close_windows=True)
    assert [(row["n"], row["rows"]) for row in processes.table("hours")] == [(4, 8)]
    assert len(processes.table("joined")) == 4
    assert len(processes.table("best")) == 8


def test_other_program_on_the_state() -> None:
    def program(most: int = 10, how: Any = "previous") -> Processes:
        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s").group_by("user")
            minutes = timed.window(fz.tumbling("1m")).agg(n=fz.count())
            return {"results": minutes.fill_gaps(how, most=most).named("r")}

        return Processes([events_at(1, 30, 200)], streams)

    processes = program()
    processes.run()
    for other, said in (
        (program(most=11), "most: was 10, is now 11"),
        (program(how="zero"), "previous: was n: int64"),
    ):
        other.store = processes.store
        with pytest.raises(PlanChanged, match=said):
            other.run()
    processes.run(close_windows=True)
    assert sorted(row["n"] for row in processes.table()) == [1] * 11 + [2] * 3
