"""Steps that take rows in event-time order: what is refused where it is written, and explained."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import frazil as fz
import pytest
from frazil import col
from frazil.errors import ColumnExists, ColumnNotFound, PlanError, TypeMismatch, WatermarkMissing

ROWS = [{"id": 1, "user": "ada", "x": 1.5, "tags": ["a"], "at": datetime(2026, 1, 1, tzinfo=UTC)}]
UNTIMED = fz.read_memory(ROWS, name="events")
EVENTS = UNTIMED.event_time("at", out_of_order="10s")
MINUTES = EVENTS.group_by("user").window(fz.tumbling("1m")).agg(n=fz.count())

CHEAP, DEAR = fz.step("cheap", col("x") < 1), fz.step("dear", col("x") > 9, columns=["id"])
NEVER = fz.without(col("x").is_null())


def pattern(*steps: object, within: str = "1h") -> fz.Stream:
    return EVENTS.group_by("user").pattern(steps, within=within)  # type: ignore[arg-type]


LIMITED = EVENTS.group_by("user").rate_limit(100, per="1m")


@pytest.mark.parametrize(
    ("write", "error", "said"),
    [
        (lambda: EVENTS.deduplicate("id"), PlanError, r"would keep every key .* within=\"1h\""),
        (lambda: EVENTS.deduplicate(within="1h"), PlanError, "got no key"),
        (lambda: EVENTS.deduplicate("nope", within="1h"), ColumnNotFound, "no column 'nope'"),
        (lambda: EVENTS.deduplicate("tags", within="1h"), TypeMismatch, "'tags' is list"),
        (lambda: EVENTS.deduplicate("id", within="0s"), PlanError, "within"),
        (lambda: EVENTS.deduplicate("id", within="999d"), PlanError, "too long"),
        (lambda: EVENTS.deduplicate("id", within="1h", keep="some"), PlanError, "keep='some'"),
        (lambda: UNTIMED.deduplicate("id", within="1h"), WatermarkMissing, "needs event time"),
        (lambda: EVENTS.group_by("user").running(), PlanError, "0 aggregates"),
        (lambda: EVENTS.group_by("user").running(x=fz.count()), ColumnExists, "'x' would be there"),
        (lambda: EVENTS.group_by("user").running(n=col("x")), PlanError, "not aggregated"),
        (lambda: EVENTS.group_by("user").running(n=col("y").sum()), ColumnNotFound, "'y'"),
        (lambda: EVENTS.group_by("user").running(n=fz.count(), ttl="0s"), PlanError, "ttl"),
        (lambda: UNTIMED.group_by("user").running(n=fz.count()), WatermarkMissing, "running needs"),
        (lambda: pattern(), PlanError, "of 0 steps"),
        (lambda: pattern(CHEAP), PlanError, "alone.*that is a filter"),
        (lambda: pattern(NEVER, CHEAP, DEAR), PlanError, "begins with without"),
        (lambda: pattern(CHEAP, CHEAP), PlanError, "two steps 'cheap'"),
        (lambda: pattern(*[CHEAP] * 17), PlanError, "of 17 steps.*1 to 16"),
        (lambda: pattern(CHEAP, *[NEVER] * 65), PlanError, "with 65 without.*up to 64"),
        (lambda: pattern(CHEAP, col("x") > 9), TypeMismatch, r"a Call.*write fz\.step"),
        (lambda: pattern(CHEAP, DEAR, within="0s"), PlanError, "within"),
        (lambda: pattern(CHEAP, fz.step("b", col("x"))), TypeMismatch, "x, which is double"),
        (lambda: pattern(CHEAP, fz.step("b", col("y") > 1)), ColumnNotFound, "'y'"),
        (
            lambda: pattern(CHEAP, fz.step("b", col("x") > 1, columns=["y"])),
            ColumnNotFound,
            "no column 'y'",
        ),
        (
            lambda: pattern(fz.step("match", col("x") > 1, columns=["start", "id"]), DEAR),
            ColumnNotFound,
            "'start'",
        ),
        (
            lambda: pattern(fz.step("a", col("x") > 1, columns=["id", "id"]), DEAR),
            ColumnExists,
            "'a_id' would be there twice",
        ),
        (lambda: fz.step("", col("x") > 1), PlanError, "got '' as its name"),
        (lambda: fz.step("a", col("x") > 1, columns="id"), PlanError, r"columns=\['id'\]"),
        (lambda: fz.step("a", "x > 1"), TypeMismatch, "'x > 1', a str"),  # type: ignore[arg-type]
        (lambda: fz.without(True), TypeMismatch, "without got True"),  # type: ignore[arg-type]
        (
            lambda: UNTIMED.group_by("user").pattern([CHEAP, DEAR], within="1h"),
            WatermarkMissing,
            "pattern needs event time",
        ),
        (
            lambda: EVENTS.group_by("user").top_n(3, by="x"),
            PlanError,
            r"not windowed.*assign_window",
        ),
        (lambda: MINUTES.group_by().top_n(0, by="n"), PlanError, "top_n of 0 rows"),
        (lambda: MINUTES.group_by().top_n(1, by=[]), PlanError, "by 0 columns"),
        (lambda: MINUTES.group_by().top_n(1, by="m"), ColumnNotFound, "'m'"),
        (lambda: MINUTES.group_by().top_n(1, by="n", rank="n"), ColumnExists, "'n' would be"),
        (
            lambda: EVENTS.assign_window(fz.tumbling("1m")).group_by().top_n(1, by="tags"),
            TypeMismatch,
            "by 'tags', which is list",
        ),
        (lambda: EVENTS.assign_window(fz.session(gap="1m")), PlanError, "a session ends only"),
        (lambda: EVENTS.assign_window("1m"), TypeMismatch, r"fz.tumbling"),
        (lambda: MINUTES.assign_window(fz.tumbling("1h")), ColumnExists, "'window_start' would be"),
        (lambda: UNTIMED.assign_window(fz.tumbling("1m")), WatermarkMissing, "needs event time"),
        (lambda: MINUTES.group_by("user").agg(user=fz.count()), ColumnExists, "'user' would be"),
        (
            lambda: EVENTS.deduplicate("id", within="1h").deduplicate("user", within="1h").late,
            PlanError,
            "set aside before",
        ),
        (
            lambda: EVENTS.deduplicate("id", within="1h").event_time("at", out_of_order="1s"),
            PlanError,
            "event_time behind deduplicate",
        ),
    ],
)
def test_refused_where_it_is_written(
    write: Callable[[], object], error: type[PlanError], said: str
) -> None:
    with pytest.raises(error, match=f"(?s){said}"):
        write()


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (
            EVENTS.deduplicate("id", within="1h"),
            ["deduplicate any by id within 1h", "consistent: of rows that differ", "late gate"],
        ),
        (
            EVENTS.deduplicate("id", within="1h", keep="first"),
            ["state: a time per key of the last 1h", "put in event-time order", ", exact"],
        ),
        (
            EVENTS.deduplicate("id", within="1h", keep="last"),
            ["state: a row per key of the last 1h"],
        ),
        (
            EVENTS.group_by("user").running(n=fz.count()),
            ["running n=count() by user", "state: 1 accumulator per key, for ever: it grows"],
        ),
        (
            LIMITED,
            ["rate_limit 100 per 1m by user", "state: up to 100 times per key of the last 1m"],
        ),
        (
            pattern(CHEAP, NEVER, DEAR),
            [
                "pattern cheap: (x < 1), without x.is_null(), dear: (x > 9) within 1h by user",
                "state: matches that began in the last 1h, up to 10000 per key",
                ", exact",
            ],
        ),
        (LIMITED.limited, ["limited rows of rate_limit 100 per 1m by user"]),
        (
            MINUTES.group_by("user").top_n(3, by="n"),
            ["top_n 3 by n, largest first of user, window_start", "state: 3 rows per key and open"],
        ),
        (
            EVENTS.assign_window(fz.hopping("1m", every="10s")).group_by("user").agg(n=fz.count()),
            ["assign_window hopping 1m, every 10s", "late rows are only counted"],
        ),
    ],
)
def test_explained(stream: fz.Stream, said: list[str]) -> None:
    text = fz.Pipeline("p", stream.write_memory()).explain()
    for each in said:
        assert each in text
    consistent = "deduplicate any" in text
    assert ("consistent, " in text.splitlines()[0]) == consistent


def test_columns() -> None:
    assert EVENTS.deduplicate("id", within="1h").schema == EVENTS.schema
    running = EVENTS.group_by("user").running(n=fz.count(), mean=col("x").sum() / fz.count())
    assert running.schema.names == [*EVENTS.schema.names, "n", "mean"]
    assert pattern(CHEAP, DEAR).schema.names == [
        "user",
        "match_start",
        "match_end",
        *("cheap_id", "cheap_x", "cheap_tags", "cheap_at"),
        "dear_id",
    ]
    assert MINUTES.group_by("user").agg(m=col("n").max()).schema.names == [
        "user",
        "window_start",
        "window_end",
        "m",
    ]


def test_only_columns_that_are_needed_are_read() -> None:
    """And those of the key and the time."""
    for stream, reads in (
        (EVENTS.deduplicate("id", within="1h").select("x"), {"id", "at", "x"}),
        (EVENTS.group_by("user").running(n=fz.count()).select("n"), {"user", "at"}),
        (MINUTES.group_by().top_n(1, by="n").select("n"), {"user", "at"}),
        (pattern(CHEAP, NEVER, DEAR).select("dear_id"), {"user", "at", "x", "id"}),
        (pattern(CHEAP, DEAR).select("user"), {"user", "at", "x"}),
    ):
        plan = fz.Pipeline("p", stream.write_memory()).plan
        source = next(node for node in plan.json["nodes"] if node["kind"] == "source")
        assert set(plan.columns[source["id"]]) == reads


def test_named() -> None:
    """A name is that of the step and what puts its rows in order."""
    stream = EVENTS.group_by("user").running(mean=col("x").sum() / fz.count()).named("means")
    nodes = fz.Pipeline("p", stream.write_memory(), stream.late.write_memory(name="late")).plan.json
    names = {node["kind"]: node.get("name") for node in nodes["nodes"]}
    assert (names["running"], names["reorder"]) == ("means", "means/order")
