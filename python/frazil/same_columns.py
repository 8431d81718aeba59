"""Whether streams that are put into one have the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from frazil.errors import SchemaMismatch
from frazil.types import field_name

if TYPE_CHECKING:
    from frazil.stream import Stream


def same_columns(what: str, first: Stream, *others: Stream) -> list[pa.Field]:
    """Columns of streams that are put into one; raises SchemaMismatch if they differ."""
    fields = list(first._port.schema.remove_metadata())
    for other in others:
        theirs = list(other._port.schema)
        if [(f.name, f.type) for f in fields] != [(f.name, f.type) for f in theirs]:
            raise SchemaMismatch(
                f"{what} of {first._origin()} and {other._origin()}: their columns differ",
                _difference(fields, theirs),
                "select the same names and types, in the same order, from both",
            )
        fields = [
            pa.field(mine.name, mine.type, mine.nullable or their.nullable)
            for mine, their in zip(fields, theirs, strict=True)
        ]
    return fields


def _difference(mine: Sequence[pa.Field], theirs: Sequence[pa.Field]) -> str:
    for position in range(max(len(mine), len(theirs))):
        left = mine[position] if position < len(mine) else None
        right = theirs[position] if position < len(theirs) else None
        if left is None or right is None or (left.name, left.type) != (right.name, right.type):
            return (
                f"column {position + 1}: {field_name(left) if left else 'none'}"
                f" and {field_name(right) if right else 'none'}"
            )
    return ""
