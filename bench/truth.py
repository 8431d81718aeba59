"""What W1 has to give, found out without any of the systems, and the comparison with their files.

The events are decoded by pyarrow.json, filtered and multiplied by numpy. A result is right if it
has the same rows the same number of times, whatever their order and files: rows are counted and
their 64-bit hashes summed up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.json as pj

THRESHOLD = 10.0
BLOCK_BYTES = 16 << 20
COLUMNS = ("id", "ts", "user", "page", "country", "amount", "quantity")
_READ = pa.schema(
    [
        ("id", pa.int64()),
        ("ts", pa.int64()),
        ("user", pa.string()),
        ("page", pa.string()),
        ("country", pa.string()),
        ("amount", pa.float64()),
        ("quantity", pa.int64()),
    ]
)
_HASH = (
    'SELECT count(*), sum(hash(id::BIGINT, {ts}, "user"::VARCHAR, page::VARCHAR, '
    "country::VARCHAR, amount::DOUBLE, quantity::BIGINT, total::DOUBLE)::HUGEINT) FROM {rows}"
)


@dataclass(frozen=True)
class Rows:
    """A multiset of rows: how many, and the sum of their hashes."""

    count: int
    hash: str  # decimal: JSON has no 128-bit numbers


def expected(path: Path) -> Rows:
    """The rows that W1 makes of a file of events; kept beside the file."""
    kept = path.with_suffix(".w1.json")
    if kept.exists() and kept.stat().st_mtime >= path.stat().st_mtime:
        return Rows(**json.loads(kept.read_text()))
    rows = _sum(kept_rows(path))
    partial = kept.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(asdict(rows)))
    partial.rename(kept)
    return rows


def found(files: Sequence[Path]) -> Rows:
    """The rows in a system's Parquet files."""
    if not files:
        return Rows(0, "0")
    listed = ", ".join(f"'{file}'" for file in files)
    query = _HASH.format(ts="epoch_us(ts)", rows=f"read_parquet([{listed}])")
    with duckdb.connect(config={"threads": "1"}) as database:
        count, total = database.execute(query).fetchall()[0]
    return Rows(count, str(total or 0))


def kept_rows(path: Path) -> Iterable[pa.RecordBatch]:
    parse = pj.ParseOptions(explicit_schema=_READ, unexpected_field_behavior="ignore")
    read = pj.ReadOptions(block_size=BLOCK_BYTES)
    for batch in pj.open_json(path, read_options=read, parse_options=parse):
        amount = batch["amount"].to_numpy()
        keep = amount > THRESHOLD
        columns = [batch[name].filter(pa.array(keep)) for name in COLUMNS]
        columns.append(
            pa.array(amount[keep] * batch["quantity"].to_numpy()[keep].astype(np.float64))
        )
        yield pa.RecordBatch.from_arrays(columns, [*COLUMNS, "total"])


def _sum(batches: Iterable[pa.RecordBatch]) -> Rows:
    count = total = 0
    with duckdb.connect(config={"threads": "1"}) as database:
        for batch in batches:
            database.register("batch", pa.Table.from_batches([batch]))
            query = _HASH.format(ts="(ts * 1000)::BIGINT", rows="batch")
            rows, hashes = database.execute(query).fetchall()[0]
            count += rows
            total += int(hashes or 0)
    return Rows(count, str(total))
