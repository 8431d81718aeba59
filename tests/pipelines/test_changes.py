"""Streams of changes: whatever the order and the crashes, they end where DuckDB says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from random import Random
from typing import Any

import frazil as fz
import pytest
from frazil import col
from frazil.errors import DataError, PlanChanged

from tests.pipelines.changes import fold
from tests.pipelines.events import Event, counted, events_at
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.ordered import Ordered, draw_apart
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))

SUMS = {
    "rows": (fz.count(), "count(*)"),
    "total": (col("n").sum(), "sum(n)::BIGINT"),
    "share": (col("x").sum(), "sum(x)"),
    "most": (col("n").max(), "max(n)"),
    "some": (fz.count().filter(col("n") > 2), "count(*) FILTER (WHERE n > 2)"),
}
# With memory of their own, or by the order of rows.
LISTS = {
    "kinds": (col("n").count_distinct(), "count(DISTINCT n)"),
    "ids": (col("id").collect_list(), "list(id ORDER BY us)"),
    "first": (col("id").first(), "first(id ORDER BY us)"),
}
WINDOWS = {
    "tumbling": fz.tumbling("10s"),
    "hopping": fz.hopping("20s", every="5s"),
    "cumulating": fz.cumulating("20s", every="5s"),
    "calendar": fz.tumbling("1 day", zone="Europe/Berlin"),
    "session": fz.session(gap="6s"),
}


class Totals:
    """Aggregates of all rows of a key, those of them that are large, and every change."""

    def __init__(self, rng: Random) -> None:
        self.keys = rng.choice([("user",), ("user", "n"), ()])
        self.asked = {**SUMS, **(LISTS if rng.random() < 0.5 else {})}
        self.least = rng.choice([1, 2, 5])

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s")
        aggregates = {name: asked[0] for name, asked in self.asked.items()}
        totals = timed.group_by(*self.keys).agg(aggregates)
        # Rows come in and fall out of it: some have values in a range only.
        large = totals.filter((col("rows") >= self.least) & (col("rows") < 3 * self.least))
        logs = {"log": totals.as_log(), "large log": large.as_log()}
        return {"totals": totals, "large": large, "bad": events.rejected, **logs}

    def check(self, processes: Processes, partitions: Sequence[Sequence[Event]]) -> None:
        oracle = Ordered(list(partitions), 5)
        keys = "".join(f'"{key}", ' for key in self.keys)
        values = ", ".join(f"{sql} AS {name}" for name, (_, sql) in self.asked.items())
        group = f"GROUP BY {keys[:-2]}" if keys else "HAVING count(*) > 0"
        expected = oracle.rows(f"SELECT {keys}{values} FROM marked {group}")
        assert counted(fold(processes.table("log"), self.keys)) == counted(expected)
        assert processes.rows("totals") == counted(expected), self.keys
        large = [row for row in expected if self.least <= row["rows"] < 3 * self.least]
        assert counted(fold(processes.table("large log"), self.keys)) == counted(large)
        assert processes.rows("large") == counted(large)


@pytest.mark.parametrize("seed", SEEDS)
def test_totals_as_duckdb(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_apart(rng)
    totals = Totals(rng)
    processes = Processes(partitions, totals.streams)
    processes.run_drawn(rng)
    totals.check(processes, partitions)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_apart(rng)
    totals = Totals(rng)
    processes = Processes(partitions, totals.streams)
    crashes = 0
    for step in (6, *rng.sample(range(3, 40), 4)):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            crashes += 1
    processes.run_drawn(rng)
    totals.check(processes, partitions)
    assert crashes > 0


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=20, whole=True)
    totals = Totals(Random(1))
    totals.keys, totals.asked = ("user",), {**SUMS, **LISTS}
    counter = CrashAt()
    whole = Processes(partitions, totals.streams)
    whole.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=counter)
    totals.check(whole, partitions)
    assert counter.steps > 30
    for step in range(1, counter.steps + 1):
        processes = Processes(partitions, totals.streams)
        with pytest.raises(Crash):
            processes.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=CrashAt(step))
        processes.run(seed=step, workers=1 + step % 3)
        totals.check(processes, partitions)


class Windows:
    """The results of windows as they change, and the same when they close."""

    def __init__(self, rng: Random) -> None:
        self.window = WINDOWS[rng.choice(list(WINDOWS))]
        self.session = self.window.kind == "session"
        ways = [{"emit": "on_change"}, {"early": "3s"}, {"early": "1m"}]
        self.how: dict[str, Any] = rng.choice(ways)
        self.lateness = rng.choice([None, "10s"])
        self.out_of_order = rng.choice(["0s", "5s", "20s"])
        self.keys = rng.choice([("user",), ()])
        self.asked = {**SUMS, **(LISTS if rng.random() < 0.5 else {})}

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order=self.out_of_order)
        groups = timed.group_by(*self.keys)
        aggregates = {name: asked[0] for name, asked in self.asked.items()}
        changing = groups.window(self.window, lateness=self.lateness, **self.how).agg(aggregates)
        closed = groups.window(self.window, lateness=self.lateness).agg(aggregates)
        return {
            "changing": changing,
            "log": changing.as_log(),
            "closed": closed,
            "late": changing.late,
            "late for closed": closed.late,
            "bad": events.rejected,
        }

    def check(self, processes: Processes) -> None:
        bounds = ["window_start"] if self.session else ["window_start", "window_end"]
        log = fold(processes.table("log"), [*self.keys, *bounds])
        assert processes.rows("changing") == counted(log) == processes.rows("closed")
        assert processes.rows("late") == processes.rows("late for closed")


@pytest.mark.parametrize("seed", SEEDS)
def test_windows_end_as_those_that_close(seed: int) -> None:
    rng = Random(seed)
    windows = Windows(rng)
    processes = Processes(draw_apart(rng), windows.streams)
    for step in rng.sample(range(3, 60), 3):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            continue
    processes.run_drawn(rng, close_windows=True)
    windows.check(processes)


def test_early_results_come_as_time_goes() -> None:
    """A window of a minute has a result each ten seconds in which it changed, and at its end."""

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="0s").group_by("user")
        early = timed.window(fz.tumbling("1m"), early="10s").agg(rows=fz.count())
        return {"log": early.as_log()}

    processes = Processes([events_at(1, 2, 3, 12, 13, 27, 58, 61, 75)], streams)
    processes.run(batch_rows=1)
    given = [(row["_kind"], row["rows"]) for row in processes.table("log")]
    assert given == [
        ("insert", 4),  # at 12
        ("update_before", 4),  # at 27
        ("update_after", 6),
        ("update_before", 6),  # at 58
        ("update_after", 7),
        ("insert", 1),  # of the next minute, at 61
        ("update_before", 1),  # at 75
        ("update_after", 2),
    ]


def test_results_that_stay_are_not_given() -> None:
    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        return {
            "log": events.group_by("user").agg(most=col("id").max(), all=col("n").max()).as_log()
        }

    events = [{**event, "id": 7, "n": None} for event in events_at(*range(9))]
    processes = Processes([events], streams)
    processes.run(batch_rows=2)
    assert [row["_kind"] for row in processes.table("log")] == ["insert"]


def test_overflow_names_the_key() -> None:
    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        return {"log": events.group_by("user").agg(total=col("n").sum()).as_log()}

    events = [{**event, "user": "ada", "n": 2**62} for event in events_at(1, 2, 3)]
    with pytest.raises(DataError, match="user=ada"):
        Processes([events], streams).run()


def test_other_program_on_the_state() -> None:
    def program(**options: Any) -> Processes:
        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            groups = events.event_time("at", out_of_order="5s").group_by("user")
            windows = groups.window(fz.tumbling("10s"), **{"emit": "on_change", **options})
            return {"results": windows.agg(rows=fz.count()).named("r")}

        return Processes([events_at(1, 30, 70)], streams)

    processes = program()
    processes.run()
    for changed, said in (
        ({"emit": "on_close", "early": "10s"}, "was tumbling 10s, on change, is now tumbling"),
        ({"lateness": "10s"}, "lateness: was 0ms, is now 10s"),
    ):
        other = program(**changed)
        other.store = processes.store
        with pytest.raises(PlanChanged, match=said):
            other.run()
    processes.run(close_windows=True)
    assert len(processes.table()) == 3
