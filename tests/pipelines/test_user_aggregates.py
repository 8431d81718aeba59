"""Aggregates of Python classes give what built-in ones give, in any window, order and crash."""

from __future__ import annotations

import os
from random import Random

import frazil as fz
import pytest
from frazil import col

from tests.pipelines.crashes import check_answer, check_crashes, check_every_crash
from tests.pipelines.events import Event, counted
from tests.pipelines.ordered import draw_apart
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))


class Sum:
    def create(self) -> int:
        return 0

    def add(self, state: int, n: int) -> int:
        return state + n

    def merge(self, state: int, other: int) -> int:
        return state + other

    def finish(self, state: int) -> int:
        return state


class Range:
    def create(self) -> list[float]:
        return []

    def add(self, state: list[float], x: float) -> list[float]:
        return self.merge(state, [x])

    def merge(self, state: list[float], other: list[float]) -> list[float]:
        return [min(state + other), max(state + other)]

    def finish(self, state: list[float]) -> float | None:
        return state[1] - state[0] if state else None


class Names(fz.Schema):
    counts: dict[str, int]
    nulls: int


class Kinds:
    """How many values there are, and nulls; a dict in a struct, changed in place."""

    def create(self) -> Names:
        return {"counts": {}, "nulls": 0}  # type: ignore[return-value]

    def add(self, state: dict, user: str | None, n: int | None) -> dict:  # type: ignore[type-arg]
        if user is None:
            state["nulls"] += 1
        else:
            state["counts"][user] = state["counts"].get(user, 0) + 1
        return state

    def merge(self, state: dict, other: dict) -> dict:  # type: ignore[type-arg]
        for user, count in other["counts"].items():
            state["counts"][user] = state["counts"].get(user, 0) + count
        state["nulls"] += other["nulls"]
        return state

    def finish(self, state: dict) -> str:  # type: ignore[type-arg]
        return f"{len(state['counts'])}/{sum(state['counts'].values())}/{state['nulls']}"


my_sum, spread, kinds = fz.aggregate(Sum), fz.aggregate(Range), fz.aggregate(Kinds)

WINDOWS = {
    "tumbling": fz.tumbling("7s"),
    "hopping": fz.hopping("12s", every="4s"),
    "cumulating": fz.cumulating("12s", every="4s"),
    "session": fz.session(gap="4s"),
}


class Both:
    """Built-in aggregates beside those of classes, in every row."""

    def __init__(self, rng: Random) -> None:
        self.out_of_order = rng.choice([0, 5, 20])
        self.keys = rng.choice([("n",), ()])
        self.seen: dict[bool, object] = {}

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order=f"{self.out_of_order}s")
        asked = {
            "total": fz.coalesce(col("n").sum(), 0),
            "mine": my_sum(col("n")),
            "few": my_sum(col("n")).filter(col("x") > 1),
            "few_total": fz.coalesce(col("n").sum().filter(col("x") > 1), 0),
            "least": col("x").min(),
            "most": col("x").max(),
            "spread": spread(col("x")),
            "kinds": kinds(col("user"), col("n")),
            "users": col("user").count_distinct(),
            "named": col("user").count(),
            "rows": fz.count(),
        }
        grouped = timed.group_by(*self.keys)
        made = {name: grouped.window(window).agg(asked) for name, window in WINDOWS.items()}
        made["for_ever"] = grouped.agg(asked)
        made["early"] = grouped.window(WINDOWS["tumbling"], early="2s").agg(asked)
        return {**made, "bad": events.rejected}

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        found = {name: processes.table(name) for name in (*WINDOWS, "for_ever", "early")}
        for name, rows in found.items():
            for row in rows:
                assert row["mine"] == row["total"], (name, row)
                assert row["few"] == row["few_total"], (name, row)
                whole = None if row["most"] is None else row["most"] - row["least"]
                assert row["spread"] == whole, (name, row)
                nulls = row["rows"] - row["named"]
                assert row["kinds"] == f"{row['users']}/{row['named']}/{nulls}", (name, row)
        # As often as in a run that nothing disturbs.
        undisturbed = Processes(partitions, self.streams)
        undisturbed.run(close_windows=ended)
        for name, rows in found.items():
            if ended or name != "early":  # what is given before is what the watermark has passed
                assert counted(rows) == undisturbed.rows(name), name


@pytest.mark.parametrize("seed", SEEDS)
def test_as_built_in(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_apart(rng)
    check_answer(Both(rng), partitions, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_apart(rng)
    check_crashes(Both(rng), partitions, rng)


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=12, whole=True)
    both = Both(Random(1))
    both.keys, both.out_of_order = ("n",), 5
    check_every_crash(both, partitions, given=["for_ever"])


def test_totals_up_to_each_row() -> None:
    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s").group_by("user")
        running = timed.running(mine=my_sum(col("n")), total=fz.coalesce(col("n").sum(), 0))
        return {"results": running, "bad": events.rejected}

    processes = Processes(draw_apart(Random(3)), streams)
    processes.run(workers=2, batch_rows=3, close_windows=True)
    rows = processes.table()
    assert rows
    assert all(row["mine"] == row["total"] for row in rows)
