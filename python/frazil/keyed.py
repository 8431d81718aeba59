"""Python functions with state and timers for each key: `KeyedFunction`."""

from __future__ import annotations

import copy
import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pyarrow as pa
from frazil.errors import PlanError, SchemaError, TypeMismatch
from frazil.schema import arrow_type
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.keyed_groups import GroupStates
    from frazil.keyed_out import Out

T = TypeVar("T")

STATES_MAX = 64
"""Declared states of one function."""


class State(Generic[T]):
    """What a `KeyedFunction` keeps of each key: a value, a list or a dict.

    Declared in the class by an annotation, ``total: fz.State[int]``. It begins as the empty value
    of its type (0, 0.0, False, "", b"", [], {}, None if it may be None) or as what it is given:
    ``least: fz.State[int] = fz.State(100)``. A key of which all is as it began, and which has no
    timer, is forgotten.

    Parameters
    ----------
    first
        What it begins as.

    Examples
    --------
    >>> import frazil as fz
    >>> class Count(fz.KeyedFunction):
    ...     rows: fz.State[int]
    ...     words: fz.State[list[str]]
    >>> fz.State(3).value
    3
    """

    __slots__ = ("_first", "_touched", "_value")

    def __init__(self, first: T) -> None:
        self._first = first
        self._value = copy.deepcopy(first)
        self._touched = False

    @property
    def value(self) -> T:
        """The value of the key at hand. A list or dict may be changed in place."""
        if self._value.__class__ in _MUTABLE:
            self._touched = True
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        self._value = value
        self._touched = True

    def clear(self) -> None:
        """Make it what it began as.

        Examples
        --------
        >>> import frazil as fz
        >>> state = fz.State([1])
        >>> state.value.append(2)
        >>> state.clear()
        >>> state.value
        [1]
        """
        self.value = copy.deepcopy(self._first)

    def _load(self, value: T | None) -> None:
        if value is None:
            first = self._first
            value = copy.deepcopy(first) if first.__class__ in _MUTABLE else first
        self._value = value
        self._touched = False

    def _is_first(self) -> bool:
        """Whether nothing would be lost without it; zeros of both signs differ."""
        value, first = self._value, self._first
        if value != first:
            return False
        return value.__class__ is not float or str(value) == str(first)

    def __repr__(self) -> str:
        return f"State({self._value!r})"


_MUTABLE = (list, dict)


