"""Calls a `KeyedFunction` with the rows of many keys; what the engine calls."""

from __future__ import annotations

import copy
import threading
import traceback
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from frazil.errors import UdfError
from frazil.keyed import DeclaredState, KeyedFunction, KeyedOptions, State, declared_states, has
from frazil.keyed_groups import GroupStates
from frazil.keyed_out import MICROSECOND, BadRow, Out, _Timers
from frazil.python_values import EPOCH, python_values
from frazil.udf_call import VALUES_SHOWN, _cut, _short

if TYPE_CHECKING:
    from frazil import _engine
    from frazil.node import Function

log_ = structlog.get_logger("frazil")

# What a call is, and what is done with the state of a key then: engine/operator/keyed.
ROWS, TIMERS, END, CLOCK = 0, 1, 2, 3
KEEP, ASSIGN, FORGET = 0, 1, 2
_METHODS = {ROWS: "on_rows", TIMERS: "on_timer", END: "on_end", CLOCK: "on_clock_timer"}
_TIMERS = pa.list_(pa.field("element", pa.int64()))
_NO_TIMERS: list[int] = []

_NoColumns = namedtuple("_NoColumns", ())
"""What every row has beside its columns."""

TIMERS_FIRED_MAX = 100_000
"""Timers of one key that are fired by one step of event time."""


class KeyedCall:
    """A function as a run has it: one object of it for each worker."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._instances: dict[int, _Instance] = {}
        self._lock = threading.Lock()

    def __call__(self, batch: _engine.ArrowBatch) -> pa.RecordBatch:
        """Make one call of the engine; of any worker's thread."""
        asked = _Asked(pa.record_batch(batch))
        number = asked.number("instance")
        with self._lock:
            instance = self._instances.get(number)
            if instance is None:
                instance = self._instances[number] = _Instance(self._function)
        instance.open()
        return instance.answer(asked)

    def close(self) -> None:
        """Close what workers opened; they have ended. Errors are only logged: rows are safe."""
        for instance in self._instances.values():
            try:
                instance.close()
            except UdfError as error:
                log_.error("function.close", function=self._function.reference, error=str(error))
        self._instances.clear()


