"""Aggregates that change as rows come: of all rows of a key, and of windows before they close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from frazil.changes import (
    Changes,
    changes_of,
    no_event_time,
    refuse_changes,
    require_whole,
    what_may_differ,
)
from frazil.duration import duration_text
from frazil.errors import ColumnExists, ModeMismatch, PlanError
from frazil.event_time import require_event_time
from frazil.expr import col
from frazil.expr_aggregate import COLUMN_PREFIX, Aggregate, retracting, split
from frazil.gate import GateNode, columns_text
from frazil.node import WINDOW_COLUMNS, ExchangeNode, Json, Port, Step
from frazil.schema import checked
from frazil.types import type_name
from frazil.udf import as_written, call_texts, compute_calls
from frazil.user_aggregate import in_python
from frazil.windowed import AssignWindowNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from frazil.event_time import EventTime
    from frazil.stream import Stream
    from frazil.window import Window


@dataclass(frozen=True)
class Emit:
    """When results of windows are given: with every batch that changes them, or as time goes."""

    window: Window
    lateness_ms: int
    early_ms: int | None

    def __str__(self) -> str:
        """Say it to people: ``tumbling 1m, early 10s``."""
        how = "on change" if self.early_ms is None else f"early {duration_text(self.early_ms)}"
        return f"{self.window}, {how}"


@dataclass(frozen=True, eq=False)
class GroupAggregateNode(Step):
    """Keeps the aggregates of each key, and gives their changes.

    `time` is the time of rows (a column, and microseconds less), if their order matters. `emit` and
    `assigned` are there if keys have windows.
    """

    KIND: ClassVar[str] = "group_aggregate"
    STATEFUL: ClassVar[bool] = True
    EXACTNESS: ClassVar[Literal["exact", "settled", "consistent"]] = "settled"

    keys: tuple[str, ...]
    aggregates: tuple[tuple[str, Aggregate], ...]
    time: tuple[str, int] | None
    emit: Emit | None
    assigned: AssignWindowNode | None

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return list(self.keys)

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        read = {name for _, one in self.aggregates for name in one._columns()}
        return [read | set(self.keys) | ({self.time[0]} if self.time else set())]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return list(self.schema.names)

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        early = None if self.emit is None else self.emit.early_ms
        return {
            "keys": list(self.keys),
            "aggregates": [one._spec(name) for name, one in self.aggregates],
            "time": {"column": self.time[0], "minus_us": self.time[1]} if self.time else None,
            "window_end": None if self.emit is None else WINDOW_COLUMNS[1].name,
            "lateness_us": 0 if self.emit is None else self.emit.lateness_ms * 1_000,
            "early_us": None if early is None else early * 1_000,
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        calls = call_texts(self.streams[0].node)
        aggregates = [
            f"{name}={as_written(repr(one), calls)}: {type_name(self.schema.field(name).type)}"
            for name, one in self.aggregates
        ]
        said = {
            "keys": columns_text(self.schema, self.keys),
            "aggregates": ", ".join(aggregates),
        }
        if self._of_changes:
            said["rows"] = "changes"
        if self.emit is not None:
            said["window"] = str(self.emit)
            said["lateness"] = duration_text(self.emit.lateness_ms)
        return said

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        number = f"{len(self.aggregates)} accumulator" + "s" * (len(self.aggregates) > 1)
        by = ", ".join(self._own_keys)
        if self.emit is None:
            text = f"group_aggregate by {by}" if by else "group_aggregate"
            kept = "of the keys that have rows" if self._of_changes else "per key, for ever"
            return text, f"state: {number} {kept}; changes (settled){in_python(self.aggregates)}"
        text = f"group_aggregate {self.emit}" + (f" by {by}" if by else "")
        python = in_python(self.aggregates)
        return text, f"state: {number} per key and window; changes (settled){python}"

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time: none, as its rows are changed later."""
        return no_event_time(f"{self._what} gives changes")

    def changes(self) -> Changes | None:
        """Its rows are changes, by its keys."""
        return Changes(self.keys, self._what)

    @property
    def _own_keys(self) -> tuple[str, ...]:
        return self.keys if self.emit is None else self.keys[: -len(WINDOW_COLUMNS)]

    @property
    def _of_changes(self) -> bool:
        return changes_of(self.streams[0]) is not None

    @property
    def _what(self) -> str:
        how = "without a window" if self.emit is None else f"in a window ({self.emit})"
        return f"group_by({', '.join(self._own_keys)}).agg {how} ({self.line})"


