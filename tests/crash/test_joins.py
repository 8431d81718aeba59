"""Processes that hold rows of two streams to join them are killed: the same pairs, once."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import frazil as fz
import pytest

from tests.crash.pipelines import joined_streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from tests.crash.scene import Scene

Rows = Counter[tuple[str, ...]]


def counted(table: pa.Table) -> Rows:
    """Rows as a multiset; doubles to the last bit."""
    return Counter(tuple(map(repr, row.values())) for row in table.to_pylist())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Rows]:
    """What one process that nobody kills gives, by table."""
    sinks = {name: s.write_memory(name=name) for name, s in joined_streams(None).items()}
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    fz.Pipeline("joined", *sinks.values(), checkpoint=folder).run(
        until="now", close_windows=True, quiet=True
    )
    assert all(sink.table().num_rows > 100 for sink in sinks.values())
    return {name: counted(sink.table()) for name, sink in sinks.items()}


def check(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    """All tables have these rows, and nothing of the dead is left."""
    for name, rows in undisturbed.items():
        found = counted(scene.rows(name))
        assert found == rows, (name, len(rows - found), len(found - rows))
        scene.check_no_orphans(name)
    scene.check_log("joined")


# Before a file of state is put, between it and its manifest, behind that.
@pytest.mark.slow
@pytest.mark.parametrize("point", ["before_state_put", "before_put", "after_put"])
def test_killed_with_rows_held(scene: Scene, undisturbed: Mapping[str, Rows], point: str) -> None:
    for count in (2, 3, 5):
        scene.kill(point, "joined", count=count, workers=1 + count % 2, rate=4_000.0)
    scene.finish("joined", workers=2, close_windows=True)
    check(scene, undisturbed)


@pytest.mark.slow
def test_killed_at_any_time(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    rng = random.Random(1)
    for workers in (1, 2, 4, 2, 1):
        process = scene.start("joined", workers=workers, takeover=True, rate=6_000.0)
        time.sleep(rng.uniform(0.2, 0.8))
        process.kill()
    scene.finish("joined", workers=3, close_windows=True)
    check(scene, undisturbed)
