"""A run that is to close all windows is asked to stop right before its end: no open one is lost."""

from __future__ import annotations

import frazil as fz
import pytest
from frazil import col
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

from tests.pipelines.events import Event, events_at
from tests.pipelines.processes import Processes


def streams(events: fz.Stream) -> dict[str, fz.Stream]:
    """Rows of each minute."""
    timed = events.event_time("at", out_of_order="5s").group_by("user")
    return {"results": timed.window(fz.tumbling("1m")).agg(rows=fz.count(), last=col("id").max())}


def partitions() -> list[list[Event]]:
    return [events_at(*range(0, 200, 9)), events_at(*range(1, 150, 7), user="bob")]


def stopped(processes: Processes, seed: int, epochs: int) -> None:
    """One process, asked to stop when so many epochs are in the log."""
    pipeline = fz.Pipeline("events", *processes.sinks.values(), checkpoint="unused")
    left = epochs

    def hook(step: str) -> None:
        nonlocal left
        left -= step == "after_put"
        if left == 0:
            coordinator.stop()

    runnable = prepare(pipeline, hook=hook, store=processes.store)
    processes.give(runnable, batch_rows=2)
    coordinator = Coordinator(
        runnable,
        RunSettings(
            workers=1 + seed % 2,
            bounded=True,
            quiet=True,
            takeover=True,
            checkpoint_every_s=0.01,
            simulated_seed=seed,
            close_windows=True,
        ),
        hook=hook,
    )
    coordinator.run()


# In some of these (170 is one) the end comes between the last barrier and the answer to it.
@pytest.mark.parametrize("seed", range(150, 180))
def test_windows_that_are_open_stay(seed: int) -> None:
    straight = Processes(partitions(), streams)
    straight.run(close_windows=True)
    processes = Processes(partitions(), streams)
    stopped(processes, seed, 1 + seed % 14)
    if not processes.manifests()[-1].closed:
        processes.run(close_windows=True)
    assert processes.rows("results") == straight.rows("results")
