"""Measures the queries: each in a process of its own, over events at rest, its rows checked."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import measure
from bench.cache import scratch_dir
from bench.nexmark.files import count_events, event_folder
from bench.nexmark.generator import Config
from bench.nexmark.oracle import Oracle
from bench.nexmark.queries import QUERIES
from bench.nexmark.run import table_files

FEW_EVENTS = 1_000
"""Of a run that has little but a start and an end, which are taken off the others."""

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """One query's figures.

    Attributes
    ----------
    events
        How many it reads, of the kinds that it reads.
    rows_out
        How many rows its table has at the end.
    events_per_cpu_s
        Events divided by CPU seconds of all its processes, less both of a run of few events;
        median of runs. None where noise was larger than what they cost.
    peak_mb
        Largest sum of the proportional set sizes of its processes, median of runs.
    start_cpu_s
        CPU seconds of the run of few events: start, imports, end; median of runs.
    rows_ok
        Every run gave exactly the rows that DuckDB gives.
    """

    query: str
    title: str
    events: int
    rows_out: int
    runs: int
    events_per_cpu_s: int | None
    cpu_s_per_million: float
    peak_mb: float
    start_cpu_s: float
    cpu_s: tuple[float, ...]  # of each run
    rows_ok: bool


def chosen(names: str) -> list[str]:
    """The queries of a list with commas; all if it is empty."""
    listed = [name for name in names.split(",") if name] or list(QUERIES)
    unknown = [name for name in listed if name not in QUERIES]
    if unknown:
        raise ValueError(
            f"no query {', '.join(unknown)} is written; there are {', '.join(QUERIES)}"
        )
    return listed


def measure_queries(names: Sequence[str], events: int, *, runs: int) -> list[Result]:
    """Run each query over the same events; says on standard error how the events came about."""
    before = time.process_time()
    config = Config()
    if events <= FEW_EVENTS:
        raise ValueError(f"{events} events are not more than the {FEW_EVENTS} of a start")
    few, many = (event_folder(count, config) for count in (FEW_EVENTS, events))
    made = time.process_time() - before
    print(f"{events:,} events in {many}, {made:.1f} CPU s to make or find", file=sys.stderr)
    starts: dict[str, list[measure.Measured]] = {name: [] for name in names}
    taken: dict[str, list[measure.Measured]] = {name: [] for name in names}
    rows_out: dict[str, int] = {}
    right = dict.fromkeys(names, True)
    for _ in range(runs):
        for name in names:
            for folder, into in ((few, starts), (many, taken)):
                measured, count, wrong = _run(name, folder)
                into[name].append(measured)
                rows_out[name] = count
                if wrong:
                    right[name] = False
                    print(f"{name}: {wrong}", file=sys.stderr)
    return [
        _result(name, few, many, rows_out[name], starts[name], taken[name], right[name])
        for name in names
    ]


def _run(name: str, folder: Path) -> tuple[measure.Measured, int, str]:
    """What a run cost, how many rows it has to give, and how they differ."""
    out = scratch_dir(f"nexmark-{name}")
    try:
        program = [sys.executable, "-m", "bench.nexmark.run", "--query", name]
        command = [*program, "--events", str(folder), "--out", str(out)]
        taken = measure.run(command, cwd=ROOT, env=dict(os.environ))
        oracle = Oracle(folder)
        count, wrong = oracle.compare(QUERIES[name], table_files(name, out))
        oracle.close()
        return taken, count, wrong
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _result(
    name: str,
    few: Path,
    many: Path,
    rows_out: int,
    starts: Sequence[measure.Measured],
    taken: Sequence[measure.Measured],
    right: bool,
) -> Result:
    query = QUERIES[name]
    events = count_events(many, query.reads)
    more = events - count_events(few, query.reads)
    pairs = zip(starts, taken, strict=True)
    cpu = statistics.median(whole.cpu_s - start.cpu_s for start, whole in pairs) / more
    return Result(
        query=name,
        title=query.title,
        events=events,
        rows_out=rows_out,
        runs=len(taken),
        events_per_cpu_s=round(1 / cpu) if cpu > 0 else None,
        cpu_s_per_million=round(cpu * 1e6, 3),
        peak_mb=round(statistics.median(each.peak_mb for each in taken), 1),
        start_cpu_s=round(statistics.median(each.cpu_s for each in starts), 3),
        cpu_s=tuple(round(each.cpu_s, 3) for each in taken),
        rows_ok=right,
    )


def table(results: Sequence[Result]) -> str:
    """The results as text."""
    lines = [
        f"{'query':6} {'events':>10} {'rows out':>10} {'events/CPU s':>13} {'CPU s/M':>8} "
        f"{'peak MB':>8} {'start s':>8}  rows"
    ]
    for each in results:
        speed = "-" if each.events_per_cpu_s is None else f"{each.events_per_cpu_s:,}"
        lines.append(
            f"{each.query:6} {each.events:10,} {each.rows_out:10,} {speed:>13} "
            f"{each.cpu_s_per_million:8.3f} {each.peak_mb:8.1f} {each.start_cpu_s:8.2f}  "
            f"{'ok' if each.rows_ok else 'WRONG'}"
        )
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """The results as a list of plain dicts."""
    return [asdict(each) for each in results]
