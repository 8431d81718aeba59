"""Rows with the aggregates of all rows up to them. `Grouped.running` is made of this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from frazil.duration import duration_text
from frazil.errors import ColumnExists, PlanError
from frazil.event_time import bounded, require_event_time
from frazil.expr import col
from frazil.expr_aggregate import COLUMN_PREFIX, Aggregate, split
from frazil.gate import columns_text, in_event_time_order
from frazil.node import Json, Port, Step
from frazil.schema import checked
from frazil.types import type_name
from frazil.udf import as_written, call_texts, compute_calls

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.stream import Stream


@dataclass(frozen=True, eq=False)
class RunningNode(Step):
    """Gives every row on with the aggregates of the rows of its key up to it."""

    KIND: ClassVar[str] = "running"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]
    time_column: str
    time_minus_us: int
    aggregates: tuple[tuple[str, Aggregate], ...]
    ttl_ms: int | None

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.time_column, self.time_minus_us]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        made = {name for name, _ in self.aggregates}
        read = {name for _, one in self.aggregates for name in one._columns()}
        return [(wanted - made) | read | {self.time_column, *self.keys}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return [*given[0], *(name for name, _ in self.aggregates)]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {
            "keys": list(self.keys),
            "time": {"column": self.time_column, "minus_us": self.time_minus_us},
            "aggregates": [one._spec(name) for name, one in self.aggregates],
            "ttl_us": None if self.ttl_ms is None else self.ttl_ms * 1_000,
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        calls = call_texts(self.streams[0].node)
        aggregates = [
            f"{name}={as_written(repr(one), calls)}: {type_name(self.schema.field(name).type)}"
            for name, one in self.aggregates
        ]
        return {
            "keys": columns_text(self.schema, self.keys),
            "aggregates": ", ".join(aggregates),
            "ttl": "none" if self.ttl_ms is None else duration_text(self.ttl_ms),
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        made = ", ".join(f"{name}={one!r}" for name, one in self.aggregates)
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        if self.ttl_ms is None:
            kept = "per key, for ever: it grows with the number of keys (ttl= bounds it)"
        else:
            kept = f"per key of the last {duration_text(self.ttl_ms)}"
        number = f"{len(self.aggregates)} accumulator" + "s" * (len(self.aggregates) > 1)
        return f"running {made}{by}", f"state: {number} {kept}"


def make_running(
    stream: Stream, keys: tuple[str, ...], asked: Mapping[str, Any], ttl: Duration | None
) -> Stream:
    """Check what `Grouped.running` got, and make its steps."""
    from frazil.grouped import AGGREGATES_MAX, _bound, _wanted
    from frazil.stream import Stream

    if not 1 <= len(asked) <= AGGREGATES_MAX:
        raise PlanError(
            f"running got {len(asked)} aggregates", f"1 to {AGGREGATES_MAX}: running(n=fz.count())"
        )
    ttl_ms = None if ttl is None else bounded(ttl, "ttl", least=1)
    names = stream.schema.names
    for name in asked:
        if name in names:
            raise ColumnExists(
                f"running: column {name!r} would be there twice",
                "every row keeps its columns: give the aggregate another name",
            )
    checked(pa.schema([(name, pa.null()) for name in asked]))
    origin = stream._origin()
    wanted = _wanted(asked)
    port, computed = compute_calls(stream._port, wanted, origin)
    made, results = split(
        asked,
        {
            id(old): new
            for old, new in zip(wanted, computed, strict=True)
            if isinstance(new, Aggregate)
        },
    )
    time = require_event_time(port, origin, "running")
    columns = [_bound(one, name, port, origin)[0] for name, one in made.items()]
    before = in_event_time_order(port, origin, keys, "running")
    schema = pa.schema([*port.schema.remove_metadata(), *columns])
    aggregates = tuple(made.items())
    node = RunningNode(schema, (before,), keys, time.column, time.minus_us, aggregates, ttl_ms)
    running = Stream(Port(node))
    if schema.names == [*names, *asked]:
        return running
    kept = [(name, col(name)) for name in names]
    try:
        return running._project([*kept, *results.items()], finishes=True)
    except PlanError as error:
        calls = call_texts(port.node)
        lines = [error.what, *error.lines]
        for name, one in aggregates:
            if name.startswith(COLUMN_PREFIX):
                lines = [line.replace(name, as_written(repr(one), calls)) for line in lines]
        raise type(error)(*lines) from None
