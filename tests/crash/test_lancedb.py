"""Processes that write to LanceDB are killed: every row is there once, and is found."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import lancedb
import pytest

from tests.crash.pipelines import ROWS

if TYPE_CHECKING:
    from tests.crash.scene import Scene

POINTS = ["after_put", "after_commit"]
QUICK = ["after_put"]


def check(scene: Scene) -> None:
    database: Any = lancedb.connect(str(scene.folder / "lance"))
    rows = database.open_table("rows")
    assert sorted(rows.to_arrow()["id"].to_pylist()) == list(range(ROWS))
    nearest = rows.search([40.0, 1_600.0]).limit(1).to_list()
    assert [row["id"] for row in nearest] == [40]
    last = database.open_table("last").to_arrow()
    keys = last["k"].to_pylist()
    assert sorted(keys) == list(range(300))
    assert [n % 300 for n in last["id"].to_pylist()] == keys
    scene.check_log("to_lancedb")
    staged = scene.folder / "checkpoints" / "to_lancedb" / "staged"
    assert list(staged.iterdir()) == []


@pytest.mark.parametrize(
    "point",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in POINTS],
)
def test_killed_at(point: str, scene: Scene) -> None:
    for count, workers in ((2, 1), (3, 2)):
        scene.kill(point, "to_lancedb", count=count, workers=workers, takeover=True)
    scene.finish("to_lancedb", workers=2)
    scene.finish("to_lancedb")  # removes what the last epochs have left
    check(scene)


@pytest.mark.slow
def test_killed_at_any_time(scene: Scene) -> None:
    rng = random.Random(3)
    for workers in (1, 2):
        process = scene.start("to_lancedb", workers=workers, takeover=True)
        time.sleep(rng.uniform(0.5, 1.5))
        process.kill()
    scene.finish("to_lancedb", workers=2, takeover=True)
    scene.finish("to_lancedb")
    check(scene)


@pytest.mark.slow
def test_a_zombie_wakes_behind_the_next(scene: Scene) -> None:
    zombie = scene.freeze("before_commit", "to_lancedb", count=4)
    scene.finish("to_lancedb", takeover=True)
    zombie.resume()
    zombie.end()
    scene.finish("to_lancedb", takeover=True)
    check(scene)
