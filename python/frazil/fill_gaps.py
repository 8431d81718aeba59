"""Rows for windows in which a key had none: what `Stream.fill_gaps` makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from frazil.errors import PlanError, TypeMismatch
from frazil.event_time import require_event_time
from frazil.gate import columns_text, in_event_time_order
from frazil.node import (
    WINDOW_COLUMNS,
    FilterNode,
    Json,
    Port,
    ProjectNode,
    Step,
    WindowAggregateNode,
)
from frazil.types import type_name
from frazil.windowed import START_COLUMN

if TYPE_CHECKING:
    from frazil.stream import Stream
    from frazil.window import Window

Fill = Literal["null", "zero", "previous"]

FILL_GAPS_MAX = 100_000
"""Rows of a key that `fill_gaps` makes up in a row."""

_BOUNDS = tuple(column.name for column in WINDOW_COLUMNS)


@dataclass(frozen=True, eq=False)
class FillGapsNode(Step):
    """Gives results of windows on, and makes up those that a key has not, behind one it has."""

    KIND: ClassVar[str] = "fill_gaps"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]
    time_column: str
    time_minus_us: int
    window: Window
    fills: tuple[tuple[str, Fill], ...]
    most: int

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.window.to_json()]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted | {self.time_column, *_BOUNDS, *self.keys}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return given[0]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {
            "keys": list(self.keys),
            "time": {"column": self.time_column, "minus_us": self.time_minus_us},
            "window": self.window.to_json(),
            "most": self.most,
            "fills": [{"column": name, "how": how} for name, how in self.fills if name in given[0]],
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        previous = [name for name, how in self.fills if how == "previous" and name in given[0]]
        return {
            "keys": columns_text(self.schema, self.keys),
            "window": str(self.window),
            "most": str(self.most),
            "previous": columns_text(self.schema, previous),
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        fills = ", ".join(f"{name} {how}" for name, how in self.fills)
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        return (
            f"fill_gaps of {self.window}{by}: {fills}",
            f"state: a row per key that had one in the last {self.most} windows",
        )


def make_fill_gaps(
    stream: Stream, how: Fill, most: object, columns: Mapping[str, Fill] | None
) -> Stream:
    """Check what `Stream.fill_gaps` got, and make its steps."""
    from frazil.stream import Stream

    port, origin = stream._port, stream._origin()
    time = require_event_time(port, origin, "fill_gaps")
    keys, window = _windows(port, origin)
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= FILL_GAPS_MAX:
        raise PlanError(
            f"fill_gaps with most={most!r}",
            f"how many windows of a key are filled in a row: 1 to {FILL_GAPS_MAX}",
        )
    chosen = dict(columns or {})
    for name in chosen:
        stream._require(name)
        if name in (*keys, *_BOUNDS):
            raise PlanError(
                f"fill_gaps of {name!r}, which is a key of the windows or a bound of them",
                "these are known; choose how the others are filled",
            )
    fills: list[tuple[str, Fill]] = []
    fields = []
    for field in stream.schema.remove_metadata():
        if field.name in (*keys, *_BOUNDS):
            fields.append(field)
            continue
        fill = chosen.get(field.name, how)
        _check(field, fill)
        fills.append((field.name, fill))
        fields.append(field.with_nullable(True) if fill == "null" else field)
    before = in_event_time_order(port, origin, keys, "fill_gaps")
    node = FillGapsNode(
        pa.schema(fields),
        (before,),
        keys,
        time.column,
        time.minus_us,
        window,
        tuple(fills),
        most,
    )
    return Stream(Port(node))


def _check(field: pa.Field, fill: object) -> None:
    if fill not in ("null", "zero", "previous"):
        raise PlanError(f"fill_gaps of {field.name!r} by {fill!r}", '"null", "zero" or "previous"')
    number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal128)
    if fill == "zero" and not any(check(field.type) for check in number):
        raise TypeMismatch(
            f"fill_gaps of {field.name!r} by zero, and it is {type_name(field.type)}",
            f'choose for it: fill_gaps(..., columns={{{field.name!r}: "null"}}), or "previous"',
        )


def _windows(port: Port, origin: str) -> tuple[tuple[str, ...], Window]:
    """Keys and windows of the aggregate that a stream is the result of."""
    node = port.node
    while isinstance(node, FilterNode) or (isinstance(node, ProjectNode) and node.finishes):
        node = node.input.node
    if not isinstance(node, WindowAggregateNode) or START_COLUMN in node.partial.keys:
        raise PlanError(
            f"fill_gaps of {origin}, which is not what a window's agg(...) gave",
            'write it behind .group_by(...).window(fz.tumbling("1m")).agg(...), with nothing but '
            "filters between",
        )
    if node.partial.window.kind == "session":
        raise PlanError(
            f"fill_gaps of {node.partial.window}: where a key has no rows, it has no sessions",
            "windows that are filled are tumbling, hopping or cumulating, also of a calendar",
        )
    return node.partial.keys, node.partial.window
