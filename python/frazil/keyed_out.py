"""What a `KeyedFunction` gives rows and timers to."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import KeysView, Mapping, ValuesView
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from frazil.errors import UdfError
from frazil.python_values import EPOCH
from frazil.types import field_name, type_name
from frazil.udf_call import _fits, _short

MICROSECOND = timedelta(microseconds=1)


class Out:
    """Takes the rows that a `KeyedFunction` gives, and the timers it sets.

    It is given to every call.
    """

    __slots__ = (
        "_batches",
        "_changeable",
        "_clock",
        "_clock_timers",
        "_keys",
        "_names",
        "_now",
        "_over",
        "_required",
        "_rows",
        "_schema",
        "_state",
    )

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._names = frozenset(schema.names)
        self._changeable = [
            field.name
            for field in schema
            if pa.types.is_nested(field.type) or pa.types.is_binary(field.type)
        ]
        self._required = frozenset(field.name for field in schema if not field.nullable)
        self._rows: list[Mapping[str, Any]] = []
        self._keys: list[tuple[int, int]] = []  # (rows before it, key), where the key changes
        self._batches: list[pa.RecordBatch] = []
        self._now: int | None = None  # time of the rows or the timer at hand, us
        self._state: _Timers | None = None
        self._clock = 0  # what the machine's clock said when the call began, us
        self._over = False  # it is the end of event time
        self._clock_timers: _Timers | None = None

    def emit(self, row: Mapping[str, Any] | None = None, /, **columns: Any) -> None:
        """Give a row, as it is now: lists and dicts may be changed afterwards.

        Parameters
        ----------
        row
            Its columns as a mapping, for names that are no identifiers.
        columns
            Its columns by name. One that may be null may be left out.

        Examples
        --------
        >>> import frazil as fz
        >>> import pyarrow as pa
        >>> out = fz.Out(pa.schema({"user": pa.string(), "rows": pa.int64()}))
        >>> out.emit(user="ada", rows=3)
        """
        if row is not None:
            columns = {**row, **columns}
        if columns.keys() != self._names:
            self._check_names(columns)
        for name in self._changeable:
            if name in columns:
                columns[name] = _copied(columns[name])
        self._rows.append(columns)

    def batch(self, rows: pa.RecordBatch) -> None:
        """Give rows as columns; in `KeyedFunction.on_groups`.

        Parameters
        ----------
        rows
            With the columns of the schema.

        Examples
        --------
        >>> import frazil as fz
        >>> import pyarrow as pa
        >>> out = fz.Out(pa.schema({"user": pa.string()}))
        >>> out.batch(pa.record_batch({"user": ["ada", "bob"]}))
        """
        if isinstance(rows, pa.Table):
            for each in rows.to_batches():
                self.batch(each)
            return
        if not isinstance(rows, pa.RecordBatch):
            raise UdfError(f"out.batch got a {type(rows).__name__}", "give a pyarrow.RecordBatch")
        columns = []
        for field in self._schema:
            if rows.schema.get_field_index(field.name) < 0:
                raise UdfError(
                    f"out.batch got no column {field.name!r}",
                    f"it got {', '.join(rows.schema.names)}; declared is {field_name(field)}",
                )
            column = rows.column(field.name)
            if column.type != field.type or (column.null_count and not field.nullable):
                nulls = " with nulls" if column.null_count else ""
                raise UdfError(
                    f"out.batch got column {field.name!r} as {type_name(column.type)}{nulls}",
                    f"declared is {field_name(field)}",
                )
            columns.append(column)
        extra = [name for name in rows.schema.names if name not in self._names]
        if extra:
            raise UdfError(f"out.batch got columns that are not declared: {', '.join(extra)}")
        self._batches.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def timer(self, time: datetime) -> None:
        """Have `KeyedFunction.on_timer` called for this key when event time has passed a time.

        Timers of a key are a set: one that is set again for the same time is one.

        Parameters
        ----------
        time
            With a time zone; not before the row at hand, and after the timer at hand.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import timedelta
        >>> class Alarm(fz.KeyedFunction):
        ...     def on_rows(self, key, rows, out):
        ...         out.timer(rows[-1].at + timedelta(hours=1))
        ...
        ...     def on_timer(self, key, time, out):
        ...         out.emit(user=key, at=time)
        """
        timers = self._timers("timer")
        at = _microseconds(time, "out.timer")
        now = self._now
        if now is not None and (at < now or (timers.firing and at == now)):
            of = "the timer at hand" if timers.firing else "the row at hand"
            raise UdfError(
                f"out.timer got {time}, and {of} is of {EPOCH + now * MICROSECOND}",
                "a timer is not before the row, and after the timer, that sets it",
            )
        timers.set(at)

    def cancel_timer(self, time: datetime) -> None:
        """Take a timer of this key back. One that is not set is none.

        Parameters
        ----------
        time
            Of the timer.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import datetime, timedelta
        >>> class Silent(fz.KeyedFunction):
        ...     alarm: fz.State[datetime | None]
        ...
        ...     def on_rows(self, key, rows, out):
        ...         if self.alarm.value is not None:
        ...             out.cancel_timer(self.alarm.value)
        ...         self.alarm.value = rows[-1].at + timedelta(hours=1)
        ...         out.timer(self.alarm.value)
        ...
        ...     def on_timer(self, key, time, out):
        ...         out.emit(user=key, silent_since=time)
        """
        self._timers("cancel_timer").cancel(_microseconds(time, "out.cancel_timer"))

    @property
    def now(self) -> datetime:
        """What the machine's clock says, in UTC; of functions with `on_clock_timer`.

        It is read once for each call of the engine, and may be put back as clocks of machines are.

        Examples
        --------
        >>> import frazil as fz
        >>> class Arrived(fz.KeyedFunction):
        ...     rows: fz.State[list[int]]
        ...
        ...     def on_rows(self, key, rows, out):
        ...         self.rows.value.extend(row.id for row in rows)
        ...         out.clock_timer(out.now.replace(second=59))
        ...
        ...     def on_clock_timer(self, key, time, out):
        ...         out.emit(user=key, rows=self.rows.value, at=out.now)
        ...         self.rows.clear()
        """
        self._by_clock("now")
        return EPOCH + self._clock * MICROSECOND

    def clock_timer(self, time: datetime) -> datetime:
        """Have `KeyedFunction.on_clock_timer` called for this key at a time of the machine's clock.

        Timers of a key are a set, apart from those of event time. At the end of event time none are
        set any more.

        Parameters
        ----------
        time
            With a time zone. One that has passed is taken as one that comes next.

        Returns
        -------
        datetime
            The time for which it is set: for `cancel_clock_timer`.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import timedelta
        >>> class Silent(fz.KeyedFunction):
        ...     def on_rows(self, key, rows, out):
        ...         out.clock_timer(out.now + timedelta(minutes=5))
        ...
        ...     def on_clock_timer(self, key, time, out):
        ...         out.emit(user=key, at=time)
        """
        timers = self._by_clock("clock_timer")
        at = max(_microseconds(time, "out.clock_timer"), self._clock + 1)
        if not self._over:
            timers.set(at)
        return EPOCH + at * MICROSECOND

    def cancel_clock_timer(self, time: datetime) -> None:
        """Take a timer of this key by the machine's clock back. One that is not set is none.

        Parameters
        ----------
        time
            What `clock_timer` has returned.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import datetime, timedelta
        >>> class Silent(fz.KeyedFunction):
        ...     alarm: fz.State[datetime | None]
        ...
        ...     def on_rows(self, key, rows, out):
        ...         if self.alarm.value is not None:
        ...             out.cancel_clock_timer(self.alarm.value)
        ...         self.alarm.value = out.clock_timer(out.now + timedelta(minutes=5))
        ...
        ...     def on_clock_timer(self, key, time, out):
        ...         self.alarm.clear()
        ...         out.emit(user=key, silent_at=time)
        """
        timers = self._by_clock("cancel_clock_timer")
        timers.cancel(_microseconds(time, "out.cancel_clock_timer"))

    def _timers(self, what: str) -> _Timers:
        if self._state is None:
            raise UdfError(
                f"out.{what} of a function that has no timers",
                "timers need on_rows, on_timer, and a stream with event time",
            )
        return self._state

    def _by_clock(self, what: str) -> _Timers:
        if self._clock_timers is None:
            raise UdfError(
                f"out.{what} of a function that has no timers by the machine's clock",
                "these need on_rows and on_clock_timer, and are over in on_end",
            )
        return self._clock_timers

    def _check_names(self, columns: Mapping[str, Any]) -> None:
        extra = [name for name in columns if name not in self._names]
        missing = [name for name in self._schema.names if name in self._required - columns.keys()]
        if extra:
            raise UdfError(
                f"out.emit got {extra[0]}={_short(columns[extra[0]])}, which is not declared",
                f"declared are {', '.join(self._schema.names)}",
            )
        if missing:
            raise UdfError(
                f"out.emit got no {missing[0]}",
                f"declared is {field_name(self._schema.field(missing[0]))}",
            )

    def _begin_key(self, key: int, timers: _Timers | None, clock_timers: _Timers | None) -> None:
        self._keys.append((len(self._rows), key))
        self._state = timers
        self._clock_timers = clock_timers

    def _key_of(self, row: int) -> int:
        """The key that was at hand when a row was given."""
        return next(key for first, key in reversed(self._keys) if first <= row)

    def _taken(self) -> pa.RecordBatch | BadRow:
        """The rows, or the first that does not fit; it is empty then."""
        columns: list[pa.Array] = []
        try:
            if self._batches:
                return _together(self._batches, self._schema)
            for field in self._schema:
                values = [row.get(field.name) for row in self._rows]
                try:
                    column = pa.array(values, field.type)
                except (pa.ArrowException, TypeError, ValueError, OverflowError):
                    column = None
                if column is None or (column.null_count and not field.nullable):
                    return self._bad(field, values)
                columns.append(column)
            return pa.RecordBatch.from_arrays(columns, schema=self._schema)
        finally:
            self._rows, self._keys, self._batches = [], [], []

    def _bad(self, field: pa.Field, values: list[Any]) -> BadRow:
        fits = (
            (value is not None or field.nullable) and _fits(value, field.type) for value in values
        )
        number = next(number for number, fit in enumerate(fits) if not fit)
        return BadRow(
            self._key_of(number),
            f"out.emit got {field.name}={_short(values[number])}",
            f"declared is {field_name(field)}",
        )


class BadRow(Exception):
    """A row does not fit the schema; with the number of its key."""

    def __init__(self, key: int, what: str, declared: str) -> None:
        super().__init__(what)
        self.key = key
        self.what = what
        self.declared = declared


class _Timers:
    """Those of the key at hand, us, ascending."""

    __slots__ = ("changed", "firing", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.changed = False
        self.firing = False

    def load(self, times: list[int]) -> None:
        """Take those of the next key."""
        self.times = times
        self.changed = self.firing = False

    def set(self, at: int) -> None:
        """Set one, if it is not."""
        place = bisect_left(self.times, at)
        if place == len(self.times) or self.times[place] != at:
            self.times.insert(place, at)
            self.changed = True

    def cancel(self, at: int) -> None:
        """Take one back, if it is set."""
        place = bisect_left(self.times, at)
        if place < len(self.times) and self.times[place] == at:
            del self.times[place]
            self.changed = True

    def take(self, until: int | None) -> int | None:
        """Take the first that is before a time out of them; None is the end of all times."""
        if not self.times or (until is not None and self.times[0] >= until):
            return None
        self.changed = True
        return self.times.pop(0)


_ATOMIC = frozenset((bool, bytes, float, int, str, type(None)))


def _copied(value: Any) -> Any:
    """A value that stays as it is until the rows are taken, behind the last call of a batch."""
    if value.__class__ in _ATOMIC:
        return value
    if value.__class__ is list:
        return [_copied(each) for each in value]
    if value.__class__ is dict:
        return {name: _copied(each) for name, each in value.items()}
    if isinstance(value, (KeysView, ValuesView)):
        return list(value)
    return copy.deepcopy(value)


def _together(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    return pa.RecordBatch.from_arrays(
        [pa.concat_arrays([each.column(i) for each in batches]) for i in range(len(schema))],
        schema=schema,
    )


def _microseconds(time: Any, what: str) -> int:
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise UdfError(f"{what} got {_short(time)}", "give a datetime with a time zone")
    return (time - EPOCH) // MICROSECOND
