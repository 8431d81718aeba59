"""Processes that give changes are killed: what is left after all changes is the same."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import frazil as fz
import pytest

from tests.crash.pipelines import changing_streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from tests.crash.scene import Scene

Rows = Counter[tuple[str, ...]]


def left(table: pa.Table) -> Rows:
    """Rows that came, less those that went; in a table their order is lost."""
    rows: Rows = Counter()
    for change in table.to_pylist():
        came = change.pop("_kind") in ("insert", "update_after")
        rows[tuple(map(repr, change.values()))] += 1 if came else -1
    assert all(number in (0, 1) for number in rows.values())
    return +rows


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Rows]:
    """What one process that nobody kills gives, by table."""
    sinks = {name: s.write_memory(name=name) for name, s in changing_streams(None).items()}
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    fz.Pipeline("changing", *sinks.values(), checkpoint=folder).run(
        until="now", close_windows=True, quiet=True
    )
    assert all(len(left(sink.table())) > 20 for sink in sinks.values())
    return {name: left(sink.table()) for name, sink in sinks.items()}


def check(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    """All tables have these rows, and nothing of the dead is left."""
    for name, rows in undisturbed.items():
        found = left(scene.rows(name))
        assert found == rows, (name, len(rows - found), len(found - rows))
        scene.check_no_orphans(name)
    scene.check_log("changing")


@pytest.mark.slow
def test_killed_between_state_and_manifest(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    for count, point in ((2, "before_state_put"), (3, "before_put"), (3, "after_put")):
        scene.kill(point, "changing", count=count, workers=1 + count % 2, rate=4_000.0)
    scene.finish("changing", workers=2, close_windows=True)
    check(scene, undisturbed)


@pytest.mark.slow
def test_killed_at_any_time(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    rng = random.Random(1)
    for workers in (1, 2, 4, 2, 1):
        process = scene.start("changing", workers=workers, takeover=True, rate=6_000.0)
        time.sleep(rng.uniform(0.2, 0.8))
        process.kill()
    scene.finish("changing", workers=3, close_windows=True)
    check(scene, undisturbed)
