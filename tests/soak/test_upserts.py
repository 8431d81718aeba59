"""A table by key with more keys than memory: filled with a kill, changed, read again.

In the suite it runs with few keys; `make soak` has 50 million of them, or SOAK_KEYS.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.services.duckdb_reader import iceberg_database
from tests.soak.watched import MEGABYTE, watch

KEYS = int(os.environ.get("SOAK_KEYS", "50000000" if "SOAK_ROWS" in os.environ else "200000"))
# Of the keys, how many are changed, and as many are deleted and inserted anew.
CHANGED, GONE = KEYS // 5, KEYS // 50
ROW_GROUP = 500_000
TIMEOUT_S = 4 * 3600
# Half of it or so are pages of the file that state is in, which the system may take back.
RESIDENT_MB_MAX = 2048
# The commit in which the first process is killed: its epoch is in the log, with its state.
KILLED_AT = 1

PROGRAM = """
import os
import signal

import frazil as fz
from frazil.run import runner

rows = fz.read_files("in/*.parquet", format="parquet").as_changes("op", key="key")
pipeline = fz.Pipeline(
    "upserts",
    rows.write_iceberg("soak.rows", mode="upsert", key=["key"]),
    checkpoint_every="2s",
    memory_limit="768MiB",
)
commits = 0


def kill(step):
    global commits
    commits += step == "before_commit"
    if commits == {killed_at}:
        os.kill(os.getpid(), signal.SIGKILL)


if {killed_at}:
    runner.run(pipeline, bounded=True, quiet=True, hook=kill)
handle = pipeline.start(until="now", quiet=True)
report = handle.wait()
print(sum(source.read for source in report.sources.values()), handle.status.restore_seconds)
"""


def write_changes(path: Path, op: str, keys: np.ndarray, version: int) -> None:
    """An operation on each of these keys; a row's value follows from its key and version."""
    schema = pa.schema([("op", pa.string()), ("key", pa.int64()), ("value", pa.int64())])
    with pq.ParquetWriter(path, schema) as out:
        for first in range(0, len(keys), ROW_GROUP):
            part = keys[first : first + ROW_GROUP]
            values = pa.array(value_of(part, version), pa.int64())
            ops = pa.repeat(pa.scalar(op), len(part))
            out.write_table(pa.table([ops, part, values], schema=schema))


def value_of(keys: np.ndarray, version: int) -> np.ndarray:
    return keys * 7919 % 1_000_003 + version


@pytest.mark.slow
def test_more_keys_than_memory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(11)
    keys = random.permutation(KEYS)
    write_changes(tmp_path / "in" / "a.parquet", "c", keys, 1)
    killing, program = (PROGRAM.format(killed_at=each) for each in (KILLED_AT, 0))
    killed = watch(killing, tmp_path, TIMEOUT_S, kill_when=lambda: False)  # by itself
    filled = watch(program, tmp_path, TIMEOUT_S)
    assert 0 <= int(filled.said.split()[0]) < KEYS  # it went on where the other was
    # Each key is changed once in a run: which of two files is read first does not matter.
    random.shuffle(keys)
    changed, gone, new = keys[:CHANGED], keys[CHANGED:][:GONE], np.arange(KEYS, KEYS + GONE)
    write_changes(tmp_path / "in" / "b.parquet", "u", changed, 2)
    write_changes(tmp_path / "in" / "c.parquet", "d", gone, 1)
    write_changes(tmp_path / "in" / "d.parquet", "c", new, 3)
    done = watch(program, tmp_path, TIMEOUT_S)
    assert int(done.said.split()[0]) == CHANGED + 2 * GONE
    check(tmp_path, changed, gone)
    peaks = [max(run.resident) // MEGABYTE for run in (killed, filled, done)]
    print(f"peak MB: {peaks}; restore: {filled.said.split()[1]} s, {done.said.split()[1]} s")
    assert max(peaks) < RESIDENT_MB_MAX


def check(folder: Path, changed: np.ndarray, gone: np.ndarray) -> None:
    """DuckDB finds the row of each key once, as numpy says it has to be."""
    versions = np.full(KEYS + GONE, 1, dtype=np.int8)
    versions[changed] = 2
    versions[KEYS:] = 3
    versions[gone] = 0
    left = np.flatnonzero(versions)
    values = value_of(left, 0) + versions[left]
    expected = (len(left), int(left.sum()), int(values.sum()), int((left % 1009 * values).sum()))
    newest = max(folder.glob("warehouse/soak/rows/metadata/*.metadata.json"))
    with iceberg_database(memory_limit="8GB", threads=2) as database:
        found = database.execute(
            "select count(*), sum(key)::bigint, sum(value)::bigint,"
            f" sum(key % 1009 * value)::bigint from iceberg_scan('{newest}')"
        ).fetchone()
    assert found == expected
