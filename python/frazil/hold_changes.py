"""Changes given less often: what `early` does to sessions, which would be given with each batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from frazil.changes import Changes, changes_of, no_event_time
from frazil.duration import duration_text
from frazil.gate import columns_text
from frazil.node import Json, Port, Step


@dataclass(frozen=True, eq=False)
class HoldChangesNode(Step):
    """Gives of each row what changed of it in all, as event time goes on.

    What it keeps is hashed by `keys`, by which the exchange before it goes; `row` tells rows apart.
    """

    KIND: ClassVar[str] = "hold_changes"
    STATEFUL: ClassVar[bool] = True
    EXACTNESS: ClassVar[Literal["exact", "settled", "consistent"]] = "settled"

    keys: tuple[str, ...]
    row: tuple[str, ...]
    every_ms: int

    def with_name(self, name: str) -> HoldChangesNode:
        """The step with a name, and the one whose changes it holds named after it."""
        (port,) = self.streams
        of = Port(replace(port.node, name=f"{name}/changes"))
        return replace(self, name=name, streams=(of,))

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.row, self.every_ms]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted | set(self.row)]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return given[0]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {
            "keys": list(self.keys),
            "row": list(self.row),
            "every_us": self.every_ms * 1_000,
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        return {
            "keys": ", ".join(self.keys),
            "every": duration_text(self.every_ms),
            "rows": columns_text(self.schema, given[0]),
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        every = duration_text(self.every_ms)
        return f"changes each {every} of event time", "state: rows that have changed since"

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time: none, as its rows change others."""
        return no_event_time(f"early results ({self.line}) change")

    def changes(self) -> Changes | None:
        """Its rows are changes."""
        return changes_of(self.streams[0])


def hold_changes(port: Port, keys: Sequence[str], row: Sequence[str], every_ms: int) -> Port:
    """Changes of a stream, each time event time has come so much further."""
    return Port(HoldChangesNode(port.schema, (port,), tuple(keys), tuple(row), every_ms))
