"""`Stream.unnest`: a row for each element of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from frazil.changes import refuse_changes
from frazil.errors import ColumnExists, PlanError, TypeMismatch
from frazil.node import Json, Port, Step
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.stream import Stream


@dataclass(frozen=True, eq=False)
class UnnestNode(Step):
    """Gives a row for each element of a list, which stands in the list's place."""

    KIND: ClassVar[str] = "unnest"

    column: str
    into: str
    keep_empty: bool

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.column, self.into, self.keep_empty]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted - {self.into} | {self.column}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return [self.into if name == self.column else name for name in given[0]]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {"column": self.column, "into": self.into, "keep_empty": self.keep_empty}

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        named = "" if self.into == self.column else f" as {self.into}"
        kept = ", an empty one has one with null" if self.keep_empty else ""
        return f"unnest {self.column}{named}", f"a row for each element of a list{kept}"


def make_unnest(stream: Stream, column: str, into: str | None, keep_empty: bool) -> Port:
    """Check what `Stream.unnest` got, and make its step."""
    refuse_changes(stream._port, "unnest")
    schema = stream._port.schema.remove_metadata()
    field = schema.field(stream._require(column))
    if not pa.types.is_list(field.type) and not pa.types.is_large_list(field.type):
        raise TypeMismatch(
            f"unnest of column {column!r}, which is {type_name(field.type)}",
            "it takes a list apart",
        )
    name = column if into is None else into
    if not isinstance(name, str) or not name:
        raise PlanError(f"unnest into {into!r}", "a name is a text that is not empty")
    if name != column and name in schema.names:
        raise ColumnExists(f"unnest into {name!r}, which is there already", "choose another name")
    element = field.type.value_field
    made = pa.field(name, element.type, element.nullable or keep_empty)
    place = schema.get_field_index(column)
    return Port(UnnestNode(schema.set(place, made), (stream._port,), column, name, keep_empty))
