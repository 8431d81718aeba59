"""The right rows of a workload, and the comparison of a system's files with them.

A result is right if it has the same rows the same number of times, whatever their order and files:
rows are counted and their 64-bit hashes summed up.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.json as pj

BLOCK_BYTES = 16 << 20
NEVER = np.iinfo(np.int64).min // 2
TYPES = {
    "id": pa.int64(),
    "ts": pa.int64(),
    "user": pa.string(),
    "page": pa.string(),
    "country": pa.string(),
    "amount": pa.float64(),
    "quantity": pa.int64(),
}


@dataclass(frozen=True)
class Rows:
    """A multiset of rows: how many, and the sum of their hashes."""

    count: int
    hash: str  # decimal: JSON has no 128-bit numbers


class Truth(ABC):
    """What a workload has to give, found out without any of the systems."""

    workload: str
    version: int
    """Of what is kept beside a file of events."""

    @abstractmethod
    def columns(self, *, exact: bool) -> str:
        """What of a row counts, in SQL; inexact: sums of floats in whole cents."""

    @abstractmethod
    def rows(self, path: Path, partitions: int) -> Iterable[pa.RecordBatch]:
        """Make the rows of a file of events that went to so many partitions in turn."""

    def expected(self, path: Path, partitions: int = 1, *, exact: bool = True) -> Rows:
        """Count and hash of the right rows; kept beside the file."""
        kind = "exact" if exact else "cents"
        name = f".{self.workload}-{self.version}-{partitions}-{kind}.json"
        kept = path.with_suffix(name)
        if kept.exists() and kept.stat().st_mtime >= path.stat().st_mtime:
            return Rows(**json.loads(kept.read_text()))
        rows = self._sum(self.rows(path, partitions), exact=exact)
        partial = path.with_suffix(f"{name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(rows)))
        partial.rename(kept)
        return rows

    def found(self, files: Sequence[Path], *, exact: bool = True) -> Rows:
        """Count and hash of the rows in a system's Parquet files."""
        if not files:
            return Rows(0, "0")
        listed = ", ".join(f"'{file}'" for file in files)
        with duckdb.connect(config={"threads": "1"}) as database:
            count, total = self._hash(database, f"read_parquet([{listed}])", exact=exact)
        return Rows(count, str(total))

    def _hash(
        self, database: duckdb.DuckDBPyConnection, rows: str, *, exact: bool
    ) -> tuple[int, int]:
        query = f"SELECT count(*), sum(hash({self.columns(exact=exact)})::HUGEINT) FROM {rows}"
        count, total = database.execute(query).fetchall()[0]
        return count, int(total or 0)

    def _sum(self, batches: Iterable[pa.RecordBatch], *, exact: bool) -> Rows:
        count = total = 0
        with duckdb.connect(config={"threads": "1"}) as database:
            for batch in batches:
                database.register("batch", pa.Table.from_batches([batch]))
                rows, hashes = self._hash(database, "batch", exact=exact)
                count += rows
                total += hashes
        return Rows(count, str(total))


def read(path: Path, names: Sequence[str]) -> Iterable[pa.RecordBatch]:
    """Columns of a file of events, in its order."""
    schema = pa.schema([(name, TYPES[name]) for name in names])
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    options = pj.ReadOptions(block_size=BLOCK_BYTES)
    yield from pj.open_json(path, read_options=options, parse_options=parse)


def times(milliseconds: pa.Array) -> pa.Array:
    """Make timestamps of epoch milliseconds."""
    return pa.array((milliseconds.to_numpy() * 1000).astype("datetime64[us]"))


def watermarks(time: np.ndarray, partitions: int, out_of_order: int) -> np.ndarray:
    """Each row's watermark, of the rows before it in its partition."""
    before = np.full(len(time), NEVER)
    for partition in range(partitions):
        latest = np.maximum.accumulate(time[partition::partitions])
        before[partition::partitions][1:] = latest[:-1] - out_of_order
    return before
