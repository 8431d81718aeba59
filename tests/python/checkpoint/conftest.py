"""A log in memory, and ways to make what it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from frazil.checkpoint import CheckpointLog, Epoch, Partition, SourceState
from frazil.checkpoint.memory_store import MemoryStore
from frazil.checkpoint.slot_put import Clock


class FakeClock(Clock):
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.slept: list[float] = []
        super().__init__(now=lambda: self.time, sleep=self._sleep)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("test")


@pytest.fixture
def open_log(store: MemoryStore, clock: FakeClock) -> Callable[..., CheckpointLog]:
    def open_(**options: Any) -> CheckpointLog:
        return CheckpointLog.open(store, **{"takeover": True, "clock": clock, **options})

    return open_


@pytest.fixture
def epoch() -> Callable[..., Epoch]:
    """An epoch at a position, with one token part for each sink that is named."""

    def make(position: int, *sinks: str, **options: Any) -> Epoch:
        source = SourceState((Partition("p0", f'{{"v":1,"at":{position}}}'),))
        tokens = {sink: [f'{{"v":1,"files":["{sink}-{position}"]}}'] for sink in sinks}
        return Epoch(sources={"s": source}, tokens=tokens, **options)

    return make
