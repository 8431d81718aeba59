"""Processes with open windows are killed: each window is in its table once, with all its rows."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import frazil as fz
import pytest
from frazil.checkpoint.local_store import LocalStore
from frazil.checkpoint.reader import list_slots, read_slot

from tests.crash.pipelines import window_streams

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from tests.crash.scene import Scene

Rows = Counter[tuple[str, ...]]


def counted(table: pa.Table) -> Rows:
    """Rows as a multiset; doubles to the last bit."""
    return Counter(tuple(map(repr, row.values())) for row in table.to_pylist())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Rows]:
    """What one process that nobody kills gives, by table."""
    windows, late = window_streams(None)
    sinks = {"t.one": windows.write_memory(name="a"), "t.late": late.write_memory(name="b")}
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    fz.Pipeline("windows", *sinks.values(), checkpoint=folder).run(
        until="now", close_windows=True, quiet=True
    )
    assert all(sink.table().num_rows > 100 for sink in sinks.values())
    return {name: counted(sink.table()) for name, sink in sinks.items()}


def check(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    """Both tables have these rows; nothing of the dead is left, of their state neither."""
    for name, rows in undisturbed.items():
        found = counted(scene.rows(name))
        assert found == rows, (len(rows - found), len(found - rows))
        scene.check_no_orphans(name)
    scene.check_log("windowed")
    store = LocalStore(scene.folder / "checkpoints" / "windows")
    slots = [read_slot(store, slot) for slot in list_slots(store)]
    named = {file.path for slot in slots if slot for file in slot.manifest.state_files}
    assert set(store.list("state/")) == named


def state_files(folder: Path) -> list[Path]:
    """Files of state in the checkpoint."""
    return sorted(folder.glob("checkpoints/windows/state/**/*.fzs"))


# Before a file of state is put, between it and its manifest, behind that.
@pytest.mark.parametrize(
    "point", ["before_state_put", pytest.param("before_put", marks=pytest.mark.slow), "after_put"]
)
def test_killed_with_open_windows(
    scene: Scene, undisturbed: Mapping[str, Rows], point: str
) -> None:
    for count in (2, 3, 5):
        scene.kill(point, "windowed", count=count, workers=1 + count % 2, rate=4_000.0)
    assert len(state_files(scene.folder)) > 0
    scene.finish("windowed", workers=2, close_windows=True)
    check(scene, undisturbed)


@pytest.mark.slow
def test_killed_at_any_time(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    """Also while windows are given out."""
    rng = random.Random(1)
    for workers in (1, 2, 4, 2, 1):
        process = scene.start("windowed", workers=workers, takeover=True, rate=6_000.0)
        time.sleep(rng.uniform(0.2, 0.8))
        process.kill()
    scene.finish("windowed", workers=3, close_windows=True)
    check(scene, undisturbed)


@pytest.mark.slow
def test_state_file_is_lost(scene: Scene, undisturbed: Mapping[str, Rows]) -> None:
    """An error that names it, and nothing is written; with the file back all is well."""
    scene.kill("after_put", "windowed", count=5)
    lost = state_files(scene.folder)[-1]
    data = lost.read_bytes()
    lost.unlink()
    error = scene.refused("windowed")
    assert "lost the state file" in error
    assert lost.name in error
    lost.write_bytes(data[:-9] + bytes(9))
    assert "is damaged" in scene.refused("windowed")
    lost.write_bytes(data)
    scene.finish("windowed", close_windows=True)
    check(scene, undisturbed)
