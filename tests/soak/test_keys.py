"""More keys than memory: checkpoints, a kill, a restore, and every window right."""

import os
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.soak.watched import watch

KEYS = int(os.environ.get("SOAK_KEYS", "50000000"))
MORE = KEYS // 10
ROW_GROUP = 1_000_000
START_US = 1_767_225_600_000_000
TIMEOUT_S = 4 * 3600
RESIDENT_MB_MAX = 1000
# Before it are the fence and the partitions.
SLOT_WITH_STATE = 3

PROGRAM = """
import frazil as fz
from frazil import col

rows = fz.read_files("in/*.parquet", format="parquet").event_time("at", out_of_order="1d")
counted = rows.group_by("key").window(fz.tumbling("1d")).agg(n=fz.count(), total=col("key").sum())
some = counted.filter(col("key") % 1000 == 7).select("key", "n", "total")
pipeline = fz.Pipeline(
    "keys", some.write_iceberg("soak.keys"), checkpoint_every="5s", memory_limit="512MiB"
)
handle = pipeline.start(until="now", close_windows={close}, quiet=True)
report = handle.wait()
print(sum(source.read for source in report.sources.values()), handle.status.restore_seconds)
"""


def write_rows(path: Path, keys: np.ndarray, minute: int) -> None:
    """Rows of one minute with these keys."""
    schema = pa.schema([pa.field("at", pa.timestamp("us", "UTC")), pa.field("key", pa.int64())])
    begin = START_US + minute * 60_000_000
    with pq.ParquetWriter(path, schema) as out:
        for first in range(0, len(keys), ROW_GROUP):
            part = keys[first : first + ROW_GROUP]
            times = begin + np.arange(first, first + len(part)) * 60_000_000 // len(keys)
            out.write_table(pa.table([times, part], schema=schema))


def test_more_keys_than_memory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(7)
    write_rows(tmp_path / "in" / "a.parquet", random.permutation(KEYS), 0)

    def has_state() -> bool:
        slots = [int(slot.stem) for slot in tmp_path.glob("checkpoints/keys/log/*.json")]
        return max(slots, default=0) >= SLOT_WITH_STATE

    filling = PROGRAM.format(close=False)
    killed = watch(filling, tmp_path, TIMEOUT_S, kill_when=has_state)
    filled = watch(filling, tmp_path, TIMEOUT_S)
    assert 0 < int(filled.said.split()[0]) < KEYS  # it went on where the other was
    write_rows(tmp_path / "in" / "b.parquet", random.integers(0, KEYS, MORE), 1)
    closed = watch(PROGRAM.format(close=True), tmp_path, TIMEOUT_S)
    assert int(closed.said.split()[0]) == MORE
    found = duckdb.sql(
        f"select key, n, total from read_parquet('{tmp_path}/warehouse/soak/**/*.parquet')"
    )
    expected = duckdb.sql(
        f"select key, count(*) as n, sum(key)::bigint as total from '{tmp_path}/in/*.parquet'"
        " where key % 1000 = 7 group by key"
    )
    assert len(found) == len(expected) == KEYS // 1000
    assert found.except_(expected).fetchall() == []
    peaks = [max(run.resident) / (1 << 20) for run in (killed, filled, closed)]
    print(f"peak MB: {peaks}; restore: {filled.said.split()[1]} s, {closed.said.split()[1]} s")
    assert max(peaks) < RESIDENT_MB_MAX
