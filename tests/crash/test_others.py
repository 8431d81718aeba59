"""Deaths while other programs work on the table, its catalog or the checkpoints."""

from __future__ import annotations

import random
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from pyiceberg.types import StringType

from tests.crash.pipelines import ROWS

if TYPE_CHECKING:
    from tests.crash.scene import Scene

pytestmark = pytest.mark.slow

FOREIGN = [-3, -2, -1]


# -- the table ----------------------------------------


@pytest.mark.parametrize("point", ["after_put", "before_commit", "after_commit"])
def test_foreign_rows_between(scene: Scene, point: str) -> None:
    scene.kill(point, count=2)
    scene.append(FOREIGN)
    scene.kill(point, count=2)
    scene.append(FOREIGN)
    scene.finish()
    scene.check(expected=[*FOREIGN, *FOREIGN, *range(ROWS)])


def test_foreign_rows_between_load_and_commit(scene: Scene) -> None:
    process = scene.freeze("before_commit", count=2, rate=12_000.0)
    scene.append(FOREIGN)
    process.resume()
    assert process.wait() == 0, process.output
    scene.check(expected=[*FOREIGN, *range(ROWS)])


@pytest.mark.parametrize("point", ["after_put", "before_commit", "after_commit"])
def test_compaction_between(scene: Scene, point: str) -> None:
    scene.kill("after_commit")
    for _ in range(2):
        scene.kill(point, count=2)
        scene.compact()
    scene.finish()
    scene.check()


def test_compaction_between_load_and_commit(scene: Scene) -> None:
    process = scene.freeze("before_commit", count=3, rate=12_000.0)
    scene.compact()
    process.resume()
    assert process.wait() == 0, process.output
    scene.check()


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
def test_markers_expired_before_the_restart(scene: Scene, point: str) -> None:
    """The tag keeps our last snapshot, the property says the rest."""
    scene.kill(point, count=3)
    scene.append(FOREIGN)
    scene.expire()
    scene.finish()
    scene.check(expected=[*FOREIGN, *range(ROWS)])


@pytest.mark.parametrize("foreign", [False, True])
def test_rollback_is_refused_until_it_is_undone(scene: Scene, foreign: bool) -> None:
    scene.kill("after_commit", count=3)
    head = scene.head
    before = scene.table().metadata.snapshot_by_id(head)
    assert before is not None
    assert before.parent_snapshot_id is not None
    scene.set_head(before.parent_snapshot_id)
    if foreign:
        scene.append(FOREIGN)
    count = len(scene.ids())
    assert "rolled back" in scene.refused()
    assert len(scene.ids()) == count
    scene.set_head(head)
    scene.finish()
    scene.check()


def test_rollback_while_it_runs(scene: Scene) -> None:
    process = scene.freeze("before_commit", count=3)
    scene.set_head(scene.table().metadata.snapshots[0].snapshot_id)
    process.resume()
    assert process.wait() != 0
    assert "rolled back" in process.error


@pytest.mark.parametrize(("point", "count"), [("before_commit", 1), ("before_ack", 4)])
def test_table_dropped(scene: Scene, point: str, count: int) -> None:
    """The table that the restart makes is another one; files of the old may not fit it."""
    scene.kill(point, count=count)
    scene.catalog.drop_table("t.one")
    assert "CommitRefused" in scene.refused()
    assert "CommitRefused" in scene.refused()


def test_property_removed(scene: Scene) -> None:
    scene.kill("after_commit", count=2)
    names = [name for name in scene.table().properties if name.startswith("frazil.")]
    assert names
    with scene.table().transaction() as change:
        change.remove_properties(*names)
    scene.finish()
    scene.check()


@pytest.mark.parametrize("point", ["after_put", "before_put"])
def test_partitioning_changed_between_prepare_and_commit(scene: Scene, point: str) -> None:
    scene.kill(point, count=2)
    with scene.table().update_spec() as change:
        change.add_identity("country")
    scene.finish()
    scene.check()