class KeyedFunction:
    """A function of the rows of each key, with state and timers; for `Grouped.process`.

    A class with `on_rows`, or with `on_groups` in its place where that is too slow. Each worker has
    an object of it, which sees the rows of its own keys: `open` and `close` are for what it needs
    (a model, a connection). What is kept of a key is declared as `State`, is in checkpoints, and is
    the only thing that may be kept: other attributes are lost with the process.

    How rows are split into calls may not change what is done with them.

    Examples
    --------
    >>> import frazil as fz
    >>> from datetime import UTC, datetime
    >>> from typing import Any
    >>> class Totals(fz.KeyedFunction):
    ...     total: fz.State[int]
    ...
    ...     def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
    ...         for row in rows:
    ...             self.total.value += row.amount
    ...             out.emit(user=key, total=self.total.value)
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> rows = [{"user": "ada", "amount": n, "at": at} for n in (3, 4)]
    >>> orders = fz.read_memory(rows).event_time("at", out_of_order="10s")
    >>> totals = orders.group_by("user").process(Totals, schema={"user": str, "total": int})
    >>> totals.schema.names
    ['user', 'total']
    """

    __fz_states__: typing.ClassVar[dict[str, Any]] = {}
    """Annotations of states by name; one that cannot be evaluated is its error."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        frame = sys._getframe(1)  # who defines the class knows the names in its annotations
        found = dict(cls.__fz_states__)
        for name, annotation in inspect.get_annotations(cls).items():
            if isinstance(annotation, str):
                if "State" not in annotation:
                    continue
                try:
                    annotation = eval(annotation, frame.f_globals, dict(frame.f_locals))
                except (NameError, AttributeError, TypeError, SyntaxError) as error:
                    annotation = error
            found[name] = annotation
        cls.__fz_states__ = found

    def open(self) -> None:
        """Get what it needs; once in each worker, before its first row.

        Examples
        --------
        >>> import frazil as fz
        >>> class Scored(fz.KeyedFunction):
        ...     def open(self):
        ...         self.weights = {"click": 1, "order": 5}
        """

    def close(self) -> None:
        """Let go of it; once in each worker, when the run ends and the process lives.

        Examples
        --------
        >>> import frazil as fz
        >>> class Scored(fz.KeyedFunction):
        ...     def close(self):
        ...         self.connection.close()
        """

    def on_rows(self, key: Any, rows: list[Any], out: Out) -> None:
        """Take rows of a key.

        Parameters
        ----------
        key
            The value of the key; a tuple of several.
        rows
            In event-time order, with the columns as attributes. If the function has `on_timer`, or
            gives event time, of one time; there may be more of that time in the next call.
        out
            Takes rows and timers.

        Examples
        --------
        >>> import frazil as fz
        >>> class Spent(fz.KeyedFunction):
        ...     total: fz.State[int]
        ...
        ...     def on_rows(self, key, rows, out):
        ...         self.total.value += sum(row.amount for row in rows)
        ...         out.emit(user=key, total=self.total.value)
        """
        raise NotImplementedError

    def on_timer(self, key: Any, time: Any, out: Out) -> None:
        """A timer that was set for this time is due.

        All rows of the key up to and with that time have been taken, and none after it.

        Parameters
        ----------
        key
            The value of the key; a tuple of several.
        time
            The time, a datetime in UTC.
        out
            Takes rows and timers, which are after this time.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import timedelta
        >>> class Hourly(fz.KeyedFunction):
        ...     rows: fz.State[int]
        ...
        ...     def on_rows(self, key, rows, out):
        ...         if not self.rows.value:
        ...             out.timer(rows[0].at + timedelta(hours=1))
        ...         self.rows.value += len(rows)
        ...
        ...     def on_timer(self, key, time, out):
        ...         out.emit(user=key, rows=self.rows.value)
        ...         self.rows.clear()
        """
        raise NotImplementedError

    def on_clock_timer(self, key: Any, time: Any, out: Out) -> None:
        """The machine's clock has come to a time that was set by `Out.clock_timer`.

        It is called soon after that time, also without rows, and after a restart if the time has
        passed meanwhile; for a key in the order of times, and before later rows of the key. What
        comes out depends on when rows came, so the pipeline is "consistent" instead of "exact".

        Parameters
        ----------
        key
            The value of the key; a tuple of several.
        time
            The time that was set, a datetime in UTC.
        out
            Takes rows and timers.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import timedelta
        >>> class Together(fz.KeyedFunction):
        ...     ids: fz.State[list[int]]
        ...
        ...     def on_rows(self, key, rows, out):
        ...         if not self.ids.value:
        ...             out.clock_timer(out.now + timedelta(seconds=5))
        ...         self.ids.value.extend(row.id for row in rows)
        ...
        ...     def on_clock_timer(self, key, time, out):
        ...         out.emit(user=key, ids=self.ids.value)
        ...         self.ids.clear()
        """
        raise NotImplementedError

    def on_end(self, key: Any, out: Out) -> None:
        """The end of event time: no further row, and all timers have been fired.

        It is called for every key that has state, in a run with ``close_windows=True``.

        Parameters
        ----------
        key
            The value of the key; a tuple of several.
        out
            Takes rows.

        Examples
        --------
        >>> import frazil as fz
        >>> class Seen(fz.KeyedFunction):
        ...     rows: fz.State[int]
        ...
        ...     def on_rows(self, key, rows, out):
        ...         self.rows.value += len(rows)
        ...
        ...     def on_end(self, key, out):
        ...         out.emit(user=key, rows=self.rows.value)
        """
        raise NotImplementedError

    def on_groups(
        self, batch: pa.RecordBatch, offsets: pa.Int32Array, state: GroupStates, out: Out
    ) -> None:
        """Take the rows of many keys as columns.

        Parameters
        ----------
        batch
            Rows, those of a key together and in event-time order.
        offsets
            Where the rows of each key begin, and behind them the number of rows.
        state
            The declared states as arrays with a value for each key, to be read and assigned.
        out
            Takes batches of rows: ``out.batch``.

        Examples
        --------
        >>> import frazil as fz
        >>> import pyarrow as pa, pyarrow.compute as pc
        >>> class Seen(fz.KeyedFunction):
        ...     rows: fz.State[int]
        ...
        ...     def on_groups(self, batch, offsets, state, out):
        ...         state.rows = pc.add(state.rows, pc.pairwise_diff(offsets)[1:].cast("int64"))
        ...         names = ["user", "rows"]
        ...         columns = [state.keys.column("user"), state.rows]
        ...         out.batch(pa.RecordBatch.from_arrays(columns, names=names))
        """
        raise NotImplementedError


Method = typing.Literal["on_rows", "on_timer", "on_clock_timer", "on_end", "on_groups"]


@dataclass(frozen=True)
class DeclaredState:
    """A state of a function, by its annotation."""

    name: str
    type: pa.DataType
    first: Any

    @property
    def field(self) -> pa.Field:
        """Its column; null is what it began as."""
        return pa.field(self.name, self.type)


@dataclass(frozen=True)
class KeyedOptions:
    """What `Grouped.process` was told beside the function.

    Attributes
    ----------
    stepwise
        `on_rows` is given rows of one time only.
    timed
        Column of the result that is its event time.
    """

    stepwise: bool
    timed: str | None


def has(function: KeyedFunction | type[KeyedFunction], method: Method) -> bool:
    """Whether a function defines a method itself."""
    cls = function if isinstance(function, type) else type(function)
    defined: Callable[..., Any] = getattr(cls, method)
    return defined is not getattr(KeyedFunction, method)


def declared_states(cls: type[KeyedFunction]) -> list[DeclaredState]:
    """The states of a class, in the order of their names.

    Raises
    ------
    PlanError
        If an annotation cannot be evaluated, is no type of a state, or has no value to begin with.
    """
    hints = cls.__fz_states__
    found = []
    for name, hint in sorted(hints.items()):
        if isinstance(hint, Exception):
            raise PlanError(
                f"the annotation of {cls.__qualname__}.{name} cannot be evaluated: {hint}",
                "use types that are known where the class stands",
            )
        if hint is State:
            raise PlanError(f"{cls.__qualname__}.{name} is a state of no type", "write State[int]")
        if typing.get_origin(hint) is State:
            found.append(_declared(cls, name, typing.get_args(hint)[0]))
    undeclared = [
        name for name in dir(cls) if isinstance(getattr(cls, name), State) and name not in hints
    ]
    if undeclared:
        raise PlanError(
            f"{cls.__qualname__}.{undeclared[0]} is a state without a type",
            f"annotate it: {undeclared[0]}: fz.State[int] = ...",
        )
    if len(found) > STATES_MAX:
        raise PlanError(f"{cls.__qualname__} has {len(found)} states", f"up to {STATES_MAX}")
    return found


def _declared(cls: type[KeyedFunction], name: str, annotation: Any) -> DeclaredState:
    where = f"{cls.__qualname__}.{name}"
    try:
        type_, nullable = arrow_type(annotation, where)
    except SchemaError as error:
        raise PlanError(error.what, *error.lines) from None
    given = getattr(cls, name, None)
    if given is not None and not isinstance(given, State):
        raise TypeMismatch(f"{where} = {given!r} is no state", f"write fz.State({given!r})")
    if given is None:
        return DeclaredState(name, type_, None if nullable else _empty(type_, where))
    first = given._first
    if nullable and first is not None:
        raise PlanError(
            f"{where} may be None, and begins as {first!r}",
            "leave out | None, or what it begins as",
        )
    try:
        pa.scalar(first, type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise TypeMismatch(
            f"{where} begins as {first!r}, which is no {type_name(type_)}",
            "give a value of its type",
        ) from None
    other = _other_class(first, type_)
    if other is not None:
        raise PlanError(
            f"{where} begins as {first!r}, of which {other[0].__name__} is not kept",
            f"give a {other[1].__name__}: what is kept of a key comes back as that",
        )
    return DeclaredState(name, type_, first)


def _other_class(value: Any, type_: pa.DataType) -> tuple[type, type] | None:
    """A class in a value that is not the one its type is read back as, and that one."""
    if value is None or not (pa.types.is_nested(type_) or pa.types.is_binary(type_)):
        return None
    parts: list[tuple[Any, pa.DataType]] = []
    if pa.types.is_binary(type_):
        plain: type = bytes
    elif pa.types.is_struct(type_):
        plain = dict
        if value.__class__ is dict:
            parts = [(value.get(field.name), field.type) for field in type_]
    elif pa.types.is_map(type_):
        plain = dict
        if value.__class__ is dict:
            parts = [(each, type_.item_type) for each in value.values()]
    else:
        plain = list
        if value.__class__ is list:
            parts = [(each, type_.value_type) for each in value]
    if value.__class__ is not plain:
        return value.__class__, plain
    found = (_other_class(*part) for part in parts)
    return next((each for each in found if each is not None), None)


def _empty(type_: pa.DataType, where: str) -> Any:
    for test, value in (
        (pa.types.is_boolean, False),
        (pa.types.is_integer, 0),
        (pa.types.is_floating, 0.0),
        (pa.types.is_string, ""),
        (pa.types.is_binary, b""),
        (pa.types.is_list, []),
        (pa.types.is_map, {}),
    ):
        if test(type_):
            return value
    raise PlanError(
        f"{where} is {type_name(type_)}, of which there is no empty value",
        "say what it begins as: = fz.State(...); or write | None",
    )
