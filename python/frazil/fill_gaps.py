"""Rows for windows in which a key has none: what `Stream.fill_gaps` makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from frazil.errors import PlanError, TypeMismatch
from frazil.event_time import require_event_time
from frazil.expr import Expr, LiteralValue
from frazil.expr_literal import encoded, literal_text
from frazil.gate import columns_text
from frazil.node import WINDOW_COLUMNS, ExchangeNode, Json, Port, Step
from frazil.types import type_name
from frazil.window import Lasting, lasting_of
from frazil.windowed import WindowRows, window_rows, windows_of

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.stream import Stream
    from frazil.window import Window

How = Literal["null", "zero", "previous"]


class Previous:
    """That a column has the value of the key's last row; made by `previous`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "previous()"


_PREVIOUS = Previous()


@dataclass(frozen=True)
class Filled:
    """What a column has in rows that are made.

    `key` is the key's column, and `value` a scalar of the column's type.
    """

    name: str
    how: Literal["key", "start", "end", "null", "previous", "value"]
    key: str = ""
    value: Any = None

    def to_json(self, keys: Sequence[str]) -> Json:
        """As it stands in the plan."""
        made: Json = {"column": self.name, "how": self.how}
        if self.how == "key":
            made["key"] = keys.index(self.key)
        if self.how == "value":
            made["value"] = {"lit": encoded(self.value)}
        return made

    def __str__(self) -> str:
        """As a program asks for it."""
        if self.how == "value":
            return f"{self.name}={literal_text(self.value)}"
        return f"{self.name}={'None' if self.how == 'null' else 'previous()'}"


def previous() -> Previous:
    """Fill a column with the value that it has in the last row of the key, for `fill_gaps`.

    Returns
    -------
    Previous
        To be given as the value of a column.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.previous()
    previous()
    """
    return _PREVIOUS


