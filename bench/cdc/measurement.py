"""Measures the copying of a table by its log of changes: inserts and changes apart."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import measure
from bench.cache import scratch_dir
from bench.cdc import truth
from bench.cdc.log import Size, log_file, partition_of
from bench.cdc.systems import Copier, copiers
from bench.systems.system import Input

PARTITIONS = 4
"""Of the topic; an event goes by its key."""

PART = 5
"""The first of three runs has one in so many of the inserts: what lies between has no start-up."""

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """One system's figures.

    Attributes
    ----------
    inserts, changes
        How many there are of each.
    inserts_cpu_s_per_million, changes_cpu_s_per_million
        CPU seconds of all its processes, by slope: from a fifth of the inserts to all of them; from
        all of them to these and the changes; medians of runs.
    rows_per_cpu_s
        Events of both kinds by CPU second, without the start; median of runs.
    peak_mb
        Largest sum of the proportional set sizes of its processes, with all events; median of runs.
    cpu_s
        Of each run: a fifth of the inserts, all of them, all events.
    rows_ok
        DuckDB found exactly the rows that are left, each time.
    """

    system: str
    source: str
    inserts: int
    changes: int
    runs: int
    inserts_cpu_s_per_million: float
    changes_cpu_s_per_million: float
    rows_per_cpu_s: int | None
    peak_mb: float
    cpu_s: tuple[tuple[float, float, float], ...]
    rows_ok: bool


def measure_cdc(events: int, source: str, peers: Sequence[str] = (), *, runs: int) -> list[Result]:
    """Copy `events` inserts, and as many changes, by each system in turn."""
    if events < PART:
        raise ValueError(f"{events} inserts cannot be parted in {PART}")
    systems = copiers(peers)
    for system in systems:
        system.prepare()
    sizes = (Size(events // PART, 0), Size(events, 0), Size(events, events))
    right = [truth.expected(size) for size in sizes]
    taken: dict[str, list[list[measure.Measured]]] = {system.name: [] for system in systems}
    rows_ok = dict.fromkeys(taken, True)
    with _inputs(sizes, source) as inputs:
        for _ in range(runs):
            for system in systems:
                of_run = [_copy(system, given) for given in inputs]
                taken[system.name].append([measured for measured, _ in of_run])
                rows_ok[system.name] &= [rows for _, rows in of_run] == right
    return [_result(name, source, sizes, of_runs, rows_ok[name]) for name, of_runs in taken.items()]


@contextmanager
def _inputs(sizes: Sequence[Size], source: str) -> Iterator[list[Input]]:
    files = [log_file(size) for size in sizes]
    if source == "file":
        yield [Input(size.events, path=path) for size, path in zip(sizes, files, strict=True)]
        return
    from bench.broker import broker  # the broker's client is needed for this source only

    with broker() as running:
        inputs = []
        for size, path in zip(sizes, files, strict=True):
            topic = running.fill(
                f"orders-{size.inserts}-{size.changes}",
                path,
                partitions=PARTITIONS,
                partition_of=lambda _, line: partition_of(line, PARTITIONS),
            )
            inputs.append(Input(size.events, servers=running.servers, topic=topic))
        yield inputs


def _copy(system: Copier, given: Input) -> tuple[measure.Measured, truth.Rows]:
    out = scratch_dir(f"cdc-{system.name}")
    try:
        taken = measure.run(system.command(given, out), cwd=ROOT, env=dict(os.environ))
        return taken, system.found(out)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _result(
    name: str,
    source: str,
    sizes: Sequence[Size],
    of_runs: Sequence[Sequence[measure.Measured]],
    rows_ok: bool,
) -> Result:
    events = [size.events for size in sizes]

    def slope(first: int, last: int) -> float:
        more = events[last] - events[first]
        return statistics.median((run[last].cpu_s - run[first].cpu_s) / more for run in of_runs)

    both = slope(0, 2)
    return Result(
        system=name,
        source=source,
        inserts=sizes[-1].inserts,
        changes=sizes[-1].changes,
        runs=len(of_runs),
        inserts_cpu_s_per_million=round(slope(0, 1) * 1e6, 3),
        changes_cpu_s_per_million=round(slope(1, 2) * 1e6, 3),
        rows_per_cpu_s=round(1 / both) if both > 0 else None,
        peak_mb=round(statistics.median(run[2].peak_mb for run in of_runs), 1),
        cpu_s=tuple((run[0].cpu_s, run[1].cpu_s, run[2].cpu_s) for run in of_runs),
        rows_ok=rows_ok,
    )


def table(results: Sequence[Result]) -> str:
    """The results as text."""
    lines = [
        f"{'system':8} {'source':6} {'inserts':>10} {'CPU s/M':>8} {'changes':>10} {'CPU s/M':>8} "
        f"{'rows/CPU s':>11} {'peak MB':>8}  rows"
    ]
    for each in results:
        speed = "-" if each.rows_per_cpu_s is None else f"{each.rows_per_cpu_s:,}"
        lines.append(
            f"{each.system:8} {each.source:6} {each.inserts:10,} "
            f"{each.inserts_cpu_s_per_million:8.3f} {each.changes:10,} "
            f"{each.changes_cpu_s_per_million:8.3f} {speed:>11} {each.peak_mb:8.1f}  "
            f"{'ok' if each.rows_ok else 'WRONG'}"
        )
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """The results as a list of plain dicts."""
    return [asdict(each) for each in results]
