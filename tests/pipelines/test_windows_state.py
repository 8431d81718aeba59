"""Files of windows' state: which there are, what damage says, who may go on with them."""

from __future__ import annotations

from random import Random
from typing import Any

import frazil as fz
import pytest
from frazil import col
from frazil.errors import CheckpointError, PlanChanged

from tests.pipelines.events import (
    BEGIN,
    CUTS,
    SECOND,
    Cut,
    Query,
    draw_partitions,
    events_at,
    us_of,
)
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.processes import Processes

EVENTS = [events_at(1, 30, 70), events_at(5, 33, 71)]
QUERY = Query(cut=CUTS[0], out_of_order=5, aggregates=("rows", "last"))


class CrashOn(CrashAt):
    """A hook that raises when the named step is reached for the n-th time."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(count)
        self._name = name

    def __call__(self, name: str) -> None:
        if name == self._name:
            super().__call__(name)


def named(processes: Processes) -> set[str]:
    """State files that slots name which are kept."""
    return {file.path for manifest in processes.manifests() for file in manifest.state_files}


@pytest.mark.parametrize("cut", [CUTS[0], CUTS[2], CUTS[5]], ids=lambda cut: cut.kind)
def test_files_are_there_that_somebody_names(cut: Cut) -> None:
    """Of processes that end at any step too; and a finished pipeline has none."""
    rng = Random(7)
    partitions = draw_partitions(rng, rows=90, whole=True)
    query = Query(cut=cut, out_of_order=5, aggregates=("rows", "share", "last"))
    processes = Processes(partitions, query.streams)
    left = 0
    for point in ("before_put", "before_put", "before_put", "before_gc", "after_gc"):
        hook = CrashOn(point, 2)
        with pytest.raises(Crash):
            processes.run(seed=left, workers=2, batch_rows=1, every_s=0.01, hook=hook)
        there = set(processes.store.list("state/"))
        assert named(processes) <= there
        left += there > named(processes)
    processes.run_drawn(rng, every_s=0.01, batch_rows=1)
    assert set(processes.store.list("state/")) == named(processes)
    assert len(processes.manifests()[-1].state_files) < 40
    assert left >= 3
    processes.run_drawn(rng, close_windows=True)
    assert processes.manifests()[-1].state_files == ()
    assert set(processes.store.list("state/")) == named(processes)


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "gone"])
def test_damaged_file(damage: str) -> None:
    """The start says which, changes nothing, and goes on when the file is put back."""
    processes = Processes(EVENTS, QUERY.streams)
    processes.run(workers=2)
    rows = processes.rows("results")
    key = sorted(named(processes))[0]
    data = processes.store.get(key)
    assert data is not None
    processes.store.delete(key)
    damaged = {
        "flipped": data[:40] + bytes([data[40] ^ 1]) + data[41:],
        "short": data[:-1],
        "empty": b"",
        "gone": None,
    }[damage]
    if damaged is not None:
        processes.store.objects[key] = damaged
    says = "lost the state file" if damaged is None else "is damaged: expected"
    for _ in range(2):
        with pytest.raises(CheckpointError, match=says) as caught:
            processes.run(close_windows=True)
        assert key in str(caught.value)
        assert "restore the store from its backup" in str(caught.value)
    assert processes.rows("results") == rows
    processes.store.objects[key] = data
    processes.run(close_windows=True)
    straight = Processes(EVENTS, QUERY.streams)
    straight.run(close_windows=True)
    assert processes.rows("results") == straight.rows("results")


def program(**options: Any) -> Any:
    """A window whose rows have the same columns whatever is changed."""
    asked = {
        "late_by": "5s",
        "lateness": "0s",
        "window": fz.tumbling("20s"),
        "keys": ["user"],
        "aggregates": {"rows": fz.count()},
        "least": 0,
        "before": None,
        **options,
    }

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        if asked["before"] is not None:
            events = events.filter(asked["before"])
        timed = events.event_time("at", out_of_order=asked["late_by"]).filter(
            col("n") >= asked["least"]
        )
        windows = timed.group_by(*asked["keys"]).window(asked["window"], lateness=asked["lateness"])
        return {"results": windows.agg(asked["aggregates"]).named("w").select("window_start")}

    return streams


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"late_by": "10s"}, "out of order: was 5s, is now 10s"),
        ({"late_by": "1s"}, "out of order: was 5s, is now 1s"),
        ({"lateness": "5s"}, "lateness: was 0ms, is now 5s"),
        ({"window": fz.tumbling("30s")}, "window: was tumbling 20s, is now tumbling 30s"),
        (
            {"window": fz.hopping("20s", every="10s")},
            "window: was tumbling 20s, is now hopping 20s, every 10s",
        ),
        ({"keys": []}, "keys: was user: string, is now none"),
        (
            {"aggregates": {"rows": col("n").sum()}},
            r"aggregates: was rows=count\(\): int64, is now rows=n.sum\(\): int64",
        ),
        ({"before": col("n") >= 0}, "event_time.*was removed or renamed"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_other_program_on_the_state(changed: dict[str, Any], said: str) -> None:
    """Refused, with what changed; the program that wrote the state goes on."""
    processes = Processes(EVENTS, program())
    processes.run()
    other = Processes(EVENTS, program(**changed))
    other.store = processes.store
    with pytest.raises(PlanChanged, match=said):
        other.run()
    processes.run(close_windows=True)
    assert len(processes.table()) == 3


def test_other_steps_before_a_named_window() -> None:
    """They may change: rows from here on are those of the new ones."""
    later = [events_at(1, 30, 31), events_at(30, 31, 32, 33, 70)]
    processes = Processes(later, program())
    processes.run(partitions=1)
    other = Processes(later, program(least=4))
    other.store = processes.store
    other.run(close_windows=True)
    starts = [us_of(row["window_start"]) - us_of(BEGIN) for row in other.table()]
    assert sorted(starts) == [20 * SECOND, 60 * SECOND]
