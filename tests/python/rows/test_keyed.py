"""Objects by key: windows of them, as a model in plain Python says, in any order of work."""

from __future__ import annotations

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


def rows() -> fz.Stream:
    schema = {"user": str, "n": int, "at": datetime}
    return fz.read_kafka("e", servers="k:1", schema=schema).event_time("at", out_of_order="1h")


def user(row: dict[str, Any]) -> str:
    return str(row["user"])


def number(row: dict[str, Any]) -> int:
    return int(row["user"][1:])


def joined(found: str, row: dict[str, Any]) -> str:
    return f"{found},{row['n']}"


def as_row(found: Any) -> dict[str, Any]:
    return {"start": found.start, "end": found.end, "value": found.value}


TEXTS = {"start": datetime, "end": datetime, "value": str}
NUMBERS = {"start": datetime, "end": datetime, "value": int}


def by_minute() -> dict[tuple[str, datetime], list[dict[str, Any]]]:
    """Events by user and minute, in the order of their time, then of their place."""
    found = defaultdict(list)
    for row in sorted(events(), key=lambda row: row["at"]):
        found[row["user"], row["at"].replace(second=0)].append(row)
    return found


def test_fold_takes_objects_in_the_order_of_their_time() -> None:
    keyed = rows().rows().key_by(user)
    texts = keyed.window(fz.tumbling("1m")).fold(str, joined).map(as_row).columns(TEXTS, key="who")
    expected = [
        {
            "who": who,
            "start": start,
            "end": start + timedelta(minutes=1),
            "value": "".join(f",{row['n']}" for row in of_it),
        }
        for (who, start), of_it in by_minute().items()
    ]
    found = testing.check_any_order(texts, cases=10, e=events())
    testing.assert_rows(found["rows"], expected)


def test_count_collect_and_reduce() -> None:
    windows = rows().rows().key_by(user).window(fz.tumbling("1m"))
    counts = windows.count().map(as_row).columns(NUMBERS, key="who")
    lists = windows.collect().map(lambda w: {"n": len(w.value)}).columns({"n": int}, key="who")
    last = windows.reduce(lambda a, b: b).map(lambda w: {"n": w.value["n"]}).columns({"n": int})
    found = testing.run_to_end({"counts": counts, "lists": lists, "last": last}, e=events())
    wanted = by_minute()
    testing.assert_rows(
        found["counts"],
        [{"who": who, "start": at, "value": len(rows)} for (who, at), rows in wanted.items()],
    )
    testing.assert_rows(
        found["lists"], [{"who": who, "n": len(rows)} for (who, _), rows in wanted.items()]
    )
    testing.assert_rows(found["last"], [{"n": rows[-1]["n"]} for rows in wanted.values()])


def test_windows_of_windows() -> None:
    minutes = rows().rows().key_by(user).window(fz.tumbling("30s")).count()
    most = minutes.map(lambda found: found.value).window(fz.tumbling("1m")).reduce(max)
    found = testing.run_to_end(most.map(as_row).columns(NUMBERS, key="who"), e=events())
    halves: dict[Any, int] = defaultdict(int)
    for row in events():
        halves[row["user"], row["at"].replace(second=row["at"].second // 30 * 30)] += 1
    wanted: dict[Any, int] = defaultdict(int)
    for (who, start), count in halves.items():
        minute = start.replace(second=0)
        wanted[who, minute] = max(wanted[who, minute], count)
    testing.assert_rows(
        found, [{"who": who, "start": at, "value": n} for (who, at), n in wanted.items()]
    )


def test_late_objects_are_a_stream() -> None:
    schema = {"user": str, "n": int, "at": datetime}
    read = fz.read_kafka("e", servers="k:1", schema=schema).event_time("at", out_of_order="5s")
    windows = read.rows().key_by(user).window(fz.tumbling("1m"))
    late = windows.late.map(lambda row: {"n": row["n"]}).columns({"n": int})
    counts = windows.count().map(as_row).columns(NUMBERS)
    given = [
        {"user": "a", "n": n, "at": START + timedelta(seconds=s)} for n, s in enumerate([0, 99, 1])
    ]
    found = testing.run_to_end({"late": late, "counts": counts}, e=given)
    assert found["late"] == [{"n": 2}]
    assert sum(row["value"] for row in found["counts"]) == 2


def test_keys_are_of_their_type_and_stay_with_objects() -> None:
    keyed = rows().rows().key_by(number).filter(lambda row: row["n"] < 4).map(lambda row: row["n"])
    made = keyed.map(lambda n: {"n": n}).columns({"n": int}, key="who")
    assert str(made.schema.field("who").type) == "int64"
    expected = [{"who": n % 3, "n": n} for n in range(4)]
    testing.assert_rows(testing.run_to_end(made, e=events()), expected)


def test_unkeyed_and_another_key() -> None:
    pairs = rows().rows().key_by(number).unkeyed()
    again = pairs.key_by(lambda pair: f"k{pair[0]}").map(lambda pair: {"n": pair[1]["n"]})
    found = testing.run_to_end(again.columns({"n": int}, key="who"), e=events(5))
    testing.assert_rows(found, [{"who": f"k{n % 3}", "n": n} for n in range(5)])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda row: 3, "returned key 3, which is no string"),
        (lambda row: None, "returned None"),
    ],
)
def test_bad_keys_are_named(function: Any, message: str) -> None:
    keyed = rows().rows().key_by(function).columns({"n": int})
    with pytest.raises(fz.UdfError, match=message):
        testing.run_to_end(keyed, e=events(1))


def test_columns_may_be_called_as_the_event_time_is() -> None:
    keyed = rows().rows().key_by(user)
    same = keyed.map(lambda row: {"at": row["at"]}).columns({"at": datetime}, key="who")
    ends = keyed.window(fz.tumbling("1m")).count().map(lambda found: {"window_end": found.end})
    found = testing.run_to_end(
        {"same": same, "ends": ends.columns({"window_end": datetime}, key="who")}, e=events(3)
    )
    assert [len(found[name]) for name in ("same", "ends")] == [3, 3]


def test_windows_need_event_time() -> None:
    schema = {"user": str, "n": int}
    keyed = fz.read_kafka("e", servers="k:1", schema=schema).rows().key_by(user)
    with pytest.raises(fz.PlanError, match="KeyedRowStream by user <- kafka:e need event time"):
        keyed.window(fz.tumbling("1m"))
    with pytest.raises(fz.PlanError, match="event_time behind key_by"):
        keyed.event_time(lambda row: START, out_of_order="1s")


def test_large_windows_are_refused() -> None:
    keyed = rows().rows().key_by(user)
    lists = keyed.window(fz.tumbling("1h"), max_bytes="1KiB").count().columns(NUMBERS)
    with pytest.raises(fz.FrazilError, match="max_bytes"):
        testing.run_to_end(lists, e=events())


class Account:
    """Not named anywhere."""


def test_objects_that_move_are_named() -> None:
    keyed = rows().rows().map(lambda row: Account()).key_by(lambda account: "a")
    with pytest.raises(fz.UdfError, match=r"not named: say classes=\[Account\]"):
        testing.run_to_end(keyed.columns({"n": int | None}), e=events(1))
