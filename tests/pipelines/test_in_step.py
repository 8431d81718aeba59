"""Partitions of several workers are read in step: what is kept does not grow with a backlog."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import frazil as fz
import pytest
from frazil.checkpoint.memory_store import MemoryStore
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

from tests.pipelines.events import BEGIN, SECOND, Event
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    from frazil.run.status import Status


def spread(seconds: int, apart: list[int]) -> list[list[Event]]:
    """Partitions of so much time, their rows so many seconds apart."""
    return [
        [
            {"id": n, "at": BEGIN + timedelta(seconds=n * s), "user": f"{p}", "n": n, "x": 0.5}
            for n in range(seconds // s)
        ]
        for p, s in enumerate(apart)
    ]


def windows(events: fz.Stream) -> dict[str, fz.Stream]:
    timed = events.event_time("at", out_of_order="5s")
    return {"results": timed.group_by("user").window(fz.tumbling("10s")).agg(rows=fz.count())}


class Most(Processes):
    """Notes how far partitions were apart at most: seconds of event time, whose rows are kept.

    Bytes of state say less here: in a drawn order receivers are often behind, and small rows fill
    no channel.
    """

    most = 0

    def update(self, status: Status) -> None:
        for node in status.metrics["nodes"].values():
            if node.get("least") is not None:
                self.most = max(self.most, (node["most"] - node["least"]) // SECOND)

    def watched(self, *, seed: int, workers: int, batch_rows: int = 4) -> None:
        """One process to the end of the rows, that is looked at some times a second."""
        pipeline = fz.Pipeline("events", *self.sinks.values(), checkpoint="unused")
        runnable = prepare(pipeline, store=MemoryStore())
        self.give(runnable, batch_rows)
        settings = RunSettings(
            workers=workers,
            bounded=True,
            quiet=True,
            takeover=True,
            checkpoint_every_s=0.5,
            simulated_seed=seed,
            close_windows=True,
        )
        Coordinator(runnable, settings, observer=self).run()


@pytest.mark.parametrize("workers", [2, 4])
def test_partitions_are_not_further_apart_with_a_larger_backlog(workers: int) -> None:
    """One partition has many rows for a time that others cover with few."""
    found = []
    for seconds in (3_000, 12_000):
        processes = Most(spread(seconds, [1, *[20] * (workers - 1)]), windows)
        processes.watched(seed=workers, workers=workers)
        assert len({row["window_start"] for row in processes.table()}) == seconds // 10
        found.append(processes.most)
    assert 0 < found[0] < 1_500
    assert found[1] < 1.5 * found[0]


@pytest.mark.parametrize("seed", range(4))
def test_the_same_rows_in_any_order(seed: int) -> None:
    """Whoever waits for whom, and whoever ends."""
    rng = Random(seed)
    partitions = spread(240, [rng.choice([1, 5, 40]) for _ in range(rng.randint(2, 5))])
    del partitions[0][rng.randrange(len(partitions[0])) :]
    straight = Processes(partitions, windows)
    straight.run(close_windows=True)
    processes = Processes(partitions, windows)
    for _ in range(2):
        try:
            processes.run_drawn(rng, workers=3, hook=CrashAt(rng.randrange(3, 30)), every_s=0.02)
        except Crash:
            continue
    processes.run_drawn(rng, workers=4, close_windows=True)
    assert processes.rows("results") == straight.rows("results")
