"""Pipelines that keep tables by key, and what every reader has to find in those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow as pa
from frazil.checkpoint.memory_store import MemoryStore
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.deletion_vectors import decode
from frazil.iceberg.manifests import (
    content_place,
    first_row_id,
    is_vector,
    next_row_id,
    read_entries,
    read_manifests,
    referenced,
)
from frazil.iceberg.positional_deletes import PATH_ID, read_positions
from pyiceberg.catalog import load_catalog
from pyiceberg.manifest import DataFileContent

from tests.pipelines.events import EVENT_SCHEMA, Event, counted
from tests.pipelines.foreign import rewrite
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

    from tests.services.duckdb_reader import DuckdbReader


@dataclass(frozen=True)
class Kept:
    """A stream, and how a table is kept by it."""

    stream: fz.Stream
    key: Sequence[str]
    partition_by: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)  # of `write_iceberg`, others


class Mirrors(Processes):
    """A pipeline whose sinks are tables by key.

    Parameters
    ----------
    partitions
        Of the source.
    build
        Makes the streams by the names of their tables.
    folder
        For catalog and tables.
    version
        Format version of the tables.
    catalog
        Another one than that in the folder.
    """

    def __init__(
        self,
        partitions: Sequence[Sequence[Event]],
        build: Callable[[fz.Stream], Mapping[str, Kept]],
        folder: Path,
        schema: pa.Schema = EVENT_SCHEMA,
        version: Literal[2, 3] = 2,
        catalog: Mapping[str, str] | None = None,
    ) -> None:
        self.partitions = list(partitions)
        self.properties = dict(catalog or {}) or {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.catalog = load_catalog("default", **self.properties)
        self.version = version
        rows = pa.Table.from_pylist([e for part in partitions for e in part], schema)
        kept = build(fz.read_memory(rows, partitions=len(partitions), name="events"))
        self.sinks = {
            name: each.stream.write_iceberg(
                f"t.{name}",
                catalog=self.properties,
                mode="upsert",
                key=each.key,
                partition_by=each.partition_by,
                format_version=version,
                **each.options,
            )
            for name, each in kept.items()
        }
        self.keys = {name: each.key for name, each in kept.items()}
        self.store = MemoryStore()
        self.schema = schema

    def iceberg(self, name: str) -> Table:
        """A table, as another program opens it."""
        return self.catalog.load_table(f"t.{name}")

    def rewrite(self, name: str, filter_: str | None = None) -> None:
        """Another program rewrites all data files of a table, with those rows that it keeps."""
        table = self.iceberg(name)
        rows = (table.scan(filter_) if filter_ else table.scan()).to_arrow()
        if self.version == 2:
            table.overwrite(rows)
        else:
            rewrite(open_catalog(self.properties).load_table(f"t.{name}"), rows)

    def check(self, name: str, expected: Sequence[Event], reader: DuckdbReader) -> None:
        """DuckDB and PyIceberg find these rows; and what the table's history says fits."""
        self.check_rows(name, expected, reader)
        self.check_history(name)

    def check_rows(self, name: str, expected: Sequence[Event], reader: DuckdbReader) -> None:
        """DuckDB and PyIceberg find these rows."""
        table = self.iceberg(name)
        found = table.scan().to_arrow()
        assert counted(found.to_pylist()) == counted(expected), name
        duckdb = reader.read_iceberg(table.metadata_location)
        assert counted(duckdb.select(found.column_names).to_pylist()) == counted(expected), name

    def check_history(self, name: str) -> None:
        """No snapshot shows a key twice, counts in summaries fit, deletes are of live files."""
        table = self.iceberg(name)
        for snapshot in table.metadata.snapshots:
            rows = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()
            keys = Counter(zip(*(rows.column(k).to_pylist() for k in self.keys[name]), strict=True))
            assert max(keys.values(), default=1) == 1, (name, snapshot.snapshot_id)
            summary: Any = snapshot.summary
            deleted = int(summary["total-position-deletes"] or 0)
            assert int(summary["total-records"]) - deleted == rows.num_rows
            changed = summary["added-position-deletes"] is not None
            assert (str(summary.operation.value) == "append") == (not changed)
            if self.version == 2:  # a file of deletes for each partition at most
                partitions = int(summary["changed-partition-count"] or 1)
                assert int(summary["added-position-delete-files"] or 0) <= partitions
        self.check_deletes(table)

    def check_deletes(self, table: Table) -> None:
        """Each file of deletes is of data files that are live and in its partition, by path and
        row. In version 3 it is about one, which has no other, and all rows have ids of their own.
        """
        data: dict[str, DataFile] = {}
        deletes: list[DataFile] = []
        snapshot = table.current_snapshot()
        listed = read_manifests(table.io.new_input(snapshot.manifest_list)) if snapshot else ()
        for manifest in listed:
            for entry in read_entries(table.io, manifest):
                file = entry.data_file
                if file.content == DataFileContent.DATA:
                    data[file.file_path] = file
                else:
                    deletes.append(file)
        for file in deletes:
            assert file.content == DataFileContent.POSITION_DELETES  # never by values
            ends = [bounds[PATH_ID].decode() for bounds in (file.lower_bounds, file.upper_bounds)]
            paths = ends[:1]
            if self.version == 2:
                rows = read_positions(table, file)
                paths, numbers = (rows.column(name).to_pylist() for name in rows.column_names)
                pairs = list(zip(paths, numbers, strict=True))
                assert pairs == sorted(set(pairs))
            assert ends == [paths[0], paths[-1]]
            assert set(paths) <= data.keys()
            assert {repr(data[path].partition) for path in paths} == {repr(file.partition)}
        assert {is_vector(file) for file in deletes} <= {self.version == 3}
        if self.version == 3:
            assert len({referenced(file) for file in deletes}) == len(deletes)
            check_row_ids(table, list(data.values()))


def check_row_ids(table: Table, files: Sequence[DataFile]) -> None:
    """Rows of data files have ids of their own, below the table's next one."""
    spans = sorted((first_row_id(file), file.record_count) for file in files)
    end = 0
    for first, count in spans:
        assert first is not None
        assert first >= end
        end = first + count
    assert end <= next_row_id(table.metadata)


def deletion_vectors(table: Table) -> dict[str, list[int]]:
    """The deleted rows of each data file that has a deletion vector."""
    found = {}
    snapshot = table.current_snapshot()
    assert snapshot is not None
    for manifest in read_manifests(table.io.new_input(snapshot.manifest_list)):
        for entry in read_entries(table.io, manifest):
            if (about := referenced(entry.data_file)) is not None:
                offset, length = content_place(entry.data_file)
                with table.io.new_input(entry.data_file.file_path).open() as file:
                    blob = file.read()[offset : offset + length]
                assert about not in found
                found[about] = list(decode(blob, about))
    return found
