"""A process is stopped at a step, another takes over, and the first wakes: late, or in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.crash.scene import Scene

POINTS = (
    "after_list",
    "before_fence_put",
    "after_fence_put",
    "after_l4_list",
    "after_prepare",
    "before_put",
    "after_put",
    "after_load",
    "before_commit",
    "after_commit",
    "before_ack",
    "before_gc",
    "after_gc",
)
QUICK = ("before_put", "before_commit")


@pytest.mark.parametrize(
    "point", [pytest.param(e, marks=() if e in QUICK else pytest.mark.slow) for e in POINTS]
)
def test_wakes_when_the_other_is_done(scene: Scene, point: str) -> None:
    """All it can still do is what the log says already."""
    count = 2 if point not in POINTS[:3] else 1
    zombie = scene.freeze(point, count=count)
    scene.finish(takeover=True)
    scene.check()
    zombie.resume()
    zombie.end()
    scene.check()
    scene.finish()
    scene.check()
    scene.check_no_orphans()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "count", "other", "other_count"),
    [
        ("after_list", 1, "before_fence_put", 1),
        ("before_fence_put", 1, "after_list", 1),
        ("before_put", 1, "after_list", 1),  # V1: the new one has listed, not fenced
        ("before_put", 2, "before_fence_put", 1),
        ("after_prepare", 2, "after_fence_put", 1),
        ("before_put", 3, "before_gc", 1),
        ("before_put", 1, "after_gc", 2),  # V11, V12: its slot may be collected
        ("after_put", 2, "after_load", 1),
        ("before_commit", 2, "after_load", 1),  # both have seen the same table
        ("before_commit", 2, "before_commit", 1),
        ("before_commit", 3, "after_commit", 1),
        ("before_put", 2, "before_orphan", 1),  # its files are being removed
        ("before_gc", 2, "before_put", 2),
        ("after_commit", 1, "before_ack", 1),
    ],
)
def test_wakes_in_between(
    scene: Scene, point: str, count: int, other: str, other_count: int
) -> None:
    """It wakes while the process that took over stands at some step of its own."""
    scene.kill("before_put", count=2)
    zombie = scene.freeze(point, count=count)
    new = scene.freeze(other, count=other_count, takeover=True, rate=12_000.0)
    zombie.resume()
    zombie.wait_a_little()
    new.resume()
    new.end()
    zombie.end()
    scene.finish(takeover=True)
    scene.check()
    scene.check_no_orphans()
