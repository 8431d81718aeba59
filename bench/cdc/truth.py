"""Whether a table has the rows that are left: DuckDB reads it, deletes and all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from pyiceberg.table import StaticTable

from bench.cdc.log import Size, rows_left
from tests.services.duckdb_reader import iceberg_database

ROW = (
    "id::BIGINT, customer::VARCHAR, product::VARCHAR, status::VARCHAR, amount::DOUBLE, "
    "quantity::BIGINT"
)


@dataclass(frozen=True)
class Rows:
    """A multiset of rows: how many, and the sum of their 64-bit hashes."""

    count: int
    hash: int


def expected(size: Size) -> Rows:
    """The rows that a log leaves."""
    count = total = 0
    with duckdb.connect(config={"threads": "1"}) as database:
        for batch in rows_left(size):
            database.register("batch", pa.Table.from_batches([batch]))
            one = rows(database, "batch")
            count, total = count + one.count, total + one.hash
    return Rows(count, total)


def found(metadata_location: str) -> Rows:
    """The rows of a table."""
    with opened() as database:
        return rows(database, f"iceberg_scan('{metadata_location}')")


def found_by_sequence(metadata_location: str) -> Rows:
    """The rows of a table with deletes by key, of which DuckDB's own reader takes minutes.

    By the rules of the format: a row goes if a later commit deletes its key, or if its place is
    deleted.
    """
    table = StaticTable.from_metadata(metadata_location)
    entries = table.inspect.entries().select(["status", "sequence_number", "data_file"]).to_pylist()
    live = [entry for entry in entries if entry["status"] != 2]
    kinds: dict[int, list[tuple[str, int]]] = {0: [], 1: [], 2: []}  # data, by place, by key
    for entry in live:
        file = entry["data_file"]
        path = file["file_path"].removeprefix("file:").replace("///", "/")
        kinds[file["content"]].append((path, entry["sequence_number"]))
    with opened() as database:
        for name, content in (("data", 0), ("places", 1), ("keys", 2)):
            files = pa.table(
                {
                    "path": [path for path, _ in kinds[content]],
                    "seq": pa.array([seq for _, seq in kinds[content]], pa.int64()),
                },
            )
            database.register(f"{name}_files", files)
        gone = _gone(kinds[2], kinds[1])
        return rows(
            database,
            f"(SELECT d.* FROM read_parquet({_listed(kinds[0])}, filename = true, "
            "file_row_number = true) d JOIN data_files f ON f.path = d.filename "
            f"{gone})",
        )


def _gone(by_key: list[tuple[str, int]], by_place: list[tuple[str, int]]) -> str:
    clause = "WHERE true"
    if by_key:
        clause = (
            "LEFT JOIN (SELECT k.id AS key, max(f.seq) AS last FROM "
            f"read_parquet({_listed(by_key)}, filename = true) k JOIN keys_files f "
            "ON f.path = k.filename GROUP BY k.id) e ON e.key = d.id "
            "WHERE (e.last IS NULL OR e.last <= f.seq)"
        )
    if by_place:
        clause += (
            " AND NOT EXISTS (SELECT 1 FROM (SELECT replace(replace(file_path, 'file:', ''), "
            f"'///', '/') AS at, pos FROM read_parquet({_listed(by_place)})) p "
            "WHERE p.at = d.filename AND p.pos = d.file_row_number)"
        )
    return clause


def _listed(files: list[tuple[str, int]]) -> str:
    return "[" + ", ".join(f"'{path}'" for path, _ in files) + "]"


@contextmanager
def opened() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database that reads Iceberg tables; its memory is not that of a system."""
    database = iceberg_database(memory_limit="4GB", threads=1)
    try:
        yield database
    finally:
        database.close()


def rows(database: duckdb.DuckDBPyConnection, relation: str) -> Rows:
    """The rows of anything that SQL can select from."""
    query = f"SELECT count(*), sum(hash({ROW})::HUGEINT) FROM {relation}"
    count, total = database.execute(query).fetchall()[0]
    return Rows(count, int(total or 0))
