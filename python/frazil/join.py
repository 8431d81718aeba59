"""Joins of two streams: their steps, and the checks of what `Stream.join` got."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from frazil.duration import duration_text
from frazil.errors import ColumnExists, PlanError, TypeMismatch
from frazil.event_time import EventTime
from frazil.expr import col
from frazil.gate import columns_text
from frazil.node import WINDOW_COLUMNS, Json, Step, WindowAggregateNode
from frazil.types import type_name
from frazil.windowed import START_COLUMN

if TYPE_CHECKING:
    from frazil.node import Port
    from frazil.stream import Stream
    from frazil.window import Window

JoinHow = Literal["inner", "left", "right", "full", "semi", "anti"]
HOWS: tuple[JoinHow, ...] = ("inner", "left", "right", "full", "semi", "anti")

KEYS_MAX = 64
"""Columns of the key of a join."""
TIME_COLUMN = "event_time"
"""Column that a full join adds, as no other has the time of all its rows."""

On = str | Sequence[str] | Mapping[str, str]
Source = Literal["left", "right", "either", "time"]


@dataclass(frozen=True)
class JoinColumn:
    """A column of a join: of the left or right input; a key that either has; or the event time."""

    name: str
    source: Source
    column: str  # of the input; of "either" the left one's


@dataclass(frozen=True, eq=False)
class JoinStep(Step):
    """What joins of two streams have in common: keys, times and columns.

    `keys` are pairs of columns. `how` says which rows are given.
    """

    STATEFUL: ClassVar[bool] = True

    keys: tuple[tuple[str, str], ...]
    how: JoinHow
    times: tuple[EventTime, EventTime]
    columns: tuple[JoinColumn, ...]

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.how]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        read = [{pair[side] for pair in self.keys} | {self.times[side].column} for side in (0, 1)]
        for column in self._kept(wanted):
            if column.source in ("left", "right"):
                read[("left", "right").index(column.source)].add(column.column)
        return read

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return [column.name for column in self._kept(wanted)]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        from frazil.plan import schema_text

        sides = [
            {
                "keys": [pair[side] for pair in self.keys],
                "time": {"column": self.times[side].column, "minus_us": self.times[side].minus_us},
            }
            for side in (0, 1)
        ]
        lefts = [left for left, _ in self.keys]
        columns = [
            [column.source, lefts.index(column.column)]
            if column.source == "either"
            else [column.source, column.column]
            for column in self.columns
            if column.name in gives
        ]
        return {
            "left": sides[0],
            "right": sides[1],
            "how": self.how,
            "columns": columns,
            "schema": schema_text(pa.schema([self.schema.field(name) for name in gives])),
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        left, right = self.streams
        return {
            "keys": self._on(),
            "how": self.how,
            "left": columns_text(left.schema, given[0]),
            "right": columns_text(right.schema, given[1]),
        }

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time; `of` gives that of an input. As `frazil.event_time.event_time_of`."""
        left, right = self.times
        if self.how == "full" and not same_key(self.keys, self.times):
            return EventTime(TIME_COLUMN, 0)
        if self.how != "right":
            return EventTime(left.column, left.minus_us)
        time = right
        for mine, theirs in self.keys:
            if theirs == time.column:
                return EventTime(mine, time.minus_us)
        name = next(c.name for c in self.columns if (c.source, c.column) == ("right", time.column))
        return EventTime(name, time.minus_us)

    def _kept(self, wanted: set[str]) -> list[JoinColumn]:
        """The columns wanted; rows have to be counted by something."""
        return [column for column in self.columns if column.name in wanted] or [self.columns[0]]

    def _on(self) -> str:
        return on_text(self.keys)


@dataclass(frozen=True, eq=False)
class IntervalJoinNode(JoinStep):
    """Joins rows of equal keys whose times are near.

    The right row is at most `before_ms` before the left one, and at most `after_ms` after it. With
    `per_window` that is nothing, and the bounds of the windows are the last of the keys: rows of
    one window have one time.
    """

    KIND: ClassVar[str] = "interval_join"

    before_ms: int
    after_ms: int
    per_window: bool = False

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        bounds = {"before_us": self.before_ms * 1_000, "after_us": self.after_ms * 1_000}
        return {**super().spec(given, gives), **bounds}

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        return {**(super().state(given) or {}), "within": self._within()}

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        if self.per_window:
            return f"join {self.how} on {self._on()} per window", "state: rows of open windows"
        kept = [self.after_ms, self.before_ms]
        if self.how in ("left", "full", "semi", "anti"):
            kept[1] += self.after_ms
        if self.how in ("right", "full"):
            kept[0] += self.before_ms
        left, right = map(duration_text, kept)
        text = f"join {self.how} on {self._on()} {self._within()}"
        return text, f"state: left rows for {left}, right rows for {right} of event time"

    def _on(self) -> str:
        keys = self.keys[: -len(WINDOW_COLUMNS)] if self.per_window else self.keys
        return on_text(keys)

    def _within(self) -> str:
        if self.per_window:
            return "one window"
        if self.before_ms == self.after_ms:
            return f"within {duration_text(self.before_ms)}"
        bounds = {"before": self.before_ms, "after": self.after_ms}
        said = [f"{duration_text(ms)} {name}" for name, ms in bounds.items() if ms]
        return f"at most {' and '.join(said)}"


