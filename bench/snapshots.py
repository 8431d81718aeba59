"""For how long checkpoints of many keys stop a worker, and how long a start takes with them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cache import cache_dir
from bench.measure import run
from bench.state import ROW_GROUP, SEED, START_US

PROGRAM = Path(__file__).parent / "systems" / "programs" / "run_snapshots.py"
MORE_ROWS = 4_000_000
MINUTE_US = 60_000_000


@dataclass(frozen=True)
class Snapshots:
    """Of two runs: the first has every key once, the second 4 M rows more."""

    keys: int
    workers: int
    filling_step_ms: float  # the longest step for a checkpoint; all keys are new
    going_on_step_ms: float  # all keys are written once, and what changed since
    longest_step_ms: float  # of both, whatever it was for
    restore_s: float
    rows_ok: bool


def measure_snapshots(keys: int, *, workers: int) -> Snapshots:
    """Run both once."""
    fill, more = (_rows(keys, filled=filled) for filled in (True, False))
    measured = run([sys.executable, str(PROGRAM), str(fill), str(more), "--workers", str(workers)])
    first, second = (json.loads(line) for line in measured.output.splitlines())
    return Snapshots(
        keys=keys,
        workers=workers,
        filling_step_ms=first["longest_checkpoint_step_ms"],
        going_on_step_ms=second["longest_checkpoint_step_ms"],
        longest_step_ms=max(first["longest_step_ms"], second["longest_step_ms"]),
        restore_s=second["restore_s"],
        rows_ok=[first["read"], second["read"]] == [keys, MORE_ROWS],
    )


def _rows(keys: int, *, filled: bool) -> Path:
    path = cache_dir() / f"snapshots-{keys}-{'a' if filled else 'b'}.parquet"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    count = keys if filled else MORE_ROWS
    begin = START_US if filled else START_US + MINUTE_US
    times = begin + np.arange(count, dtype=np.int64) * MINUTE_US // count
    table = pa.table(
        {
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "key": random.permutation(keys) if filled else random.integers(0, keys, count),
            "amount": random.random(count),
        }
    )
    part = path.with_suffix(".part")
    pq.write_table(table, part, row_group_size=ROW_GROUP)
    part.rename(path)
    return path


def table(measured: list[Snapshots]) -> str:
    """As text."""
    lines = [
        "| keys | workers | longest step for a checkpoint, ms: filling | going on "
        "| of all steps | restore s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.keys:,} | {each.workers} | {each.filling_step_ms:.1f} "
        f"| {each.going_on_step_ms:.1f} | {each.longest_step_ms:.1f} | {each.restore_s:.2f} |"
        for each in measured
    ]
    return "\n".join(lines)


def as_json(measured: list[Snapshots]) -> list[dict[str, object]]:
    """As it stands in results/."""
    return [asdict(each) for each in measured]
