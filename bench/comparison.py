"""A workload on the same events: Frazil and the peers named, in turn, their rows checked."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import events, measure
from bench.cache import scratch_dir
from bench.systems import OTHER_ROWS, SYSTEMS, Input, System
from bench.truth import TRUTHS, Truth

FACTOR = 3
"""The larger input is this many times the smaller one; what lies between them has no start-up."""

PARTITIONS = 4
"""Of the topic."""

UNUSUAL = frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"})
"""Variables of the environment that no system is given."""

WARM_EVENTS = 1_000
"""Read once by each system before it is measured, so that its Python is compiled, as it is on any
machine after the first start; not if there is one run only, which shows that it works."""


@dataclass(frozen=True)
class Result:
    """One system's figures.

    Attributes
    ----------
    cpu_s_per_million
        CPU seconds of all its processes per million events: (CPU(3N) - CPU(N)) / 2N,
        median of runs.
    events_per_s
        Likewise by the difference of wall times; None where noise was larger than it.
    peak_mb
        Largest sum of the proportional set sizes of its processes at 3N, median of runs.
    start_cpu_s
        What the line through both sizes leaves for no events: start, imports, end.
    rows_ok
        Every run gave exactly the rows expected.
    """

    system: str
    workload: str
    events: int
    runs: int
    cpu_s_per_million: float
    events_per_s: float | None
    peak_mb: float
    start_cpu_s: float
    cpu_s: tuple[tuple[float, float], ...]  # (at N, at 3N) of each run
    rows_ok: bool


def measure_workload(
    workload: str,
    rows: int,
    source: str,
    peers: Sequence[str],
    *,
    own: Sequence[str] = ("frazil",),
    runs: int,
    seed: int = 42,
) -> list[Result]:
    """Run Frazil, in all its `own` ways, and peers on the same events; check rows by the truth."""
    systems = _systems(workload, source, [*own, *peers])
    truth = TRUTHS[workload]
    warm = events.event_file(WARM_EVENTS, seed)
    for system in systems:
        system.prepare()
        if runs > 1 and "file" in system.sources:
            _run(system, truth, Input(WARM_EVENTS, path=warm), warm)
    measured: dict[str, list[tuple[measure.Measured, measure.Measured]]] = {}
    right = dict.fromkeys((system.name for system in systems), True)
    with _inputs(rows, source, seed) as inputs:
        for _ in range(runs):
            for system in systems:
                pair = []
                for given, path in inputs:
                    taken, ok = _run(system, truth, given, path)
                    pair.append(taken)
                    right[system.name] &= ok
                measured.setdefault(system.name, []).append((pair[0], pair[1]))
    return [
        _result(name, f"{workload}-{source}", rows, pairs, right[name])
        for name, pairs in measured.items()
    ]


def _systems(workload: str, source: str, names: Sequence[str]) -> list[System]:
    if source == "kafka" and "bare" in names:  # the target from Kafka is made of both
        names = [*names, "consume"]
    unknown = [name for name in names if name not in SYSTEMS]
    if unknown:
        raise ValueError(f"no peer is called {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    systems = [SYSTEMS[name] for name in dict.fromkeys(names)]
    unfit = [system.name for system in systems if source not in system.sources]
    if unfit:
        raise ValueError(f"{', '.join(unfit)} cannot read from {source}; leave it out of --peers")
    unfit = [system.name for system in systems if workload not in system.workloads]
    if unfit:
        raise ValueError(f"{', '.join(unfit)} does not run {workload}; leave it out of --peers")
    for name in names:
        if why := OTHER_ROWS.get((name, workload, source)):
            raise ValueError(f"{name} gives other rows for {workload} from {source}: {why}")
    return systems


@contextmanager
def _inputs(rows: int, source: str, seed: int) -> Iterator[list[tuple[Input, Path]]]:
    """The small and the large input, each with the file that holds its events."""
    paths = {count: events.event_file(count, seed) for count in (rows, FACTOR * rows)}
    if source == "file":
        yield [(Input(count, path=path), path) for count, path in paths.items()]
        return
    from bench.broker import broker  # the broker's client is needed for this source only

    with broker() as running:
        inputs = []
        for count, path in paths.items():
            topic = running.fill(f"events-{count}", path, partitions=PARTITIONS)
            inputs.append((Input(count, servers=running.servers, topic=topic), path))
        yield inputs


def _run(system: System, truth: Truth, given: Input, path: Path) -> tuple[measure.Measured, bool]:
    out = scratch_dir(system.name)
    try:
        command = system.command(truth.workload, given, out)
        env = {name: value for name, value in os.environ.items() if name not in UNUSUAL}
        taken = measure.run(command.argv, env=env)
        if command.result == "count":
            return taken, int(taken.output) == given.rows
        partitions = PARTITIONS if given.path is None else 1
        files = system.outputs(truth.workload, out)
        return taken, truth.found(files, exact=system.exact) == truth.expected(
            path, partitions, exact=system.exact
        )
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _result(
    name: str,
    workload: str,
    rows: int,
    pairs: Sequence[tuple[measure.Measured, measure.Measured]],
    right: bool,
) -> Result:
    more = (FACTOR - 1) * rows
    cpu = statistics.median((large.cpu_s - small.cpu_s) / more for small, large in pairs)
    wall = statistics.median((large.wall_s - small.wall_s) / more for small, large in pairs)
    start = statistics.median(small.cpu_s for small, _ in pairs) - cpu * rows
    return Result(
        system=name,
        workload=workload,
        events=rows,
        runs=len(pairs),
        cpu_s_per_million=round(cpu * 1e6, 3),
        events_per_s=round(1 / wall) if wall > 0 else None,
        peak_mb=round(statistics.median(large.peak_mb for _, large in pairs), 1),
        start_cpu_s=round(start, 3),
        cpu_s=tuple((round(small.cpu_s, 3), round(large.cpu_s, 3)) for small, large in pairs),
        rows_ok=right,
    )


def table(results: Sequence[Result]) -> str:
    """The results as text."""
    lines = [
        f"{'system':10} {'workload':10} {'CPU s/M':>8} {'events/s':>10} "
        f"{'peak MB':>8} {'start s':>8}  rows"
    ]
    for each in results:
        speed = "-" if each.events_per_s is None else f"{each.events_per_s:,}"
        lines.append(
            f"{each.system:10} {each.workload:10} {each.cpu_s_per_million:8.3f} {speed:>10} "
            f"{each.peak_mb:8.1f} {each.start_cpu_s:8.2f}  {'ok' if each.rows_ok else 'WRONG'}"
        )
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """The results as a list of plain dicts."""
    return [asdict(each) for each in results]
