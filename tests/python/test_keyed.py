"""Python functions of keys: what is refused, how they are explained, what errors say."""

from __future__ import annotations

import sys
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.errors import PlanError, SchemaError, TypeMismatch, UdfError, WatermarkMissing

AT = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [
    {"id": number, "user": user, "at": AT + timedelta(seconds=number)}
    for number, user in enumerate(["ada", "bob", "ada"])
]
UNTIMED = fz.read_memory(ROWS, name="events")
EVENTS = UNTIMED.event_time("at", out_of_order="10s")
OUT = {"user": str, "rows": int}
TIMED = {"user": str, "rows": int, "end": datetime}


class Counts(fz.KeyedFunction):
    rows: fz.State[int]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        self.rows.value += len(rows)
        out.emit(user=key, rows=self.rows.value)


class Timed(Counts):
    def on_timer(self, key: str, time: datetime, out: fz.Out) -> None: ...


class Ending(Counts):
    def on_end(self, key: str, out: fz.Out) -> None: ...


class Nothing(fz.KeyedFunction):
    pass


class Grouped(fz.KeyedFunction):
    rows: fz.State[int]

    def on_groups(
        self, batch: pa.RecordBatch, offsets: pa.Int32Array, state: fz.GroupStates, out: fz.Out
    ) -> None: ...


class Both(Grouped):
    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None: ...


class GroupedTimed(Grouped):
    def on_timer(self, key: str, time: datetime, out: fz.Out) -> None: ...


class Unknown(Counts):
    more: fz.State[Missing]  # type: ignore[name-defined]  # noqa: F821


class Bare(Counts):
    more: fz.State  # type: ignore[type-arg]


class Odd(Counts):
    more: fz.State[object]


class NoFirst(Counts):
    more: fz.State[datetime]


class NullFirst(Counts):
    more: fz.State[int | None] = fz.State(3)


class OtherFirst(Counts):
    more: fz.State[int] = fz.State("x")  # type: ignore[arg-type]


class NoState(Counts):
    more: fz.State[int] = 3  # type: ignore[assignment]


class Unannotated(Counts):
    more = fz.State(3)


class CounterFirst(Counts):
    more: fz.State[dict[str, int]] = fz.State(Counter("a"))


class DequeFirst(Counts):
    more: fz.State[list[int]] = fz.State(deque())  # type: ignore[arg-type]


class DefaultInside(Counts):
    more: fz.State[dict[str, dict[str, int]]] = fz.State({"a": defaultdict(int)})


class TupleInside(Counts):
    more: fz.State[list[list[int]]] = fz.State([(1, 2)])  # type: ignore[list-item]


class PairsFirst(Counts):
    more: fz.State[dict[str, int]] = fz.State([])  # type: ignore[arg-type]


class BytearrayFirst(Counts):
    more: fz.State[bytes] = fz.State(bytearray(b"x"))


class Yielding(Counts):
    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> Any:
        yield {"user": key, "rows": len(rows)}


class YieldingAtTheEnd(Counts):
    def on_end(self, key: str, out: fz.Out) -> Any:
        yield {"user": key, "rows": 1}


class Waiting(Counts):
    async def on_timer(self, key: str, time: datetime, out: fz.Out) -> None: ...  # type: ignore[override]


class OpeningLater(Counts):
    async def open(self) -> None: ...  # type: ignore[override]


class YieldingGroups(fz.KeyedFunction):
    async def on_groups(
        self, batch: pa.RecordBatch, offsets: pa.Int32Array, state: fz.GroupStates, out: fz.Out
    ) -> Any:
        yield batch


def process(function: Any, **options: Any) -> fz.Stream:
    return EVENTS.group_by("user").process(function, **{"schema": OUT, **options})


