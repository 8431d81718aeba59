"""What a row costs by how many keys there are, and by how many windows it is in."""

from __future__ import annotations

import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cache import cache_dir
from bench.measure import run

PROGRAM = Path(__file__).parent / "systems" / "programs" / "run_state.py"
START_US = 1_767_225_600_000_000
ROW_GROUP = 100_000
SEED = 7


@dataclass(frozen=True)
class Case:
    """Rows of so many keys, drawn evenly, over so many hours, into a window."""

    name: str
    window: str
    keys: int
    hours: int
    memory: str = "4GiB"  # of the pipeline


# Cases of one group are read from rows of the same kind: "none" is what reading them costs.
CASES = (
    Case("reading alone", "none", 1_000, 20),
    Case("1,000 keys", "day", 1_000, 20),
    Case("100,000 keys", "day", 100_000, 20),
    Case("10,000,000 keys", "day", 10_000_000, 20),
    Case("10,000,000 keys, memory_limit 128MiB", "day", 10_000_000, 20, "128MiB"),
    Case("a minute, 1,000 keys", "minute", 1_000, 4),
    Case("an hour every minute, 1,000 keys", "hour every minute", 1_000, 4),
)


@dataclass(frozen=True)
class Cost:
    """Of one case."""

    case: str
    events: int
    cpu_s_per_million: float
    peak_mb: float
    rows_ok: bool


def measure_state(events: int, *, runs: int) -> list[Cost]:
    """Measure all cases in turn, `runs` times; medians. CPU is by slope from N to 3 N rows."""
    found: dict[str, list[tuple[float, float, bool]]] = {case.name: [] for case in CASES}
    for _ in range(runs):
        for case in CASES:
            found[case.name].append(_measured(case, events))
    return [
        Cost(
            case.name,
            3 * events,
            statistics.median(cpu for cpu, _, _ in found[case.name]),
            statistics.median(peak for _, peak, _ in found[case.name]),
            all(ok for _, _, ok in found[case.name]),
        )
        for case in CASES
    ]


def _measured(case: Case, events: int) -> tuple[float, float, bool]:
    few, many = (run(_command(case, _rows(case, count))) for count in (events, 3 * events))
    cpu = (many.cpu_s - few.cpu_s) / (2 * events) * 1e6
    rows_ok = [int(few.output), int(many.output)] == [events, 3 * events]
    return cpu, many.peak_mb, rows_ok


def _command(case: Case, rows: Path) -> list[str]:
    return [sys.executable, str(PROGRAM), str(rows), case.window, "--memory", case.memory]


def _rows(case: Case, count: int) -> Path:
    path = cache_dir() / f"state-{case.keys}-{case.hours}h-{count}.parquet"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    span_us = case.hours * 3_600_000_000
    times = START_US + np.arange(count, dtype=np.int64) * span_us // count
    table = pa.table(
        {
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "key": random.integers(0, case.keys, count),
            "amount": random.random(count),
        }
    )
    part = path.with_suffix(".part")
    pq.write_table(table, part, row_group_size=ROW_GROUP)
    part.rename(path)
    return path


def table(costs: list[Cost]) -> str:
    """As text."""
    lines = ["| case | CPU s / M | peak MB |", "|---|---|---|"]
    lines += [
        f"| {cost.case} | {cost.cpu_s_per_million:.3f} | {cost.peak_mb:.0f} |" for cost in costs
    ]
    return "\n".join(lines)


def as_json(costs: list[Cost]) -> list[dict[str, object]]:
    """As it stands in results/."""
    return [asdict(cost) for cost in costs]