def test_column_added_between_prepare_and_commit(scene: Scene) -> None:
    scene.kill("after_put", count=2)
    with scene.table().update_schema() as change:
        change.add_column("note", StringType())
    scene.finish()
    scene.check()


def test_column_dropped_while_it_runs(scene: Scene) -> None:
    """What is prepared lands, then it ends: rows of a later start would not be seen whole."""
    process = scene.freeze("before_commit", count=3, rate=6_000.0)
    with scene.table().update_schema(allow_incompatible_changes=True) as change:
        change.delete_column("country")
    process.resume()
    assert process.wait() != 0
    assert "column 'country' was dropped" in process.error
    assert len(scene.ids()) == len(set(scene.ids()))
    assert "has no column 'country'" in scene.refused()
    with scene.table().update_schema() as change:
        change.add_column("country", StringType())
    scene.finish()
    scene.check()


# -- the catalog ----------------------------------------


def test_catalog_away_for_a_while(scene: Scene) -> None:
    """Epochs wait in the log, and land in order when it is back."""
    process = scene.freeze("before_commit", count=2, rate=6_000.0)
    with scene.catalog_away():
        process.resume()
        scene.wait_for_slots(4, process)
    assert process.wait() == 0, process.output
    scene.check()


def test_killed_with_several_epochs_pending(scene: Scene) -> None:
    process = scene.freeze("before_commit", count=2)
    with scene.catalog_away():
        process.resume()
        scene.wait_for_slots(4, process)
        process.kill()
    scene.kill("after_commit", count=1)
    scene.finish()
    scene.check()
    scene.check_no_orphans()


# -- the checkpoints ----------------------------------------


def test_checkpoints_deleted(scene: Scene) -> None:
    """A new log for the same pipeline and table cannot know what is there."""
    scene.kill("after_commit", count=3)
    count = len(scene.ids())
    shutil.rmtree(scene.folder / "checkpoints")
    (scene.folder / "events-one.jsonl").unlink()
    assert "written by another log" in scene.refused()
    assert len(scene.ids()) == count


def test_older_checkpoints_restored(scene: Scene) -> None:
    scene.kill("after_commit", count=2)
    shutil.copytree(scene.folder / "checkpoints", scene.folder / "backup")
    scene.kill("after_commit", count=3)
    shutil.rmtree(scene.folder / "checkpoints")
    shutil.copytree(scene.folder / "backup", scene.folder / "checkpoints")
    assert "disagree" in scene.refused()


def test_newest_slot_lost(scene: Scene) -> None:
    scene.kill("before_ack", count=3)
    landed = max(
        int(snapshot.summary["frazil.slot"])
        for snapshot in scene.table().metadata.snapshots
        if snapshot.summary is not None
    )
    for slot in scene.slots():
        if int(slot.stem) >= landed:
            slot.unlink()
    # The log is behind; or what is left of it needs a slot that the lost ones had made needless and
    # that is gone, if commits were behind; or it is another log, if no slot was left.
    error = scene.refused()
    assert any(text in error for text in ("disagree", "store lost slot", "another log")), error


def test_slot_in_the_middle_lost(scene: Scene) -> None:
    process = scene.freeze("before_commit", count=2)
    with scene.catalog_away():  # so that no slot is needless
        process.resume()
        scene.wait_for_slots(4, process)
        process.kill()
    scene.slots()[-2].unlink()
    assert "lost slot" in scene.refused()


# -- any time ----------------------------------------


@pytest.mark.parametrize("pipeline", ["one_table", "two_tables", "by_country"])
def test_killed_at_any_time(scene: Scene, pipeline: str) -> None:
    rng = random.Random(pipeline)
    for _ in range(6):
        process = scene.start(pipeline, workers=2, takeover=True)
        time.sleep(rng.uniform(0.1, 0.7))
        process.kill()
    scene.finish(pipeline, workers=2)
    scene.check(pipeline=pipeline)
    scene.check_no_orphans()
