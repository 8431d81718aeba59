"""Rows in windows and the first of them: as DuckDB says, in any order, crashed anywhere."""

from __future__ import annotations

import os
from random import Random

import frazil as fz
import pytest
from frazil import col

from tests.pipelines.crashes import check_answer, check_crashes, check_every_crash
from tests.pipelines.events import CUTS, Cut, Event, Query, counted, draw_partitions
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))
WINDOWS = [cut for cut in CUTS if cut.kind != "session"]


class Best:
    """A pipeline: rows assigned to windows, the first of them, and aggregates of the windows."""

    def __init__(self, rng: Random, cut: Cut) -> None:
        self.query = Query(
            cut=cut, out_of_order=rng.choice([0, 5, 20]), aggregates=("rows", "total")
        )
        self.n = rng.choice([1, 2, 3, 100])
        self.descending = rng.random() < 0.5
        self.keys = rng.choice([("user",), (), ("user", "n")])

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order=f"{self.query.out_of_order}s")
        assigned = timed.assign_window(self.query.cut.window)
        by = {"by": ["x", "id"], "descending": self.descending}
        windows = self.query.stream(events)
        return {
            "assigned": assigned,
            "late": assigned.late,
            "best": assigned.group_by(*self.keys).top_n(self.n, rank="place", **by),
            "totals": assigned.group_by("user").agg(rows=fz.count(), total=col("n").sum()),
            "windows": windows,
            "busy": windows.group_by().top_n(1, by=["rows", "user"]),
            "sums": windows.group_by().agg(users=fz.count(), mean=col("rows").sum() / fz.count()),
            "bad": events.rejected,
        }

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        oracle = self.query.oracle(partitions)
        windows = oracle.results(all_closed=ended)
        assert processes.rows("windows") == counted(windows)
        assert processes.rows("totals") == counted(windows)
        assert processes.rows("late") == counted(oracle.late)
        assigned = processes.table("assigned")
        given = {event["id"]: event for events in partitions for event in events}
        for row in assigned:
            assert row["window_start"] <= row["at"] < row["window_end"]
            assert {name: row[name] for name in given[row["id"]]} == given[row["id"]]
        # The windows' counts are DuckDB's, so each row is in each of its windows.
        counts: dict[tuple[object, ...], int] = {}
        for row in assigned:
            name = (row["user"], row["window_start"], row["window_end"])
            counts[name] = counts.get(name, 0) + 1
        every = oracle.results(all_closed=True)
        assert counts == {
            (row["user"], row["window_start"], row["window_end"]): row["rows"] for row in every
        }
        closed = {(row["window_start"], row["window_end"]) for row in windows}
        self._check_best(processes.table("best"), assigned, closed)
        self._check_windows(processes, windows)

    def _check_best(
        self, best: list[Event], assigned: list[Event], closed: set[tuple[object, object]]
    ) -> None:
        groups: dict[tuple[object, ...], list[Event]] = {}
        for row in assigned:
            bounds = (row["window_start"], row["window_end"])
            if bounds in closed:
                groups.setdefault((*bounds, *(row[key] for key in self.keys)), []).append(row)
        expected = []
        sign = -1 if self.descending else 1
        for rows in groups.values():
            rows.sort(key=lambda row: (row["x"] is None, sign * (row["x"] or 0), sign * row["id"]))
            expected += [{**row, "place": place} for place, row in enumerate(rows[: self.n], 1)]
        assert counted(best) == counted(expected)

    def _check_windows(self, processes: Processes, windows: list[Event]) -> None:
        groups: dict[tuple[object, object], list[Event]] = {}
        for row in windows:
            groups.setdefault((row["window_start"], row["window_end"]), []).append(row)
        busy = [
            min(rows, key=lambda row: (-row["rows"], *_from_the_end(row["user"])))
            for rows in groups.values()
        ]
        assert processes.rows("busy") == counted(busy)
        sums = [
            {
                "window_start": start,
                "window_end": end,
                "users": len(rows),
                "mean": sum(row["rows"] for row in rows) / len(rows),
            }
            for (start, end), rows in groups.items()
        ]
        assert processes.rows("sums") == counted(sums)


def _from_the_end(text: str | None) -> tuple[bool, list[int]]:
    """Sorts texts from the last to the first, and null behind them."""
    return text is None, [-ord(char) for char in text or ""] + [1]


@pytest.mark.parametrize("seed", SEEDS)
def test_as_duckdb(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_partitions(rng)
    best = Best(rng, WINDOWS[seed % len(WINDOWS)])
    check_answer(best, partitions, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_partitions(rng)
    best = Best(rng, WINDOWS[seed % len(WINDOWS)])
    check_crashes(best, partitions, rng)


@pytest.mark.parametrize("cut", [WINDOWS[0], WINDOWS[2]], ids=lambda cut: cut.kind)
def test_crashed_at_every_step(cut: Cut) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_partitions(Random(5), most=2, rows=20, whole=True)
    best = Best(Random(1), cut)
    check_every_crash(best, partitions)


def test_equal_values() -> None:
    """Of rows that are equal by the column as many are kept as are asked for, always the same."""
    rows = draw_partitions(Random(2), rows=60, whole=True)
    equal = [[{**row, "x": 1.0} for row in part] for part in rows]

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="20s").assign_window(fz.tumbling("60s"))
        return {"best": timed.group_by().top_n(3, by="x", rank="place")}

    seen = set()
    for seed in range(6):
        processes = Processes(equal, streams)
        processes.run(seed=seed, workers=1 + seed % 3, batch_rows=1 + seed, close_windows=True)
        places = sorted(row["place"] for row in processes.table("best"))
        assert len(places) == 3 * places.count(1)
        seen.add(str(sorted(processes.rows("best"))))
    assert len(seen) == 1
