"""Killed at every step, the first, second and third time it is reached: every row once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.pipelines import RATE

if TYPE_CHECKING:
    from tests.crash.scene import Scene

# Reached once by each start.
ONCE = ("after_list", "before_fence_put", "after_fence_put", "before_drain")
# Reached by each epoch.
EACH = (
    "after_prepare",
    "before_put",
    "after_put",
    "after_l4_list",
    "after_load",
    "before_commit",
    "after_commit",
    "before_ack",
    "before_gc",
    "after_gc",
)
QUICK = ("after_put", "after_commit")


@pytest.mark.parametrize(
    "point", [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in EACH]
)
def test_killed_in_an_epoch(scene: Scene, point: str) -> None:
    """One process after the other dies, each at a later epoch, then one lives."""
    for count in (1, 2, 3):
        scene.kill(point, count=count)
    scene.finish()
    scene.check()
    scene.check_no_orphans()


@pytest.mark.slow
@pytest.mark.parametrize("point", ONCE)
def test_killed_at_start_or_end(scene: Scene, point: str) -> None:
    """Before anything is there, after a death in an epoch, and twice in a row."""
    rate = None if point == "before_drain" else RATE
    scene.kill(point, rate=rate)
    if point != "before_drain":
        scene.kill("after_put", count=2)
        scene.kill(point)
    scene.kill(point, rate=rate)
    scene.finish()
    scene.check()
    scene.check_no_orphans()


@pytest.mark.slow
def test_killed_while_removing_orphans(scene: Scene) -> None:
    """Every attempt leaves files of an epoch that never was; the next removes them."""
    for _ in range(3):
        scene.kill("before_put", count=2)
    scene.kill("before_orphan")
    scene.finish()
    scene.check()
    scene.check_no_orphans()


# A committer takes an error here for an answer that was lost, and looks again.
ANSWERS = ("after_load", "before_commit", "after_commit")


@pytest.mark.slow
@pytest.mark.parametrize("point", [each for each in EACH if each not in ANSWERS])
def test_error_in_an_epoch(scene: Scene, point: str) -> None:
    """An error ends the process in order."""
    for count in (1, 2):
        assert "Reached" in scene.refused(point=point, action="raise", count=count)
    scene.finish()
    scene.check()
    scene.check_no_orphans()


@pytest.mark.parametrize(
    "point", [pytest.param(e, marks=() if e in QUICK else pytest.mark.slow) for e in ANSWERS]
)
def test_answer_is_lost(scene: Scene, point: str) -> None:
    """The committer looks whether its commit landed."""
    scene.kill("before_commit", count=2)
    scene.finish(point=point, action="raise", rate=20_000.0)
    scene.check()
