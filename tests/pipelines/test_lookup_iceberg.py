"""A lookup table in Iceberg that somebody commits to while a pipeline looks rows up in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import frazil as fz
import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.lookup_runs import KEYS, ROWS, LookupRuns

if TYPE_CHECKING:
    from pyiceberg.table import Table

SCHEMA = pa.schema([pa.field("k", pa.int64()), pa.field("v", pa.int64())])


class Users:
    """The table: each commit makes all of its rows anew."""

    def __init__(self, folder: Path) -> None:
        self.catalog = load_catalog(
            "default",
            type="sql",
            uri=f"sqlite:///{folder / 'catalog.db'}",
            warehouse=f"file://{folder / 'warehouse'}",
        )
        self.catalog.create_namespace("crm")
        self.catalog.create_table("crm.users", SCHEMA)
        self.versions: dict[str, int] = {}
        self.commit()

    @property
    def table(self) -> Table:
        return self.catalog.load_table("crm.users")

    def commit(self) -> None:
        number = len(self.versions) + 1
        table = self.table
        rows = pa.table({"k": range(KEYS), "v": [number] * KEYS}, SCHEMA)
        (table.append if number == 1 else table.overwrite)(rows)
        snapshot = table.current_snapshot()
        assert snapshot is not None
        self.versions[f"snapshot:{snapshot.snapshot_id}"] = number

    def runs(self, **options: str | None) -> LookupRuns:
        dim = fz.lookup_iceberg("crm.users", catalog=self.catalog, name="dim", **options)
        return LookupRuns(dim, self.versions.__getitem__)


class Committing(CrashAt):
    """Commits to the table whenever a refresh is about to look."""

    def __init__(self, users: Users, step: int = 0) -> None:
        super().__init__(step)
        self.users = users

    def __call__(self, name: str) -> None:
        if name == "before_lookup_refresh":
            self.users.commit()
        super().__call__(name)


def test_the_newest_snapshot_from_the_next_epoch_on(tmp_path: Path) -> None:
    users = Users(tmp_path)
    runs = users.runs(refresh="15ms")
    status = runs.run(hook=Committing(users), workers=2)
    assert len(runs.check()) > 2
    assert status["dim"].failures == 0


@pytest.mark.slow
def test_crashes_around_refreshes(tmp_path: Path) -> None:
    """The epoch that is computed again is looked up in the snapshot that the log has announced."""
    counter = Committing(Users(tmp_path))
    counter.users.runs(refresh="15ms").run(hook=counter)
    again = 0
    for step in range(3, counter.steps, 5):
        folder = tmp_path / str(step)
        folder.mkdir()
        users = Users(folder)
        runs = users.runs(refresh="15ms")
        with pytest.raises(Crash):
            runs.run(hook=Committing(users, step))
        before = runs.manifests()
        users.commit()
        runs.run(seed=step, workers=2, hook=Committing(users))
        runs.check()
        announced = before[-1].lookups["dim"].next if before and before[-1].lookups else None
        if announced is not None:
            after = [m.lookups["dim"].used for m in runs.manifests() if m.slot > before[-1].slot]
            used = [version for version in after if version is not None]
            again += bool(used)
            assert not used or used[0].version == announced.version
    assert again > 3


def test_without_refresh_commits_change_nothing(tmp_path: Path) -> None:
    users = Users(tmp_path)
    runs = users.runs()
    runs.run(rows=10)
    users.commit()
    runs.run()
    assert runs.check() == {1}


def test_a_snapshot_that_was_expired(tmp_path: Path) -> None:
    """Pinned to it, a start is refused; with a refresh the newest is taken, and the log knows."""
    users = Users(tmp_path)
    pinned, refreshed = users.runs(), users.runs(refresh="1h")
    pinned.run(rows=10)
    with pytest.raises(Crash):
        refreshed.run(hook=CrashAt(25))
    assert refreshed.manifests()[-1].lookups["dim"].next is not None
    (old,) = users.versions
    users.commit()
    users.table.maintenance.expire_snapshots().by_id(int(old.removeprefix("snapshot:"))).commit()
    with pytest.raises(fz.LookupChanged, match="is not there any more"):
        pinned.run()
    refreshed.run()
    assert 2 in refreshed.check()


def test_another_snapshot_in_the_program_is_taken(tmp_path: Path) -> None:
    users = Users(tmp_path)
    runs = users.runs()
    runs.run(rows=10)
    users.commit()
    (second,) = (key for key, number in users.versions.items() if number == 2)
    edited = users.runs(snapshot=int(second.removeprefix("snapshot:")))  # type: ignore[arg-type]
    edited.store, edited.sink = runs.store, edited.sink
    edited.run()
    found = {row["v"] for row in edited.sink.table().to_pylist()}
    assert found == {2}
    assert edited.sink.table().num_rows == 2 * (ROWS - 10)
