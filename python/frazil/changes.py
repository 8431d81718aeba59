"""Streams of changes: which they are, what refuses them, and `Stream.as_log`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from frazil.errors import ColumnExists, ModeMismatch, PlanError
from frazil.expr import Column
from frazil.node import (
    WINDOW_COLUMNS,
    EventTimeNode,
    ExchangeNode,
    FilterNode,
    Json,
    LookupNode,
    Port,
    ProjectNode,
    SourceNode,
    Step,
    UdfNode,
    UnionNode,
    WindowAggregateNode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

KIND_COLUMN = pa.field("_kind", pa.string(), nullable=False)
"""What `Stream.as_log` adds: "insert", "update_before", "update_after" or "delete"."""


@dataclass(frozen=True)
class Changes:
    """That rows of a stream are changes of rows before them.

    Attributes
    ----------
    key
        Columns that tell which row is changed: none if there is only one; None if they were left
        out.
    why
        The step that made it so, for messages.
    whole
        Whether an update also has the row before it. If not, only what goes by the key knows what
        it changes.
    filled
        Whether of a row that goes columns that may not be null may be zero or empty for want of a
        value.
    """

    key: tuple[str, ...] | None
    why: str
    whole: bool = True
    filled: bool = False

    def __str__(self) -> str:
        """Say it to people: ``changes by user``."""
        return f"changes by {', '.join(self.key)}" if self.key else "changes"


def changes_of(port: Port) -> Changes | None:
    """Find out whether the rows of a stream are changes; None if each is a row of its own."""
    node = port.node
    if port.output != "rows":
        return None
    match node:
        case SourceNode() if node.key is not None:
            why = f"{node.name} with change events"
            return Changes(node.key, why, node.whole, filled=not node.whole)
        case FilterNode() | UdfNode() | ExchangeNode() | LookupNode() | EventTimeNode():
            return changes_of(node.input)
        case ProjectNode():
            found = changes_of(node.input)
            return None if found is None else replace(found, key=_renamed(node, found.key))
        case UnionNode():
            each = [found for stream in node.streams if (found := changes_of(stream))]
            if not each:
                return None
            keys = {found.key for found in each}
            whole = all(found.whole for found in each)
            filled = any(found.filled for found in each)
            return Changes(keys.pop() if len(keys) == 1 else None, each[0].why, whole, filled)
        case WindowAggregateNode() if node.on_change:
            key = (*node.partial.keys, WINDOW_COLUMNS[0].name)
            return Changes(key, changing_window(node))
        case Step():
            made: Changes | None = node.changes()
            return made
    return None


def refuse_changes(port: Port, what: str, advice: str = "") -> None:
    """Raise if rows of a stream are changes.

    Parameters
    ----------
    port
        The stream.
    what
        What takes new rows only: "a window".
    advice
        What to do, if not `Stream.as_log`.

    Raises
    ------
    ModeMismatch
        With the step that makes them changes.
    """
    found = changes_of(port)
    if found is not None:
        raise ModeMismatch(
            f"{what} takes rows that stay as they are, and {found.why} gives updates of its rows",
            advice or "take it before that step, or .as_log() to have every change as a row",
        )


def what_may_differ(port: Port) -> str | None:
    """Find a step between those that make changes and a stream which may not give the row before.

    That is, of which the row before an update may not be what it gave as the row after the last.
    """
    node = port.node
    if changes_of(port) is None:
        return None
    match node:
        case UdfNode() if not node.function.pure:
            return f"{node.function.reference} with pure=False ({node.line})"
        case LookupNode() if node.dimension.inexact:
            return f"{node.dimension.name}, a lookup table that is read anew ({node.line})"
        case (
            FilterNode()
            | UdfNode()
            | ExchangeNode()
            | LookupNode()
            | EventTimeNode()
            | ProjectNode()
        ):
            return what_may_differ(node.input)
        case UnionNode():
            each = map(what_may_differ, node.streams)
            return next((found for found in each if found is not None), None)
    return None


def require_whole(port: Port, what: str, advice: str) -> None:
    """Raise if of changes that a stream has the row before is not known.

    Raises
    ------
    ModeMismatch
        With the step that makes them so.
    """
    found = changes_of(port)
    if found is not None and not found.whole:
        raise ModeMismatch(
            f"{what} has to know the row before each update and delete, which {found.why} has not",
            advice,
        )


def make_log(stream: Any) -> Any:
    """The stream with each change as a row, for a reader that goes by the last of each key."""
    return type(stream)(Port(make_as_log(stream._port, folded=True)))


def current(log: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows that are left after all changes of a log, without their kind.

    Parameters
    ----------
    log
        Rows of `Stream.as_log`, those of a key in their order.
    key
        Columns of the key.
    """
    last: dict[tuple[Any, ...], int] = {}
    names = [log.column(name).to_pylist() for name in key]
    kinds = log.column(KIND_COLUMN.name).to_pylist()
    for place, (kind, *values) in enumerate(zip(kinds, *names, strict=True)):
        if kind in ("delete", "update_before"):
            last.pop(tuple(values), None)
        else:
            last[tuple(values)] = place
    return log.take(pa.array(sorted(last.values()), pa.int64())).drop_columns([KIND_COLUMN.name])


def _renamed(node: ProjectNode, key: tuple[str, ...] | None) -> tuple[str, ...] | None:
    names: list[str] = []
    for column in key or ():
        found = [
            name for name, one in node.columns if isinstance(one, Column) and one._name == column
        ]
        if not found:
            return None
        names.append(column if column in found else found[0])
    return None if key is None else tuple(names)


@dataclass(frozen=True, eq=False)
class AsLogNode(Step):
    """Makes a row of every change, with its kind as a column.

    `folded` says that who reads it goes by the last change of each key.
    """

    KIND: ClassVar[str] = "as_log"

    folded: bool = False

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return None

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted - {KIND_COLUMN.name}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return [*given[0], KIND_COLUMN.name]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {}

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        if self.folded:
            return "as_log", "the last change of each key counts"
        return "as_log", "every change is a row (consistent: how many there are is open)"

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time: none."""
        return no_event_time(f"as_log gives changes as rows ({self.line})")


def changing_window(node: WindowAggregateNode) -> str:
    """What is said of windows that give changes."""
    keys = ", ".join(node.partial.keys)
    return f"group_by({keys}).agg in a window ({node.partial.window}, on change) ({node.line})"


def no_event_time(why: str) -> Any:
    """What a step says that gives rows without event time."""
    from frazil.event_time import NoEventTime

    return NoEventTime(f"{why}, which have none", "take windows and joins before it")


def make_as_log(port: Port, *, folded: bool = False) -> AsLogNode:
    """Check what `Stream.as_log` is asked of, and make its step."""
    if changes_of(port) is None:
        raise PlanError(
            "as_log of a stream whose rows are no changes", "leave it away: each row is new"
        )
    if KIND_COLUMN.name in port.schema.names:
        raise ColumnExists(
            f"as_log: column {KIND_COLUMN.name!r} would be there twice", "rename the one there is"
        )
    return AsLogNode(pa.schema([*port.schema.remove_metadata(), KIND_COLUMN]), (port,), folded)
