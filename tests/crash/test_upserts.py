"""Processes that keep tables by key are killed: every table has the rows of an undisturbed run."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import frazil as fz
import pytest

from tests.crash.pipelines import by_key_streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from tests.crash.scene import Scene

Rows = Counter[tuple[str, ...]]

POINTS = [
    "before_fence_put",
    "before_state_put",
    "after_prepare",
    "before_put",
    "after_put",
    "after_load",
    "before_commit",
    "after_commit",
    "before_ack",
    "after_gc",
]


def counted(table: pa.Table) -> Rows:
    """The rows, as a multiset."""
    return Counter(tuple(map(repr, row.values())) for row in table.to_pylist())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Rows]:
    """What one process that nobody kills gives, by table."""
    sinks = {name: s.write_memory(name=name) for name, (s, _) in by_key_streams(None).items()}
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    fz.Pipeline("by_key", *sinks.values(), checkpoint=folder).run(until="now", quiet=True)
    return {name: counted(sink.table()) for name, sink in sinks.items()}


def check(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    """All tables have these rows."""
    for name, rows in undisturbed.items():
        found = counted(scene.rows(name))
        assert found == rows, (name, len(rows - found), len(found - rows))
    scene.check_log("by_key")


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    for count, workers in ((2, 1), (3, 4)):
        last = 1 if point == "before_fence_put" else count
        scene.kill(point, "by_key", count=last, workers=workers, rate=4_000.0, takeover=True)
    scene.finish("by_key", workers=2)
    check(scene, undisturbed)
    for name in undisturbed:
        scene.check_no_orphans(name)


@pytest.mark.slow
def test_killed_at_any_time(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    rng = random.Random(1)
    for workers in (1, 2, 4, 2, 1):
        process = scene.start("by_key", workers=workers, takeover=True, rate=6_000.0)
        time.sleep(rng.uniform(0.2, 0.8))
        process.kill()
    scene.finish("by_key", workers=3)
    check(scene, undisturbed)


@pytest.mark.slow
def test_zombie_wakes_behind_the_next(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    """A process stops right before it commits; another goes on; then the commit is sent."""
    zombie = scene.freeze("before_commit", "by_key", count=4, rate=4_000.0, workers=2)
    scene.finish("by_key", workers=1, takeover=True)
    zombie.resume()
    zombie.end()
    check(scene, undisturbed)
