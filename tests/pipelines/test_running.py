"""Totals up to each row are what DuckDB's window functions say, in any order, crashed anywhere."""

from __future__ import annotations

import os
from random import Random

import frazil as fz
import pytest
from frazil import col
from frazil.errors import PlanChanged

from tests.pipelines.crashes import check_answer, check_crashes, check_every_crash
from tests.pipelines.events import SECOND, Event, counted, events_at
from tests.pipelines.ordered import COLUMNS, Ordered, draw_apart
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))

SUMS = {
    "rows": (fz.count(), "count(*)"),
    "total": (col("n").sum(), "sum(n)::BIGINT"),
    "share": (col("x").sum(), "sum(x)"),
    "least": (col("n").min(), "min(n)"),
    "some": (fz.count().filter(col("n") > 2), "count(*) FILTER (WHERE n > 2)"),
}
# With memory of their own.
LISTS = {
    "ids": (col("id").collect_list(), "list(id)"),
    "name": (col("user").max(), 'max("user")'),
    "kinds": (col("n").count_distinct(), "count(DISTINCT n)"),
}


@fz.udf
def twice(n: int | None) -> int | None:
    return None if n is None else 2 * n


class Totals:
    """A pipeline of running totals."""

    def __init__(self, rng: Random, out_of_order: int) -> None:
        self.out_of_order = out_of_order
        self.ttl = rng.choice([None, None, 1, 4, 10])
        self.keys = rng.choice([("user",), ("user", "n"), ()])
        self.asked = {**SUMS, **(LISTS if rng.random() < 0.5 else {})}

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order=f"{self.out_of_order}s")
        ttl = None if self.ttl is None else f"{self.ttl}s"
        aggregates = {name: asked[0] for name, asked in self.asked.items()}
        totals = timed.group_by(*self.keys).running(aggregates, ttl=ttl)
        return {"totals": totals, "late": totals.late, "bad": events.rejected}

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        oracle = Ordered(partitions, self.out_of_order, ended=ended)
        keys = "".join(f'"{key}", ' for key in self.keys)
        by = f"PARTITION BY {keys[:-2]}" if keys else ""
        far = (
            "false"
            if self.ttl is None
            else f"us - lag(us) OVER ({by} ORDER BY us) > {self.ttl * SECOND}"
        )
        over = f"OVER (PARTITION BY {keys}life ORDER BY us)"
        values = ", ".join(
            f"({_windowed(sql, over)}) AS {name}" for name, (_, sql) in self.asked.items()
        )
        expected = oracle.rows(
            f"WITH begun AS (SELECT *, {far} AS far FROM accepted), lives AS (SELECT *, "
            f"sum(coalesce(far, true)::INT) OVER ({by} ORDER BY us) AS life FROM begun) "
            f"SELECT * FROM (SELECT {COLUMNS}, us, {values} FROM lives) WHERE us < w()"
        )
        for row in expected:
            del row["us"]
        assert processes.rows("totals") == counted(expected), (self.keys, self.ttl)
        assert processes.rows("late") == counted(oracle.late())


def _windowed(sql: str, over: str) -> str:
    """An aggregate as a window function."""
    function, cast, type_ = sql.partition("::")
    return f"({function} {over}){cast}{type_}"


@pytest.mark.parametrize("seed", SEEDS)
def test_as_duckdb(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_apart(rng)
    totals = Totals(rng, rng.choice([0, 5, 20]))
    check_answer(totals, partitions, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_apart(rng)
    totals = Totals(rng, rng.choice([0, 5, 20]))
    check_crashes(totals, partitions, rng)


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=20, whole=True)
    totals = Totals(Random(1), 5)
    totals.keys, totals.ttl, totals.asked = ("user",), 10, {**SUMS, **LISTS}
    check_every_crash(totals, partitions)


def test_rows_of_one_time() -> None:
    """They are taken in one order, whatever the interleaving: each total is there once."""
    partitions = [events_at(*[1] * 5), events_at(*[1] * 5, 2)]
    seen = set()
    for seed in range(8):

        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s")
            totals = timed.group_by("user").running(rows=fz.count(), last=col("x").last())
            return {"totals": totals}

        processes = Processes(partitions, streams)
        processes.run(seed=seed, workers=1 + seed % 3, batch_rows=1 + seed % 4, close_windows=True)
        rows = processes.table("totals")
        assert sorted(row["rows"] for row in rows) == list(range(1, 12))
        seen.add(str(sorted(processes.rows("totals"))))
    assert len(seen) == 1


def test_arithmetic_and_functions() -> None:
    """Aggregates may be part of an expression, and of what a Python function gives."""

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s").group_by("user")
        mean = col("n").sum() / fz.count()
        running = timed.running(mean=mean, most=twice(col("n")).max(), ttl="1h").named("r")
        return {"totals": running.select("n", "mean", "most"), "late": running.late}

    processes = Processes([events_at(1, 2, 3)], streams)
    processes.run(close_windows=True)
    assert [tuple(row.values()) for row in processes.table("totals")] == [
        (0, 0.0, 0),
        (1, 0.5, 2),
        (2, 1.0, 4),
    ]


def test_other_program_on_the_state() -> None:
    def program(**options: object) -> Processes:
        asked = {"ttl": "10s", "aggregates": {"rows": fz.count()}, **options}

        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s").group_by("user")
            running = timed.running(asked["aggregates"], ttl=asked["ttl"])  # type: ignore[arg-type]
            return {"results": running.named("r").select("id")}

        return Processes([events_at(1, 30, 70)], streams)

    processes = program()
    processes.run()
    for changed, said in (
        ({"ttl": None}, "ttl: was 10s, is now none"),
        ({"aggregates": {"rows": col("n").sum()}}, r"aggregates: was rows=count\(\): int64"),
    ):
        other = program(**changed)
        other.store = processes.store
        with pytest.raises(PlanChanged, match=said):
            other.run()
    processes.run(close_windows=True)
    assert len(processes.table()) == 3
