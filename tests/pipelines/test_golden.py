"""Golden pipelines give the same rows in any order of work, with any batches, after any crash."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.pipelines.golden import GOLDEN
from tests.pipelines.harness import Crash, CrashAt, World

if TYPE_CHECKING:
    from pathlib import Path

every = pytest.mark.parametrize("name", GOLDEN)


@every
def test_with_threads(tmp_path: Path, name: str) -> None:
    world = World(tmp_path, GOLDEN[name])
    report = world.run(workers=2)
    world.check()
    for source in report.sources.values():
        assert source.read == source.good + source.rejected + source.dropped
    written = {sink: counted.rows for sink, counted in report.sinks.items()}
    assert written == {sink: len(rows) for sink, rows in world.golden.expected.items()}


@every
@pytest.mark.parametrize(("batch_rows", "workers"), [(1, 2), (7, 1), (7, 2), (16_384, 2)])
def test_in_a_drawn_order(tmp_path: Path, name: str, batch_rows: int, workers: int) -> None:
    world = World(tmp_path, GOLDEN[name], batch_rows=batch_rows)
    report = world.run(seed=batch_rows * 31 + workers, workers=workers)
    world.check()
    written = {sink: counted.rows for sink, counted in report.sinks.items()}
    assert written == {sink: len(rows) for sink, rows in world.golden.expected.items()}


@every
def test_same_seed_same_epochs(tmp_path: Path, name: str) -> None:
    """The simulator replays an order exactly."""
    runs = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        world = World(tmp_path / folder, GOLDEN[name])
        counter = CrashAt()
        report = world.run(seed=5, workers=2, hook=counter)
        runs.append((counter.steps, report.last_epoch))
    assert runs[0] == runs[1]


@pytest.mark.slow
@every
@pytest.mark.parametrize("seed", [1, 2])
def test_crashes_at_any_step(tmp_path: Path, name: str, seed: int) -> None:
    """One process after the other ends at a drawn step, then one lives."""
    rng = random.Random(f"{name} {seed}")
    world = World(tmp_path, GOLDEN[name], batch_rows=3)
    crashes = 0
    for _ in range(5):
        try:
            world.run(seed=rng.randrange(2**31), workers=2, hook=CrashAt(rng.randrange(3, 16)))
        except Crash:
            crashes += 1
    world.run(seed=seed, workers=2)
    world.check()
    assert crashes > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["distributed", "filed"])
def test_crashed_at_every_step(tmp_path: Path, name: str) -> None:
    """Each step of one run, in a world of its own."""
    (tmp_path / "whole").mkdir()
    counter = CrashAt()
    World(tmp_path / "whole", GOLDEN[name]).run(seed=3, workers=2, hook=counter)
    assert counter.steps > 20
    for step in range(1, counter.steps + 1):
        folder = tmp_path / str(step)
        folder.mkdir()
        world = World(folder, GOLDEN[name])
        with pytest.raises(Crash):
            world.run(seed=3, workers=2, hook=CrashAt(step))
        world.run(seed=3, workers=2)
        world.check()