@pytest.mark.parametrize(
    ("write", "error", "said"),
    [
        (lambda: process(len), TypeMismatch, "process got .*a builtin_function"),
        (lambda: process(dict), TypeMismatch, "give a class"),
        (lambda: process(Nothing), PlanError, "neither on_rows nor on_groups"),
        (lambda: process(Both), PlanError, "both on_rows and on_groups"),
        (lambda: process(GroupedTimed), PlanError, "on_groups and on_timer"),
        (lambda: process(Unknown), PlanError, "cannot be evaluated: name 'Missing'"),
        (lambda: process(Bare), PlanError, r"more is a state of no type.*State\[int\]"),
        (lambda: process(Odd), PlanError, "Odd.more: object says too little"),
        (lambda: process(NoFirst), PlanError, r"NoFirst.more is timestamp.*begins as: = fz\.State"),
        (lambda: process(NullFirst), PlanError, "may be None, and begins as 3"),
        (lambda: process(OtherFirst), TypeMismatch, "begins as 'x', which is no int64"),
        (lambda: process(NoState), TypeMismatch, r"more = 3 is no state.*fz\.State\(3\)"),
        (lambda: process(Unannotated), PlanError, "more is a state without a type"),
        (
            lambda: process(CounterFirst),
            PlanError,
            r"more begins as Counter\(.*of which Counter is not kept.*give a dict",
        ),
        (lambda: process(DequeFirst), PlanError, "of which deque is not kept.*give a list"),
        (lambda: process(DefaultInside), PlanError, "which defaultdict is not kept.*give a dict"),
        (lambda: process(TupleInside), PlanError, "of which tuple is not kept.*give a list"),
        (lambda: process(PairsFirst), PlanError, "of which list is not kept.*give a dict"),
        (lambda: process(BytearrayFirst), PlanError, "bytearray is not kept.*give a bytes"),
        (lambda: process(Yielding), PlanError, r"Yielding.on_rows is a generator.*to out\.emit"),
        (lambda: process(YieldingAtTheEnd), PlanError, "on_end is a generator"),
        (lambda: process(YieldingGroups), PlanError, r"is a generator.*to out\.batch"),
        (lambda: process(Waiting), PlanError, "on_timer is asynchronous, and nothing awaits it"),
        (lambda: process(OpeningLater), PlanError, "open is asynchronous"),
        (lambda: process(Counts, schema={}), SchemaError, "without columns"),
        (lambda: process(Counts, order="some"), PlanError, "order='some'"),
        (
            lambda: process(Counts, event_time="end"),
            SchemaError,
            "event_time='end', and gives user",
        ),
        (lambda: process(Counts, event_time="rows"), TypeMismatch, "which is int64"),
        (
            lambda: process(Ending, schema=TIMED, event_time="end"),
            PlanError,
            "Ending has on_end, and event_time",
        ),
        (
            lambda: UNTIMED.group_by("user").process(Timed, schema=OUT),
            PlanError,
            "on_timer needs rows in event-time order.*call event_time on it",
        ),
        (
            lambda: process(Ending, order="arrival"),
            PlanError,
            'on_end needs rows.*leave order="arrival" away',
        ),
        (
            lambda: UNTIMED.group_by("user").process(Counts, schema=OUT, order="event_time"),
            WatermarkMissing,
            "process needs event time",
        ),
        (
            lambda: process(Counts).group_by("user").window(fz.tumbling("1m")),
            WatermarkMissing,
            r"process took it away.*event_time=",
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
            process(Counts),
            [
                "process test_keyed:Counts by user",
                "in Python, a call a key",
                ": exact",
                "late gate",
            ],
        ),
        (process(Timed), ["state: rows and timers per key"]),
        (process(Grouped), ["in Python, a call a batch; state: rows per key"]),
        (process(Counts, pure=False), ["consistent: pure=False"]),
        (UNTIMED.group_by("user").process(Counts, schema=OUT), ["consistent: rows as they arrive"]),
    ],
)
def test_explained(stream: fz.Stream, said: list[str], tmp_path: Path) -> None:
    text = fz.Pipeline("p", stream.write_memory(), checkpoint=str(tmp_path)).explain()
    text = text.replace("tests.python.test_keyed", "test_keyed").replace("  exact", "  : exact")
    for each in said:
        assert each in text, text


def run(stream: fz.Stream, folder: Path, workers: int = 1) -> list[dict[str, Any]]:
    sink = stream.write_memory()
    fz.Pipeline("p", sink, checkpoint=str(folder), workers=workers).run(
        until="now", close_windows=True, quiet=True
    )
    rows: list[dict[str, Any]] = sink.table().to_pylist()
    return rows


class Opened(Counts):
    """Has an object in each worker, made by the program."""

    closed: threading.Semaphore
    opened: threading.Semaphore

    def __init__(self, opened: threading.Semaphore, closed: threading.Semaphore) -> None:
        self.opened, self.closed = opened, closed
        self.usable = False

    def open(self) -> None:
        self.usable = True
        self.opened.release()

    def close(self) -> None:
        self.closed.release()

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        assert self.usable
        super().on_rows(key, rows, out)


def test_opened_and_closed_once_in_each_worker(tmp_path: Path) -> None:
    opened, closed = threading.Semaphore(0), threading.Semaphore(0)
    function = Opened(opened, closed)
    rows = run(process(function), tmp_path, workers=3)
    assert sorted((row["user"], row["rows"]) for row in rows)[-1] == ("bob", 1)
    count = 0
    while opened.acquire(blocking=False):
        count += 1
        assert closed.acquire(blocking=False)
    assert 1 <= count <= 2  # of as many keys
    assert not closed.acquire(blocking=False)
    assert not function.usable  # the program's own is no worker's


