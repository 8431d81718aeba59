"""Lookup tables in Iceberg tables: a version is a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.errors import ColumnNotFound, ConfigError, ConnectError, FrazilError, PlanError
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.schema import to_arrow
from frazil.iceberg.table import find_table
from frazil.run.lookup_source import Gone, Loaded, fitting, too_large
from frazil.secret import resolve_secrets
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.expressions.parser import parse
from pyiceberg.expressions.visitors import bind

if TYPE_CHECKING:
    from pyiceberg.table import Table

_EMPTY = "snapshot:none"  # of a table that nothing was written to


def schema_of(options: Mapping[str, Any], objects: Mapping[str, Any]) -> pa.Schema:
    """The columns of the table as they are now; checks the snapshot and the rows that are wanted.

    Raises
    ------
    ConfigError, ConnectError, PlanError
        There is no such table, it cannot be reached, or `where` is not about its columns.
    """
    table = _open(resolve_secrets(dict(options)), objects)
    if (snapshot := options.get("snapshot")) is not None and not table.snapshot_by_id(snapshot):
        raise ConfigError(
            f"table {options['table']} has no snapshot {snapshot}",
            "it may have been expired: give one that is there",
        )
    if (where := options.get("where")) is not None:
        try:
            bind(table.schema(), parse(where), case_sensitive=True)
        except Exception as error:  # of the parser, of types, of columns
            raise PlanError(
                f"where={where!r} of table {options['table']}: {_first_line(error)}",
                'PyIceberg\'s language: where="active = true and age > 30"',
            ) from None
    return _plain(table, snapshot)


class IcebergLookup:
    """A table, in a snapshot."""

    keeps_versions = True

    def __init__(
        self, name: str, options: Mapping[str, Any], objects: Mapping[str, Any], max_bytes: int
    ) -> None:
        self._name, self._options, self._objects = name, options, objects
        self._max_bytes = max_bytes

    @property
    def fixed(self) -> str | None:
        """The snapshot that the program names."""
        snapshot = self._options.get("snapshot")
        return None if snapshot is None else f"snapshot:{snapshot}"

    def load(self, columns: pa.Schema, version: str | None, known: str | None) -> Loaded | None:
        """Read a snapshot; files in the order of their names, so that rows have one order."""
        try:
            return self._load(columns, version, known)
        except (FrazilError, Gone):
            raise
        except Exception as error:  # of the catalog, of the store, of Arrow
            raise ConnectError(f"loading lookup {self._name}: {_first_line(error)}") from None

    def _load(self, columns: pa.Schema, version: str | None, known: str | None) -> Loaded | None:
        table = _open(self._options, self._objects)
        if version is None:
            snapshot = table.current_snapshot()
            version = _EMPTY if snapshot is None else f"snapshot:{snapshot.snapshot_id}"
        if version == known:
            return None
        if version == _EMPTY:
            return Loaded(version, columns.empty_table())
        number = int(version.removeprefix("snapshot:"))
        if table.snapshot_by_id(number) is None:
            raise Gone(f"snapshot {number} of table {self._options['table']} is not there any more")
        return Loaded(version, self._rows(table, number, columns))

    def _rows(self, table: Table, snapshot: int, columns: pa.Schema) -> pa.Table:
        from pyiceberg.io.pyarrow import ArrowScan

        theirs = _schema_at(table, snapshot)
        for name in columns.names:
            if name not in theirs.column_names:
                raise ColumnNotFound(
                    f"loading lookup {self._name}: snapshot {snapshot} has no column {name!r}",
                    "the table has got it later, or has lost it: choose columns= that are there",
                )
        scan = table.scan(
            row_filter=self._options.get("where") or AlwaysTrue(),
            selected_fields=tuple(columns.names),
            snapshot_id=snapshot,
        )
        tasks = sorted(scan.plan_files(), key=lambda task: task.file.file_path)
        if sum(task.file.file_size_in_bytes for task in tasks) > self._max_bytes:
            raise too_large(self._name, self._max_bytes)
        reader = ArrowScan(table.metadata, table.io, scan.projection(), scan.row_filter)
        parts, left = [], self._max_bytes
        for batch in reader.to_record_batches(tasks):
            part = fitting(self._name, pa.Table.from_batches([batch]), columns)
            left -= part.nbytes
            if left < 0:
                raise too_large(self._name, self._max_bytes)
            parts.append(part)
        return pa.concat_tables([columns.empty_table(), *parts])


def _open(options: Mapping[str, Any], objects: Mapping[str, Any]) -> Table:
    table = find_table(
        open_catalog(objects.get("catalog") or options.get("catalog")), options["table"]
    )
    if table is None:
        raise ConfigError(f"there is no table {options['table']}", "write to it first")
    return table


def _schema_at(table: Table, snapshot: int | None) -> Any:
    found = table.snapshot_by_id(snapshot) if snapshot is not None else None
    number = found.schema_id if found is not None else None
    return table.schema() if number is None else table.schemas()[number]


def _plain(table: Table, snapshot: int | None) -> pa.Schema:
    """The columns without the ids of fields."""

    def plain(field: pa.Field) -> pa.Field:
        return pa.field(field.name, of_type(field.type), field.nullable)

    def of_type(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_struct(kind):
            return pa.struct([plain(kind.field(i)) for i in range(kind.num_fields)])
        if pa.types.is_list(kind):
            return pa.list_(plain(kind.value_field))
        if pa.types.is_map(kind):
            return pa.map_(plain(kind.key_field), plain(kind.item_field))
        return kind

    return pa.schema([plain(field) for field in to_arrow(_schema_at(table, snapshot))])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
