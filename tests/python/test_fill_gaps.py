"""Rows for windows without rows: what is refused where it is written, explained and planned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.errors import ColumnNotFound, ModeMismatch, PlanError, TypeMismatch, WatermarkMissing
from frazil.window import Lasting

ROWS = [{"id": 1, "user": "ada", "x": 1.5, "at": datetime(2026, 1, 1, tzinfo=UTC)}]
UNTIMED = fz.read_memory(ROWS, name="events")
EVENTS = UNTIMED.event_time("at", out_of_order="10s")


def windows(window: fz.Window, **options: Any) -> fz.Stream:
    grouped = EVENTS.group_by("user").window(window, **options)
    return grouped.agg(n=fz.count(), x=col("x").sum(), name=col("user").max())


MINUTES = windows(fz.tumbling("1m"))
DAYS = windows(fz.tumbling("1 day", zone="Europe/Berlin"))
MONTHS = windows(fz.tumbling("1 month", zone="Europe/Berlin"))


@pytest.mark.parametrize(
    ("write", "error", "said"),
    [
        (lambda: MINUTES.fill_gaps(), PlanError, r"without lasting.*lasting=\"1h\""),
        (lambda: MINUTES.fill_gaps(lasting="59s"), PlanError, "shorter than a window of tumbling"),
        (lambda: MINUTES.fill_gaps(lasting="3661d"), PlanError, "too long.*up to 3660d"),
        (lambda: MINUTES.fill_gaps(lasting="100d"), PlanError, "too long.*up to 100000 windows"),
        (lambda: MINUTES.fill_gaps(lasting="soon"), PlanError, "lasting='soon' is not a duration"),
        (lambda: DAYS.fill_gaps(lasting="30h"), PlanError, r"in days or weeks, like \"3 days\""),
        (lambda: DAYS.fill_gaps(lasting="1 month"), PlanError, "in days or weeks"),
        (lambda: DAYS.fill_gaps(lasting="0 days"), PlanError, "shorter than a window"),
        (lambda: DAYS.fill_gaps(lasting="600 weeks"), PlanError, "too long"),
        (lambda: MONTHS.fill_gaps(lasting="40d"), PlanError, "in months, quarters or years"),
        (lambda: MINUTES.fill_gaps(lasting="1h", how="last"), PlanError, "how='last'"),
        (lambda: MINUTES.fill_gaps(lasting="1h", how="zero"), TypeMismatch, "'name' is string"),
        (lambda: MINUTES.fill_gaps(lasting="1h", n=1.5), TypeMismatch, "n=1.5.*int64: got float"),
        (lambda: MINUTES.fill_gaps(lasting="1h", n="x"), TypeMismatch, "n='x'.*int64"),
        (lambda: MINUTES.fill_gaps(lasting="1h", n=True), TypeMismatch, "n=True.*int64"),
        (lambda: MINUTES.fill_gaps(lasting="1h", name=3), TypeMismatch, "name=3.*string"),
        (lambda: MINUTES.fill_gaps(lasting="1h", n=col("n") + 1), TypeMismatch, "an expression"),
        (lambda: MINUTES.fill_gaps(lasting="1h", user="x"), PlanError, "is a key or a bound"),
        (lambda: MINUTES.fill_gaps(lasting="1h", window_end=None), PlanError, "is a key or a"),
        (lambda: MINUTES.fill_gaps(lasting="1h", m=1), ColumnNotFound, "no column 'm'"),
        (lambda: UNTIMED.fill_gaps(lasting="1h"), WatermarkMissing, "fill_gaps needs event time"),
        (lambda: EVENTS.fill_gaps(lasting="1h"), PlanError, r"not the result.*group_by\("),
        (
            lambda: EVENTS.assign_window(fz.tumbling("1m")).fill_gaps(lasting="1h"),
            PlanError,
            "assign_window .* gives any number",
        ),
        (
            lambda: windows(fz.session(gap="1m")).fill_gaps(lasting="1h"),
            PlanError,
            "sessions are where rows are",
        ),
        (
            lambda: windows(fz.hopping("1m", every="10s")).fill_gaps(lasting="9s"),
            PlanError,
            "shorter than from one window to the next of hopping 1m",
        ),
        (
            lambda: windows(fz.cumulating("1m", every="10s")).fill_gaps(lasting="1h"),
            PlanError,
            "a window that grows has all rows",
        ),
        (
            lambda: (
                windows(fz.cumulating("1m", every="10s"))
                .group_by()
                .agg(n=fz.count())
                .fill_gaps(lasting="1h")
            ),
            PlanError,
            "a window that grows has all rows",
        ),
        (
            lambda: windows(fz.tumbling("1m"), emit="on_change").fill_gaps(lasting="1h"),
            ModeMismatch,
            "fill_gaps takes rows that stay",
        ),
        (
            lambda: MINUTES.select("window_start", "window_end", "n").fill_gaps(lasting="1h"),
            PlanError,
            "key 'user' was left out",
        ),
        (
            lambda: MINUTES.with_columns(user=col("user").str.strip_chars()).fill_gaps(
                lasting="1h"
            ),
            PlanError,
            "key 'user' was left out",
        ),
        (
            lambda: MINUTES.with_columns(window_start=col("window_end")).fill_gaps(lasting="1h"),
            PlanError,
            "cannot be seen which windows",
        ),
        (lambda: MINUTES.union(MINUTES).fill_gaps(lasting="1h"), PlanError, "a union .* several"),
        (
            lambda: MINUTES.group_by().top_n(1, by="n").fill_gaps(lasting="1h"),
            PlanError,
            "are those of top_n",
        ),
        (
            lambda: MINUTES.fill_gaps(lasting="1h").fill_gaps(lasting="1h"),
            PlanError,
            "are those of fill_gaps",
        ),
    ],
)
def test_refused_where_it_is_written(
    write: Callable[[], object], error: type[PlanError], said: str
) -> None:
    with pytest.raises(error, match=f"(?s){said}"):
        write()


def test_behind_a_lookup(tmp_path: Path) -> None:
    """One that gives a row once at most keeps the rows of a key apart."""
    pq.write_table(pa.table({"user": ["ada"], "age": [3]}), tmp_path / "users.parquet")
    users = fz.lookup_parquet(tmp_path / "users.parquet")
    filled = MINUTES.join_lookup(users, on="user", how="left").fill_gaps(age=7, lasting="1h")
    assert node(filled)["keys"] == ["user"]
    with pytest.raises(PlanError, match="gives rows several times"):
        MINUTES.join_lookup(users, on="user", duplicates="all").fill_gaps(lasting="1h")


@pytest.mark.parametrize(
    ("stream", "lasting", "expected"),
    [
        (MINUTES, "1h", Lasting(60, "1h")),
        (MINUTES, "90s", Lasting(1, "90s")),
        (MINUTES, timedelta(minutes=3), Lasting(3, "3m")),
        (DAYS, "7d", Lasting(7, "7 days")),
        (DAYS, "2 weeks", Lasting(14, "2 weeks")),
        (DAYS, timedelta(days=1), Lasting(1, "1 day")),
        (MONTHS, "2 quarters", Lasting(6, "2 quarters")),
        (windows(fz.tumbling("2 weeks", zone="UTC")), "30 days", Lasting(2, "30 days")),
        (windows(fz.tumbling("1 year", zone="UTC")), "24 months", Lasting(2, "24 months")),
    ],
)
def test_how_many_windows(stream: fz.Stream, lasting: Any, expected: Lasting) -> None:
    """As many whole ones as there are in the time; of a calendar by its units."""
    step = node(stream.fill_gaps(lasting=lasting))
    assert step["windows"] == expected.windows
    assert step["state"]["lasting"] == str(expected)


def node(stream: fz.Stream) -> dict[str, Any]:
    nodes = fz.Pipeline("p", stream.write_memory()).plan.json["nodes"]
    found: dict[str, Any] = next(each for each in nodes if each["kind"] == "fill_gaps")
    return found


def test_columns() -> None:
    """Only what is filled with null may be null."""
    assert MINUTES.fill_gaps(n=fz.previous(), how="previous", lasting="1h").schema == MINUTES.schema
    filled = MINUTES.fill_gaps({"x": 0}, lasting="1h", name="nobody")
    assert [field.nullable for field in MINUTES.schema] == [True, False, False, False, True, True]
    assert [field.nullable for field in filled.schema] == [True, False, False, True, True, True]
    assert "event time: window_end - 1us" in repr(filled)
    amounts = EVENTS.with_columns(x=col("x").cast(pa.decimal128(9, 2)))
    totals = amounts.group_by().window(fz.tumbling("1m")).agg(x=col("x").max(), n=fz.count())
    for given in ({"how": "zero"}, {"x": Decimal("1.5"), "n": fz.lit(3)}):
        step = node(totals.fill_gaps(**given, lasting="1h"))  # type: ignore[arg-type]
        assert [each["how"] for each in step["fill"]] == ["start", "end", "value", "value"]
        assert step["keys"] == []


def test_keys_are_found() -> None:
    """Under other names, and several times; with the bounds of the window."""
    stream = MINUTES.select("window_start", "window_end", "n", b=col("user"), a=col("user"))
    step = node(stream.with_columns(minute=col("window_end")).fill_gaps(lasting="1h"))
    assert step["keys"] == ["a"]
    assert {each["column"]: each["how"] for each in step["fill"]} == {
        "window_start": "start",
        "window_end": "end",
        "n": "null",
        "a": "key",
        "b": "key",
        "minute": "end",
    }


def test_rows_are_exchanged_only_if_they_have_to_be() -> None:
    """Rows of one key may be on several workers only if it is one of less columns."""
    by_user = MINUTES.filter(col("n") > 1).rename(user="who").fill_gaps(lasting="1h")
    again = MINUTES.group_by("user").agg(n=fz.count()).fill_gaps(lasting="1h")
    for stream, behind in ((by_user, "project"), (again, "exchange")):
        nodes = fz.Pipeline("p", stream.write_memory()).plan.json["nodes"]
        before = {each["id"]: each["kind"] for each in nodes}
        assert before[node(stream)["input"][0]] == behind


def test_explained() -> None:
    stream = MINUTES.fill_gaps(n=0, x=fz.previous(), lasting="1h")
    text = fz.Pipeline("p", stream.write_memory()).explain()
    assert "fill_gaps tumbling 1m by user, lasting 1h: n=0, x=previous(), name=None" in text
    assert "state: the last window with x per key of the last 1h" in text
    assert " exact, " in text.splitlines()[0]


def test_only_columns_that_are_needed_are_kept() -> None:
    stream = MINUTES.fill_gaps(how="previous", lasting="1h").select("n")
    step = node(stream)
    assert step["state"]["previous"] == "n: int64, x: double, name: string"
    assert "x" not in {each["column"] for each in node(_few())["fill"]}


def _few() -> fz.Stream:
    stream = MINUTES.with_columns(n=col("n") + 1).fill_gaps(how="previous", lasting="1h")
    return stream.select("n")


def test_two_of_one_stream() -> None:
    """They are two steps if they fill otherwise; for another time they need a name."""

    def sinks(*streams: fz.Stream) -> list[fz.MemorySink]:
        return [stream.write_memory(name=str(number)) for number, stream in enumerate(streams)]

    zero, one = (MINUTES.fill_gaps(n=n, lasting="1h") for n in (0, 1))
    nodes = fz.Pipeline("p", *sinks(zero, one, zero)).plan.json["nodes"]
    assert [each["kind"] for each in nodes].count("fill_gaps") == 2
    long = MINUTES.fill_gaps(n=0, lasting="2h")
    with pytest.raises(PlanError, match="there twice with other options"):
        fz.Pipeline("p", *sinks(zero, long)).explain()
    fz.Pipeline("p", *sinks(zero, long.named("long"))).explain()
