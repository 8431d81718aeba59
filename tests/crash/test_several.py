"""Several pipelines, sinks and tables; epochs without rows; the end of the input."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.crash.pipelines import ROWS, is_few

if TYPE_CHECKING:
    from tests.crash.scene import Scene

pytestmark = pytest.mark.slow

BOTH = range(2 * ROWS)


def test_new_pipeline_on_a_table_has_lower_epochs(scene: Scene) -> None:
    scene.kill("after_commit", count=3)
    scene.finish()
    scene.kill("after_commit", "second", count=1)
    scene.finish("second")
    scene.check(expected=BOTH)
    scene.check_log("second")


@pytest.mark.parametrize("point", ["after_put", "before_commit", "after_commit"])
def test_two_pipelines_at_once_on_one_table(scene: Scene, point: str) -> None:
    for count in (1, 2):
        one = scene.start(point=point, count=count)
        scene.kill(point, "second", count=count)
        assert one.wait() == -signal.SIGKILL, one.output
    one = scene.start(rate=8_000.0)
    scene.finish("second", rate=8_000.0)
    assert one.wait() == 0, one.output
    scene.check(expected=BOTH)
    scene.check_log("second")
    scene.check_no_orphans()


@pytest.mark.parametrize("point", ["before_put", "after_put", "before_commit", "after_commit"])
def test_two_sinks_on_one_table(scene: Scene, point: str) -> None:
    """V20: each has its own proof."""
    for count in (1, 2, 3):
        scene.kill(point, "two_sinks", count=count)
    scene.finish("two_sinks")
    scene.check(pipeline="two_sinks")
    scene.check_no_orphans()


@pytest.mark.parametrize("point", ["after_put", "before_commit", "after_commit", "before_ack"])
def test_one_stream_into_two_tables(scene: Scene, point: str) -> None:
    for count in (1, 2, 3):
        scene.kill(point, "two_tables", count=count)
    scene.finish("two_tables")
    scene.check(pipeline="two_tables")
    assert scene.ids("t.two") == list(range(ROWS))
    scene.check_no_orphans("t.two")


def test_zombie_with_two_tables(scene: Scene) -> None:
    """It stands between the commits to the one and to the other."""
    zombie = scene.freeze("before_commit", "two_tables", count=4)
    scene.finish("two_tables", takeover=True)
    zombie.resume()
    zombie.end()
    scene.check(pipeline="two_tables")
    assert scene.ids("t.two") == list(range(ROWS))


@pytest.mark.parametrize("point", ["after_prepare", "after_put", "after_commit"])
def test_exchange_between_two_workers(scene: Scene, point: str) -> None:
    for count in (1, 2):
        scene.kill(point, "by_country", count=count, workers=2)
    scene.finish("by_country", workers=2)
    scene.check(pipeline="by_country")
    scene.check_no_orphans()


def test_epochs_without_rows(scene: Scene) -> None:
    """They move positions and make no snapshot."""
    scene.kill("after_put", "few_rows", count=5)
    snapshots = len(scene.table().metadata.snapshots)
    scene.kill("after_put", "few_rows", count=5)
    scene.kill("after_gc", "few_rows", count=5)
    assert len(scene.table().metadata.snapshots) <= snapshots + 1
    scene.finish("few_rows")
    scene.check(pipeline="few_rows", expected=[n for n in range(ROWS) if is_few(n)])


def test_end_of_input(scene: Scene) -> None:
    """A run with nothing new makes no snapshot."""
    scene.finish()
    snapshots = [each.snapshot_id for each in scene.table().metadata.snapshots]
    scene.finish()
    scene.finish()
    assert [each.snapshot_id for each in scene.table().metadata.snapshots] == snapshots
    scene.check()


def test_other_number_of_workers(scene: Scene) -> None:
    for workers in (2, 1, 3):
        scene.kill("after_put", "by_country", count=2, workers=workers)
    scene.finish("by_country", workers=2)
    scene.check(pipeline="by_country")


@pytest.mark.parametrize("point", ["before_put", "after_put", "before_ack"])
def test_files_of_a_folder(scene: Scene, point: str) -> None:
    for count in (1, 2, 3):
        scene.kill(point, "to_files", count=count)
    scene.finish("to_files")
    folder = scene.folder / "out"
    found = [
        id for file in folder.glob("*.parquet") for id in pq.read_table(file)["id"].to_pylist()
    ]
    assert sorted(found) == list(range(ROWS))
    assert list((folder / "_frazil" / "staging").iterdir()) == []
    scene.check_log("to_files")


def test_sigterm_ends_in_order(scene: Scene) -> None:
    """Exit code 0, and what was read is in the table."""
    process = scene.start(bounded=False)
    scene.wait_for_rows(process)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.output
    before = scene.ids()
    assert 0 < len(before) < ROWS
    assert f"t.one: {len(before)} rows" in process.output
    scene.finish()
    scene.check()


def test_second_signal_does_not_wait_for_the_catalog(scene: Scene) -> None:
    process = scene.freeze("before_commit", count=2)
    with scene.catalog_away():
        process.resume()
        scene.wait_for_slots(2, process)
        process.signal(signal.SIGTERM)
        process.wait_a_little()
        assert process.alive
        process.signal(signal.SIGTERM)
        process.wait()
    scene.finish()
    scene.check()
