"""Deleting rows of data files: files of deletes, and their manifests.

A token says which rows go, by data file and row. The files that say so to readers are made for each
try of a commit, against the table as it was loaded: one file of positional deletes for each data
file (format version 2). Which data files are live in that table: `frazil.iceberg.live_files`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from frazil.iceberg.token import FileDeletes, schema_of
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestWriter,
    ManifestWriterV2,
    write_manifest,
)
from pyiceberg.types import LongType, StringType

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.table import Table

# Files of deletes that are written at a time: each is small, and its store is what takes time.
FILES_AT_ONCE = 8

# Field ids that the format reserves for files of positional deletes.
PATH_ID = 2147483546
ROW_ID = 2147483545

_DELETES_SCHEMA = pa.schema(
    [
        pa.field(name, type_, nullable=False, metadata={"PARQUET:field_id": str(field_id)})
        for name, type_, field_id in (
            ("file_path", pa.dictionary(pa.int32(), pa.string()), PATH_ID),
            ("pos", pa.int64(), ROW_ID),
        )
    ]
)


def write_deletes(
    table: Table, deletes: Iterable[FileDeletes], name: str, written: list[str]
) -> list[DataFile]:
    """Write a file of positional deletes for each data file, beside it.

    Parameters
    ----------
    table
        Whose.
    deletes
        The rows.
    name
        What the names of the files begin with.
    written
        Gets the path of each file before it is written.
    """
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        return list(pool.map(lambda each: _write_deletes(table, each, name, written), deletes))


def _write_deletes(table: Table, deletes: FileDeletes, name: str, written: list[str]) -> DataFile:
    path = f"{deletes.path.rpartition('/')[0]}/{name}-{uuid.uuid4()}.parquet"
    count = len(deletes.rows)
    names = pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), count), [deletes.path]
    )
    sink = pa.BufferOutputStream()
    rows = pa.Table.from_arrays([names, deletes.rows], schema=_DELETES_SCHEMA)
    pq.write_table(rows, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    written.append(path)
    with table.io.new_output(path).create() as output:
        output.write(data)
    first, last = deletes.rows[0].as_py(), deletes.rows[-1].as_py()
    own = to_bytes(StringType(), deletes.path)
    file = DataFile.from_args(
        _table_format_version=2,
        content=DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=deletes.partition,
        record_count=count,
        file_size_in_bytes=len(data),
        value_counts={PATH_ID: count, ROW_ID: count},
        null_value_counts={PATH_ID: 0, ROW_ID: 0},
        # Whole paths, the same: readers know by them that the file is about one data file.
        lower_bounds={PATH_ID: own, ROW_ID: to_bytes(LongType(), first)},
        upper_bounds={PATH_ID: own, ROW_ID: to_bytes(LongType(), last)},
        sort_order_id=None,
    )
    file.spec_id = deletes.spec_id
    return file


class _DeleteManifestWriter(ManifestWriterV2):
    """PyIceberg's writer, of a manifest of delete files."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def manifest_writer(
    table: Table, spec: PartitionSpec, content: ManifestContent, path: str, snapshot_id: int
) -> ManifestWriter:
    """A writer of a manifest of data files, or of delete files."""
    from frazil.iceberg.staging import compression_of

    metadata = table.metadata
    arguments: dict[str, Any] = {
        "spec": spec,
        "schema": schema_of(spec, metadata),
        "output_file": table.io.new_output(path),
        "snapshot_id": snapshot_id,
        "avro_compression": compression_of(metadata),
    }
    if content == ManifestContent.DELETES:
        return _DeleteManifestWriter(**arguments)
    return write_manifest(format_version=metadata.format_version, **arguments)