@dataclass(frozen=True, eq=False)
class FillGapsNode(Step):
    """Gives a row for each window in which a key has none, for some windows after its last one.

    `columns` says what each column has there.
    """

    KIND: ClassVar[str] = "fill_gaps"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]
    window: Window
    lasting: Lasting
    columns: tuple[Filled, ...]

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.window.to_json(), [one.to_json(self.keys) for one in self.columns]]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted | {*self.keys, *(column.name for column in WINDOW_COLUMNS)}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return given[0]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {
            "keys": list(self.keys),
            "time": {"column": "window_end", "minus_us": 1},
            "window": self.window.to_json(),
            "windows": self.lasting.windows,
            "fill": [one.to_json(self.keys) for one in self.columns if one.name in given[0]],
        }

    def _kept(self) -> list[str]:
        return [one.name for one in self.columns if one.how == "previous"]

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        kept = [name for name in self._kept() if name in given[0]]
        return {
            "keys": columns_text(self.schema, self.keys),
            "window": str(self.window),
            "lasting": str(self.lasting),
            "previous": columns_text(self.streams[0].schema, kept) or "none",
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        fixed = ("key", "start", "end")
        fills = ", ".join(str(one) for one in self.columns if one.how not in fixed)
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        kept = f" with {', '.join(self._kept())}" if self._kept() else ""
        return (
            f"fill_gaps {self.window}{by}, lasting {self.lasting}: {fills}",
            f"state: the last window{kept} per key of the last {self.lasting}",
        )


def make_fill_gaps(
    stream: Stream, asked: Mapping[str, Any], how: How, lasting: Duration | None
) -> Stream:
    """Check what `Stream.fill_gaps` got, and make its steps."""
    from frazil.stream import Stream

    port, origin = stream._port, stream._origin()
    if how not in ("null", "zero", "previous"):
        raise PlanError(f"fill_gaps got how={how!r}", 'one of "null", "zero", "previous"')
    require_event_time(port, origin, "fill_gaps")
    rows = window_rows(port, origin)
    window = _window(port, origin)
    if lasting is None:
        raise PlanError(
            "fill_gaps without lasting: a key that comes no more would be given rows for ever",
            'say for how long after its last window with a row: fill_gaps(lasting="1h")',
        )
    count = lasting_of(window, lasting)
    keys = _keys(rows, origin)
    columns = _columns(stream, rows, asked, how, keys)
    fields = [
        field.with_nullable(True) if one.how == "null" else field
        for field, one in zip(stream.schema, columns, strict=True)
    ]
    if rows.spread:
        port = Port(ExchangeNode(port.schema, port, keys, (("identity", 0),) * len(keys)))
    return Stream(Port(FillGapsNode(pa.schema(fields), (port,), keys, window, count, columns)))


def _window(port: Port, origin: str) -> Window:
    """The windows of the stream, which have to follow one another."""
    windows = windows_of(port)
    bounds = {(column.name, column.name) for column in WINDOW_COLUMNS}
    if windows is None or not bounds <= windows.bounds:
        raise PlanError(
            f"fill_gaps of {origin}: it cannot be seen which windows its rows are in",
            "keep window_start and window_end as the aggregate gave them, and call it right "
            "behind agg",
        )
    if windows.window.kind == "session":
        raise PlanError(
            f"fill_gaps of {windows.window}: sessions are where rows are, so none is missing",
            'use fz.tumbling: group_by(...).window(fz.tumbling("1m")).agg(...).fill_gaps(...)',
        )
    if windows.window.kind == "cumulating":
        raise PlanError(
            f"fill_gaps of {windows.window}: a window that grows has all rows of the one before it",
            "fill the gaps of tumbling windows, with or without a zone, or of hopping ones",
        )
    return windows.window


def _keys(rows: WindowRows, origin: str) -> tuple[str, ...]:
    """The column that each key of the aggregate is in now."""
    names: list[str] = []
    for key in rows.keys:
        now = sorted(name for name, of in rows.columns if of == key)
        if not now:
            raise PlanError(
                f"fill_gaps of {origin}: key {key!r} was left out, and without it the rows of a "
                "window cannot be told apart",
                f"keep {key!r} up to fill_gaps; drop or overwrite it behind it",
            )
        names.append(key if key in now else now[0])
    return tuple(names)


def _columns(
    stream: Stream, rows: WindowRows, asked: Mapping[str, Any], how: How, keys: tuple[str, ...]
) -> tuple[Filled, ...]:
    """What each column has in a row that is made."""
    known: dict[str, Filled] = {}
    for name, of in rows.columns:
        match of:
            case "window_start":
                known[name] = Filled(name, "start")
            case "window_end":
                known[name] = Filled(name, "end")
            case _:
                known[name] = Filled(name, "key", key=keys[rows.keys.index(of)])
    for name in asked:
        stream._require(name)
        if name in known:
            raise PlanError(
                f"fill_gaps got {name}={asked[name]!r}, which is a key or a bound of the window",
                "rows that are made have the key and the window that they are made for",
            )
    made: list[Filled] = []
    for field in stream.schema:
        if field.name in known:
            made.append(known[field.name])
        elif field.name in asked:
            made.append(_asked(field, asked[field.name]))
        else:
            made.append(_by_default(field, how))
    return tuple(made)


def _by_default(field: pa.Field, how: How) -> Filled:
    if how != "zero":
        return Filled(field.name, how)
    type_ = field.type
    numbers = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_duration,
    )
    if not any(check(type_) for check in numbers):
        raise TypeMismatch(
            f'fill_gaps with how="zero": column {field.name!r} is {type_name(type_)}, which has no '
            "zero",
            f"say what it has: {field.name}=None, {field.name}=fz.previous() or a value",
        )
    return Filled(field.name, "value", value=pa.scalar(0, type_))


def _asked(field: pa.Field, value: Any) -> Filled:
    """What was given for a column, as a value of its type."""
    name, type_ = field.name, field.type
    if isinstance(value, Previous):
        return Filled(name, "previous")
    if isinstance(value, LiteralValue):
        value = value._scalar.as_py()
    if isinstance(value, Expr):
        raise TypeMismatch(
            f"fill_gaps got {name}={value!r}, an expression",
            f"give a value, None or fz.previous(): {name}=0",
            "compute what depends on other columns behind it, by with_columns",
        )
    if value is None:
        return Filled(name, "null")
    # Arrow would take a number for a time, and cut a float off to an integer.
    other = isinstance(value, int | float) and pa.types.is_temporal(type_)
    other = other or (isinstance(value, float) and pa.types.is_integer(type_))
    try:
        if other:
            raise TypeError(f"got {type(value).__name__}")
        return Filled(name, "value", value=pa.scalar(value, type_))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise TypeMismatch(
            f"fill_gaps got {name}={value!r}, and the column is {type_name(type_)}: {error}",
            f"give a value of that type, None or fz.previous(): {name}=fz.previous()",
        ) from None