class _Asked:
    """The columns of a call."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    def number(self, name: str) -> int:
        value: int = self._batch.column(name)[0].as_py()
        return value

    def values(self, name: str) -> pa.Array | None:
        """The values of a list; None if there is none."""
        column = self._batch.column(name)
        return None if column.null_count else column.flatten()

    def required(self, name: str) -> pa.Array:
        """The values of a list that is always there."""
        values = self.values(name)
        assert values is not None
        return values


class _Instance:
    """The object of one worker."""

    def __init__(self, function: Function) -> None:
        given: KeyedFunction | type[KeyedFunction] = function.call  # type: ignore[assignment]
        cls = given if isinstance(given, type) else type(given)
        self._reference = function.reference
        self._file = _file_of(cls)
        self._options: KeyedOptions = function.options
        self._schema = function.returns
        self._given = given
        self._function: KeyedFunction | None = None
        self._declared = declared_states(cls)
        self._cells = [State(each.first) for each in self._declared]
        self._with_timers = has(cls, "on_timer")
        self._with_clock = has(cls, "on_clock_timer")
        self._grouped = has(cls, "on_groups")
        self._out = Out(self._schema)
        self._timers, self._clock_timers = _Timers(), _Timers()
        self._row: Callable[[Any], Any] | None = None
        # For errors.
        self._method = "open"
        self._keys: Sequence[Any] = ()
        self._key_names: Sequence[str] = ()
        self._key: int | None = None
        self._shown: tuple[pa.RecordBatch, pa.Array | None, int, int] | None = None

    def open(self) -> None:
        """Make the object, with the first call."""
        if self._function is not None:
            return
        with self._named("open"):
            made = self._given() if isinstance(self._given, type) else copy.copy(self._given)
            for declared, cell in zip(self._declared, self._cells, strict=True):
                setattr(made, declared.name, cell)
            made.open()
            self._function = made

    def close(self) -> None:
        if self._function is not None:
            with self._named("close"):
                self._function.close()

    def answer(self, asked: _Asked) -> pa.RecordBatch:
        """Make the call."""
        what = asked.number("what")
        keys = pa.RecordBatch.from_struct_array(asked.required("keys"))
        states = asked.required("states")
        columns = [states.field(i) for i in range(len(self._declared))]
        timers = asked.required("timers")
        rows = asked.values("rows")
        batch = None if rows is None else pa.RecordBatch.from_struct_array(rows)
        self._key_names = keys.schema.names
        self._out._now = None
        self._out._clock = asked.number("clock")
        self._out._over = bool(asked.number("over"))
        if self._grouped:
            assert batch is not None
            return self._answer_groups(asked, keys, columns, batch, len(timers))
        count = len(timers)
        self._keys = _key_values(keys, count)
        kept = _Kept(self._declared, self._with_clock)
        values = [_values(column) for column in columns]
        if what == ROWS and not (self._options.stepwise or self._with_timers or self._with_clock):
            assert batch is not None
            self._take_all(asked, batch, values, kept)
            return self._made(self._taken(asked, what), *kept.columns(self._state_error))
        set_before: list[list[int]] = timers.to_pylist()
        by_clock: list[list[int]] = [[]] * count
        if self._with_clock:
            by_clock = asked.required("clock_timers").to_pylist()
        given = (
            self._timers if self._with_timers and what != END else None,
            self._clock_timers if self._with_clock and what != END else None,
        )
        call = self._caller(what, asked, batch)
        for key in range(count):
            self._key = key
            self._timers.load(set_before[key])
            self._clock_timers.load(by_clock[key])
            self._out._begin_key(key, *given)
            for cell, loaded in zip(self._cells, values, strict=True):
                cell._load(loaded[key])
            call(key)
            kept.take(self._cells, self._timers, self._clock_timers)
        return self._made(self._taken(asked, what), *kept.columns(self._state_error))

    # One key at a time.

    def _take_all(
        self, asked: _Asked, batch: pa.RecordBatch, values: list[list[Any]], kept: _Kept
    ) -> None:
        """Rows as they come, of a function without timers: as little for each key as can be."""
        on_rows: Any = self._function.on_rows  # type: ignore[union-attr]
        cells, out, given = self._cells, self._out, self._out._rows
        rows, offsets = self._rows_of(batch), asked.required("offsets").to_pylist()
        loaded = list(zip(*values, strict=True)) if values else [()] * len(self._keys)
        out._begin_key(0, None, None)
        begin, take = out._keys.append, kept.take_states
        first = key = 0
        try:
            for key, name in enumerate(self._keys):
                begin((len(given), key))
                for cell, value in zip(cells, loaded[key], strict=True):
                    cell._load(value)
                _nothing(on_rows(name, list(islice(rows, offsets[key + 1] - first)), out))
                take(cells)
                first = offsets[key + 1]
        except BaseException as error:
            self._key = key
            self._shown = batch, asked.values("marks"), first, offsets[key + 1]
            raise self._raised("on_rows", error) from error

    def _caller(
        self, what: int, asked: _Asked, batch: pa.RecordBatch | None
    ) -> Callable[[int], None]:
        """What is done for each key."""
        function: Any = self._function  # which may give something all the same
        if what == TIMERS:
            until = asked.number("until")
            return lambda _: self._fire(until)
        if what == CLOCK:
            return lambda _: self._fire_by_clock()
        if what == END:

            def end(key: int) -> None:
                with self._named("on_end"):
                    _nothing(function.on_end(self._keys[key], self._out))

            return end
        assert batch is not None
        rows = self._rows_of(batch)
        offsets = asked.required("offsets").to_pylist()
        times = asked.values("times")
        marks = asked.values("marks")
        if self._options.stepwise:
            assert times is not None
            at: list[int] = times.to_pylist()

            def step(key: int) -> None:
                self._out._now = None
                self._fire_by_clock()
                for first, last in _of_one_time(at, offsets[key], offsets[key + 1]):
                    if self._with_timers:
                        self._fire(at[first])
                    self._out._now = at[first]
                    take(key, first, last)

        def take(key: int, first: int, last: int) -> None:
            self._shown = batch, marks, first, last
            before = len(self._out._rows)
            try:
                own = list(islice(rows, last - first))
                _nothing(function.on_rows(self._keys[key], own, self._out))
            except BaseException as error:
                raise self._raised("on_rows", error) from error
            self._method = "on_rows"
            self._check_times(before)
            self._shown = None

        if self._options.stepwise:
            return step

        def all_rows(key: int) -> None:
            self._fire_by_clock()
            take(key, offsets[key], offsets[key + 1])

        return all_rows

    def _rows_of(self, batch: pa.RecordBatch) -> Iterator[Any]:
        """The rows, each made when it is asked for: where thousands are there at a time, Python's
        collector walks over all objects of the process every few batches.
        """
        if self._row is None:
            names = batch.schema.names
            made: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
            for place, name in enumerate(names):  # names that a namedtuple refuses: _offset, class
                if made._fields[place] != name and not hasattr(_NoColumns, name):
                    setattr(made, name, property(itemgetter(place)))
            self._row = made._make
        return map(self._row, zip(*map(_values, batch.columns), strict=True))

    def _fire(self, until: int) -> None:
        """Fire the timers of the key at hand that are before a time."""
        timers = self._timers
        function: Any = self._function
        assert self._key is not None
        fired = 0
        while (at := timers.take(until)) is not None:
            timers.firing = True
            self._out._now = at
            before = len(self._out._rows)
            with self._named("on_timer"):
                fired += 1
                if fired > TIMERS_FIRED_MAX:
                    raise UdfError(
                        f"{fired} timers were due at once, up to {EPOCH + at * MICROSECOND}",
                        "a timer that sets the next one has to come to an end: at the end of event "
                        "time all of them are fired",
                    )
                time = EPOCH + at * MICROSECOND
                _nothing(function.on_timer(self._keys[self._key], time, self._out))
            self._method = "on_timer"
            self._check_times(before)
        timers.firing = False

    def _fire_by_clock(self) -> None:
        """Fire the timers of the key at hand that are due by the clock; at the end of time all.

        Those that are set meanwhile are not: they are behind the time of the clock.
        """
        timers, out = self._clock_timers, self._out
        if not timers.times:
            return
        function: Any = self._function
        assert self._key is not None
        while (at := timers.take(None if out._over else out._clock + 1)) is not None:
            time = EPOCH + at * MICROSECOND
            with self._named("on_clock_timer"):
                _nothing(function.on_clock_timer(self._keys[self._key], time, out))

    def _check_times(self, first: int) -> None:
        """Rows given are not before what was at hand: nothing behind would wait for them."""
        timed, now = self._options.timed, self._out._now
        if timed is None or now is None:
            return
        for row in self._out._rows[first:]:
            time: Any = row.get(timed)
            if not isinstance(time, datetime) or time.utcoffset() is None:
                raise self._error(
                    f"out.emit got {timed}={_short(time)}",
                    f"{timed!r} is the event time of what it gives: give a datetime with a time "
                    "zone",
                )
            if (time - EPOCH) // MICROSECOND < now:
                raise self._error(
                    f"out.emit got {timed}={time}, which is before the time at hand, "
                    f"{EPOCH + now * MICROSECOND}",
                    f"{timed!r} is the event time of what it gives",
                )

    def _state_error(self, key: int, declared: DeclaredState, value: Any) -> UdfError:
        self._key = key
        return self._error(
            f"{declared.name} was set to {_short(value)}", f"it is declared as {declared.type}"
        )

    # All keys at once.

    def _answer_groups(
        self,
        asked: _Asked,
        keys: pa.RecordBatch,
        columns: list[pa.Array],
        batch: pa.RecordBatch,
        count: int,
    ) -> pa.RecordBatch:
        function: Any = self._function
        states = GroupStates(self._declared, keys, columns)
        self._key = None
        self._shown = batch, asked.values("marks"), 0, batch.num_rows
        with self._named("on_groups"):
            given = function.on_groups(batch, asked.required("offsets"), states, self._out)
            _nothing(given, "out.batch")
            if self._out._rows:
                raise UdfError("out.emit in on_groups", "give rows by out.batch(...)")
        firsts = pa.array(states._firsts(), pa.bool_())
        what = pc.if_else(firsts, FORGET, ASSIGN).cast(pa.uint8())
        made = [states._arrays[each.name] for each in self._declared]
        struct = pa.StructArray.from_arrays(made, fields=_fields(self._declared)) if made else None
        none = pa.array([[]] * count, _TIMERS)
        answer = self._made(self._taken(asked, ROWS), struct, {"timers": none, "what": what})
        self._shown = None
        return answer

    # What is given back, and errors.

    def _taken(self, asked: _Asked, what: int) -> pa.RecordBatch:
        grouped = self._grouped
        rows = self._out._taken()
        if isinstance(rows, BadRow):
            self._key = rows.key
            self._method = _METHODS[what]
            raise self._error(rows.what, rows.declared)
        timed = self._options.timed
        if grouped and timed is not None and rows.num_rows:
            least = pc.min(rows.column(timed)).cast(pa.timestamp("us", "UTC")).value
            if least < asked.number("until"):
                raise self._error(
                    f"out.batch got {timed}={EPOCH + least * MICROSECOND}, which is before the "
                    "watermark",
                    f"{timed!r} is the event time of what it gives: not before the rows at hand",
                )
        return rows

    def _made(
        self, rows: pa.RecordBatch, states: pa.Array | None, others: dict[str, pa.Array]
    ) -> pa.RecordBatch:
        given = pa.StructArray.from_arrays(
            rows.columns, fields=list(self._schema.remove_metadata())
        )
        if states is None:
            states = pa.array([{}] * len(others["what"]), pa.struct([]))
        columns = {"rows": given, "states": states, **others}
        return pa.RecordBatch.from_arrays(
            [_one_list(column) for column in columns.values()], names=list(columns)
        )

    @contextmanager
    def _named(self, method: str) -> Iterator[None]:
        """Errors inside say the method, the key and the rows."""
        try:
            yield
        except BaseException as error:
            raise self._raised(method, error) from error

    def _raised(self, method: str, error: BaseException) -> UdfError:
        """What an error says; also that of sys.exit(), which would end a thread without a word."""
        self._method = method
        if isinstance(error, UdfError):
            return self._error(error.what, *error.lines)
        said = " ".join(str(error).split())
        text = f"{type(error).__name__}: {_cut(said, 200)}" if said else type(error).__name__
        return self._error(f"raised {text}{_line_in(self._file, error)}")

    def _error(self, what: str, *lines: str) -> UdfError:
        said = list(lines)
        if self._key is not None and self._keys and self._key_names:
            key = self._keys[self._key]
            key = key if isinstance(key, tuple) else (key,)
            named = zip(self._key_names, key, strict=True)
            said.append("of key " + ", ".join(f"{name}={_short(value)}" for name, value in named))
        if self._shown is not None:
            said.append(_rows_text(*self._shown))
        return UdfError(f"{self._method}: {what}", *said)


class _Kept:
    """States and timers as a call leaves them."""

    def __init__(self, declared: Sequence[DeclaredState], with_clock: bool) -> None:
        self._declared = declared
        self._clock_timers: list[list[int]] | None = [] if with_clock else None
        self._values: list[list[Any]] = [[] for _ in declared]
        self._timers: list[list[int]] = []
        self._what: list[int] = []

    def take_states(
        self, cells: Sequence[State[Any]], *, changed: bool = False, first: bool = True
    ) -> int:
        """Take those of a key, whose timers have changed, and are none; what is done with them."""
        for cell in cells:
            changed = changed or cell._touched
            first = first and cell._is_first()
        what = FORGET if first else ASSIGN if changed else KEEP
        self._what.append(what)
        for cell, values in zip(cells, self._values, strict=True):
            values.append(cell._value if what == ASSIGN else None)
        return what

    def take(self, cells: Sequence[State[Any]], timers: _Timers, clock_timers: _Timers) -> None:
        """Take states and timers of a key."""
        what = self.take_states(
            cells,
            changed=timers.changed or clock_timers.changed,
            first=not timers.times and not clock_timers.times,
        )
        self._timers.append(timers.times if what == ASSIGN else _NO_TIMERS)
        if self._clock_timers is not None:
            self._clock_timers.append(clock_timers.times if what == ASSIGN else _NO_TIMERS)

    def columns(
        self, error: Callable[[int, DeclaredState, Any], UdfError]
    ) -> tuple[pa.Array | None, dict[str, pa.Array]]:
        """States, timers, and what is to be done with them."""
        made = []
        for declared, values in zip(self._declared, self._values, strict=True):
            column = _arrow_values(values, declared.type)
            refused = column is None or (
                declared.first is not None
                and column.null_count != sum(what != ASSIGN for what in self._what)
            )
            if refused:
                number = next(
                    number
                    for number, value in enumerate(values)
                    if self._what[number] == ASSIGN
                    and (
                        _arrow_values([value], declared.type) is None
                        or (value is None and declared.first is not None)
                    )
                )
                raise error(number, declared, values[number])
            made.append(column)
        states = None
        if made:
            states = pa.StructArray.from_arrays(made, fields=_fields(self._declared))
        others = {
            "timers": pa.array(self._timers or [_NO_TIMERS] * len(self._what), _TIMERS),
            "what": pa.array(self._what, pa.uint8()),
        }
        if self._clock_timers is not None:
            others["clock_timers"] = pa.array(self._clock_timers, _TIMERS)
        return states, others


def _nothing(returned: Any, giver: str = "out.emit") -> None:
    """What a method returns would be lost, and looks as if it were given."""
    if returned is not None:
        said = " ".join(_short(returned).split())
        raise UdfError(f"returned {said}", f"give rows to {giver}, and return nothing")


def _fields(declared: Sequence[DeclaredState]) -> list[pa.Field]:
    return [each.field for each in declared]


def _arrow_values(values: list[Any], type_: pa.DataType) -> pa.Array | None:
    try:
        if pa.types.is_map(type_):
            values = [None if value is None else list(value.items()) for value in values]
        return pa.array(values, type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        return None


def _of_one_time(times: list[int], first: int, end: int) -> Iterator[tuple[int, int]]:
    """Stretches of rows with the same time."""
    while first < end:
        last = first + 1
        while last < end and times[last] == times[first]:
            last += 1
        yield first, last
        first = last


def _values(column: pa.Array) -> list[Any]:
    return python_values(column, dicts=True)


def _key_values(keys: pa.RecordBatch, count: int) -> Sequence[Any]:
    if not keys.num_columns:
        return [()] * count
    columns = [_values(column) for column in keys.columns]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _one_list(values: pa.Array) -> pa.Array:
    type_ = pa.list_(pa.field("element", values.type))
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values, type=type_)


def _file_of(cls: type) -> str:
    called = getattr(cls, "_source_file", None)  # of a function that its methods call
    if called is not None:
        return str(called)
    for method in ("on_rows", "on_groups"):
        code = getattr(getattr(cls, method), "__code__", None)
        if code is not None and getattr(cls, method) is not getattr(KeyedFunction, method):
            return str(code.co_filename)
    return ""


def _line_in(file: str, error: BaseException) -> str:
    """The innermost line in the file of the function: what it calls may be deep in a library."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _rows_text(batch: pa.RecordBatch, marks: pa.Array | None, first: int, last: int) -> str:
    """The first of the rows at hand, with a token in whose place the engine says where it was."""
    shown = [
        f"{name}={_short(column[first].as_py())}"
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    more = ", ..." if len(shown) > VALUES_SHOWN else ""
    count = last - first
    which = "row" if count == 1 else f"first of {count} rows"
    place = "" if marks is None else f"{{row:{marks[first].as_py().hex()}}}"
    return f"{which}: {', '.join(shown[:VALUES_SHOWN])}{more}{place}"