def test_several_keys_and_none(tmp_path: Path) -> None:
    class Keys(fz.KeyedFunction):
        def on_rows(self, key: Any, rows: list[Any], out: fz.Out) -> None:
            out.emit(user=repr(key), rows=len(rows))

    both = run(EVENTS.group_by("user", "id").process(Keys, schema=OUT), tmp_path / "1")
    assert sorted(row["user"] for row in both) == ["('ada', 0)", "('ada', 2)", "('bob', 1)"]
    none = run(EVENTS.group_by().process(Keys, schema=OUT), tmp_path / "2")
    assert none == [{"user": "()", "rows": 3}]


Call = Callable[[Any, Any, list[Any], fz.Out], object]
LATER = timedelta(seconds=1)
FOREVER = datetime(2026, 1, 2, tzinfo=UTC)


def failing(call: Call, timer: Call | None = None) -> type[fz.KeyedFunction]:
    class Failing(fz.KeyedFunction):
        total: fz.State[int]
        names: fz.State[list[str]]
        last: fz.State[datetime | None]

        def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
            if key == "bob":
                return call(self, key, rows, out)  # type: ignore[return-value]
            return None

    if timer is not None:

        class Firing(Failing):
            def on_timer(self, key: str, time: datetime, out: fz.Out) -> None:
                return timer(self, time, [], out)  # type: ignore[return-value]

        return Firing
    return Failing


def set_total(value: object) -> Call:
    return lambda self, key, rows, out: setattr(self.total, "value", value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda self, key, rows, out: 1 / 0,
            r"on_rows: raised ZeroDivisionError: .*test_keyed\.py:\d",
        ),
        (lambda self, key, rows, out: sys.exit(3), "on_rows: raised SystemExit: 3"),
        (lambda self, key, rows, out: rows[0].nope, "has no attribute 'nope'"),
        (lambda self, key, rows, out: out.emit(user=key), "out.emit got no rows"),
        (
            lambda self, key, rows, out: out.emit(user=key, rows=1, more=2),
            "out.emit got more=2, which is not declared",
        ),
        (
            lambda self, key, rows, out: out.emit(user=key, rows="x"),
            r"out.emit got rows='x'.*declared is rows: int64 not null",
        ),
        (lambda self, key, rows, out: out.emit(user=None, rows=1), "out.emit got user=None"),
        (lambda self, key, rows, out: out.batch(rows), "out.batch got a list"),
        (lambda self, key, rows, out: out.timer(AT), "out.timer of a function that has no timers"),
        (
            lambda self, key, rows, out: [{"user": key, "rows": 1}],
            r"on_rows: returned \[{'user': 'bob', 'rows': 1}\].*give rows to out\.emit",
        ),
        (lambda self, key, rows, out: (row for row in rows), "returned <generator"),
        (set_total("x"), r"total was set to 'x'.*it is declared as int64"),
        (set_total(None), "total was set to None"),
        (
            lambda self, key, rows, out: self.names.value.append(3),
            r"names was set to \[3\].*list<element: string",
        ),
    ],
)
def test_errors_say_the_key_and_the_row(call: Call, said: str, tmp_path: Path) -> None:
    with pytest.raises(UdfError, match=f"(?s){said}") as raised:
        run(process(failing(call)), tmp_path)
    text = str(raised.value)
    assert "of key user='bob'" in text
    assert "{row:" not in text
    if "raised" in said:
        assert "row: id=1, user='bob'" in text
        assert "read from memory-0@1" in text


@pytest.mark.parametrize(
    ("call", "timer", "said"),
    [
        (
            lambda self, key, rows, out: out.timer(rows[0].at - LATER),
            lambda self, time, rows, out: None,
            r"on_rows: out.timer got .*the row at hand is of",
        ),
        (
            lambda self, key, rows, out: out.timer("noon"),
            lambda self, time, rows, out: None,
            "out.timer got 'noon'.*with a time zone",
        ),
        (
            lambda self, key, rows, out: out.timer(rows[0].at),
            lambda self, time, rows, out: out.timer(time),
            "on_timer: out.timer got .*the timer at hand is of",
        ),
        (
            lambda self, key, rows, out: out.timer(FOREVER),
            lambda self, time, rows, out: out.timer(time + LATER),
            "on_timer: 100001 timers were due at once.*has to come to an end",
        ),
        (
            lambda self, key, rows, out: out.timer(rows[0].at),
            lambda self, time, rows, out: 1 / 0,
            "on_timer: raised ZeroDivisionError",
        ),
        (
            lambda self, key, rows, out: out.timer(rows[0].at),
            lambda self, time, rows, out: False,
            "on_timer: returned False",
        ),
    ],
)
def test_errors_of_timers(call: Call, timer: Call, said: str, tmp_path: Path) -> None:
    with pytest.raises(UdfError, match=f"(?s){said}.*of key user='bob'"):
        run(process(failing(call, timer)), tmp_path)


