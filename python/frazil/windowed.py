"""Streams whose rows are in windows: which they are, and `Stream.assign_window`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from frazil.errors import ColumnExists, PlanError, TypeMismatch
from frazil.event_time import EventTime, event_time_of, require_event_time
from frazil.expr import Column, Expr, col
from frazil.node import (
    WINDOW_COLUMNS,
    ExchangeNode,
    FilterNode,
    Json,
    LookupNode,
    Port,
    ProjectNode,
    Step,
    UdfNode,
    UnionNode,
    WindowAggregateNode,
)
from frazil.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from frazil.stream import Stream

START_COLUMN = "__window_start"
"""What the beginning of a window is called while rows are aggregated by it."""


@dataclass(frozen=True, eq=False)
class AssignWindowNode(Step):
    """Gives each row once for each window it is in; sets aside what is late for a window."""

    KIND: ClassVar[str] = "assign_window"
    REFUSES: ClassVar[bool] = True

    time_column: str
    time_minus_us: int
    window: Window
    lateness_ms: int = 0

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        late = [self.lateness_ms] if self.lateness_ms else []
        return [self.time_column, self.time_minus_us, self.window.to_json(), *late]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        made = {column.name for column in WINDOW_COLUMNS}
        return [(wanted - made) | {self.time_column}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return [*given[0], *(column.name for column in WINDOW_COLUMNS)]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {
            "time": {"column": self.time_column, "minus_us": self.time_minus_us},
            "window": self.window.to_json(),
            "lateness_us": self.lateness_ms * 1_000,
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        return f"assign_window {self.window}", ""

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time: a microsecond before the end of the window."""
        return EventTime("window_end", 1)


def make_assign_window(port: Port, origin: str, window: object) -> AssignWindowNode:
    """Check what `Stream.assign_window` got, and make its step."""
    if not isinstance(window, Window):
        raise TypeMismatch(
            f"assign_window got {window!r}, a {type(window).__name__}",
            'write assign_window(fz.tumbling("1m")), or hopping, cumulating',
        )
    if window.kind == "session":
        raise PlanError(
            f"assign_window of {window}: a session ends only when no row has come for its gap",
            "aggregate: group_by(...).window(fz.session(...)).agg(...)",
        )
    for column in WINDOW_COLUMNS:
        if column.name in port.schema.names:
            raise ColumnExists(
                f"assign_window: column {column.name!r} would be there twice",
                "drop or rename it; if the stream is windowed already, use it as it is",
            )
    time = require_event_time(port, origin, "assign_window")
    schema = pa.schema([*port.schema.remove_metadata(), *WINDOW_COLUMNS])
    return AssignWindowNode(schema, (port,), time.column, time.minus_us, window)


def is_windowed(port: Port, origin: str) -> bool:
    """Whether rows have the bounds of a window, and its end is their time."""
    time = event_time_of(port, origin)
    return isinstance(time, EventTime) and _of_windows(port, time)


def require_windowed(port: Port, origin: str, what: str) -> EventTime:
    """Find the time of a stream that is windowed.

    Raises
    ------
    WatermarkMissing
        If it has no event time.
    PlanError
        If it is not windowed; says what to write.
    """
    time = require_event_time(port, origin, what)
    if not _of_windows(port, time):
        raise PlanError(
            f"{what} of {origin}, which is not windowed: it would never be known to be complete",
            f'write .assign_window(fz.tumbling("1m")) before, or {what} of what a windowed '
            "aggregate gave, with its window_start and window_end",
        )
    return time


def _of_windows(port: Port, time: EventTime) -> bool:
    if time.minus_us != 1 or time.column != "window_end":
        return False
    return all(column.name in port.schema.names for column in WINDOW_COLUMNS)


@dataclass(frozen=True)
class Windows:
    """The windows of a windowed stream, and the columns that have their bounds, each with which."""

    window: Window
    bounds: frozenset[tuple[str, str]]


def windows_of(port: Port) -> Windows | None:
    """Find out which windows the rows of a stream are in; None if its steps do not say it."""
    node = port.node
    if port.output != "rows":
        return None
    match node:
        case WindowAggregateNode():
            if START_COLUMN not in node.partial.keys:
                return Windows(node.partial.window, frozenset(_BOUNDS))
            before = windows_of(node.partial.input)
            if before is None or (START_COLUMN, "window_start") not in before.bounds:
                return None
            return Windows(before.window, frozenset([(START_COLUMN, "window_start"), _BOUNDS[1]]))
        case AssignWindowNode():
            return Windows(node.window, frozenset(_BOUNDS))
        case ProjectNode():
            before = windows_of(node.input)
            if before is None:
                return None
            return Windows(before.window, frozenset(_renamed(node, before.bounds)))
        case FilterNode() | UdfNode() | ExchangeNode() | LookupNode():
            return windows_of(node.input)
        case UnionNode():
            each = [windows_of(stream) for stream in node.streams]
            return each[0] if all(one == each[0] for one in each) else None
        case Step() if len(node.streams) == 1:
            return windows_of(node.streams[0])
    return None


