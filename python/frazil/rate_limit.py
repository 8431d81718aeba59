"""No more than so many rows of a key in a time: what `Grouped.rate_limit` makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from frazil.duration import duration_text
from frazil.errors import PlanError
from frazil.event_time import bounded, require_event_time
from frazil.gate import columns_text, in_event_time_order
from frazil.node import Json, Port, Step

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.stream import Stream

RATE_LIMIT_MAX = 1_000_000
"""Rows of a key in the time of `rate_limit`: as many times are kept."""


@dataclass(frozen=True, eq=False)
class RateLimitNode(Step):
    """Keeps a row if fewer than `limit` were kept in the time `per_ms` before it.

    The others are its output "limited".
    """

    KIND: ClassVar[str] = "rate_limit"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]
    time_column: str
    time_minus_us: int
    limit: int
    per_ms: int

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.time_column, self.time_minus_us]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted | {self.time_column, *self.keys}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return given[0]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {
            "keys": list(self.keys),
            "time": {"column": self.time_column, "minus_us": self.time_minus_us},
            "limit": self.limit,
            "per_us": self.per_ms * 1_000,
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        return {
            "keys": columns_text(self.schema, self.keys),
            "limit": str(self.limit),
            "per": duration_text(self.per_ms),
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        per = duration_text(self.per_ms)
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        return (
            f"rate_limit {self.limit} per {per}{by}",
            f"state: up to {self.limit} times per key of the last {per}",
        )


def make_rate_limit(stream: Stream, keys: tuple[str, ...], limit: int, per: Duration) -> Stream:
    """Check what `Grouped.rate_limit` got, and make its steps."""
    from frazil.stream import Stream

    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= RATE_LIMIT_MAX:
        raise PlanError(f"rate_limit of {limit!r} rows", f"1 to {RATE_LIMIT_MAX}")
    per_ms = bounded(per, "per", least=1)
    port, origin = stream._port, stream._origin()
    time = require_event_time(port, origin, "rate_limit")
    before = in_event_time_order(port, origin, keys, "rate_limit")
    node = RateLimitNode(port.schema, (before,), keys, time.column, time.minus_us, limit, per_ms)
    return Stream(Port(node))


def limited_rows(port: Port, origin: str) -> Port:
    """The rows that a limit set aside, of the stream that it gave."""
    if not isinstance(port.node, RateLimitNode) or port.output != "rows":
        raise PlanError(
            f"limited rows belong to what rate_limit gave, and this stream of {origin} is not it",
            "write kept.limited of the stream that .rate_limit(...) gave",
        )
    return Port(port.node, "limited")
