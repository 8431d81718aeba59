"""Streams whose rows are in windows: which they are, and `Stream.assign_window`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from frazil.errors import ColumnExists, PlanError, TypeMismatch
from frazil.event_time import EventTime, event_time_of, require_event_time
from frazil.expr import Expr, col
from frazil.node import WINDOW_COLUMNS, Json, Port, ProjectNode, Step
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
