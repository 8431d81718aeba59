"""`Stream.as_changes`: rows of which a column says what they do to the row of their key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from frazil.changes import Changes, no_event_time, refuse_changes
from frazil.errors import PlanError, TypeMismatch
from frazil.node import Json, Port, Step
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.stream import Stream


@dataclass(frozen=True, eq=False)
class AsChangesNode(Step):
    """Makes changes of rows."""

    KIND: ClassVar[str] = "as_changes"
    EXACTNESS: ClassVar[Literal["exact", "settled", "consistent"]] = "settled"

    op: str
    key: tuple[str, ...]

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.op, list(self.key)]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted | {self.op, *self.key}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return [name for name in given[0] if name != self.op]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {"op": self.op}

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        return f"as_changes by {', '.join(self.key)}", f"{self.op} says what a row does; changes"

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time: none, as its rows change others."""
        return no_event_time(f"{self._what} gives changes")

    def changes(self) -> Changes | None:
        """Its rows are changes, of which updates have the row after only."""
        return Changes(self.key, self._what, whole=False)

    @property
    def _what(self) -> str:
        return f"as_changes({self.op!r}) ({self.line})"


def make_as_changes(stream: Stream, op: str, key: str | Sequence[str]) -> Port:
    """Check what `Stream.as_changes` got, and make its step."""
    refuse_changes(stream._port, "as_changes", "leave it away: its rows are changes already")
    schema = stream._port.schema
    column = schema.field(stream._require(op))
    if not pa.types.is_string(column.type):
        raise TypeMismatch(
            f"as_changes: op={op!r} is a column of {type_name(column.type)}", "it has to be text"
        )
    names = tuple(stream._require(name) for name in ((key,) if isinstance(key, str) else key))
    if not names or len(set(names)) < len(names) or op in names:
        raise PlanError(
            f"as_changes: key={list(names)}", 'say which columns tell rows apart: key=["id"]'
        )
    rest = pa.schema([field for field in schema.remove_metadata() if field.name != op])
    return Port(AsChangesNode(rest, (stream._port,), op, names))
