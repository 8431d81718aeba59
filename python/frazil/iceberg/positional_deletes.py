"""Files of positional deletes (format version 2): rows of data files of one partition.

A commit writes one for each partition in which rows go, whatever the number of data files they are
in: a file for each data file would cost as many requests as that, and a scan reads each of them.
The rows are ordered by data file, and statistics of row groups let readers skip to theirs.
"""

from __future__ import annotations

import io
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from frazil.errors import CommitRefused
from frazil.iceberg.manifests import data_file
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.types import LongType, StringType

if TYPE_CHECKING:
    from frazil.iceberg.token import FileDeletes
    from pyiceberg.table import Table
    from pyiceberg.typedef import Record

# Files that are read or written at a time: each is small, and its store is what takes time.
FILES_AT_ONCE = 8
# Rows of a row group: readers leave out groups that are about other data files.
GROUP_ROWS = 64 * 1024
# Rows of a data file have numbers below this, or they are not put in order here.
ROW_MAX = 1 << 32

# Field ids that the format reserves for files of positional deletes.
PATH_ID = 2147483546
ROW_ID = 2147483545

_SCHEMA = pa.schema(
    [
        pa.field(name, type_, nullable=False, metadata={"PARQUET:field_id": str(field_id)})
        for name, type_, field_id in (
            ("file_path", pa.dictionary(pa.int32(), pa.string()), PATH_ID),
            ("pos", pa.int64(), ROW_ID),
        )
    ]
)


class Place(NamedTuple):
    """A partition, which a file of deletes belongs to like the data files it is about."""

    spec_id: int
    partition: Record


def place_of(file: FileDeletes | DataFile) -> Place:
    """Where a file belongs to."""
    return Place(file.spec_id, file.partition)


# -- rows ----------------------------------------------------------------------------------------


def positions_of(deletes: Iterable[FileDeletes]) -> pa.Table:
    """Deletes as the rows of a file."""
    found = list(deletes)
    numbers = [pa.repeat(pa.scalar(i, pa.int32()), len(each.rows)) for i, each in enumerate(found)]
    names = pa.array([each.path for each in found], pa.string())
    indices = pa.concat_arrays(numbers) if numbers else pa.array([], pa.int32())
    rows = pa.concat_arrays([each.rows for each in found]) if found else pa.array([], pa.int64())
    return pa.Table.from_arrays(
        [pa.DictionaryArray.from_arrays(indices, names), rows], schema=_SCHEMA
    )


def ordered(parts: Sequence[pa.Table]) -> pa.Table:
    """The rows of several, by path and row, none twice."""
    import pyarrow.compute as pc  # only here: it takes time and memory

    rows = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    names = rows.column("file_path").combine_chunks()
    order = pc.array_sort_indices(names.dictionary)
    ranks = pc.array_sort_indices(order).cast(pa.int64())  # of the names, in their order
    # Path and row as one number, which is put in order much faster.
    upper = pc.multiply(ranks.take(names.indices), ROW_MAX)
    numbers = pc.unique(pc.add(upper, rows.column("pos").combine_chunks()))
    numbers = numbers.take(pc.array_sort_indices(numbers))
    indices = pc.divide(numbers, ROW_MAX).cast(pa.int32())
    made = pa.DictionaryArray.from_arrays(indices, names.dictionary.take(order))
    return pa.Table.from_arrays([made, pc.bit_wise_and(numbers, ROW_MAX - 1)], schema=_SCHEMA)


def paths_of(rows: pa.Table) -> set[str]:
    """The data files that rows are in."""
    return set(rows.column("file_path").unique().to_pylist())


def without(rows: pa.Table, paths: set[str]) -> pa.Table:
    """The rows that are in none of these data files."""
    import pyarrow.compute as pc

    if not paths:
        return rows
    gone = pa.array(sorted(paths), pa.string())
    names = rows.column("file_path").cast(pa.string())
    return rows.filter(pc.invert(pc.is_in(names, value_set=gone)))


