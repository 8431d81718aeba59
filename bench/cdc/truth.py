"""Whether a table has the rows that are left: DuckDB reads it, deletes and all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

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
