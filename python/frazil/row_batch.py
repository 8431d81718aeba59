"""Rows that Python code gives, as a batch of the columns that it has declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from frazil.types import field_name, type_name

ROWS_BYTES_MAX = 64 << 20
"""Bytes of the rows that are given at once."""
VALUE_CHARS = 60
"""Characters of a value that are shown."""


class RowsDoNotFit(ValueError):
    """Rows are not what was declared; says where and what, but not who gave them."""


def batch_of(rows: Any, schema: pa.Schema) -> pa.RecordBatch:
    """Make a batch of dicts or of Arrow data, and check it against the declared columns.

    Raises
    ------
    RowsDoNotFit
        If they do not fit.
    """
    if isinstance(rows, pa.Table):
        batches = rows.combine_chunks().to_batches()
        if len(batches) > 1:  # texts of more than 2 GiB cannot be one array
            raise RowsDoNotFit(_too_many(rows.nbytes))
        rows = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=rows.schema)
    if isinstance(rows, pa.RecordBatch):
        batch = _columns(rows, schema)
    elif isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        batch = _of_dicts(rows, schema)
    else:
        raise RowsDoNotFit(f"gave a {type(rows).__name__}, not a list of dicts or Arrow data")
    for field, column in zip(schema, batch.columns, strict=True):
        if column.null_count and not field.nullable:
            row = column.is_null().index(pa.scalar(True)).as_py()
            raise RowsDoNotFit(
                f'gave null in field "{field.name}" of row {row + 1}, and declared is '
                f"{field_name(field)}"
            )
    if batch.nbytes > ROWS_BYTES_MAX:
        raise RowsDoNotFit(_too_many(batch.nbytes))
    return batch


def _columns(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in schema:
        if rows.schema.names.count(field.name) != 1:
            raise RowsDoNotFit(
                f'gave no column "{field.name}" (it gave {", ".join(rows.schema.names)})'
            )
        column = rows.column(field.name)
        if column.type != field.type:
            raise RowsDoNotFit(
                f'gave column "{field.name}" as {type_name(column.type)}, and declared is '
                f"{field_name(field)}"
            )
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _of_dicts(rows: Sequence[Any], schema: pa.Schema) -> pa.RecordBatch:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise RowsDoNotFit(f"gave {_short(row)} as row {number}, and rows are dicts")
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        try:
            columns.append(pa.array(values, field.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            number = next(i for i, value in enumerate(values) if not _fits(value, field.type))
            raise RowsDoNotFit(
                f'gave {_short(values[number])} in field "{field.name}" of row {number + 1}, and '
                f"declared is {field_name(field)}"
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fits(value: Any, type_: pa.DataType) -> bool:
    try:
        pa.array([value], type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True


def _too_many(size: int) -> str:
    return f"gave {size} bytes at once, and up to {ROWS_BYTES_MAX} are taken: give fewer rows"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 3] + "..."