def by_path(rows: pa.Table) -> dict[str, pa.Int64Array]:
    """Rows by their data files."""
    import pyarrow.compute as pc

    if not rows.num_rows:
        return {}
    rows = rows.unify_dictionaries().combine_chunks()
    names = rows.column("file_path").combine_chunks()
    numbers = rows.column("pos").combine_chunks()
    found: dict[str, list[pa.Int64Array]] = defaultdict(list)
    runs = pc.run_end_encode(names.indices)  # a run for each data file, as the rows are in order
    begin = 0
    for index, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        found[names.dictionary[index].as_py()].append(numbers.slice(begin, end - begin))
        begin = end
    return {path: pa.concat_arrays(parts) for path, parts in found.items()}


# -- files ---------------------------------------------------------------------------------------


def read_positions(table: Table, file: DataFile) -> pa.Table:
    """The rows of a file of deletes.

    Raises
    ------
    CommitRefused
        It is not Parquet.
    """
    if file.file_format != FileFormat.PARQUET:
        raise CommitRefused(
            f"reading deletes of {file.file_path}: they are not Parquet, and the deletion vectors "
            "of their data files must have them",
            "rewrite the table's positional deletes: Spark's rewrite_position_delete_files",
            kind="unreadable_deletes",
        )
    with table.io.new_input(file.file_path).open() as opened:
        read = pq.read_table(
            io.BytesIO(opened.read()), columns=["file_path", "pos"], read_dictionary=["file_path"]
        )
    return pa.Table.from_arrays(
        [read.column("file_path").cast(_SCHEMA.field(0).type), read.column("pos")], schema=_SCHEMA
    )


def read_all(table: Table, files: Sequence[DataFile]) -> list[pa.Table]:
    """The rows of several files, as `read_positions`."""
    if not files:
        return []
    with ThreadPoolExecutor(min(FILES_AT_ONCE, len(files))) as pool:
        return list(pool.map(lambda file: read_positions(table, file), files))


def write_deletes(
    table: Table,
    deletes: Iterable[FileDeletes],
    older: Mapping[Place, Sequence[pa.Table]],
    name: str,
    written: list[str],
) -> list[DataFile]:
    """Write a file of positional deletes for each partition.

    Parameters
    ----------
    table
        Whose.
    deletes
        The rows.
    older
        Rows of files that these take the place of; of partitions of `deletes`.
    name
        What the names of the files begin with.
    written
        Gets the path of each file before it is written.
    """
    places: dict[Place, list[FileDeletes]] = defaultdict(list)
    for each in deletes:
        places[place_of(each)].append(each)

    def write(place: Place) -> DataFile:
        own = places[place]
        rows = ordered([positions_of(own), *older.get(place, ())])
        return _write(table, place, min(each.path for each in own), rows, name, written)

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        return list(pool.map(write, places))


def _write(
    table: Table, place: Place, beside: str, rows: pa.Table, name: str, written: list[str]
) -> DataFile:
    """Write a file of deletes beside a data file."""
    import pyarrow.compute as pc

    path = f"{beside.rpartition('/')[0]}/{name}-{uuid.uuid4()}.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", row_group_size=GROUP_ROWS)
    data = sink.getvalue().to_pybytes()
    put(table, path, data, written)
    names, numbers = rows.column("file_path"), pc.min_max(rows.column("pos"))
    # Whole paths. If they are the same, readers know by them that the file is about one data file.
    lowest, highest = (to_bytes(StringType(), names[at].as_py()) for at in (0, rows.num_rows - 1))
    file = data_file(
        content=DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=place.partition,
        record_count=rows.num_rows,
        file_size_in_bytes=len(data),
        value_counts={PATH_ID: rows.num_rows, ROW_ID: rows.num_rows},
        null_value_counts={PATH_ID: 0, ROW_ID: 0},
        lower_bounds={PATH_ID: lowest, ROW_ID: to_bytes(LongType(), numbers["min"].as_py())},
        upper_bounds={PATH_ID: highest, ROW_ID: to_bytes(LongType(), numbers["max"].as_py())},
    )
    file.spec_id = place.spec_id
    return file


def put(table: Table, path: str, data: bytes, written: list[str]) -> None:
    """Write a file; `written` gets its path before."""
    written.append(path)
    with table.io.new_output(path).create() as output:
        output.write(data)
