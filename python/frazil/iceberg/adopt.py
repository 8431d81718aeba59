"""Taking over a table that has rows already (rule U13): where the row of each key is.

The keys of all live rows are read once, into a local file of the form in which the engine's index
is saved; each worker restores those of its key groups. From the first checkpoint on they are state
like any other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from frazil.errors import CommitRefused
from frazil.iceberg.delete_files import DeletedRows
from frazil.iceberg.key_columns import encode_keys, read_columns
from frazil.iceberg.manifests import read_entries, read_manifests
from frazil.iceberg.token import schema_of
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestEntry
    from pyiceberg.table import Table
    from pyroaring import BitMap64

_FIELDS = [
    ("hash", pa.uint64()),
    ("key", pa.binary()),
    ("file", pa.int64()),
    ("row", pa.uint32()),
    ("path", pa.string()),
    ("spec_id", pa.int32()),
    ("partition", pa.string()),
]


# Data files of a table in one attempt; their ids of all attempts are different.
FILES_MAX = 1 << 32


def write_seed(
    table: Table,
    branch: str,
    key: Sequence[str],
    order_by: str | None,
    path: str,
    attempt: int,
) -> int:
    """Write where the rows of a table are.

    Parameters
    ----------
    table
        As just loaded.
    branch
        Of it.
    key
        Columns of the key.
    order_by
        The column by which rows of a key are older and newer.
    path
        Of the local file.
    attempt
        Of the pipeline. Ids of files are below zero, where the engine gives none: a checkpoint may
        have rows that an earlier attempt took over, of files that were numbered otherwise.

    Returns
    -------
    int
        How many rows there are.

    Raises
    ------
    CommitRefused
        A row has no value in one of these columns; rows are deleted by equality; a data file is no
        Parquet.
    """
    schema = pa.schema([*_FIELDS, *([("order", pa.int64())] if order_by else [])])
    names = [*key, *([order_by] if order_by else [])]
    data, deletes = _entries(table, branch)
    deleted = DeletedRows(table, deletes)
    count = 0
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for number, entry in enumerate(data):
            file = entry.data_file
            columns = _read(table, file, names)
            if columns is None:
                continue
            live = _live(columns.num_rows, deleted.of(file))
            rows = columns.take(live)
            for name in names:
                _refuse_nulls(table, file, name, rows.column(name).null_count)
            if not rows.num_rows:
                continue
            keys = encode_keys(rows.select(list(key)))
            made = {"key": keys.column("key"), "hash": keys.column("hash"), "row": live}
            file_id = -1 - (attempt * FILES_MAX + number)
            made["file"] = pa.repeat(pa.scalar(file_id, pa.int64()), len(live))
            if order_by:
                made["order"] = _orders(rows.column(order_by).combine_chunks())
            writer.write_batch(_batch(_file(table, file, file_id), schema, 1))
            writer.write_batch(_batch(made, schema, len(live)))
            count += len(live)
    return count


def _entries(table: Table, branch: str) -> tuple[list[ManifestEntry], list[ManifestEntry]]:
    """The live data files of a branch, and its files of deletes."""
    ref = table.metadata.refs.get(branch)
    head = table.metadata.snapshot_by_id(ref.snapshot_id) if ref is not None else None
    if head is None:
        return [], []
    manifests = read_manifests(table.io.new_input(head.manifest_list))
    entries = [entry for each in manifests for entry in read_entries(table.io, each)]
    kinds: dict[DataFileContent, list[ManifestEntry]] = {each: [] for each in DataFileContent}
    for entry in entries:
        kinds[entry.data_file.content].append(entry)
    if found := kinds[DataFileContent.EQUALITY_DELETES]:
        raise CommitRefused(
            f"table {_name(table)}: rows are deleted by equality, by {len(found)} files: where the "
            "rows are that are left cannot be told without reading all",
            "compact the table first, so that none of these files is left",
            kind="unreadable_deletes",
        )
    return kinds[DataFileContent.DATA], kinds[DataFileContent.POSITION_DELETES]


def _read(table: Table, file: DataFile, names: Sequence[str]) -> pa.Table | None:
    """Columns of a data file; None if it has no rows."""
    if file.file_format != FileFormat.PARQUET:
        raise CommitRefused(
            f"table {_name(table)}: data file {file.file_path} is {file.file_format}, not Parquet",
            "rewrite it",
            kind="not_empty",
        )
    columns = read_columns(table, file.file_path, names)
    if isinstance(columns, pa.Table):
        return columns if columns.num_rows else None
    _refuse_nulls(table, file, ", ".join(names), columns)
    return None


def _refuse_nulls(table: Table, file: DataFile, column: str, count: int) -> None:
    if count:
        raise CommitRefused(
            f"table {_name(table)}: {count} rows of {file.file_path} have no value in {column}",
            "give them one, or remove them: without it they cannot be told apart",
            kind="not_empty",
        )


def _live(count: int, deleted: BitMap64 | None) -> pa.UInt32Array:
    """The numbers of the rows of a file that are not deleted."""
    import pyarrow.compute as pc

    every = pc.subtract(pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), count)), 1)
    if deleted:
        gone = pa.array(list(deleted), pa.int64())
        every = every.filter(pc.invert(pc.is_in(every, value_set=gone)))
    return every.cast(pa.uint32())


def _orders(column: pa.Array) -> pa.Int64Array:
    if pa.types.is_date32(column.type):
        column = column.view(pa.int32())
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    return column.cast(pa.int64())


def _file(table: Table, file: DataFile, file_id: int) -> dict[str, pa.Array]:
    """What a data file is."""
    spec = table.metadata.specs()[file.spec_id]
    types = [f.field_type for f in spec.partition_type(schema_of(spec, table.metadata)).fields]
    values = [
        None if value is None else to_bytes(kind, value).hex()  # type: ignore[arg-type]
        for kind, value in zip(types, file.partition._data, strict=True)
    ]
    return {
        "file": pa.array([file_id], pa.int64()),
        "path": pa.array([file.file_path]),
        "spec_id": pa.array([file.spec_id], pa.int32()),
        "partition": pa.array([json.dumps(values)]),
    }


def _batch(columns: dict[str, pa.Array], schema: pa.Schema, count: int) -> pa.RecordBatch:
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in schema]
    return pa.record_batch(arrays, schema=schema)


def _name(table: Table) -> str:
    return ".".join(table.name())
