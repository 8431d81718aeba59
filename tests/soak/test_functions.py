"""Python functions over many rows: no more memory at the end than in the middle, and exact sums."""

import os
from pathlib import Path

import duckdb
import pytest

from tests.soak.test_soak import check_flat
from tests.soak.watched import watch

# As many rows as take about a minute, so that most of the run is behind its start.
SHARES = {"udf": 0.2, "batch_udf": 1.0, "async_udf": 0.01, "keyed": 0.1}
TIMEOUT_S = 4 * 3600

PROGRAM = """
import asyncio

import frazil as fz
import numpy as np
from frazil import col

class Totals(fz.KeyedFunction):
    seen: fz.State[int]

    def on_rows(self, key, rows, out):
        for row in rows:
            self.seen.value += 1
            out.emit(id=row.id, user=key, seen=self.seen.value)

@fz.udf
def longer(text: str) -> str:
    return text + "."

@fz.batch_udf(returns=float, nullable=False)
def half(amount: np.ndarray) -> np.ndarray:
    return amount / 2

@fz.async_udf(timeout="10s", concurrency=64)
async def later(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1

rows = fz.read_generator(rows={rows}, partitions=2).select("id", "user", "amount")
made = {{
    "udf": rows.select("id", value=longer(col("user"))),
    "batch_udf": rows.select("id", value=half(col("amount"))),
    "async_udf": rows.select("id", value=later(col("id"))),
    "keyed": rows.group_by("user").process(
        Totals, schema={{"id": int, "user": str, "seen": int}}, order="arrival"
    ),
}}["{kind}"]
sink = made.write_iceberg("soak.made")
report = fz.Pipeline("soak", sink, checkpoint_every="1s", workers=2).run(until="now")
print(*[sink.rows for sink in report.sinks.values()])
"""


@pytest.mark.parametrize("kind", SHARES)
def test_memory_is_flat(kind: str, tmp_path: Path) -> None:
    rows = int(int(os.environ["SOAK_ROWS"]) * SHARES[kind])
    run = watch(PROGRAM.format(rows=rows, kind=kind), tmp_path, TIMEOUT_S)
    assert run.said == str(rows)
    found = duckdb.sql(
        "select count(*), count(distinct id), min(id), max(id) from "
        f"read_parquet('{tmp_path}/warehouse/**/*.parquet', hive_partitioning=false)"
    ).fetchone()
    assert found == (rows, rows, 0, rows - 1)
    check_flat(run.halves_mb())
