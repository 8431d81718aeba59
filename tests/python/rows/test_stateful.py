"""What a function keeps of a key: as a model in plain Python says, over any order and crash."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import frazil as fz
import pytest
from frazil import testing

START = datetime(2026, 1, 1, tzinfo=UTC)


def events(n: int = 60) -> list[dict[str, Any]]:
    return [
        {"user": f"u{i % 3}", "n": i, "at": START + timedelta(seconds=i * 7 % 90)} for i in range(n)
    ]


def rows(**options: Any) -> fz.Stream:
    schema = {"user": str, "n": int, "at": datetime}
    return fz.read_kafka("e", servers="k:1", schema=schema).event_time("at", out_of_order="1h")


def user(row: dict[str, Any]) -> str:
    return str(row["user"])


@dataclasses.dataclass
class Seen:
    numbers: list[int]
    total: int = 0


def trail(seen: Seen | None, row: dict[str, Any]) -> tuple[Seen, dict[str, Any]]:
    seen = seen or Seen([])
    seen.numbers = [*seen.numbers, row["n"]][-3:]
    seen.total += row["n"]
    return seen, {"n": row["n"], "last": list(seen.numbers), "total": seen.total}


TRAIL = {"n": int, "last": list[int], "total": int}


def expected_trails() -> list[dict[str, Any]]:
    kept: dict[str, Seen | None] = defaultdict(lambda: None)
    made = []
    for row in sorted(events(), key=lambda row: row["at"]):
        kept[row["user"]], out = trail(kept[row["user"]], row)
        made.append({"who": row["user"], **out})
    return made


def test_objects_are_kept_by_key_in_any_order() -> None:
    keyed = rows().rows(classes=[Seen]).key_by(user).stateful_map(trail)
    found = testing.check_any_order(keyed.columns(TRAIL, key="who"), cases=20, e=events())
    testing.assert_rows(found["rows"], expected_trails())


def every_second(before: int | None, row: dict[str, Any]) -> tuple[int | None, list[int]]:
    return (row["n"], []) if before is None else (None, [before, row["n"]])


def test_several_objects_of_one_are_taken_in_the_same_order_each_time() -> None:
    """Those of one time in an order that follows from what they are."""
    pairs = rows().rows().key_by(user).stateful_flat_map(every_second)
    numbered = pairs.stateful_map(lambda seen, n: ((seen or 0) + 1, {"n": n, "number": seen or 0}))
    made = numbered.columns({"n": int, "number": int}, key="who")
    found = testing.check_any_order(made, cases=10, e=events())
    by_user: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(found["rows"], key=lambda row: row["number"]):
        by_user[row["who"]].append(row)
    for who, taken in by_user.items():
        own = sorted((row for row in events() if row["user"] == who), key=lambda row: row["at"])
        wanted = [row["n"] for row in own[: len(own) // 2 * 2]]
        assert [row["number"] for row in taken] == list(range(len(wanted)))
        halves = [set(wanted[i : i + 2]) for i in range(0, len(wanted), 2)]
        assert [{row["n"] for row in taken[i : i + 2]} for i in range(0, len(wanted), 2)] == halves


def test_event_time_goes_on_to_windows() -> None:
    keyed = rows().rows(classes=[Seen]).key_by(user).stateful_map(trail)
    windows = keyed.window(fz.tumbling("1m")).count()
    counts = windows.map(lambda found: {"n": found.value}).columns({"n": int}, key="who")
    found = testing.check_any_order(counts, cases=5, e=events())
    assert sum(row["n"] for row in found["rows"]) == 60


def test_without_event_time_objects_come_as_they_arrive() -> None:
    read = fz.read_kafka("e", servers="k:1", schema={"user": str, "n": int}, name="e")
    counted = (
        read.rows()
        .key_by(user)
        .stateful_map(lambda seen, row: ((seen or 0) + 1, {"number": (seen or 0) + 1}))
    )
    stream = counted.columns({"number": int}, key="who")
    assert "consistent" in fz.Pipeline("p", stream.write_memory()).explain()
    given = [{"user": row["user"], "n": row["n"]} for row in events()]
    found = testing.run_to_end(stream, workers=2, batch_rows=7, e=given)
    wanted = [{"who": f"u{k}", "number": n + 1} for k in range(3) for n in range(20)]
    testing.assert_rows(found, wanted)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda seen, row: 3, "returned a int"),
        (lambda seen, row: (object(), row), "not named"),
        (lambda seen, row: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_errors_name_function_and_key(function: Any, message: str) -> None:
    keyed = rows().rows().key_by(user).stateful_map(function)
    with pytest.raises(fz.UdfError, match=message) as caught:
        testing.run_to_end(keyed.columns({"n": int | None}), e=events(1))
    assert "u0" in str(caught.value)
    if "Error" in message:
        assert "test_stateful.py:" in str(caught.value)


def test_columns_need_not_be_identifiers() -> None:
    read = fz.read_kafka("e", servers="k:1", schema={"class": str, "_n-1": int}, name="e")
    kept = read.rows().key_by(lambda row: row["class"])
    counted = kept.stateful_map(lambda total, row: ((total or 0) + row["_n-1"], {"n": total or 0}))
    given = [{"class": "a", "_n-1": 2}, {"class": "a", "_n-1": 3}]
    found = testing.run_to_end(counted.columns({"n": int}), e=given)
    testing.assert_rows(found, [{"n": 0}, {"n": 2}])


def test_a_list_is_wanted_of_a_flat_map() -> None:
    keyed = rows().rows().key_by(user).stateful_flat_map(lambda seen, row: (seen, 3))
    with pytest.raises(fz.UdfError, match="stateful_flat_map takes a list"):
        testing.run_to_end(keyed.columns({"n": int | None}), e=events(1))


def test_late_objects_are_a_stream() -> None:
    schema = {"user": str, "n": int, "at": datetime}
    read = fz.read_kafka("e", servers="k:1", schema=schema).event_time("at", out_of_order="1s")
    kept = read.rows().map(lambda row: row).key_by(user).stateful_map(lambda seen, row: (1, row))
    given = [
        {"user": "a", "n": n, "at": START + timedelta(seconds=s)}
        for n, s in enumerate([100, 0, 200])
    ]
    found = testing.run_to_end(
        {
            "kept": kept.columns({"n": int}),
            "late": kept.late.map(lambda row: {"n": row["n"]}).columns({"n": int}),
        },
        e=given,
    )
    testing.assert_rows(found["kept"], [{"n": 0}, {"n": 2}])
    assert found["late"] == [{"n": 1}]
    with pytest.raises(fz.PlanError, match="no late objects of its own"):
        _ = read.rows().key_by(user).late


def test_event_time_may_not_be_null() -> None:
    schema = {"user": str, "at": datetime | None}
    read = fz.read_kafka("e", servers="k:1", schema=schema).event_time("at", out_of_order="1s")
    with pytest.raises(fz.PlanError, match="event time 'at' may be null"):
        read.rows().key_by(user).stateful_map(lambda seen, row: (1, row))
