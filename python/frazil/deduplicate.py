"""Of rows of a key that are near each other one is kept: what `Stream.deduplicate` makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from frazil.duration import duration_text
from frazil.errors import PlanError
from frazil.event_time import bounded, require_event_time
from frazil.gate import columns_text, gated, in_event_time_order
from frazil.node import Json, Port, Step

if TYPE_CHECKING:
    from frazil.duration import Duration

Keep = Literal["any", "first", "last"]


@dataclass(frozen=True, eq=False)
class DeduplicateNode(Step):
    """Keeps one row of those of a key that are less than `within_ms` apart."""

    KIND: ClassVar[str] = "deduplicate"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]
    time_column: str
    time_minus_us: int
    within_ms: int
    keep: Keep

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.time_column, self.time_minus_us, self.keep]

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
            "within_us": self.within_ms * 1_000,
            "keep": self.keep,
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        kept = {
            "keys": columns_text(self.schema, self.keys),
            "within": duration_text(self.within_ms),
            "keep": self.keep,
        }
        if self.keep == "last":
            kept["rows"] = columns_text(self.schema, given[0])
        return kept

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        within = duration_text(self.within_ms)
        text = f"deduplicate {self.keep} by {', '.join(self.keys)} within {within}"
        what = "a row" if self.keep == "last" else "a time"
        return text, f"state: {what} per key of the last {within}"


@dataclass(frozen=True, eq=False)
class DeduplicateAnyNode(DeduplicateNode):
    """Keeps the row that comes first, which is not always the same one."""

    EXACTNESS: ClassVar[Literal["exact", "settled", "consistent"]] = "consistent"

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        text, detail = super().explained()
        return text, f"{detail}; consistent: of rows that differ, the first to arrive is kept"


def make_deduplicate(
    port: Port, origin: str, keys: tuple[str, ...], within: Duration | None, keep: Keep
) -> DeduplicateNode:
    """Check what `Stream.deduplicate` got, and make its steps."""
    if not keys:
        raise PlanError("deduplicate got no key", 'write deduplicate("id", within="1h")')
    said = ", ".join(map(repr, keys))
    if within is None:
        raise PlanError(
            f"deduplicate by {said} without within: it would keep every key there ever was, for "
            "ever",
            f'say how far apart equal keys may be: deduplicate({said}, within="1h")',
        )
    within_ms = bounded(within, "within", least=1)
    if keep not in ("any", "first", "last"):
        raise PlanError(f"deduplicate got keep={keep!r}", 'keep is "any", "first" or "last"')
    time = require_event_time(port, origin, "deduplicate")
    if keep == "any":
        before = gated(port, origin, keys, "deduplicate")
        made: type[DeduplicateNode] = DeduplicateAnyNode
    else:
        before = in_event_time_order(port, origin, keys, "deduplicate")
        made = DeduplicateNode
    return made(port.schema, (before,), keys, time.column, time.minus_us, within_ms, keep)
