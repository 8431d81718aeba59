"""A step that keeps rows or keys, run in drawn orders and cut off anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    import frazil as fz

    from tests.pipelines.events import Event


class Question(Protocol):
    """What is asked of events, and what the answer is."""

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        """The program."""

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        """That its sinks have the answer; `ended`: the end of the rows is the end of all."""


def check_answer(question: Question, partitions: list[list[Event]], rng: Random) -> None:
    """What is known at the end of the rows, and when that is the end of all."""
    processes = Processes(partitions, question.streams)
    if rng.random() < 0.5:
        processes.run_drawn(rng)
        question.check(processes, partitions)
    processes.run_drawn(rng, close_windows=True)
    question.check(processes, partitions, ended=True)


def check_crashes(question: Question, partitions: list[list[Event]], rng: Random) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    processes = Processes(partitions, question.streams)
    crashes = 0
    for step in (6, *rng.sample(range(3, 40), 4)):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            crashes += 1
    if rng.random() < 0.5:
        processes.run_drawn(rng)
        question.check(processes, partitions)
    processes.run_drawn(rng, close_windows=True)
    question.check(processes, partitions, ended=True)
    assert crashes > 0


def check_every_crash(
    question: Question, partitions: list[list[Event]], *, given: Sequence[str] = ()
) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers.

    `given` are sinks that have to have rows, or there is nothing to see.
    """
    counter = CrashAt()
    whole = Processes(partitions, question.streams)
    whole.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=counter)
    question.check(whole, partitions)
    assert all(whole.table(name) for name in given)
    assert counter.steps > 30
    for step in range(1, counter.steps + 1):
        processes = Processes(partitions, question.streams)
        with pytest.raises(Crash):
            processes.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=CrashAt(step))
        processes.run(seed=step, workers=1 + step % 3)
        question.check(processes, partitions)
