"""Gaps of windows are filled as plain Python does it, in any order, crashed anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import frazil as fz
import pytest
from frazil import col
from frazil.errors import PlanChanged

from tests.pipelines.crashes import check_answer, check_crashes, check_every_crash
from tests.pipelines.events import (
    BEGIN,
    SECOND,
    Cut,
    Event,
    Query,
    counted,
    draw_partitions,
    events_at,
    us_of,
)
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))
CUTS = (
    Cut("tumbling", 20, 20),
    Cut("tumbling", 30, 30, 7),
    Cut("tumbling", 5, 5),
    Cut("hopping", 20, 5),
    Cut("hopping", 30, 10, 7),
)
LONG = timedelta(seconds=60)
BERLIN = ZoneInfo("Europe/Berlin")

Next = Callable[[datetime], datetime]


def filled(
    rows: Sequence[Event],
    keys: Sequence[str],
    values: Mapping[str, Any],
    lasting: int,
    next_end: Next,
    until: datetime | None,
    size: timedelta | None = None,
) -> list[Event]:
    """The rows, and those that are missing, of windows that end by `until` (None: all).

    Windows have a size, or begin where the one before them ends. A value that is `...` is that of
    the key's last row.
    """
    by_key: dict[tuple[Any, ...], dict[datetime, Event]] = {}
    for row in rows:
        by_key.setdefault(tuple(row[key] for key in keys), {})[row["window_end"]] = row
    made = list(rows)
    for windows in by_key.values():
        for end, last in windows.items():
            start, at = end, next_end(end)
            for _ in range(lasting):
                if at in windows or (until is not None and at > until):
                    break
                given = {name: last[name] if v is ... else v for name, v in values.items()}
                begin = start if size is None else at - size
                made.append({**last, **given, "window_start": begin, "window_end": at})
                start, at = at, next_end(at)
    return made


def watermark(partitions: Sequence[Sequence[Event]], behind: int) -> datetime | None:
    """How far the watermark comes, by seconds behind the latest row; None: not at all."""
    latest = [max((e["at"] for e in part if e["at"]), default=None) for part in partitions]
    times = [time for time in latest if time is not None]
    return min(times) - timedelta(seconds=behind) if len(times) == len(latest) else None


class Gaps:
    """A pipeline of windows: filled, filled in other ways, and in larger windows."""

    def __init__(self, rng: Random, cut: Cut) -> None:
        self.query = Query(
            cut=cut,
            out_of_order=rng.choice([0, 5, 20]),
            lateness=rng.choice([0, 10]),
            keys=rng.choice([("user",), ("user", "n"), ()]),
            aggregates=("rows", "total", "name"),
        )
        self.lasting = rng.choice([1, 2, 5, 40])
        self.values: dict[str, Any] = {
            "rows": rng.choice([0, ..., 7]),
            "total": rng.choice([None, ..., -1]),
            "name": rng.choice([None, ..., "nobody"]),
        }

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        windows = self.query.stream(events)
        lasting = f"{self.lasting * self.query.cut.every}s"
        asked = {name: fz.previous() if v is ... else v for name, v in self.values.items()}
        every = windows.fill_gaps(asked, lasting=lasting)
        renamed = {f"of {key}": col(key) for key in self.query.keys}
        some = windows.filter(col("rows") > 1).select(
            "window_end", "rows", "window_start", **renamed
        )
        return {
            "windows": windows,
            "every": every,
            # Its keys have other names, and are not the first columns any more.
            "some": some.fill_gaps(how="zero", lasting=lasting),
            # Rows of its keys come from several workers, in any order.
            "users": windows.group_by(*self.query.keys[:1])
            .agg(rows=col("rows").sum(), parts=fz.count())
            .fill_gaps(rows=fz.previous(), how="null", lasting=lasting),
            "long": every.group_by().window(fz.tumbling(LONG)).agg(n=fz.count()),
            "best": every.group_by().top_n(1, by=["total", *self.query.keys]),
            "late": windows.late,
            "bad": events.rejected,
        }

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        oracle = self.query.oracle(partitions)
        windows = oracle.results(all_closed=ended)
        assert processes.rows("windows") == counted(windows)
        behind = self.query.out_of_order + self.query.lateness
        until = None if ended else watermark(partitions, behind)
        if until is None and not ended:
            assert not windows
            until = BEGIN
        size = timedelta(seconds=self.query.cut.size)
        every_s = timedelta(seconds=self.query.cut.every)

        def fill(rows: list[Event], keys: Sequence[str], values: Mapping[str, Any]) -> list[Event]:
            lasting = self.lasting
            return filled(rows, keys, values, lasting, lambda end: end + every_s, until, size)

        every = fill(windows, self.query.keys, self.values)
        assert processes.rows("every") == counted(every), (self.query, self.values)
        bounds = ("window_start", "window_end")
        some = [
            {**{name: row[name] for name in (*bounds, "rows")}}
            | {f"of {key}": row[key] for key in self.query.keys}
            for row in windows
            if row["rows"] > 1
        ]
        renamed = [f"of {key}" for key in self.query.keys]
        assert processes.rows("some") == counted(fill(some, renamed, {"rows": 0}))
        users: dict[tuple[Any, ...], Event] = {}
        by = (*self.query.keys[:1], *bounds)
        for row in windows:
            name = tuple(row[each] for each in by)
            user = users.setdefault(name, {**dict(zip(by, name, strict=True)), "rows": 0})
            user["rows"] += row["rows"]
            user["parts"] = user.get("parts", 0) + 1
        expected = fill(list(users.values()), by[:-2], {"rows": ..., "parts": None})
        assert processes.rows("users") == counted(expected)
        self._check_long(processes, every, until)
        best = {row["window_end"] for row in every}
        assert {row["window_end"] for row in processes.table("best")} == best

    def _check_long(self, processes: Processes, every: list[Event], until: datetime | None) -> None:
        """A row of a window is in the larger one that has its last microsecond."""
        counts: dict[datetime, int] = {}
        for row in every:
            us = us_of(row["window_end"]) - 1
            start = BEGIN + timedelta(microseconds=us // (60 * SECOND) * 60 * SECOND - us_of(BEGIN))
            if until is None or start + LONG <= until:
                counts[start] = counts.get(start, 0) + 1
        found = {row["window_start"]: row["n"] for row in processes.table("long")}
        assert found == counts


@pytest.mark.parametrize("seed", SEEDS)
def test_as_python(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_partitions(rng)
    gaps = Gaps(rng, CUTS[seed % len(CUTS)])
    check_answer(gaps, partitions, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_partitions(rng)
    gaps = Gaps(rng, CUTS[seed % len(CUTS)])
    check_crashes(gaps, partitions, rng)


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_partitions(Random(5), most=2, rows=20, whole=True)
    gaps = Gaps(Random(1), CUTS[2])
    gaps.lasting, gaps.values = 5, {"rows": 0, "total": ..., "name": ...}
    check_every_crash(gaps, partitions)


# Days there have 23 hours at the end of March, and 25 at the end of October.
@pytest.mark.parametrize(
    "begin", [datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, 5, tzinfo=UTC)]
)
@pytest.mark.parametrize("seed", range(4))
def test_days_of_a_calendar(begin: datetime, seed: int) -> None:
    rng = Random(seed)
    hours = sorted(rng.sample(range(24 * 9), 12))
    events = events_at(*[0] * len(hours))
    for event, hour in zip(events, hours, strict=True):
        event |= {"at": begin + timedelta(hours=hour), "user": rng.choice(["ada", "bob"])}
    lasting = rng.choice([1, 2, 30])

    def streams(stream: fz.Stream) -> dict[str, fz.Stream]:
        timed = stream.event_time("at", out_of_order="1h").group_by("user")
        days = timed.window(fz.tumbling("1 day", zone="Europe/Berlin")).agg(rows=fz.count())
        return {"results": days.fill_gaps(rows=0, lasting=f"{lasting} days")}

    def midnight(at: datetime, days: int) -> datetime:
        day = at.astimezone(BERLIN).date() + timedelta(days=days)
        return datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)

    counts: dict[tuple[str, datetime], int] = {}
    for event in events:
        name = (event["user"], midnight(event["at"], 0))
        counts[name] = counts.get(name, 0) + 1
    rows = [
        {"user": user, "window_start": start, "window_end": midnight(start, 1), "rows": n}
        for (user, start), n in counts.items()
    ]
    processes = Processes([events], streams)
    for _ in range(2):
        try:
            processes.run_drawn(rng, hook=CrashAt(rng.randrange(3, 20)), every_s=0.01, batch_rows=1)
        except Crash:
            continue
    until = events[-1]["at"] - timedelta(hours=1)
    processes.run_drawn(rng)
    closed = [row for row in rows if row["window_end"] <= until]
    expected = filled(closed, ["user"], {"rows": 0}, lasting, lambda end: midnight(end, 1), until)
    assert processes.rows("results") == counted(expected)
    processes.run_drawn(rng, close_windows=True)
    expected = filled(rows, ["user"], {"rows": 0}, lasting, lambda end: midnight(end, 1), None)
    assert processes.rows("results") == counted(expected)


def test_the_end_of_a_run_makes_no_rows() -> None:
    """They come when the watermark is there, be it in another run."""

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s").group_by("user")
        windows = timed.window(fz.tumbling("10s")).agg(rows=fz.count())
        return {"results": windows.fill_gaps(rows=0, lasting="30s")}

    processes = Processes([events_at(1), events_at(16, 17, user="bob")], streams)
    processes.run()
    assert processes.table() == []
    processes.partitions = [events_at(1, 36), events_at(16, 17, 90, user="bob")]
    processes.run(workers=2)
    found = [(row["user"], _second(row["window_end"]), row["rows"]) for row in processes.table()]
    assert sorted(found) == [
        ("ada", 10, 1),
        ("ada", 20, 0),
        ("ada", 30, 0),
        ("bob", 20, 2),
        ("bob", 30, 0),
    ]


def _second(at: datetime) -> int:
    return (at - BEGIN) // timedelta(seconds=1)


def test_other_program_on_the_state() -> None:
    def program(**options: Any) -> Processes:
        asked = {"lasting": "30s", "n": fz.previous(), **options}

        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s").group_by("user")
            windows = timed.window(fz.tumbling("10s")).agg(n=fz.count(), x=col("x").sum())
            return {"results": windows.fill_gaps(**asked).named("filled")}

        return Processes([events_at(1, 30, 70)], streams)

    processes = program()
    processes.run()
    for changed, said in (
        ({"lasting": "1m"}, "lasting: was 30s, is now 1m"),
        ({"x": fz.previous()}, "previous: was n: int64, is now n: int64, x: double"),
        ({"n": None}, "previous: was n: int64, is now none"),
    ):
        other = program(**changed)
        other.store = processes.store
        with pytest.raises(PlanChanged, match=said):
            other.run()
    # What is given where nothing is remembered may change.
    other = program(x=0.5)
    other.store = processes.store
    other.run(close_windows=True)
    assert {row["x"] for row in other.table() if row["window_start"] > BEGIN} >= {0.5}
