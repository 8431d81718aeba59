"""Python functions with state and timers give what a plain loop gives, crashed anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import frazil as fz
import numpy as np
import pyarrow as pa
import pytest
from frazil.errors import PlanChanged

from tests.pipelines.crashes import check_answer, check_crashes, check_every_crash
from tests.pipelines.events import SECOND, Event, counted, events_at
from tests.pipelines.ordered import COLUMNS, Ordered, draw_apart
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAUSE = 6  # seconds
VISIT = {
    "user": pa.string(),
    "ids": pa.string(),
    "most": pa.int64(),
    "end": pa.timestamp("us", "UTC"),
}
VISIT_SCHEMA = pa.schema(
    [pa.field(name, type_, nullable=name != "end") for name, type_ in VISIT.items()]
)
STEP_SCHEMA = {"id": int, "total": int}


class Visits(fz.KeyedFunction):
    """Rows of a user without a pause; given by a timer, and every third of them noted at once."""

    ids: fz.State[list[int]]
    numbers: fz.State[dict[str, int]]
    closes: fz.State[datetime | None]
    visits: fz.State[int] = fz.State(-1)

    def on_rows(self, key: str | None, rows: list[Any], out: fz.Out) -> None:
        for row in rows:
            self.ids.value.append(row.id)
            numbers = self.numbers.value
            name = str(row.n)
            numbers[name] = numbers.get(name, 0) + 1
            if self.closes.value is not None:
                out.cancel_timer(self.closes.value)
            self.closes.value = row.at + timedelta(seconds=PAUSE)
            out.timer(self.closes.value)
            if len(self.ids.value) % 3 == 0:
                out.emit(user=key, ids=f"+{row.id}", end=row.at)

    def on_timer(self, key: str | None, time: datetime, out: fz.Out) -> None:
        assert time == self.closes.value
        self.visits.value += 1
        text = ",".join(map(str, self.ids.value)) + f"/{self.visits.value}"
        out.emit(user=key, ids=text, most=max(self.numbers.value.values()), end=time)
        self.ids.clear()
        self.numbers.clear()
        self.closes.clear()
        if self.visits.value == 1:
            self.visits.clear()


def model_visits(rows: list[Event], until: int) -> Iterator[Event]:
    """The same as a loop over rows in their order; us of rows and of the watermark."""
    users: dict[str | None, dict[str, Any]] = {}

    def close(user: str | None, kept: dict[str, Any]) -> Event:
        kept["visits"] += 1
        text = ",".join(map(str, kept["ids"])) + f"/{kept['visits']}"
        most = max(kept["n"].count(n) for n in kept["n"])
        row = {"user": user, "ids": text, "most": most, "end": kept["closes"]}
        kept |= {"ids": [], "n": [], "closes": None}
        kept["visits"] = -1 if kept["visits"] == 1 else kept["visits"]
        return row

    for row in rows:
        new = {"ids": [], "n": [], "closes": None, "visits": -1}
        kept = users.setdefault(row["user"], new)
        if kept["closes"] is not None and kept["closes"] < row["us"]:
            yield close(row["user"], kept)
        kept["ids"].append(row["id"])
        kept["n"].append(row["n"])
        kept["closes"] = row["us"] + PAUSE * SECOND
        if len(kept["ids"]) % 3 == 0:
            yield {"user": row["user"], "ids": f"+{row['id']}", "most": None, "end": row["us"]}
    for user, kept in users.items():
        if kept["closes"] is not None and kept["closes"] < until:
            yield close(user, kept)


class Totals(fz.KeyedFunction):
    """Totals up to each row."""

    total: fz.State[int]

    def on_rows(self, key: Any, rows: list[Any], out: fz.Out) -> None:
        for row in rows:
            self.total.value += row.n or 0
            out.emit(id=row.id, total=self.total.value)


class TotalsAtOnce(fz.KeyedFunction):
    """The same with columns."""

    total: fz.State[int]

    def on_groups(
        self, batch: pa.RecordBatch, offsets: pa.Int32Array, state: fz.GroupStates, out: fz.Out
    ) -> None:
        n = batch.column("n").fill_null(0).to_numpy()
        at = offsets.to_numpy()
        counts = np.diff(at)
        sums = np.cumsum(n)
        before = np.where(at[:-1] > 0, sums[at[:-1] - 1], 0)
        totals = sums + np.repeat(state.total.to_numpy() - before, counts)
        state.total = pa.array(totals[at[1:] - 1])
        columns = {"id": batch.column("id"), "total": pa.array(totals)}
        schema = pa.schema([(name, column.type) for name, column in columns.items()])
        out.batch(pa.RecordBatch.from_arrays(list(columns.values()), schema=schema))


class Keyed:
    """All of them on one stream."""

    def __init__(self, rng: Random, out_of_order: int) -> None:
        self.out_of_order = out_of_order
        self.keys = rng.choice([("user",), ("user", "n"), ()])

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order=f"{self.out_of_order}s")
        visits = timed.group_by("user").process(Visits, schema=VISIT_SCHEMA, event_time="end")
        by = timed.group_by(*self.keys)
        totals = by.process(Totals, schema=STEP_SCHEMA)
        at_once = by.process(TotalsAtOnce, schema=STEP_SCHEMA)
        windows = visits.group_by().window(fz.tumbling("20s")).agg(rows=fz.count())
        return {
            "visits": visits,
            "windows": windows,
            "totals": totals,
            "at_once": at_once,
            "late": totals.late,
            "bad": events.rejected,
        }

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        oracle = Ordered(partitions, self.out_of_order, ended=ended)
        rows = oracle.rows(f"SELECT {COLUMNS}, us FROM accepted WHERE us < w() ORDER BY us")
        until = oracle.w if oracle.w is not None else -(2**62)
        visits = [
            {**row, "end": EPOCH + timedelta(microseconds=row["end"])}
            for row in model_visits(rows, until)
        ]
        assert processes.rows("visits") == counted(visits)
        totals: dict[Any, int] = {}
        expected = []
        for row in rows:
            key = tuple(row[name] for name in self.keys)
            totals[key] = totals.get(key, 0) + (row["n"] or 0)
            expected.append({"id": row["id"], "total": totals[key]})
        assert processes.rows("totals") == counted(expected), self.keys
        assert processes.rows("at_once") == counted(expected), self.keys
        assert processes.rows("late") == counted(oracle.late())
        if ended:
            windows: dict[int, int] = {}
            for row in visits:
                us = (row["end"] - EPOCH) // timedelta(microseconds=1)
                start = us // (20 * SECOND)
                windows[start] = windows.get(start, 0) + 1
            assert sorted(row["rows"] for row in processes.table("windows")) == sorted(
                windows.values()
            )


@pytest.mark.parametrize("seed", SEEDS)
def test_as_a_loop(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_apart(rng)
    check_answer(Keyed(rng, rng.choice([0, 5, 20])), partitions, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_apart(rng)
    check_crashes(Keyed(rng, rng.choice([0, 5, 20])), partitions, rng)


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=20, whole=True)
    keyed = Keyed(Random(1), 5)
    keyed.keys = ("user",)
    check_every_crash(keyed, partitions, given=["totals", "visits"])


class Arrivals(fz.KeyedFunction):
    """Numbers the rows of a user."""

    rows: fz.State[int]

    def on_rows(self, key: str | None, rows: list[Any], out: fz.Out) -> None:
        for _ in rows:
            self.rows.value += 1
            out.emit(user=key, total=self.rows.value)


class Unordered:
    """Rows as they arrive: no row twice, none left out."""

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        schema = {"user": pa.string(), "total": pa.int64()}
        return {"numbers": events.group_by("user").process(Arrivals, schema=schema)}

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        users = [event["user"] for events in partitions for event in events]
        expected = [
            {"user": user, "total": number + 1}
            for user in set(users)
            for number in range(users.count(user))
        ]
        assert processes.rows("numbers") == counted(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_as_rows_arrive(seed: int) -> None:
    rng = Random(seed)
    check_crashes(Unordered(), draw_apart(rng), rng)


def test_state_without_event_time_outlives_the_end() -> None:
    processes = Processes([events_at(1, 2, 3)], Unordered().streams)
    processes.run(close_windows=True)
    processes.partitions = [events_at(1, 2, 3, 4, 5)]
    processes.run(reopen=True)
    Unordered().check(processes, processes.partitions)


class Ends(fz.KeyedFunction):
    """Gives what it has at the end of event time, behind its timers."""

    ids: fz.State[list[int]]
    fired: fz.State[int]

    def on_rows(self, key: str | None, rows: list[Any], out: fz.Out) -> None:
        self.ids.value.extend(row.id for row in rows)
        out.timer(rows[-1].at + timedelta(hours=1))

    def on_timer(self, key: str | None, time: datetime, out: fz.Out) -> None:
        self.fired.value += 1

    def on_end(self, key: str | None, out: fz.Out) -> None:
        out.emit(id=len(self.ids.value), total=self.fired.value)


@pytest.mark.parametrize("seed", range(6))
def test_the_end(seed: int) -> None:
    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s")
        return {"results": timed.group_by("user").process(Ends, schema=STEP_SCHEMA)}

    processes = Processes([events_at(1, 2, 3), events_at(2, 5)], streams)
    rng = Random(seed)
    processes.run_drawn(rng)
    assert processes.table() == []
    processes.run_drawn(rng, close_windows=True)
    rows = processes.table()
    assert sum(row["id"] for row in rows) == 5
    # As many timers as rows of different times.
    users: dict[Any, set[Any]] = {}
    for events in processes.partitions:
        for event in events:
            users.setdefault(event["user"], set()).add(event["at"])
    assert sorted(row["total"] for row in rows) == sorted(map(len, users.values()))


class Wider(fz.KeyedFunction):
    """Totals with another state."""

    total: fz.State[float]

    def on_rows(self, key: Any, rows: list[Any], out: fz.Out) -> None:
        raise NotImplementedError


def test_other_program_on_the_state() -> None:
    def program(function: type[fz.KeyedFunction], **options: Any) -> Processes:
        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s").group_by("user")
            made = timed.process(function, schema=STEP_SCHEMA, **options)
            return {"results": made.named("p")}

        return Processes([events_at(1, 30, 70)], streams)

    processes = program(Totals)
    processes.run()
    for other, said in (
        (program(Wider), "states: was total: int64, is now total: double"),
        (program(Totals, order="arrival"), "order: was event time, is now arrival"),
    ):
        other.store = processes.store
        with pytest.raises(PlanChanged, match=said):
            other.run()
    processes.run(close_windows=True)
    assert len(processes.table()) == 3
