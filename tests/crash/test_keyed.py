"""Processes are killed inside Python functions with state and timers: the same comes out, once."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import frazil as fz
import pytest

from tests.crash.pipelines import keyed_streams

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
    sinks = {name: s.write_memory(name=name) for name, s in keyed_streams(None).items()}
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    fz.Pipeline("keyed", *sinks.values(), checkpoint=folder).run(
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
    scene.check_log("keyed")


# Before a file of state is put, between it and its manifest, behind that.
@pytest.mark.slow
@pytest.mark.parametrize("point", ["before_state_put", "before_put", "after_put"])
def test_killed_with_state(scene: Scene, undisturbed: Mapping[str, Rows], point: str) -> None:
    for count in (1, 2, 2):
        scene.kill(point, "keyed", count=count, workers=1 + count % 2, rate=4_000.0)
    scene.finish("keyed", workers=2, close_windows=True)
    check(scene, undisturbed)


@pytest.mark.slow
def test_killed_at_any_time(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    rng = random.Random(1)
    for workers in (1, 2, 4):
        process = scene.start("keyed", workers=workers, takeover=True, rate=6_000.0)
        time.sleep(rng.uniform(0.2, 0.8))
        process.kill()
    scene.finish("keyed", workers=3, close_windows=True)
    check(scene, undisturbed)
