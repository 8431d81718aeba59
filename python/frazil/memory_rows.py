"""Rows that are in memory already, as a source gets them in its plan."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from frazil.errors import PlanError

MEMORY_BYTES_MAX = 256 << 20
"""Bytes of an in-memory source, which stands in the plan."""


def encoded_rows(table: pa.Table, partitions: int) -> list[str]:
    """Arrow IPC streams in base64, one a partition; rows are dealt in turn."""
    if table.nbytes > MEMORY_BYTES_MAX:
        raise PlanError(
            f"read_memory got {table.nbytes} bytes, at most {MEMORY_BYTES_MAX} go into a plan",
            'write them to a file and use read_files(..., format="parquet")',
        )
    table = table.combine_chunks()
    encoded = []
    for number in range(partitions):
        part = table.take(pa.array(range(number, table.num_rows, partitions), pa.int64()))
        out = pa.BufferOutputStream()
        with pa.ipc.new_stream(out, part.schema) as writer:
            writer.write_table(part)
        encoded.append(base64.b64encode(out.getvalue()).decode())
    return encoded


def memory_table(data: Any, schema: pa.Schema | None) -> pa.Table:
    """Make a table of what `read_memory` takes."""
    if isinstance(data, pa.Table):
        table = data
    elif isinstance(data, pa.RecordBatch):
        table = pa.Table.from_batches([data])
    elif isinstance(data, Sequence) and not isinstance(data, str | bytes):
        rows = list(data)
        if rows and all(isinstance(row, pa.RecordBatch) for row in rows):
            table = pa.Table.from_batches(rows)
        elif all(isinstance(row, Mapping) for row in rows):
            return _table_of_rows(rows, schema)
        else:
            raise PlanError("read_memory got a mixture", "give batches only, or dicts only")
    else:
        raise PlanError(
            f"read_memory cannot read a {type(data).__name__}",
            "give a pyarrow.Table, RecordBatches, or a list of dicts",
        )
    if schema is not None and not table.schema.equals(schema):
        try:
            table = table.select(schema.names).cast(schema)
        except (KeyError, pa.ArrowException) as error:
            raise PlanError(f"read_memory: the data does not fit the schema: {error}") from None
    return table


def _table_of_rows(rows: list[Any], schema: pa.Schema | None) -> pa.Table:
    if not rows and schema is None:
        raise PlanError("read_memory got no rows and no schema", "give schema=")
    try:
        table = pa.Table.from_pylist(rows, schema=schema)
        table.validate(full=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise PlanError(f"read_memory: rows do not fit: {error}", "give schema=") from None
    for field in table.schema:
        if not field.nullable and table[field.name].null_count:
            raise PlanError(
                f"read_memory: column {field.name!r} has nulls and may not",
                "declare it as T | None",
            )
    return table