@dataclass(frozen=True, eq=False)
class AsofJoinNode(JoinStep):
    """Joins each left row with the latest right row of its key that is not after it.

    That is at most `tolerance_ms` before it; None: however long.
    """

    KIND: ClassVar[str] = "asof_join"

    tolerance_ms: int | None

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        tolerance = None if self.tolerance_ms is None else self.tolerance_ms * 1_000
        return {**super().spec(given, gives), "tolerance_us": tolerance}

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        return {**(super().state(given) or {}), "tolerance": self._tolerance()}

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        kept = (
            "the latest right row of each key, for ever"
            if self.tolerance_ms is None
            else f"right rows for {self._tolerance()} of event time"
        )
        text = f"join_asof {self.how} on {self._on()}"
        if self.tolerance_ms is not None:
            text += f", tolerance {self._tolerance()}"
        return text, f"state: left rows ahead of the right stream, {kept}"

    def _tolerance(self) -> str:
        return "none" if self.tolerance_ms is None else duration_text(self.tolerance_ms)


def same_key(keys: Sequence[tuple[str, str]], times: tuple[EventTime, EventTime]) -> bool:
    """Whether the times of both streams are one key of their join, as the ends of windows are."""
    left, right = times
    return (left.column, right.column) in keys and left.minus_us == right.minus_us


def on_text(keys: Sequence[tuple[str, str]]) -> str:
    """Name the columns of keys."""
    return ", ".join(left if left == right else f"{left} = {right}" for left, right in keys)


def window_of(port: Port) -> Window | None:
    """The windows that the rows of a windowed stream are in, where one of its steps says it."""
    node = port.node
    while True:
        if isinstance(node, WindowAggregateNode):
            if START_COLUMN not in node.partial.keys:
                return node.partial.window
            node = node.partial.input.node  # the windows are those of the rows it aggregates
            continue
        window: Window | None = getattr(node, "window", None)
        if window is not None or not node.inputs:
            return window
        node = node.inputs[0].node


def key_pairs(left: Stream, right: Stream, on: object, what: str) -> tuple[tuple[str, str], ...]:
    """Check `on`, and give the pairs of columns it means."""
    if isinstance(on, str):
        pairs = [(on, on)]
    elif isinstance(on, Mapping):
        pairs = list(on.items())
    elif isinstance(on, Sequence):
        pairs = [(name, name) for name in on]
    else:
        raise TypeMismatch(f"{what}: on={on!r}", 'a name, names, or {"left": "right"}')
    if not 1 <= len(pairs) <= KEYS_MAX:
        raise PlanError(f"{what} on {len(pairs)} columns", f"1 to {KEYS_MAX}")
    for side, stream in enumerate((left, right)):
        names = [stream._require(pair[side]) for pair in pairs]
        for name in names:
            if names.count(name) > 1:
                raise PlanError(
                    f"{what}: on= names column {name!r} of {stream._origin()} twice",
                    "once is enough",
                )
    return tuple(pairs)


def widened(
    left: Stream, right: Stream, pairs: Sequence[tuple[str, str]], what: str
) -> tuple[Stream, Stream]:
    """Bring the keys of both streams to the same types, where one is wider than the other.

    Raises
    ------
    TypeMismatch
        If they have no type in common, or one that cannot be a key.
    """
    streams = [left, right]
    for pair in pairs:
        types = [stream.schema.field(name).type for stream, name in zip(streams, pair, strict=True)]
        for side in (0, 1):
            _require_key(streams[side], pair[side], types[side], what)
        if types[0] == types[1]:
            continue
        common = _common(*types)
        if common is None:
            raise TypeMismatch(
                f"{what} on {pair[0]!r}, which is {type_name(types[0])} in {left._origin()}, and "
                f"{pair[1]!r}, which is {type_name(types[1])} in {right._origin()}",
                "cast one of them: with_columns(...=col(...).cast(...))",
            )
        for side in (0, 1):
            if types[side] != common:
                name = pair[side]
                streams[side] = streams[side].with_columns({name: col(name).cast(common)})
    return streams[0], streams[1]


def joined_columns(
    left: Stream,
    right: Stream,
    pairs: Sequence[tuple[str, str]],
    how: JoinHow,
    suffix: str,
) -> tuple[tuple[JoinColumn, ...], pa.Schema]:
    """Give the columns of a join: the left ones, and of the right ones those that are no keys."""
    keys = dict(pairs)
    columns, fields = [], []
    for field in left.schema:
        if field.name in keys and how in ("right", "full"):
            theirs = right.schema.field(keys[field.name])
            nullable = theirs.nullable or (how == "full" and field.nullable)
            columns.append(JoinColumn(field.name, "either", field.name))
        else:
            nullable = field.nullable or how in ("right", "full")
            columns.append(JoinColumn(field.name, "left", field.name))
        fields.append(field.with_nullable(nullable))
    if how in ("semi", "anti"):
        return tuple(columns), pa.schema(fields)
    for field in right.schema:
        if field.name in keys.values():
            continue
        name = field.name + suffix if field.name in left.schema.names else field.name
        if any(name == other.name for other in fields):
            raise ColumnExists(
                f"column {field.name!r} of {right._origin()} would be {name!r}, which is there "
                "already",
                "give another suffix=, or rename it before the join",
            )
        columns.append(JoinColumn(name, "right", field.name))
        nullable = field.nullable or how in ("left", "full")
        fields.append(field.with_name(name).with_nullable(nullable))
    return tuple(columns), pa.schema(fields)


def _require_key(stream: Stream, name: str, type_: pa.DataType, what: str) -> None:
    if pa.types.is_nested(type_) or pa.types.is_float16(type_) or pa.types.is_null(type_):
        raise TypeMismatch(
            f"{what} on column {name!r} of {stream._origin()}, which is {type_name(type_)}",
            "a key is a number, text, time or boolean",
        )


def _common(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both; None if there is none among the keys."""
    types = (left, right)
    for kind in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if all(kind(each) for each in types):
            return max(types, key=lambda each: each.bit_width)
    if all(map(pa.types.is_integer, types)) and pa.uint64() not in types:
        return pa.int64()
    return None