@dataclass(frozen=True)
class WindowRows:
    """Rows of which each key has at most one in a window.

    Attributes
    ----------
    keys
        Of the aggregate that gave them.
    columns
        Those that have a key or a bound of the window, each with which.
    spread
        Whether rows of a key may be on several workers.
    """

    keys: tuple[str, ...]
    columns: frozenset[tuple[str, str]]
    spread: bool


def window_rows(port: Port, origin: str) -> WindowRows:
    """Find the aggregate whose rows a stream has, through steps that keep each as one row.

    Raises
    ------
    PlanError
        If it has others; says which step made them.
    """
    node = port.node
    match node:
        case WindowAggregateNode():
            spread = START_COLUMN in node.partial.keys
            keys = tuple(key for key in node.partial.keys if key != START_COLUMN)
            bounds = [(START_COLUMN, "window_start"), _BOUNDS[1]] if spread else _BOUNDS
            return WindowRows(keys, frozenset([*((key, key) for key in keys), *bounds]), spread)
        case ProjectNode():
            rows = window_rows(node.input, origin)
            return WindowRows(rows.keys, frozenset(_renamed(node, rows.columns)), rows.spread)
        case LookupNode() if node.duplicates == "all" and node.how in ("inner", "left"):
            why = f'join_lookup with duplicates="all" ({node.line}) gives rows several times'
        case FilterNode() | UdfNode() | ExchangeNode() | LookupNode():
            return window_rows(node.input, origin)
        case AssignWindowNode():
            why = f"assign_window ({node.line}) gives any number of rows for a key and window"
        case Step():
            why = f"its rows are those of {node.explained()[0]} ({node.line})"
        case UnionNode():
            why = f"a union ({node.line}) may have several rows of a key and window"
        case _:
            why = "it is not the result of a windowed aggregate"
    raise PlanError(
        f"fill_gaps of {origin}: {why}",
        'call it behind an aggregate: group_by(...).window(fz.tumbling("1m")).agg(...)',
    )


_BOUNDS = tuple((column.name, column.name) for column in WINDOW_COLUMNS)


def _renamed(node: ProjectNode, known: frozenset[tuple[str, str]]) -> list[tuple[str, str]]:
    """What columns are known to have, behind a projection."""
    before = dict(known)
    return [
        (name, before[one._name])
        for name, one in node.columns
        if isinstance(one, Column) and one._name in before
    ]


def aggregate_windows(stream: Stream, keys: tuple[str, ...], asked: Mapping[str, Any]) -> Stream:
    """Aggregate the rows of each key and window of a windowed stream.

    Rows of one window have one time, a microsecond before its end: so they are those of the
    tumbling window of a microsecond that ends there, by the keys and the beginning of theirs.
    """
    from frazil.grouped import Windowed

    of_stream = Window("tumbling", (("size_us", 1), ("offset_us", 0)), 'windows("of the stream")')
    bounds = [column.name for column in WINDOW_COLUMNS]
    others = [key for key in keys if key not in bounds]
    for name in asked:
        if name in (*bounds, *others):
            raise ColumnExists(
                f"column {name!r} would be there twice", "give the aggregate another name"
            )
    renamed = [(name, col(name)) for name in stream.schema.names if name != "window_start"]
    started = stream._project([*renamed, (START_COLUMN, col("window_start"))])
    totals = Windowed(started, (*others, START_COLUMN), of_stream, 0).agg(asked)
    columns: list[tuple[str, Expr]] = [(name, col(name)) for name in others]
    columns += [("window_start", col(START_COLUMN)), ("window_end", col("window_end"))]
    columns += [(name, col(name)) for name in asked]
    node = totals._port.node
    if isinstance(node, ProjectNode) and node.finishes:
        # One projection finishes it, so that names and late rows find the aggregate.
        inner = dict(node.columns)
        columns = [(name, inner.get(name, value)) for name, value in columns]
        columns[len(others)] = ("window_start", col(START_COLUMN))
        totals = type(totals)(node.input)
    return totals._project(columns, finishes=True)
