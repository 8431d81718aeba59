"""What a query has to give, by DuckDB over the same events, and the comparison with what it gave.

Rows are compared as a multiset, in the types of the oracle: their order means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from bench.nexmark.files import side_file
from bench.nexmark.generator import SCHEMAS

if TYPE_CHECKING:
    from bench.nexmark.query import Query

SHOWN = 5
"""Rows of a difference that are shown."""


class Oracle:
    """DuckDB over a folder of events."""

    def __init__(self, folder: Path) -> None:
        self._database = duckdb.connect(config={"threads": "1"})
        self._database.execute("SET timezone = 'UTC'")
        for kind, schema in SCHEMAS.items():
            columns = ", ".join(_in_utc(f.name, "UTC" in str(f.type)) for f in schema)
            self._database.execute(
                f"CREATE VIEW {kind} AS SELECT {columns}, (filename, file_row_number) AS place "
                f"FROM read_parquet('{folder / kind}/**/*.parquet', file_row_number = true)"
            )

        self._database.execute(f"CREATE VIEW side AS FROM read_parquet('{side_file(folder)}')")

    def close(self) -> None:
        """Let go of its memory."""
        self._database.close()

    def compare(self, query: Query, found: Sequence[Path]) -> tuple[int, str]:
        """How many rows a query has to give, and how those in files differ, "" if they do not."""
        self._database.execute(f"CREATE OR REPLACE TEMP TABLE expected AS {query.sql}")
        described = self._database.execute("DESCRIBE expected").fetchall()
        types = {row[0]: row[1] for row in described}
        (count,) = self._one("SELECT count(*) FROM expected")
        if found:
            listed = ", ".join(f"'{file}'" for file in found)
            source = f"read_parquet([{listed}])"
            self._found(_left(source) if query.changes else source, types)
        else:
            self._database.execute("CREATE OR REPLACE TEMP TABLE found AS FROM expected LIMIT 0")
        return count, self._difference()

    def _found(self, source: str, types: dict[str, str]) -> None:
        described = self._database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        theirs = {row[0]: row[1] for row in described}
        if sorted(theirs) != sorted(types):
            raise ValueError(f"the columns are {sorted(theirs)}, not {sorted(types)}")
        inner = ", ".join(_in_utc(name, "ZONE" in theirs[name]) for name in types)
        outer = ", ".join(f"CAST({name} AS {type_}) AS {name}" for name, type_ in types.items())
        rows = f"SELECT {outer} FROM (SELECT {inner} FROM {source})"
        self._database.execute(f"CREATE OR REPLACE TEMP TABLE found AS {rows}")

    def _difference(self) -> str:
        """Counts of rows and sums of hashes first: a difference in full is dear."""
        summed = "SELECT count(*), sum(hash(one)::HUGEINT) FROM"
        hashes = [self._one(f"{summed} {table} AS one") for table in ("expected", "found")]
        if hashes[0] == hashes[1]:
            return ""
        lost, more = (
            self._database.execute(
                f"SELECT * FROM (FROM {one} EXCEPT ALL FROM {other}) LIMIT {SHOWN}"
            ).fetchall()
            for one, other in (("expected", "found"), ("found", "expected"))
        )
        counts = f"{hashes[0][0]} rows expected, {hashes[1][0]} found"
        return f"{counts}; not there: {lost}; not expected: {more}"

    def _one(self, sql: str) -> tuple[int, ...]:
        return self._database.execute(sql).fetchall()[0]


def _left(log: str) -> str:
    """Rows that came and did not go again, of a log of changes."""
    came = "sum(CASE WHEN _kind IN ('insert', 'update_after') THEN 1 ELSE -1 END)"
    rows = f"SELECT * EXCLUDE (_kind), {came} AS rows_left FROM {log} GROUP BY ALL"
    return f"(SELECT * EXCLUDE (rows_left) FROM ({rows}) WHERE rows_left > 0)"


def _in_utc(name: str, zoned: bool) -> str:
    """A column; a time in a zone as the time in UTC, which SQL's functions take."""
    return f"timezone('UTC', {name}) AS {name}" if zoned else name
