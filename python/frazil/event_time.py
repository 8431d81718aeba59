"""Event time of streams: which column it is, what took it away, and who may give it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from frazil.changes import changing_window, no_event_time, refuse_changes
from frazil.duration import MILLISECONDS, Duration, duration_ms, duration_text
from frazil.errors import PlanError, TypeMismatch, WatermarkMissing
from frazil.expr import Column
from frazil.node import (
    ConcatNode,
    EventTimeNode,
    ExchangeNode,
    FilterNode,
    LookupNode,
    MapBatchesNode,
    Port,
    ProjectNode,
    SourceNode,
    Step,
    UdfNode,
    UnionNode,
    WindowAggregateNode,
)
from frazil.types import type_name
from frazil.unnest import UnnestNode

MAX_AHEAD_MS = MILLISECONDS["d"]
"""How far the time of a Kafka message may be ahead of the broker's, unless the program says it."""
OUT_OF_ORDER_MS_MAX = 366 * MILLISECONDS["d"]
"""The longest `out_of_order`, `max_ahead`, `idle_after` and `lateness`."""


@dataclass(frozen=True)
class EventTime:
    """The time of a stream's rows: that of a column, less some microseconds.

    `copies` are further columns with the same values.
    """

    column: str
    minus_us: int
    detail: str = ""
    copies: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it to people: ``ts, 10s out of order``."""
        said = f"{self.column} - {self.minus_us}us" if self.minus_us else self.column
        return f"{said}, {self.detail}" if self.detail else said


@dataclass(frozen=True)
class NoEventTime:
    """Why a stream has no event time, and what to do about it."""

    why: str
    advice: str


def event_time_of(port: Port, origin: str) -> EventTime | NoEventTime:
    """Find the time of a stream's rows.

    Parameters
    ----------
    port
        The stream.
    origin
        What it is called in errors.
    """
    renames: list[ProjectNode] = []
    while True:
        node = port.node
        if port.output != "rows":
            return NoEventTime(f"{port.output} rows have none", "write them, and read them again")
        match node:
            case ProjectNode():
                renames.append(node)
                port = node.input
            case FilterNode() | UdfNode() | ExchangeNode() | LookupNode():
                port = node.input
            case Step():
                made: EventTime | NoEventTime = node.event_time(
                    lambda port: event_time_of(port, origin)
                )
                found = made
                break
            case _:
                found = _made_by(port, origin)
                break
    for node in reversed(renames):
        if isinstance(found, EventTime):
            found = _through(node, found)
    return found


def require_event_time(port: Port, origin: str, what: str) -> EventTime:
    """Find the time of a stream's rows.

    Raises
    ------
    WatermarkMissing
        If it has none; says which step took it away.
    """
    refuse_changes(port, what)
    found = event_time_of(port, origin)
    if isinstance(found, NoEventTime):
        raise WatermarkMissing(f"{what} needs event time, and {found.why}", found.advice)
    return found


def make_event_time(
    port: Port,
    origin: str,
    column: object,
    out_of_order: Duration,
    max_ahead: Duration | None,
    idle_after: Duration | None,
) -> EventTimeNode:
    """Check what `Stream.event_time` got, and make its step."""
    name = column._name if isinstance(column, Column) else column
    if not isinstance(name, str):
        raise TypeMismatch(f"event_time got {column!r}", "give the name of a column")
    source, same_rows = _source_of(port, origin)
    type_ = port.schema.field(name).type
    if not pa.types.is_timestamp(type_) or type_.tz is None:
        raise TypeMismatch(
            f"event_time of column {name!r}, which is {type_name(type_)}",
            "event time is a timestamp with a zone: timestamp[us, UTC]",
            _cast_advice(name, type_),
        )
    ahead_ms = None
    stored = source.connector == "kafka" and same_rows
    if max_ahead == "auto":
        ahead_ms = MAX_AHEAD_MS if stored else None
    elif max_ahead is not None:
        ahead_ms = bounded(max_ahead, "max_ahead", least=0)
        if not stored:
            raise PlanError(
                f"max_ahead={max_ahead!r} of {origin}: its rows have no time but their own",
                "it compares with the time that a Kafka broker has stored"
                if source.connector != "kafka"
                else "what map_batches returned are other rows: call event_time before it",
                "leave max_ahead away",
            )
    idle_ms = None if idle_after is None else bounded(idle_after, "idle_after", least=1)
    out_of_order_ms = bounded(out_of_order, "out_of_order", least=0)
    return EventTimeNode(port.schema, port, name, out_of_order_ms, ahead_ms, idle_ms)


def _made_by(port: Port, origin: str) -> EventTime | NoEventTime:
    node = port.node
    match node:
        case EventTimeNode():
            detail = f"{duration_text(node.out_of_order_ms)} out of order"
            return EventTime(node.column, 0, detail)
        case WindowAggregateNode() if node.on_change:
            made: NoEventTime = no_event_time(f"{changing_window(node)} gives changes")
            return made
        case WindowAggregateNode():
            # A row at the end of a session belongs to it; one at that of another window does not.
            return EventTime("window_end", 0 if node.partial.window.kind == "session" else 1)
        case MapBatchesNode():
            before = event_time_of(node.input, origin)
            if isinstance(before, NoEventTime):
                return before
            return NoEventTime(
                f"map_batches took it away ({node.line}): what it returns are other rows",
                f"call event_time behind it: .event_time({_quoted(before, node.schema)}, ...)",
            )
        case UnionNode():
            return _of_union(node, origin)
    stamps = [field.name for field in port.schema if pa.types.is_timestamp(field.type)]
    column = repr(stamps[0]) if stamps else "..."
    return NoEventTime(
        f"{origin} has none",
        f"add before group_by: .event_time({column}, out_of_order='10s')",
    )


def _of_union(node: UnionNode, origin: str) -> EventTime | NoEventTime:
    word = _put_together(node)
    found = [event_time_of(port, origin) for port in node.streams]
    times = [time for time in found if isinstance(time, EventTime)]
    if not times:
        return found[0]
    if len(times) < len(found):
        number = next(n for n, time in enumerate(found, 1) if isinstance(time, NoEventTime))
        return NoEventTime(
            f"stream {number} of the {word} ({node.line}) has none",
            f"call it on each stream before {word}: .event_time({times[0].column!r}, ...)",
        )
    if len({(time.column, time.minus_us) for time in times}) > 1:
        columns = " and ".join(dict.fromkeys(map(str, times)))
        return NoEventTime(
            f"the streams of the {word} ({node.line}) have different ones: {columns}",
            f"give it the same column in each: rename, then {word}",
        )
    details = dict.fromkeys(time.detail for time in times)
    return EventTime(times[0].column, times[0].minus_us, " or ".join(details))


def _put_together(node: UnionNode) -> str:
    return "concat" if isinstance(node, ConcatNode) else "union"


def _through(node: ProjectNode, time: EventTime) -> EventTime | NoEventTime:
    """What a projection leaves: the time goes where its column goes, unchanged."""
    kept = [
        name
        for name, expression in node.columns
        if isinstance(expression, Column) and expression._name in (time.column, *time.copies)
    ]
    if kept:
        name = time.column if time.column in kept else kept[0]
        copies = tuple(copy for copy in kept if copy != name)
        return EventTime(name, time.minus_us, time.detail, copies)
    if time.column in node.schema.names:
        return NoEventTime(
            f"column {time.column!r} was overwritten ({node.line}), which took it away",
            "write the new value under another name, or call event_time behind it",
        )
    return NoEventTime(
        f"column {time.column!r} was left out ({node.line}), which took it away",
        f"keep {time.column!r} to the window: what is not used there is not read",
    )


def _source_of(port: Port, origin: str) -> tuple[SourceNode, bool]:
    """The one source of a stream, and whether its rows still are those of the source."""
    same_rows = True
    while True:
        node = port.node
        if port.output != "rows":
            raise PlanError(
                f"event_time on {port.output} rows of {origin}",
                "write them to a table, and read that",
            )
        match node:
            case SourceNode():
                return node, same_rows
            case MapBatchesNode() | UnnestNode():
                same_rows = False
                port = node.inputs[0]
            case LookupNode() if node.duplicates == "all" and node.how in ("inner", "left"):
                raise PlanError(
                    f'event_time behind join_lookup with duplicates="all" ({node.line})',
                    "rows that come several times have no place in their partition",
                    "call event_time before join_lookup",
                )
            case FilterNode() | ProjectNode() | UdfNode() | LookupNode():
                port = node.input
            case UnionNode():
                raise PlanError(
                    f"event_time on a {_put_together(node)} ({node.line}) of {origin}",
                    "watermarks belong to partitions of one source: call it on each stream before "
                    + _put_together(node),
                )
            case EventTimeNode():
                raise PlanError(
                    f"{origin} has event time already: {node.column!r} ({node.line})",
                    "call event_time once, on the column that windows use",
                )
            case WindowAggregateNode():
                raise PlanError(
                    f"event_time behind a window ({node.line})",
                    f"what a window gives has event time of its own: {_made_by(port, origin)}",
                )
            case Step():
                raise PlanError(
                    f"event_time behind {node.explained()[0]} ({node.line})",
                    "call event_time once, on the stream of the source",
                )
            case _:
                raise AssertionError(type(node))


def bounded(value: Duration, option: str, *, least: int) -> int:
    """Milliseconds of an option on time."""
    ms = duration_ms(value, option, least=least)
    if ms > OUT_OF_ORDER_MS_MAX:
        raise PlanError(
            f"{option}={value!r} is too long", f"up to {duration_text(OUT_OF_ORDER_MS_MAX)}"
        )
    return ms


def _cast_advice(name: str, type_: pa.DataType) -> str:
    if pa.types.is_timestamp(type_):
        return f'say in which zone: with_columns({name}=col({name!r}).dt.replace_time_zone("UTC"))'
    if pa.types.is_string(type_):
        return f"with_columns({name}=col({name!r}).str.to_datetime())"
    if pa.types.is_integer(type_):
        return f'with_columns({name}=fz.from_epoch(col({name!r}), unit="ms"))'
    return "choose another column"


def _quoted(time: EventTime, schema: pa.Schema) -> str:
    return repr(time.column) if time.column in schema.names else "..."
