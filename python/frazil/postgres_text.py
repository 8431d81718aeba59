"""Arrow columns as PostgreSQL reads them: types of a table, and the text of COPY."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from frazil.errors import TypeMismatch
from frazil.types import type_name

_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))
_NULL = "\\N"


def column_type(type_: pa.DataType) -> str:
    """The type of a column that is made for values of a type.

    Raises
    ------
    TypeMismatch
        PostgreSQL has none.
    """
    t = pa.types
    simple = {
        pa.bool_(): "boolean",
        pa.int8(): "smallint",
        pa.uint8(): "smallint",
        pa.int16(): "smallint",
        pa.uint16(): "integer",
        pa.int32(): "integer",
        pa.uint32(): "bigint",
        pa.int64(): "bigint",
        pa.uint64(): "numeric(20, 0)",
        pa.float32(): "real",
        pa.float64(): "double precision",
        pa.string(): "text",
        pa.large_string(): "text",
        pa.binary(): "bytea",
        pa.large_binary(): "bytea",
        pa.date32(): "date",
    }
    if type_ in simple:
        return simple[type_]
    if t.is_timestamp(type_) and type_.unit != "ns":
        return "timestamp" if type_.tz is None else "timestamptz"
    if t.is_time(type_) and type_.unit != "ns":
        return "time"
    if t.is_decimal128(type_) and type_.scale >= 0:
        return f"numeric({type_.precision}, {type_.scale})"
    if t.is_fixed_size_binary(type_):
        return "bytea"
    if t.is_list(type_) or t.is_large_list(type_) or t.is_struct(type_) or t.is_map(type_):
        return "jsonb"
    raise TypeMismatch(f"PostgreSQL has no {type_name(type_)}", "cast the column, or leave it out")


def copy_text(batch: pa.RecordBatch) -> memoryview:
    """The rows as lines of COPY's text format."""
    columns = [_texts(column) for column in batch.columns]
    lines = pc.binary_join_element_wise(
        *columns,
        pa.scalar("\t", pa.large_string()),
        null_handling="replace",
        null_replacement=_NULL,
    )
    empty, end = pa.scalar("", lines.type), pa.scalar("\n", lines.type)
    ended = pc.binary_join_element_wise(lines, empty, end)
    if isinstance(ended, pa.ChunkedArray):
        ended = ended.combine_chunks()
    offsets = memoryview(ended.buffers()[1]).cast("q")
    begin, end = offsets[ended.offset], offsets[ended.offset + len(ended)]
    data = ended.buffers()[2]
    return memoryview(b"") if data is None else memoryview(data)[begin:end]


def _texts(column: pa.Array) -> pa.Array:
    """Values as large strings, escaped; nulls stay."""
    t = pa.types
    type_ = column.type
    if t.is_binary(type_) or t.is_large_binary(type_) or t.is_fixed_size_binary(type_):
        values = [None if each is None else "\\\\x" + each.hex() for each in column.to_pylist()]
        return pa.array(values, pa.large_string())
    if t.is_nested(type_):
        texts = [None if each is None else _json(each) for each in column.to_pylist()]
        return _escaped(pa.array(texts, pa.large_string()))
    if t.is_string(type_) or t.is_large_string(type_):
        return _escaped(column.cast(pa.large_string()))
    return column.cast(pa.large_string())


def _escaped(column: pa.Array) -> pa.Array:
    for plain, written in _ESCAPES:
        column = pc.replace_substring(column, plain, written)
    return column


def _json(value: Any) -> str:
    return json.dumps(value, default=_jsonable, ensure_ascii=False)


def _jsonable(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
