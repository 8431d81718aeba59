"""Keys of rows that are in data files already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from frazil import _engine
from frazil.iceberg.schema import FIELD_ID

if TYPE_CHECKING:
    from pyiceberg.table import Table


def read_columns(table: Table, path: str, names: Sequence[str]) -> pa.Table | int:
    """Read columns of a data file by their field ids, in the order of `names`.

    A file that was written before the table had one of them: the number of its rows.
    """
    ids = {str(table.schema().find_field(name).field_id).encode(): name for name in names}
    with table.io.new_input(path).open() as file:
        parquet = pq.ParquetFile(file)
        found = {
            ids[field_id]: field.name
            for field in parquet.schema_arrow
            if (field_id := (field.metadata or {}).get(FIELD_ID)) in ids
        }
        if len(found) < len(ids):
            return int(parquet.metadata.num_rows)
        columns = parquet.read([found[name] for name in names])
    return columns.select([found[name] for name in names]).rename_columns(list(names))


def encode_keys(columns: pa.Table) -> pa.RecordBatch:
    """The keys of rows as the engine encodes them, and their hashes: columns `key` and `hash`."""
    made = [pa.record_batch(_engine.iceberg_keys(each)) for each in columns.to_batches()]
    if not made:
        return pa.record_batch(
            {"key": pa.array([], pa.binary()), "hash": pa.array([], pa.uint64())}
        )
    return pa.concat_batches(made)
