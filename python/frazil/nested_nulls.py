"""Nulls inside of nested values, where the type says that there are none; Arrow lets them pass."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def row_with_null(column: pa.Array) -> int | None:
    """The first row with a null inside where its type has none; None if there is no such row."""
    type_ = column.type
    if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_map(type_):
        values = _elements(column)
        element = type_.item_field if pa.types.is_map(type_) else type_.value_field
        inside = None if element.nullable else _first_null(values)
        found = [row for row in (inside, row_with_null(values)) if row is not None]
        if not found:
            return None
        if pa.types.is_map(type_):
            lists = pa.ListArray.from_arrays(column.offsets, values)
            return int(pc.list_parent_indices(lists)[min(found)].as_py())
        return int(pc.list_parent_indices(column)[min(found)].as_py())
    if pa.types.is_struct(type_):
        rows = [
            row
            for number in range(type_.num_fields)
            if (row := _in_field(column, number)) is not None
        ]
        return min(rows, default=None)
    return None


def _elements(column: pa.Array) -> pa.Array:
    return column.items if pa.types.is_map(column.type) else column.flatten()


def _in_field(column: pa.StructArray, number: int) -> int | None:
    field = column.type.field(number)
    values = pc.struct_field(column, [number])
    rows = []
    if not field.nullable and values.null_count:
        missing = pc.and_(values.is_null(), column.is_valid())
        at = missing.index(pa.scalar(True)).as_py()
        rows += [at] if at >= 0 else []
    inside = row_with_null(values)
    return min([*rows, *([] if inside is None else [inside])], default=None)


def _first_null(values: pa.Array) -> int | None:
    return int(values.is_null().index(pa.scalar(True)).as_py()) if values.null_count else None
