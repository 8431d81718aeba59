"""Pipelines that keep tables by key, and what every reader has to find in those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
from frazil.checkpoint.memory_store import MemoryStore
from frazil.iceberg.row_delta import PATH_ID
from pyiceberg.catalog import load_catalog
from pyiceberg.manifest import DataFileContent

from tests.pipelines.events import EVENT_SCHEMA, Event, counted
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from tests.services.duckdb_reader import DuckdbReader


@dataclass(frozen=True)
class Kept:
    """A stream, and how a table is kept by it."""

    stream: fz.Stream
    key: Sequence[str]
    partition_by: Sequence[str] = ()


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
    """

    def __init__(
        self,
        partitions: Sequence[Sequence[Event]],
        build: Callable[[fz.Stream], Mapping[str, Kept]],
        folder: Path,
        schema: pa.Schema = EVENT_SCHEMA,
    ) -> None:
        self.partitions = list(partitions)
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.catalog = load_catalog("default", **self.properties)
        rows = pa.Table.from_pylist([e for part in partitions for e in part], schema)
        kept = build(fz.read_memory(rows, partitions=len(partitions), name="events"))
        self.sinks = {
            name: each.stream.write_iceberg(
                f"t.{name}",
                catalog=self.properties,
                mode="upsert",
                key=each.key,
                partition_by=each.partition_by,
            )
            for name, each in kept.items()
        }
        self.keys = {name: each.key for name, each in kept.items()}
        self.store = MemoryStore()
        self.schema = schema

    def iceberg(self, name: str) -> Table:
        """A table, as another program opens it."""
        return self.catalog.load_table(f"t.{name}")

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
        self._check_deletes(table)

    @staticmethod
    def _check_deletes(table: Table) -> None:
        """Each file of deletes is about one data file, which is live and in its partition."""
        data, deletes = {}, []
        snapshot = table.current_snapshot()
        for manifest in snapshot.manifests(table.io) if snapshot else ():
            for entry in manifest.fetch_manifest_entry(table.io):
                file = entry.data_file
                if file.content == DataFileContent.DATA:
                    data[file.file_path] = file
                else:
                    deletes.append(file)
        for file in deletes:
            low = file.lower_bounds[PATH_ID].decode()
            assert low == file.upper_bounds[PATH_ID].decode()
            assert low in data
            assert repr(file.partition) == repr(data[low].partition)
