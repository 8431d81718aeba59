"""Processes that read or write by Python code are killed: every row once."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.crash.pipelines import ROWS
from tests.crash.python_sinks import ids_of

if TYPE_CHECKING:
    from tests.crash.scene import Scene

POINTS = [
    "after_fence_put",
    "after_prepare",
    "before_put",
    "after_put",
    "before_commit",
    "before_ack",
]
QUICK = ["after_put"]


@pytest.mark.parametrize(
    "point",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in POINTS],
)
def test_a_reader_is_killed_at(point: str, scene: Scene) -> None:
    for count, workers in ((2, 1), (3, 2)):
        last = 1 if point == "after_fence_put" else count
        scene.kill(point, "from_python", count=last, workers=workers)
    scene.finish("from_python", workers=2)
    scene.check(pipeline="from_python")
    scene.check_no_orphans()


@pytest.mark.slow
def test_a_reader_is_killed_at_any_time(scene: Scene) -> None:
    rng = random.Random(1)
    for workers in (1, 2, 1, 2):
        process = scene.start("from_python", workers=workers, takeover=True)
        time.sleep(rng.uniform(0.3, 1.0))
        process.kill()
    scene.finish("from_python", workers=2, takeover=True)
    scene.check(pipeline="from_python")


SINKS = {"to_python": "out", "to_ledger": "ledger.db"}


def check_sink(scene: Scene, pipeline: str) -> None:
    """Every row is there once, and nothing is left beside it."""
    found = Counter(ids_of(scene.folder / SINKS[pipeline]))
    assert found == Counter(range(ROWS)), (found.total(), found.most_common(5))
    scene.check_log(pipeline)
    assert list(scene.folder.rglob("*.new")) == []


@pytest.mark.parametrize("pipeline", SINKS)
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(each, marks=() if each in QUICK else pytest.mark.slow)
        for each in [*POINTS, "before_commit"]
    ],
)
def test_a_writer_is_killed_at(point: str, pipeline: str, scene: Scene) -> None:
    for count, workers in ((2, 1), (3, 2)):
        last = 1 if point == "after_fence_put" else count
        scene.kill(point, pipeline, count=last, workers=workers)
    scene.finish(pipeline, workers=2)
    check_sink(scene, pipeline)


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", SINKS)
def test_a_writer_is_killed_at_any_time(pipeline: str, scene: Scene) -> None:
    rng = random.Random(2)
    for workers in (1, 2, 1, 2):
        process = scene.start(pipeline, workers=workers, takeover=True)
        time.sleep(rng.uniform(0.3, 1.0))
        process.kill()
    scene.finish(pipeline, workers=2, takeover=True)
    check_sink(scene, pipeline)


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", SINKS)
def test_a_zombie_commits_behind_the_next(pipeline: str, scene: Scene) -> None:
    zombie = scene.freeze("before_commit", pipeline, count=3)
    scene.finish(pipeline, takeover=True)
    zombie.resume()
    zombie.end()
    scene.finish(pipeline, takeover=True)  # removes what the zombie has prepared since
    check_sink(scene, pipeline)