def test_event_time_goes_on(tmp_path: Path) -> None:
    def early(self: Any, key: str, rows: list[Any], out: fz.Out) -> None:
        out.emit(user=key, rows=1, end=rows[0].at - LATER)

    stream = process(failing(early), schema=TIMED, event_time="end")
    assert "event time: end" in repr(stream)
    with pytest.raises(
        UdfError, match=r"(?s)end=.* is before the time at hand.*'end' is the event"
    ):
        run(stream, tmp_path)


@pytest.mark.parametrize("end", [datetime(2099, 1, 1), 1_767_225_700_000_000])
def test_event_time_has_a_zone(end: object, tmp_path: Path) -> None:
    def naive(self: Any, key: str, rows: list[Any], out: fz.Out) -> None:
        out.emit(user=key, rows=1, end=end)

    stream = process(failing(naive), schema=TIMED, event_time="end")
    with pytest.raises(UdfError, match=r"(?s)on_rows: out.emit got end=.*time zone.*user='bob'"):
        run(stream, tmp_path)


class Seen(fz.KeyedFunction):
    """Gives its state away, and goes on with it."""

    ids: fz.State[list[int]]
    names: fz.State[dict[str, list[int]]]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        for row in rows:
            self.ids.value.append(row.id)
            self.names.value.setdefault(key, []).append(row.id)
            out.emit(ids=self.ids.value, names=self.names.value)


def test_rows_are_what_they_were_when_given(tmp_path: Path) -> None:
    schema = {"ids": list[int], "names": dict[str, list[int]]}
    found = run(process(Seen, schema=schema), tmp_path)
    assert sorted(row["ids"] for row in found) == [[0], [0, 2], [1]]
    assert sorted(row["names"][0][1] for row in found) == [[0], [0, 2], [1]]


def test_columns_of_any_name(tmp_path: Path) -> None:
    class Named(fz.KeyedFunction):
        def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
            for row in rows:
                values = (getattr(row, name) for name in ("_offset", "class", "a b", "_0", "id"))
                out.emit(user=repr(tuple(values)), rows=len(row))

    names = ["_offset", "_0", "class", "a b", "id"]
    given = fz.read_memory([dict(zip(names, range(5), strict=True))], name="events")
    found = run(given.group_by("id").process(Named, schema=OUT), tmp_path)
    assert found == [{"user": "(0, 2, 3, 1, 4)", "rows": 5}]


GroupCall = Callable[[pa.RecordBatch, Any, Any, fz.Out], object]


def failing_groups(call: GroupCall) -> type[fz.KeyedFunction]:
    class Failing(fz.KeyedFunction):
        total: fz.State[int]

        def on_groups(
            self, batch: pa.RecordBatch, offsets: pa.Int32Array, state: fz.GroupStates, out: fz.Out
        ) -> None:
            return call(batch, offsets, state, out)  # type: ignore[return-value]

    return Failing


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda batch, at, state, out: 1 / 0, "on_groups: raised ZeroDivisionError"),
        (lambda batch, at, state, out: state.nope, "no state 'nope'; there are total"),
        (
            lambda batch, at, state, out: setattr(state, "nope", [1]),
            "state.nope is not declared",
        ),
        (
            lambda batch, at, state, out: setattr(state, "total", pa.array([1])),
            r"state.total got 1 values for \d keys",
        ),
        (
            lambda batch, at, state, out: setattr(state, "total", pa.array([1.5])),
            "state.total got double.*declared is int64",
        ),
        (
            lambda batch, at, state, out: setattr(state, "total", ["x"]),
            "state.total got what is no",
        ),
        (
            lambda batch, at, state, out: out.emit(user="x", rows=1),
            r"out.emit in on_groups.*out.batch",
        ),
        (lambda batch, at, state, out: out.batch(batch), "out.batch got no column 'rows'"),
        (lambda batch, at, state, out: batch, r"on_groups: returned .*give rows to out\.batch"),
        (lambda batch, at, state, out: out.timer(AT), "out.timer of a function that has no timers"),
    ],
)
def test_errors_of_columns(call: GroupCall, said: str, tmp_path: Path) -> None:
    with pytest.raises(UdfError, match=f"(?s){said}.*of 3 rows: id=0, user='ada'"):
        run(process(failing_groups(call)), tmp_path)
