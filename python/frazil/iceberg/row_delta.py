"""Deleting rows of data files: what is written so that readers leave them out.

A token says which rows go, by data file and row. The files that say so to readers are made for each
try of a commit, against the table as it was loaded. In format version 2 that is one file of
positional deletes for each data file; in version 3 one Puffin file with a deletion vector for each.
Which data files are live in that table: `frazil.iceberg.live_files`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from frazil.iceberg.deletion_vectors import puffin
from frazil.iceberg.manifests import data_file
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.types import LongType, StringType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from frazil.iceberg.token import FileDeletes
    from pyiceberg.table import Table
    from pyroaring import BitMap64

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
    _put(table, path, data, written)
    first, last = deletes.rows[0].as_py(), deletes.rows[-1].as_py()
    own = to_bytes(StringType(), deletes.path)
    file = data_file(
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
    )
    file.spec_id = deletes.spec_id
    return file


def write_vectors(
    table: Table,
    deletes: Mapping[str, FileDeletes],
    vectors: Mapping[str, BitMap64],
    name: str,
    written: list[str],
    keep: Callable[[str, int, bytes], None],
) -> list[DataFile]:
    """Write one Puffin file with a deletion vector for each data file.

    Parameters
    ----------
    table
        Whose.
    deletes
        By path of the data file: its spec and partition.
    vectors
        All deleted rows of these.
    name
        What the name of the file begins with.
    written
        Gets its path before it is written.
    keep
        Told path, offset and bytes of each vector.
    """
    if not vectors:
        return []
    folder = table.location_provider().data_path.rstrip("/")
    path = f"{folder}/{name}-{uuid.uuid4()}.puffin"
    data, blobs = puffin(vectors.items())
    _put(table, path, data, written)
    files = []
    for blob in blobs:
        keep(path, blob.offset, blob.data)
        about = deletes[blob.data_file]
        bounds = {PATH_ID: to_bytes(StringType(), blob.data_file)}
        file = data_file(
            content=DataFileContent.POSITION_DELETES,
            file_path=path,
            file_format=FileFormat.PUFFIN,
            partition=about.partition,
            record_count=blob.rows,
            file_size_in_bytes=len(data),
            # Not asked for, but PyIceberg goes by them to the data file.
            lower_bounds=bounds,
            upper_bounds=bounds,
            referenced_data_file=blob.data_file,
            content_offset=blob.offset,
            content_size_in_bytes=len(blob.data),
        )
        file.spec_id = about.spec_id
        files.append(file)
    return files


def _put(table: Table, path: str, data: bytes, written: list[str]) -> None:
    written.append(path)
    with table.io.new_output(path).create() as output:
        output.write(data)
