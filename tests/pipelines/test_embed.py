"""Vectors over crashes: each row has its own, and texts of a checkpoint are not asked for again."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import frazil as fz
import pytest
from frazil import col
from frazil.errors import PlanChanged

from tests.pipelines.crashes import check_crashes, check_every_crash
from tests.pipelines.events import BEGIN, Event, counted
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.ordered import draw_apart
from tests.pipelines.processes import Processes


class Model:
    """Counts what it is asked."""

    name = "counted"
    dimension = 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [vector_of(text) for text in texts]


def vector_of(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)))]


class Embedded:
    """Each row once, with the vector of its text."""

    def __init__(self) -> None:
        self.model = Model()

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        texts = events.select("id", text=col("user"))
        return {"embedded": texts.embed("text", into="vector", model=self.model, cache=3)}

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        events = [event for part in partitions for event in part]
        expected = [
            {
                "id": each["id"],
                "text": each["user"],
                "vector": None if each["user"] is None else vector_of(each["user"]),
            }
            for each in events
        ]
        assert processes.rows("embedded") == counted(expected)


@pytest.mark.parametrize("seed", range(8))
def test_any_order_and_crashes(seed: int) -> None:
    rng = Random(seed)
    check_crashes(Embedded(), draw_apart(rng), rng)


def test_crashed_at_every_step() -> None:
    partitions = draw_apart(Random(5), most=2, rows=20, whole=True)
    check_every_crash(Embedded(), partitions, given=["embedded"])


def events_of(texts: list[str]) -> list[Event]:
    return [
        {"id": n, "at": BEGIN, "user": text, "n": None, "x": None} for n, text in enumerate(texts)
    ]


def processes_of(model: Any, partitions: list[list[Event]]) -> Processes:
    def build(events: fz.Stream) -> dict[str, fz.Stream]:
        return {"embedded": events.embed("user", into="vector", model=model)}

    return Processes(partitions, build)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_texts_of_a_checkpoint_are_not_asked_for_again(before: int, after: int) -> None:
    model = Model()
    partitions = [events_of([f"t{n % 7}" for n in range(p, 40)]) for p in range(2)]
    processes = processes_of(model, partitions)
    processes.run(workers=before, every_s=0.01, batch_rows=3)
    assert sorted(model.asked) == [f"t{n}" for n in range(7)]
    for again in range(3):  # over several checkpoints, each of which has to have them
        for part in processes.partitions:
            part += events_of(["t3", f"new{again}", "t6"])
        processes.run(workers=after, seed=again, batch_rows=1)
    assert sorted(model.asked) == sorted([f"t{n}" for n in range(7)] + ["new0", "new1", "new2"])


def test_what_was_committed_costs_nothing_after_a_crash() -> None:
    """Wherever it crashes: rows that are read again ask for the texts of their own epoch only."""
    texts = [f"t{n % 9}" for n in range(60)]
    steps = CrashAt()
    processes_of(Model(), [events_of(texts)]).run(every_s=0.01, batch_rows=2, hook=steps)
    known = 0
    for step in range(1, steps.steps + 1):
        model = Model()
        processes = processes_of(model, [events_of(texts)])
        with pytest.raises(Crash):
            processes.run(every_s=0.01, batch_rows=2, hook=CrashAt(step))
        manifests = processes.manifests()
        read = max((row_of(each.sources) for each in manifests), default=0)
        committed = set(texts[:read])
        known += len(committed)
        model.asked.clear()
        processes.run()
        assert not committed & set(model.asked)
        assert sorted(model.asked) == sorted(set(texts) - committed)
        assert len(processes.table("embedded")) == len(texts)
    assert known > 100


def row_of(sources: Any) -> int:
    """Rows of the only partition that a manifest has."""
    for state in sources.values():
        for position in state.positions().values():
            row: int = json.loads(position)["row"]
            return row
    return 0


def test_the_end_of_event_time_keeps_vectors() -> None:
    model = Model()
    processes = processes_of(model, [events_of(["a", "b"])])
    processes.run(close_windows=True)
    processes.partitions[0] += events_of(["b", "c"])
    processes.run(reopen=True)
    assert model.asked == ["a", "b", "c"]


@pytest.mark.parametrize("name", [None, "vectors"])
def test_steps_before_it_may_change(name: str | None) -> None:
    """Under a name of its own it keeps its vectors; without one they are made anew."""
    model = Model()

    def plain(events: fz.Stream) -> dict[str, fz.Stream]:
        return {"embedded": events.embed("user", into="vector", model=model, name=name)}

    def filtered(events: fz.Stream) -> dict[str, fz.Stream]:
        return plain(events.filter(col("user") != "none"))

    processes = Processes([events_of(["a", "b"])], plain)
    processes.run()
    changed = Processes([events_of(["a", "b"])], filtered)
    changed.partitions[0] += events_of(["b", "c"])
    changed.store = processes.store
    changed.run()
    assert model.asked == ["a", "b", *(["b"] if name is None else []), "c"]
    assert len(changed.table("embedded")) == 2


def test_another_model_is_refused() -> None:
    processes = processes_of(Model(), [events_of(["a"])])
    processes.run()
    other = Model()
    other.name = "newer"
    changed = processes_of(other, [events_of(["a"])])
    changed.store = processes.store
    with pytest.raises(PlanChanged, match="model: was counted, is now newer"):
        changed.run()
