"""Tables of format version 3: made, appended to and merged, with an id for each row."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest
from frazil.errors import PlanError
from frazil.iceberg.catalog import embedded_catalog, open_catalog
from frazil.iceberg.manifests import first_row_id, next_row_id, read_entries, read_manifests
from frazil.iceberg.table import prepare_table, writer_options
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.update import UpgradeFormatVersionUpdate

from tests.pipelines.foreign import upgrade
from tests.python.iceberg.world import NAME, SCHEMA, Log, World, duckdb_rows

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from tests.services.java_reader import JavaReader
    from tests.services.rest_catalog import RestCatalog


class WorldV3(World):
    """A table of version 3."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.catalog.drop_table(NAME)
        self.table = prepare_table(self.catalog, NAME, SCHEMA, format_version=3)
        self.options = writer_options(self.table)


@pytest.fixture
def world(tmp_path: Path) -> WorldV3:
    return WorldV3(tmp_path)


def spans(table: Table) -> list[tuple[int, int]]:
    """First id and rows of each data file."""
    snapshot = table.current_snapshot()
    assert snapshot is not None
    found = []
    for manifest in read_manifests(table.io.new_input(snapshot.manifest_list)):
        for entry in read_entries(table.io, manifest):
            first = first_row_id(entry.data_file)
            assert first is not None
            found.append((first, entry.data_file.record_count))
    return sorted(found)


def commit(world: World, log: Log, *ids: list[int], **options: Any) -> None:
    """A commit of each of these."""
    committer = world.committer(**options)
    for each in ids:
        log.tokens.append(world.token(len(log.tokens) + 1, each))
        log.record(committer.commit(log.pending(), landed=log.landed, log=log, head=log.head))


def test_made(world: WorldV3) -> None:
    written = json.loads(Path(world.table.metadata_location.removeprefix("file://")).read_text())
    assert (written["format-version"], written["next-row-id"]) == (3, 0)
    assert world.table.metadata.format_version == 3


def test_rows_get_ids(world: WorldV3) -> None:
    log = Log()
    commit(world, log, [1, 2, 3], [], [4], [5, 6])
    table = world.load()
    assert [(each.first_row_id, each.added_rows) for each in table.metadata.snapshots] == [
        (0, 3),
        (3, 0),
        (3, 1),
        (4, 2),
    ]
    assert next_row_id(table.metadata) == 6
    assert spans(table) == [(0, 3), (3, 1), (4, 2)]
    assert world.ids() == [1, 2, 3, 4, 5, 6]
    assert duckdb_rows(table) == [(i,) for i in range(1, 7)]


