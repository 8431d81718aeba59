"""Windows of a calendar: what the engine cuts is what the clocks of Python's zoneinfo show."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import frazil as fz
import pytest
from frazil import col

ZONES = [
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",  # winter time is what differs
    "America/New_York",
    "America/Sao_Paulo",  # jumps over midnight
    "America/Havana",  # midnight comes twice
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # skipped a day
    "Pacific/Auckland",
    "Africa/Casablanca",
]
WINDOWS = {
    "day": "1 day",
    "days": "3 days",
    "week": "1 week",
    "weeks": "2 weeks",
    "month": "1 month",
    "quarter": "1 quarter",
    "year": "1 year",
    "years": "4 years",
}
MICROSECOND = timedelta(microseconds=1)


def times(zone: str) -> list[datetime]:
    """Anywhere from 1970 to 2037, and close to midnights and to changes of the clocks."""
    drawn = random.Random(zone)
    tz, begin = ZoneInfo(zone), datetime(1970, 1, 3, tzinfo=UTC)
    made = [begin + timedelta(seconds=drawn.randrange(68 * 365 * 86_400)) for _ in range(1500)]
    for _ in range(300):
        day = begin.date() + timedelta(days=drawn.randrange(68 * 365))
        midnight = datetime(day.year, day.month, day.day, tzinfo=tz).astimezone(UTC)
        made += [midnight - MICROSECOND, midnight, midnight + timedelta(minutes=30)]
    hour = timedelta(hours=1)
    at = begin
    while at.year < 2037:
        after = at + timedelta(days=5)
        if at.astimezone(tz).utcoffset() != after.astimezone(tz).utcoffset():
            made += [at + n * hour for n in range(120)]
        at = after
    return sorted(set(made))


def first_days(unit: str, day: date) -> tuple[date, date]:
    """The first day of the window that has a day, and of the next, apart from the engine."""
    if unit == "day":
        return day, day + timedelta(1)
    if unit == "days":
        start = date(1970, 1, 1) + timedelta((day - date(1970, 1, 1)).days // 3 * 3)
        return start, start + timedelta(3)
    if unit == "week":
        start = day - timedelta(day.isoweekday() - 1)
        return start, start + timedelta(7)
    if unit == "weeks":
        start = date(1970, 1, 5) + timedelta((day - date(1970, 1, 5)).days // 14 * 14)
        return start, start + timedelta(14)
    if unit == "month":
        year, month = divmod(day.year * 12 + day.month, 12)
        return day.replace(day=1), date(year, month + 1, 1)
    if unit == "quarter":
        start = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
        return start, date(day.year + 1, 1, 1) if start.month == 10 else start.replace(
            month=start.month + 3
        )
    years = 4 if unit == "years" else 1
    first = 1970 + (day.year - 1970) // years * years
    return date(first, 1, 1), date(first + years, 1, 1)


def begin(tz: ZoneInfo, day: date) -> datetime:
    """When clocks show a day for the first time: zoneinfo's earlier reading, the end of a gap."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=tz)
    at = midnight.astimezone(UTC)
    back = at.astimezone(tz).replace(tzinfo=None)
    if back == midnight.replace(tzinfo=None):
        return at
    # In a gap: its end is where the offset changes, within the day around it.
    low, high = at - timedelta(days=2), at + timedelta(days=2)
    before = midnight.replace(tzinfo=None)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(tz).replace(tzinfo=None) < before:
            low = middle
        else:
            high = middle
    return high