def make_group_aggregate(
    stream: Stream, keys: tuple[str, ...], asked: Mapping[str, Any], emit: Emit | None
) -> Stream:
    """Check what `agg` got, and make its steps."""
    from frazil.grouped import AGGREGATES_MAX, _bound, _require_positions, _wanted
    from frazil.stream import Stream

    if not 1 <= len(asked) <= AGGREGATES_MAX:
        raise PlanError(
            f"agg got {len(asked)} aggregates", f"1 to {AGGREGATES_MAX}: agg(orders=fz.count())"
        )
    added = () if emit is None else tuple(column.name for column in WINDOW_COLUMNS)
    for name in asked:
        if name in (*keys, *added):
            raise ColumnExists(
                f"column {name!r} would be there twice",
                f"there already are {', '.join((*keys, *added))}: give the aggregate another name",
            )
    checked(pa.schema([(name, pa.null()) for name in asked]))
    if emit is not None:
        refuse_changes(stream._port, "agg in a window")
    origin = stream._origin()
    wanted = _wanted(asked)
    port, computed = compute_calls(stream._port, wanted, origin)
    _check_retracting(port, wanted)
    made, results = split(
        asked,
        {
            id(old): new
            for old, new in zip(wanted, computed, strict=True)
            if isinstance(new, Aggregate)
        },
    )
    bound = [_bound(one, name, port, origin) for name, one in made.items()]
    ordered = [one for one, (_, needs) in zip(made.values(), bound, strict=True) if needs]
    time = None
    if ordered or emit is not None:
        time = require_event_time(port, origin, f"{ordered[0]!r}" if ordered else "a window")
    if ordered:
        _require_positions(port, f"{ordered[0]!r} depends on the order of rows")
    all_keys = (*keys, *added)
    before, assigned = _before(port, time, all_keys, emit, ordered=bool(ordered))
    fields = [before.schema.field(name) for name in all_keys]
    node = GroupAggregateNode(
        pa.schema([*fields, *(column for column, _ in bound)]),
        (before,),
        all_keys,
        tuple(made.items()),
        (time.column, time.minus_us) if ordered and time is not None else None,
        emit,
        assigned,
    )
    totals = Stream(Port(node))
    if all(isinstance(one, Aggregate) for one in asked.values()):
        return totals
    try:
        named = [(name, col(name)) for name in all_keys]
        return totals._project([*named, *results.items()], finishes=True)
    except PlanError as error:
        calls = call_texts(port.node)
        lines = [error.what, *error.lines]
        for name, one in made.items():
            if name.startswith(COLUMN_PREFIX):
                lines = [line.replace(name, as_written(repr(one), calls)) for line in lines]
        raise type(error)(*lines) from None


def _check_retracting(port: Port, wanted: Sequence[Aggregate]) -> None:
    """Raise if rows may be taken back, and cannot be taken out of the aggregates again."""
    found = changes_of(port)
    if found is None:
        return
    require_whole(port, "agg", "aggregate behind a source that gives the row before, or its table")
    can = retracting()
    for one in wanted:
        if one._function not in can:
            raise PlanError(
                f"{one!r}: {found.why} gives updates of its rows, and {one._function} cannot take "
                "a row back without having kept all of them",
                f"{', '.join(can)} can; or take it of rows that stay, before that step",
            )
    differs = what_may_differ(port)
    if differs is not None:
        raise ModeMismatch(
            f"agg takes back what a row gave before, and {differs} may answer otherwise for the "
            "same row later",
            "do it before the step that gives changes, or behind agg",
        )


def _before(
    port: Port, time: EventTime | None, keys: tuple[str, ...], emit: Emit | None, *, ordered: bool
) -> tuple[Port, AssignWindowNode | None]:
    """The steps before the aggregate: windows, the order of rows, the exchange."""
    assigned = None
    if emit is not None:
        assert time is not None
        windows = pa.schema([*port.schema.remove_metadata(), *WINDOW_COLUMNS])
        assigned = AssignWindowNode(
            windows, (port,), time.column, time.minus_us, emit.window, emit.lateness_ms
        )
        port = Port(assigned)
    if ordered:
        assert time is not None
        port = Port(GateNode(port.schema, (port,), time.column, time.minus_us, refuses=False))
    transforms = (("identity", 0),) * len(keys)
    return Port(ExchangeNode(port.schema, port, keys, transforms)), assigned