def test_merged_manifests_keep_ids(world: WorldV3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil.iceberg.merge.MERGE_COUNT", 3)
    log = Log()
    commit(world, log, *([i, i + 100] for i in range(8)))
    committer = world.committer()
    committer.maintain()
    log.tokens.append(world.token(9, [9]))
    log.record(committer.commit(log.pending(), landed=log.landed, log=log, head=log.head))
    table = world.load()
    snapshot = table.current_snapshot()
    assert snapshot is not None
    counts = [
        manifest.existing_files_count or 0
        for manifest in read_manifests(table.io.new_input(snapshot.manifest_list))
    ]
    assert sum(counts) > 0  # something was merged
    assert spans(table) == [*((2 * i, 2) for i in range(8)), (16, 1)]
    assert duckdb_rows(table, "count(distinct id)") == [(17,)]


def test_snapshot_of_another_branch_is_a_conflict(world: WorldV3) -> None:
    """PyIceberg compares sequence numbers of version 2 only."""
    log = Log()
    commit(world, log, [1])
    with world.load().manage_snapshots() as manage:
        manage.create_branch(world.head(), "other")
    table = world.load()
    late: list[tuple[Any, ...]] = []

    class Holding:
        """Holds a request back until another has landed."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.catalog, name)

        def commit_table(self, *request: Any) -> Any:
            if not late:
                late.append(request)
                other = Log()
                identity = world.identity("other", "inc-2")
                commit(world, other, [7], identity=identity, branch="other")
                with pytest.raises(CommitFailedException, match="sequence number 2 is not above"):
                    world.catalog.commit_table(*request)
                raise CommitFailedException("held back")
            return world.catalog.commit_table(*request)

    log.tokens.append(world.token(2, [2]))
    committer = world.committer(catalog=Holding())  # type: ignore[arg-type]
    log.record(committer.commit(log.pending(), landed=log.landed, log=log, head=log.head))
    numbers = [each.sequence_number for each in world.load().metadata.snapshots]
    assert numbers == [1, 2, 3]
    assert table.metadata.next_sequence_number() == 2
    assert world.ids() == [1, 2]


def test_upgraded_table(tmp_path: Path) -> None:
    """Rows from before have no ids until the first commit, which gives them some."""
    world = World(tmp_path)
    log = Log()
    commit(world, log, [1, 2], [3])
    upgrade(world.load())
    commit(world, log, [4])
    table = world.load()
    assert table.metadata.format_version == 3
    assert sum(count for _, count in spans(table)) == 4
    assert [first for first, _ in spans(table)] == sorted({first for first, _ in spans(table)})
    assert next_row_id(table.metadata) == 4
    assert duckdb_rows(table) == [(1,), (2,), (3,), (4,)]


def test_version_is_as_asked(tmp_path: Path) -> None:
    catalog = embedded_catalog(tmp_path)
    rows = fz.read_memory([{"id": 1}])
    with pytest.raises(fz.FrazilError, match="format_version=4 is not offered"):
        rows.write_iceberg("t.x", format_version=4)  # type: ignore[arg-type]
    prepare_table(catalog, NAME, SCHEMA)
    with pytest.raises(PlanError, match="has format version 2, not 3"):
        prepare_table(catalog, NAME, SCHEMA, format_version=3)
    prepare_table(catalog, NAME, SCHEMA, format_version=2)


@pytest.mark.service
def test_rest_catalog_and_java(
    local_rest_catalog: RestCatalog, java_reader: JavaReader, tmp_path: Path
) -> None:
    """The server makes and keeps the table; Java reads rows and their ids."""
    catalog = open_catalog(local_rest_catalog.properties)
    world = World(tmp_path)
    world.now = time.time()  # the server's own clock is this one
    world.catalog, world.name = catalog, "v3.orders"
    world.table = prepare_table(catalog, world.name, SCHEMA, format_version=3)
    world.options = writer_options(world.table)
    log = Log()
    commit(world, log, [1, 2, 3], [4], [5, 6])
    table = catalog.load_table(world.name)
    assert table.metadata.format_version == 3
    assert next_row_id(table.metadata) == 6
    rows = java_reader.read(table.metadata_location, lineage=True)
    found = sorted((row["id"], row["_row_id"]) for row in rows)
    assert [each for each, _ in found] == [1, 2, 3, 4, 5, 6]
    assert sorted(row_id for _, row_id in found) == [0, 1, 2, 3, 4, 5]
    assert {row["id"]: row["_last_updated_sequence_number"] for row in rows} == {
        1: 1,
        2: 1,
        3: 1,
        4: 2,
        5: 3,
        6: 3,
    }


@pytest.mark.service
def test_upgraded_in_a_rest_catalog(
    local_rest_catalog: RestCatalog, java_reader: JavaReader, tmp_path: Path
) -> None:
    """The server upgrades a table between two commits."""
    catalog = open_catalog(local_rest_catalog.properties)
    world = World(tmp_path)
    world.now = time.time()
    world.catalog, world.name = catalog, "v3.upgraded"
    world.table = prepare_table(catalog, world.name, SCHEMA)
    world.options = writer_options(world.table)
    log = Log()
    commit(world, log, [1, 2], [3])
    catalog.commit_table(
        catalog.load_table(world.name),
        (),
        (UpgradeFormatVersionUpdate.model_validate({"format-version": 3}),),
    )
    commit(world, log, [4])
    table = catalog.load_table(world.name)
    rows = java_reader.read(table.metadata_location, lineage=True)
    assert sorted(row["id"] for row in rows) == [1, 2, 3, 4]
    assert len({row["_row_id"] for row in rows}) == 4
    assert {row["_row_id"] for row in rows} <= set(range(4))
