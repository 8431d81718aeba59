"""Objects one at a time: what each function does, and errors that name it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import frazil as fz
import pytest
from frazil import testing

START = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = [{"id": n, "text": " ".join("abcd"[: n % 5])} for n in range(10)]


def texts() -> fz.Stream:
    return fz.read_kafka("texts", servers="kafka:9092", schema={"id": int, "text": str})


def words(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for n, word in enumerate(row["text"].split()):
        yield {"id": row["id"], "n": n, "word": word}


def odd(row: dict[str, Any]) -> bool:
    return bool(row["id"] % 2)


def shouted(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "word": row["word"].upper()}


def only_a(row: dict[str, Any]) -> str | None:
    return row["word"] if row["word"] == "A" else None


def as_row(word: str) -> dict[str, Any]:
    return {"word": word}


WORD = {"id": int, "n": int, "word": str}


def test_functions_follow_one_another() -> None:
    made = texts().rows().flat_map(words).filter(odd).map(shouted).columns(WORD)
    expected = [
        {"id": n, "n": i, "word": word.upper()}
        for n in range(1, 10, 2)
        for i, word in enumerate("abcd"[: n % 5])
    ]
    found = testing.check_any_order(made, cases=5, texts=TEXTS)
    testing.assert_rows(found["rows"], expected)


def test_branch_and_merge_give_all() -> None:
    ones, others = texts().rows().flat_map(words).branch(odd)
    both = ones.map(shouted).merge(others).columns(WORD)
    found = testing.run_to_end(both, texts=TEXTS)
    assert len(found) == sum(n % 5 for n in range(10))
    assert all(row["word"].isupper() == bool(row["id"] % 2) for row in found)


def test_filter_map_and_inspect() -> None:
    seen: list[Any] = []
    made = texts().rows().flat_map(words).map(shouted).filter_map(only_a).inspect(seen.append)
    found = testing.run_to_end(made.map(as_row).columns({"word": str}), texts=TEXTS)
    assert found == [{"word": "A"}] * 8
    assert seen == ["A"] * 8


@dataclasses.dataclass
class Word:
    id: int
    word: str


def test_objects_become_columns_by_attribute() -> None:
    def made(row: dict[str, Any]) -> Word:
        return Word(row["id"], row["word"])

    stream = texts().rows().flat_map(words).map(made).columns({"word": str})
    assert len(testing.run_to_end(stream, texts=TEXTS[:3])) == 3


def test_event_time_goes_with_the_rows() -> None:
    given = fz.read_kafka("e", servers="k:1", schema={"id": int, "at": datetime})
    timed = given.event_time("at", out_of_order="1s").rows().filter(odd)
    assert repr(timed) == "RowStream <- kafka:e, with event time"


def at(row: dict[str, Any]) -> datetime:
    return START + timedelta(seconds=row["seconds"])


def test_event_time_of_objects_is_the_same_in_any_order() -> None:
    """Windows over a time that Python made, behind a step that gives several rows of one."""
    from frazil.rows.chain import TIME

    read = fz.read_kafka("e", servers="k:1", schema={"id": int, "seconds": int})
    timed = read.rows().flat_map(lambda row: [row, row]).event_time(at, out_of_order="20s")
    windows = timed._stream.group_by().window(fz.tumbling("10s")).agg(rows=fz.count())
    assert timed._stream.schema.names == [TIME, "row_item"]
    given = [{"id": n, "seconds": n * 7 % 60} for n in range(60)]
    found = testing.check_any_order(
        {"windows": windows, "late": windows.late},
        cases=15,
        e=testing.partitions(given[:30], given[30:]),
    )
    assert sum(row["rows"] for row in found["windows"]) + len(found["late"]) == 120
    assert found["late"]


def fails(row: dict[str, Any]) -> dict[str, Any]:
    raise ValueError(f"no {row['id']}")


def test_an_error_names_function_line_and_row() -> None:
    stream = texts().rows().flat_map(words).map(fails).columns(WORD)
    with pytest.raises(fz.UdfError) as caught:
        testing.run_to_end(stream, texts=TEXTS)
    text = str(caught.value)
    assert "test_row_stream.fails" in text
    assert "raised ValueError: no 1" in text
    assert "test_row_stream.py:" in text
    assert "a0=1, a1='a'" in text


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda row: 3, "flat_map takes a list"),
        (lambda row: "ab", "flat_map takes a list"),
    ],
)
def test_flat_map_wants_several(function: Any, message: str) -> None:
    with pytest.raises(fz.UdfError, match=message):
        testing.run_to_end(texts().rows().flat_map(function).columns(WORD), texts=TEXTS)


def test_columns_that_are_not_there_are_said() -> None:
    with pytest.raises(fz.UdfError, match="no attribute 'id'"):
        testing.run_to_end(texts().rows().map(lambda row: 3).columns({"id": int}), texts=TEXTS[:1])
    with pytest.raises(fz.UdfError, match="declared to return"):
        testing.run_to_end(
            texts().rows().map(lambda row: {"id": "x"}).columns({"id": int}), texts=TEXTS[:1]
        )


def test_explain_says_that_it_is_python() -> None:
    stream = texts().rows().flat_map(words).columns(WORD)
    text = fz.Pipeline("p", stream.write_memory()).explain()
    assert "in Python" in text
    assert "words" in text


def test_what_changes_has_no_rows() -> None:
    with pytest.raises(fz.FrazilError, match="rows"):
        texts().group_by("id").agg(n=fz.count()).rows()


class Add:
    """Equal to others, and without a hash."""

    def __init__(self, by: int) -> None:
        self.by = by

    def __eq__(self, other: object) -> bool:
        return True

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"id": row["id"] + self.by}

    def method(self, row: dict[str, Any]) -> dict[str, Any]:
        return self(row)


def added(row: dict[str, Any], by: int) -> dict[str, Any]:
    return {"id": row["id"] + by}


@pytest.mark.parametrize(
    "make",
    [
        lambda by: lambda row: {"id": row["id"] + by},
        lambda by: Add(by),
        lambda by: Add(by).method,
        lambda by: functools.partial(added, by=by),
    ],
    ids=["lambda", "callable", "method", "partial"],
)
def test_functions_of_one_name_are_told_apart(make: Any) -> None:
    read = texts().rows()
    both = {str(by): read.map(make(by)).columns({"id": int}) for by in (1, 2)}
    found = testing.run_to_end(both, texts=[{"id": 5, "text": ""}])
    assert found == {"1": [{"id": 6}], "2": [{"id": 7}]}


def test_functions_of_c_are_functions() -> None:
    words = texts().rows().map(lambda row: row["text"]).flat_map(str.split).map(str.upper)
    stream = words.map(lambda word: {"word": word}).columns({"word": str})
    assert testing.run_to_end(stream, texts=[{"id": 1, "text": "a b"}]) == [
        {"word": "A"},
        {"word": "B"},
    ]


async def later(row: dict[str, Any]) -> bool:
    return False


def yields(row: dict[str, Any]) -> Iterator[bool]:
    yield False


def test_what_a_call_does_not_run_is_refused() -> None:
    for make in (texts().rows().filter, texts().rows().map, texts().rows().flat_map):
        with pytest.raises(fz.TypeMismatch, match="which is a coroutine"):
            make(later)
    for make in (texts().rows().filter, texts().rows().inspect, texts().rows().key_by):
        with pytest.raises(fz.TypeMismatch, match="which yields"):
            make(yields)


def test_what_is_missing_in_an_object_is_said() -> None:
    stream = texts().rows().map(lambda row: {}).columns({"id": int})
    with pytest.raises(fz.UdfError, match=r"returned None where .* has none"):
        testing.run_to_end(stream, texts=TEXTS[:1])


@pytest.mark.parametrize("time", [5, datetime(2026, 1, 1)])
def test_times_are_of_a_zone(time: Any) -> None:
    timed = texts().rows().event_time(lambda row: time, out_of_order="1s")
    with pytest.raises(fz.UdfError, match="as event time"):
        testing.run_to_end(timed.columns({"id": int}), texts=TEXTS[:1])


def test_maps_are_dicts() -> None:
    read = fz.read_memory([{"m": {"a": 1}}], schema={"m": dict[str, int]})
    stream = read.rows().map(lambda row: {"a": row["m"]["a"]}).columns({"a": int})
    assert testing.run_to_end(stream) == [{"a": 1}]


def test_functions_are_functions() -> None:
    with pytest.raises(fz.TypeMismatch, match="map got 3"):
        texts().rows().map(3)  # type: ignore[arg-type]


def test_a_second_event_time_is_refused() -> None:
    timed = texts().rows().event_time(at, out_of_order="1s")
    with pytest.raises(fz.PlanError, match="event time already"):
        timed.event_time(at, out_of_order="1s")
