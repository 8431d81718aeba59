"""Measures the queries: each in a process of its own, over events at rest, its rows checked."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import measure
from bench.cache import scratch_dir
from bench.nexmark.files import count_events
from bench.nexmark.generator import Config
from bench.nexmark.oracle import Oracle
from bench.nexmark.queries import QUERIES
from bench.nexmark.runners import Runner, runners

FEW_EVENTS = 1_000
"""Of a run that has little but a start and an end, which are taken off the others."""

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """One query's figures.

    Attributes
    ----------
    system
        By what it was run: "frazil", or a peer.
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
    system: str
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


def measure_queries(
    names: Sequence[str], events: int, *, runs: int, peers: Sequence[str] = ()
) -> list[Result]:
    """Run each query over the same events; says on standard error how the events came about."""
    if events <= FEW_EVENTS:
        raise ValueError(f"{events} events are not more than the {FEW_EVENTS} of a start")
    systems = runners(peers)
    for system in systems:
        system.prepare(Config())
    inputs = {system.name: _inputs(system, events) for system in systems}
    found = {
        (name, system.name): _Found(*inputs[system.name])
        for name in names
        for system in systems
        if name in system.queries
    }
    for _ in range(runs):
        for name in names:
            for system in systems:
                if name in system.queries:
                    _measure(system, name, found[name, system.name])
    return [_result(name, system, each) for (name, system), each in found.items()]


@dataclass
class _Found:
    """What the runs of a query by a system have given."""

    few: Path
    many: Path
    starts: list[measure.Measured] = field(default_factory=list)
    taken: list[measure.Measured] = field(default_factory=list)
    rows_out: int = 0
    right: bool = True


def _inputs(system: Runner, events: int) -> tuple[Path, Path]:
    before = time.process_time()
    few, many = (system.events(count, Config()) for count in (FEW_EVENTS, events))
    made = time.process_time() - before
    print(f"{events:,} events in {many}, {made:.1f} CPU s to make or find", file=sys.stderr)
    return few, many


def _measure(system: Runner, name: str, found: _Found) -> None:
    for folder, into in ((found.few, found.starts), (found.many, found.taken)):
        measured, found.rows_out, wrong = _run(system, name, folder)
        into.append(measured)
        if wrong:
            found.right = False
            print(f"{name} of {system.name}: {wrong}", file=sys.stderr)


def _run(system: Runner, name: str, folder: Path) -> tuple[measure.Measured, int, str]:
    """What a run cost, how many rows it has to give, and how they differ."""
    out = scratch_dir(f"nexmark-{name}")
    try:
        command = system.command(name, folder, out)
        taken = measure.run(command, cwd=ROOT, env=dict(os.environ))
        oracle = Oracle(folder)
        count, wrong = oracle.compare(QUERIES[name], system.outputs(name, out))
        oracle.close()
        return taken, count, wrong
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _result(name: str, system: str, found: _Found) -> Result:
    query = QUERIES[name]
    events = count_events(found.many, query.reads)
    more = events - count_events(found.few, query.reads)
    pairs = zip(found.starts, found.taken, strict=True)
    cpu = statistics.median(whole.cpu_s - start.cpu_s for start, whole in pairs) / more
    return Result(
        query=name,
        title=query.title,
        system=system,
        events=events,
        rows_out=found.rows_out,
        runs=len(found.taken),
        events_per_cpu_s=round(1 / cpu) if cpu > 0 else None,
        cpu_s_per_million=round(cpu * 1e6, 3),
        peak_mb=round(statistics.median(each.peak_mb for each in found.taken), 1),
        start_cpu_s=round(statistics.median(each.cpu_s for each in found.starts), 3),
        cpu_s=tuple(round(each.cpu_s, 3) for each in found.taken),
        rows_ok=found.right,
    )


def table(results: Sequence[Result]) -> str:
    """The results as text."""
    lines = [
        f"{'query':6} {'system':8} {'events':>10} {'rows out':>10} {'events/CPU s':>13} "
        f"{'CPU s/M':>8} {'peak MB':>8} {'start s':>8}  rows"
    ]
    for each in results:
        speed = "-" if each.events_per_cpu_s is None else f"{each.events_per_cpu_s:,}"
        lines.append(
            f"{each.query:6} {each.system:8} {each.events:10,} {each.rows_out:10,} "
            f"{speed:>13} {each.cpu_s_per_million:8.3f} {each.peak_mb:8.1f} "
            f"{each.start_cpu_s:8.2f}  "
            f"{'ok' if each.rows_ok else 'WRONG'}"
        )
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """The results as a list of plain dicts."""
    return [asdict(each) for each in results]