@pytest.mark.parametrize("zone", ZONES)
def test_windows_are_those_of_the_clocks(zone: str, tmp_path: Path) -> None:
    tz, rows = ZoneInfo(zone), [{"at": at} for at in times(zone)]
    # Behind all windows that are looked at, to close them.
    rows.append({"at": datetime(2060, 1, 1, tzinfo=UTC)})
    stream = fz.read_memory(rows, name="rows").event_time("at", out_of_order="0s")
    sinks = {
        unit: stream.group_by()
        .window(fz.tumbling(size, zone=zone))  # type: ignore[arg-type]
        .agg(n=fz.count(), first=col("at").min(), last=col("at").max())
        .write_memory(name=unit)
        for unit, size in WINDOWS.items()
    }
    fz.Pipeline("p", *sinks.values(), checkpoint=str(tmp_path)).run(until="now", quiet=True)
    for unit, sink in sinks.items():
        expected: dict[tuple[datetime, datetime], int] = {}
        for row in rows[:-1]:
            first, behind = first_days(unit, row["at"].astimezone(tz).date())
            window = begin(tz, first), begin(tz, behind)
            assert window[0] <= row["at"] < window[1]
            expected[window] = expected.get(window, 0) + 1
        found = sorted(sink.table().to_pylist(), key=lambda row: row["window_start"])
        assert {(row["window_start"], row["window_end"]): row["n"] for row in found} == expected
        for row in found:
            assert row["window_start"] <= row["first"] <= row["last"] < row["window_end"]
        for one, after in pairwise(found):
            assert one["window_end"] <= after["window_start"]


def test_late_rows_name_the_window_of_the_calendar(tmp_path: Path) -> None:
    summer = datetime(2026, 3, 29, 12, tzinfo=UTC)  # a day of 23 hours in Berlin
    rows = [{"at": at} for at in (summer, summer + timedelta(days=2), summer)]
    stream = fz.read_memory(rows, name="rows").event_time("at", out_of_order="1h")
    days = stream.group_by().window(fz.tumbling("1 day", zone="Europe/Berlin")).agg(n=fz.count())
    kept, late = days.write_memory(name="kept"), days.late.write_memory(name="late")
    fz.Pipeline("p", kept, late, checkpoint=str(tmp_path)).run(until="now", quiet=True)
    window = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC)
    (first,) = kept.table().to_pylist()
    assert (first["window_start"], first["window_end"], first["n"]) == (*window, 1)
    (row,) = late.table().to_pylist()
    assert (row["window_start"], row["window_end"]) == window


class Event(fz.Schema):
    at: datetime


def test_an_open_day_goes_on_after_a_restart(tmp_path: Path) -> None:
    begin = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # a day of 25 hours in Berlin
    lines = [f'{{"at": "{(begin + timedelta(hours=n)).isoformat()}"}}\n' for n in range(0, 60, 3)]

    def run(name: str, given: list[str]) -> list[dict[str, Any]]:
        (tmp_path / name).write_text("".join(given))
        events = fz.read_files(f"{tmp_path}/*.jsonl", format="json", schema=Event, name="events")
        days = events.event_time("at", out_of_order="0s").group_by()
        made = days.window(fz.tumbling("1 day", zone="Europe/Berlin")).agg(n=fz.count())
        sink = made.named("days").write_memory(name="out")
        checkpoint = str(tmp_path / "checkpoint")
        fz.Pipeline("p", sink, checkpoint=checkpoint).run(until="now", quiet=True)
        rows: list[dict[str, Any]] = sink.table().to_pylist()
        return rows

    assert run("1.jsonl", lines[:5]) == []
    (day, _) = run("2.jsonl", lines[5:])
    assert day["n"] == 8  # 00:30 to 21:30
    assert day["window_end"] - day["window_start"] == timedelta(hours=25)


def test_a_checkpoint_says_by_which_time_zones() -> None:
    stream = fz.read_memory([{"at": datetime(2026, 1, 1, tzinfo=UTC)}], name="rows")
    days = stream.event_time("at", out_of_order="0s").group_by()
    made = days.window(fz.tumbling("1 day", zone="Europe/Berlin")).agg(n=fz.count())
    plan = fz.Pipeline("p", made.write_memory(name="out")).plan.json
    (state,) = [node["state"] for node in plan["nodes"] if node["kind"] == "window_aggregate"]
    assert state["time zones"]
    assert state["window"] == "tumbling 1 day, zone Europe/Berlin"
