"""No more than so many rows in a time: as DuckDB says, in any order, crashed anywhere."""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

import pytest
from frazil.errors import PlanChanged

from tests.pipelines.crashes import check_crashes, check_every_crash
from tests.pipelines.events import SECOND, Event, counted, events_at
from tests.pipelines.ordered import COLUMNS, Ordered, draw_apart
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    import frazil as fz

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))


class Limited:
    """A pipeline that keeps so many rows of a user in a time, and writes the others apart."""

    def __init__(self, rng: Random) -> None:
        self.out_of_order = rng.choice([0, 5, 20])
        self.limit, self.per = rng.choice([1, 2, 5]), rng.choice([1, 5, 20, 60])

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order=f"{self.out_of_order}s")
        kept = timed.group_by("user").rate_limit(self.limit, per=f"{self.per}s")
        return {
            "kept": kept,
            "limited": kept.limited,
            "late": kept.late,
            "bad": events.rejected,
        }

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        oracle = Ordered(partitions, self.out_of_order, ended=ended)
        near = f"list_filter(w.kept, t -> t > o.us - {self.per * SECOND})"
        oracle.run(
            'CREATE TABLE numbered AS SELECT *, row_number() OVER (PARTITION BY "user" ORDER BY us)'
            ' AS nth, dense_rank() OVER (ORDER BY "user") AS k FROM accepted'
        )
        oracle.run(
            "CREATE TABLE walked AS WITH RECURSIVE walk AS ("
            "SELECT *, [us] AS kept, true AS taken FROM numbered WHERE nth = 1 UNION ALL "
            f"SELECT o.*, CASE WHEN len({near}) < {self.limit} THEN list_append({near}, o.us) "
            f"ELSE {near} END, len({near}) < {self.limit} "
            "FROM walk w JOIN numbered o ON o.k = w.k AND o.nth = w.nth + 1) SELECT * FROM walk"
        )
        for name, which in (("kept", "taken"), ("limited", "NOT taken")):
            expected = oracle.rows(f"SELECT {COLUMNS} FROM walked WHERE {which} AND us < w()")
            assert processes.rows(name) == counted(expected), (name, self.limit, self.per)
        assert processes.rows("late") == counted(oracle.late())


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_apart(rng)
    limited = Limited(rng)
    check_crashes(limited, partitions, rng)


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=20, whole=True)
    limited = Limited(Random(1))
    limited.limit, limited.per, limited.out_of_order = 2, 10, 5
    check_every_crash(limited, partitions, given=["limited"])


def test_never_more_than_the_limit() -> None:
    """In any stretch of that time, wherever it begins; and what is kept counts, not what came."""
    partitions = [events_at(*range(0, 40)), events_at(*range(0, 40, 2))]
    limited = Limited(Random(1))
    limited.limit, limited.per, limited.out_of_order = 3, 10, 0

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="0s").group_by("user")
        return {"kept": timed.rate_limit(3, per="10s")}

    processes = Processes(partitions, streams)
    processes.run(close_windows=True)
    seconds = sorted(row["at"].timestamp() % 100 for row in processes.table("kept"))
    assert len(seconds) == 12
    assert all(b - a >= 10 for a, b in zip(seconds, seconds[3:], strict=False))


def test_other_program_on_the_state() -> None:
    def program(limit: int, per: str) -> Processes:
        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s").group_by("user")
            return {"results": timed.rate_limit(limit, per=per).named("r")}

        return Processes([events_at(1, 30, 75)], streams)

    processes = program(2, "1m")
    processes.run()
    for limit, per, said in ((3, "1m", "limit: was 2, is now 3"), (2, "2m", "per: was 1m")):
        other = program(limit, per)
        other.store = processes.store
        with pytest.raises(PlanChanged, match=said):
            other.run()
    processes.run(close_windows=True)
    assert len(processes.table()) == 3
