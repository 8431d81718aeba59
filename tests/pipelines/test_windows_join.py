"""Partitions that come later, or go: their rows never contradict windows that are closed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random
from typing import Any

import pytest
from frazil.run import coordinator, discovery

from tests.pipelines.events import CUTS, Cut, Event, Query, counted, draw_partitions, events_at
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.processes import Processes

TUMBLING = CUTS[0]
KEPT = 10_000  # slots of the log: the first that has a partition is looked at


def starts(processes: Processes, count: int) -> dict[int, int]:
    """The frontiers with which partitions are in the first manifest that has them (us)."""
    found = {}
    for p in range(count):
        name = f"memory-{p}"
        for manifest in processes.manifests():
            if any(name in state.positions() for state in manifest.sources.values()):
                for known in manifest.frontiers.values():
                    if name in known:
                        found[p] = known[name]
                break
        else:
            raise AssertionError(f"{name} was never admitted")
    return found


def check(processes: Processes, query: Query, partitions: list[list[Event]]) -> dict[int, int]:
    """Results and late rows are those of partitions that began where the log says."""
    begun = starts(processes, len(partitions))
    expected = query.oracle(partitions, begun)
    assert processes.rows("results") == counted(expected.results(all_closed=True))
    assert processes.rows("late") == counted(expected.late)
    return begun


def test_partition_that_is_new_at_a_start() -> None:
    """It begins where event time stood, though the process that wrote that down is gone."""
    query = Query(cut=TUMBLING, out_of_order=5)
    partitions = [events_at(1, 30, 70), events_at(2, 59, 66, 90)]
    processes = Processes(partitions, query.streams)
    processes.run(partitions=1, retain=KEPT)
    assert len(processes.table()) == 2  # 0 and 20 s are closed: the watermark is 65
    processes.run(close_windows=True, workers=2, retain=KEPT)
    begun = check(processes, query, partitions)
    assert list(begun) == [1]
    assert [row["id"] for row in processes.table("late")] == [0, 1]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut.kind}-{cut.size}-{cut.every}")
def test_partitions_come_with_each_start(cut: Cut) -> None:
    """Random ones, also where a process dies as soon as it has written them down."""
    for seed in range(4):
        rng = Random(seed)
        partitions = [draw_partitions(rng, most=1, rows=30, whole=True)[0] for _ in range(4)]
        partitions = [[e for e in part if e["at"] is not None] for part in partitions]
        query = Query(cut=cut, out_of_order=rng.choice([0, 5]), aggregates=("rows", "total"))
        processes = Processes(partitions, query.streams)
        for count in (1, 2, 2, 3, 3, 4):
            try:
                hook = CrashAt(rng.randrange(3, 30))
                processes.run_drawn(rng, partitions=count, hook=hook, every_s=0.02, retain=KEPT)
            except Crash:
                continue
        processes.run_drawn(rng, close_windows=True, retain=KEPT)
        check(processes, query, partitions)


def test_partition_that_is_gone_and_comes_back() -> None:
    """While it is away event time does not wait for it, and it comes back where that stands."""
    query = Query(cut=TUMBLING, out_of_order=5)
    partitions = [events_at(1, 30, 70, 100, 130), events_at(2, 30, 31, 58)]
    processes = Processes([partitions[0][:2], partitions[1][:2]], query.streams)
    processes.run()
    processes.partitions = [partitions[0]]
    processes.run(partitions=1)  # closes what ends by 125 s
    processes.partitions = partitions
    processes.run(close_windows=True)
    assert [row["id"] for row in processes.table("late")] == [2, 3]
    ends = [row["window_end"] for row in processes.table()]
    assert len(ends) == len(set(ends))


class Growing(discovery.Discovery):
    """Finds the last partition only when it is asked for the n-th time."""

    after = 0
    looks = 0
    sources: Collection[str] = ()

    def begin(
        self,
        *,
        bounded: bool,
        known: Mapping[str, Mapping[str, str]],
        sources: Collection[str],
    ) -> None:
        """Of these sources."""
        Growing.sources = sources
        super().begin(bounded=bounded, known=known, sources=sources)

    def take(self, timeout_s: float = 0.0) -> discovery.FoundBySource | None:
        """What there is."""
        self.begin(bounded=True, known={}, sources=Growing.sources)
        found = super().take(timeout_s)
        Growing.looks += 1
        if found is None or Growing.looks > Growing.after:
            return found
        return {source: partitions[:-1] for source, partitions in found.items()}


@pytest.mark.parametrize("workers", [1, 2])
def test_partition_that_comes_while_others_are_read(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any moment, and with a crash at each step behind it."""
    monkeypatch.setattr(coordinator, "Discovery", Growing)
    query = Query(cut=TUMBLING, out_of_order=5, aggregates=("rows", "total", "last_id"))
    rng = Random(workers)
    partitions = draw_partitions(rng, most=1, rows=30, whole=True) * 2
    partitions.append(partitions[0])
    begun = []

    def run(after: int, hook: Any, processes: Processes, **options: Any) -> None:
        Growing.after, Growing.looks = after, 0
        drawn = {"workers": workers, "batch_rows": 1, "every_s": 0.007, "retain": KEPT, **options}
        processes.run(seed=after, hook=hook, **drawn)

    for after in (2, 4, 7):
        counter, processes = CrashAt(), Processes(partitions, query.streams)
        run(after, counter, processes)
        run(0, CrashAt(), processes, close_windows=True)
        begun.append(check(processes, query, partitions).get(2))
        for step in range(2 * after, min(counter.steps + 1, 2 * after + 8)):
            processes = Processes(partitions, query.streams)
            with pytest.raises(Crash):
                run(after, CrashAt(step), processes)
            run(0, CrashAt(), processes, workers=3 - workers, close_windows=True)
            check(processes, query, partitions)
    assert len(set(begun)) > 1, begun
