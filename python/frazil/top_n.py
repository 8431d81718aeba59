"""The first rows of each key and window. `Grouped.top_n` is made of this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from frazil.errors import ColumnExists, PlanError, TypeMismatch
from frazil.gate import columns_text, gated
from frazil.node import Json, Port, Step
from frazil.schema import checked
from frazil.types import type_name
from frazil.windowed import require_windowed

if TYPE_CHECKING:
    from frazil.stream import Stream

TOP_N_MAX = 100_000
"""Rows of one key and window that `top_n` keeps at most."""
BY_MAX = 16
"""Columns it sorts by."""


@dataclass(frozen=True, eq=False)
class TopNNode(Step):
    """Keeps the first rows of each key and window, and gives them when the window closes."""

    KIND: ClassVar[str] = "top_n"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]  # with the bounds of the window
    time_column: str
    time_minus_us: int
    n: int
    by: tuple[str, ...]
    descending: bool
    rank: str | None

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.n, self.by, self.descending, self.rank]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [(wanted - {self.rank or ""}) | {self.time_column, *self.keys, *self.by}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return [*given[0], *([self.rank] if self.rank else [])]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {
            "keys": list(self.keys),
            "time": {"column": self.time_column, "minus_us": self.time_minus_us},
            "n": self.n,
            "by": [{"column": name, "descending": self.descending} for name in self.by],
            "rank": self.rank,
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        return {
            "keys": columns_text(self.schema, self.keys),
            "rows": columns_text(self.streams[0].schema, given[0]),
            "kept": f"{self.n} {self._by()}",
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        keys = ", ".join(self.keys)
        return (
            f"top_n {self.n} {self._by()} of {keys}",
            f"state: {self.n} rows per key and open window",
        )

    def _by(self) -> str:
        return f"by {', '.join(self.by)}, {'largest' if self.descending else 'smallest'} first"


def make_top_n(
    stream: Stream,
    keys: tuple[str, ...],
    n: int,
    by: str | Sequence[str],
    descending: bool,
    rank: str | None,
) -> Stream:
    """Check what `Grouped.top_n` got, and make its steps."""
    from frazil.stream import Stream

    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= TOP_N_MAX:
        raise PlanError(f"top_n of {n!r} rows", f"1 to {TOP_N_MAX}")
    listed = [by] if isinstance(by, str) else list(by)
    if not 1 <= len(listed) <= BY_MAX:
        raise PlanError(f"top_n by {len(listed)} columns", f"1 to {BY_MAX}")
    for name in listed:
        type_ = stream.schema.field(stream._require(name)).type
        if not _sortable(type_):
            raise TypeMismatch(
                f"top_n by {name!r}, which is {type_name(type_)}",
                "rows are sorted by numbers, texts, bytes, booleans or times",
            )
    origin = stream._origin()
    time = require_windowed(stream._port, origin, "top_n")
    all_keys = tuple(dict.fromkeys([*keys, "window_start", "window_end"]))
    schema = stream.schema
    if rank is not None:
        if rank in schema.names:
            raise ColumnExists(
                f"top_n: column {rank!r} would be there twice", "give the rank another name"
            )
        schema = checked(schema.append(pa.field(rank, pa.int64(), nullable=False)))
    before = gated(stream._port, origin, all_keys, "top_n")
    node = TopNNode(
        schema,
        (before,),
        all_keys,
        time.column,
        time.minus_us,
        n,
        tuple(listed),
        bool(descending),
        rank,
    )
    return Stream(Port(node))


def _sortable(type_: pa.DataType) -> bool:
    checks = (
        pa.types.is_integer,
        pa.types.is_float32,
        pa.types.is_float64,
        pa.types.is_decimal128,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_binary,
        pa.types.is_large_string,
        pa.types.is_large_binary,
        pa.types.is_temporal,
    )
    return any(check(type_) for check in checks)
