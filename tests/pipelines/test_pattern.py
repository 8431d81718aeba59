"""Patterns of rows: what a search behind each first row finds, in any order, crashed anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import frazil as fz
import pytest
from frazil import col
from frazil.errors import DataError, PlanChanged

from tests.pipelines.crashes import check_answer, check_crashes, check_every_crash
from tests.pipelines.events import SECOND, Event, counted, events_at
from tests.pipelines.ordered import COLUMNS, Ordered, draw_apart
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))


@dataclass(frozen=True)
class Is:
    """A predicate, as a program writes it and in Python; null is not true."""

    expr: fz.Expr
    true: Callable[[int], bool]

    def of(self, row: Event) -> bool:
        return row["n"] is not None and self.true(row["n"])


LOW = Is(col("n") < 0, lambda n: n < 0)
HIGH = Is(col("n") > 2, lambda n: n > 2)
SOME = Is(col("n") > 0, lambda n: n > 0)
ZERO = Is(col("n") == 0, lambda n: n == 0)
ONE = Is(col("n") == 1, lambda n: n == 1)

# Steps, each with what may not come behind it.
PATTERNS: list[list[tuple[Is, list[Is]]]] = [
    [(LOW, []), (HIGH, [])],
    [(LOW, [ZERO]), (HIGH, [])],
    [(LOW, [LOW]), (HIGH, [])],
    [(LOW, [HIGH])],
    [(SOME, [ZERO, LOW])],
    [(LOW, [ZERO]), (SOME, [ONE]), (HIGH, [])],
    [(SOME, []), (SOME, [ZERO]), (SOME, [])],
    [(LOW, []), (HIGH, [ZERO])],
    [(LOW, [SOME]), (ZERO, []), (HIGH, [LOW])],
]


class Sought:
    """A pipeline that looks for a pattern."""

    def __init__(self, rng: Random) -> None:
        self.out_of_order = rng.choice([0, 5, 20])
        self.within = rng.choice([1, 5, 20, 60])
        self.pattern = rng.choice(PATTERNS)
        self.keys = rng.choice([("user",), ("user",), ()])

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order=f"{self.out_of_order}s")
        steps: list[Any] = []
        for number, (is_step, withouts) in enumerate(self.pattern):
            steps.append(fz.step(f"s{number}", is_step.expr, columns=["id", "x"]))
            steps += [fz.without(each.expr) for each in withouts]
        found = timed.group_by(*self.keys).pattern(steps, within=f"{self.within}s")
        return {"found": found, "late": found.late, "bad": events.rejected}

    def expected(self, oracle: Ordered) -> list[Event]:
        """What a search behind each first row finds, if the watermark has come so far."""
        if oracle.w is None:
            return []
        rows = oracle.rows(f"SELECT {COLUMNS}, us FROM accepted ORDER BY us")
        found = []
        for place, first in enumerate(rows):
            if not self.pattern[0][0].of(first):
                continue
            behind = [
                row
                for row in rows[place + 1 :]
                if row["us"] <= first["us"] + self.within * SECOND
                and all(row[key] == first[key] for key in self.keys)
            ]
            match = self._behind(first, behind)
            if match is not None and match[1] < oracle.w:
                found.append(self._row(*match))
        return found

    def _behind(self, first: Event, rows: list[Event]) -> tuple[list[Event], int] | None:
        taken = [first]
        for row in rows:
            if len(taken) < len(self.pattern) and self.pattern[len(taken)][0].of(row):
                taken.append(row)
                if len(taken) == len(self.pattern) and not self.pattern[-1][1]:
                    return taken, row["us"]
            elif any(each.of(row) for each in self.pattern[len(taken) - 1][1]):
                return None
        absent = len(taken) == len(self.pattern)
        return (taken, first["us"] + self.within * SECOND) if absent else None

    def _row(self, taken: list[Event], end: int) -> Event:
        row = {key: taken[0][key] for key in self.keys}
        row["match_start"], row["match_end"] = taken[0]["at"], _at(end)
        for number, each in enumerate(taken):
            row |= {f"s{number}_id": each["id"], f"s{number}_x": each["x"]}
        return row

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        oracle = Ordered(partitions, self.out_of_order, ended=ended)
        said = (self.pattern, self.within, self.keys)
        assert processes.rows("found") == counted(self.expected(oracle)), said
        assert processes.rows("late") == counted(oracle.late())


def _at(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


@pytest.mark.parametrize("seed", SEEDS)
def test_as_a_search_behind_each_row(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_apart(rng)
    sought = Sought(rng)
    check_answer(sought, partitions, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_apart(rng)
    sought = Sought(rng)
    check_crashes(sought, partitions, rng)


@pytest.mark.parametrize(("number", "within"), [(1, 20), (3, 10)])
def test_crashed_at_every_step(number: int, within: int) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=20, whole=True)
    sought = Sought(Random(1))
    sought.pattern, sought.keys = PATTERNS[number], ("user",)
    sought.within, sought.out_of_order = within, 5
    check_every_crash(sought, partitions, given=["found"])


def test_rows_of_one_time() -> None:
    """They are taken in one order, whatever the interleaving."""
    partitions = [events_at(*[1] * 6), events_at(*[1] * 6, 2)]
    seen = set()
    for seed in range(8):

        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s").group_by("user")
            first = fz.step("a", col("id") % 2 == 0, columns=["id"])
            then = fz.step("b", col("id") % 3 == 0, columns=["id"])
            return {"found": timed.pattern([first, fz.without(col("id") == 5), then], within="5s")}

        processes = Processes(partitions, streams)
        processes.run(seed=seed, workers=1 + seed % 3, batch_rows=1 + seed % 4, close_windows=True)
        assert processes.table("found")
        seen.add(str(sorted(processes.rows("found"))))
    assert len(seen) == 1


def test_what_comes_out_has_event_time() -> None:
    """Windows behind it are by the end of the match; an absence is not given by an end of rows."""

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="0s").group_by("user")
        lost = timed.pattern(
            [fz.step("cart", col("n") % 2 == 0), fz.without(col("n") % 2 == 1)], within="20s"
        )
        windows = lost.group_by("user").window(fz.tumbling("1m")).agg(lost=fz.count())
        return {"lost": lost.select("match_end", "cart_n"), "windows": windows}

    # n is 0, 1, ... : the cart at 30 has nothing behind it, that at 100 has, that at 155 may have.
    processes = Processes([events_at(0, 10, 30, 90, 100, 110, 155, 170)[:7]], streams)
    processes.run()
    assert [row["cart_n"] for row in processes.table("lost")] == [2]
    processes.run(close_windows=True)
    assert sorted(row["cart_n"] for row in processes.table("lost")) == [2, 6]
    assert [(row["window_end"].minute, row["lost"]) for row in processes.table("windows")] == [
        (1, 1),
        (3, 1),
    ]


@fz.udf
def even(n: int | None) -> bool:
    return n is not None and n % 2 == 0


def test_functions_as_predicates() -> None:
    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s").group_by("user")
        first, then = fz.step("a", even(col("n"))), fz.step("b", ~even(col("n")))
        found = timed.pattern([first, then], within="1m").named("pairs")
        return {"found": found.select("a_n", "b_n"), "late": found.late}

    processes = Processes([events_at(1, 2, 3, 4)], streams)
    processes.run(close_windows=True)
    assert [(row["a_n"], row["b_n"]) for row in processes.table("found")] == [(0, 1), (2, 3)]


def test_nothing_but_when() -> None:
    """Neither keys nor columns of rows."""

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s").group_by()
        first, then = fz.step("a", col("n") == 0), fz.step("b", col("n") == 1)
        found = timed.pattern([first, then], within="1m")
        return {"found": found.select("match_start", "match_end")}

    processes = Processes([events_at(1, 30, 50)], streams)
    processes.run()
    processes.run(workers=2, close_windows=True)
    assert [row["match_end"].second for row in processes.table("found")] == [30]


def test_too_many_open_matches_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil.pattern.PATTERN_OPEN_MAX", 3)

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="0s").group_by("user")
        first, then = fz.step("a", col("n") >= 0), fz.step("b", col("n") < 0)
        return {"found": timed.pattern([first, then], within="1m")}

    with pytest.raises(DataError, match=r"more than 3 open matches of user ada, at .*\n.*without"):
        Processes([events_at(1, 2, 3, 4)], streams).run(close_windows=True)
    Processes([events_at(1, 2, 3)], streams).run(close_windows=True)


def test_other_program_on_the_state() -> None:
    def program(within: str = "1m", least: int = 0) -> Processes:
        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s").group_by("user")
            first, then = fz.step("a", col("n") == least), fz.step("b", col("n") > 1)
            found = timed.pattern([first, then], within=within)
            return {"results": found.named("r").select("a_id", "b_id")}

        return Processes([events_at(1, 30, 50)], streams)

    processes = program()
    processes.run()
    for other, said in (
        (program(within="2m"), "within: was 1m, is now 2m"),
        (program(least=1), r"steps: was a: "),
    ):
        other.store = processes.store
        with pytest.raises(PlanChanged, match=said):
            other.run()
    processes.run(close_windows=True)
    assert [(row["a_id"], row["b_id"]) for row in processes.table()] == [(0, 2)]
