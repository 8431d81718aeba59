"""Deletion vectors of a commit (format version 3): one Puffin file.

A token says which rows go, by data file and row. The files that say so to readers are made for each
try of a commit, against the table as it was loaded: here, or in format version 2 files of
positional deletes (`frazil.iceberg.positional_deletes`). Which data files are live in that table:
`frazil.iceberg.live_files`.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from frazil.iceberg.deletion_vectors import puffin
from frazil.iceberg.manifests import data_file
from frazil.iceberg.positional_deletes import PATH_ID, put
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.types import StringType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from frazil.iceberg.token import FileDeletes
    from pyiceberg.table import Table
    from pyroaring import BitMap64


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
    put(table, path, data, written)
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
