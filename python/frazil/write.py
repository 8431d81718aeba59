"""Writers: methods of a stream that say where its rows go, and give a `Sink` for a `Pipeline`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from frazil.changes import changes_of, current, make_log, refuse_changes
from frazil.drift import Drift, Policy, drift_of, expanded_state
from frazil.duration import Duration, duration_ms
from frazil.embedded import embedding_options
from frazil.errors import ConfigError, PlanError, TypeMismatch, on_user_line
from frazil.node import ExchangeNode, Json, Port, SinkNode
from frazil.partition import partition_fields
from frazil.route import Route, check_key, routed
from frazil.secret import references
from frazil.types import type_name
from frazil.upsert import (
    DELETED_COLUMN,
    by_key,
    check_order,
    check_soft,
    upsert_key,
    upsert_state,
)

if TYPE_CHECKING:
    from frazil.security import S3

Catalog = str | Mapping[str, Any] | Any
"""A catalog's name in PyIceberg's configuration, its properties, or a PyIceberg catalog."""

NAME_CHARS_MAX = 200
"""Characters of the name of a sink."""


class Sink:
    """Where a stream ends; made by its ``write_`` methods and run by a `Pipeline`."""

    __slots__ = ("_node",)

    def __init__(self, node: SinkNode) -> None:
        if not node.name or len(node.name) > NAME_CHARS_MAX:
            raise PlanError(f"{node.name!r} names no sink", f"1 to {NAME_CHARS_MAX} characters")
        self._node = node

    @property
    def name(self) -> str:
        """Its name, unique in a pipeline."""
        return self._node.name or ""

    def __repr__(self) -> str:
        return f"Sink({self._node.connector} {self.name})"


class MemorySink(Sink):
    """A sink whose committed rows can be looked at."""

    __slots__ = ()

    def table(self) -> pa.Table:
        """Give the rows committed so far; of a stream of changes those that are there by now.

        Returns
        -------
        pyarrow.Table
            The stream's columns.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1}]).write_memory().table().num_rows
        0
        """
        rows: MemoryRows = self._node.objects["rows"]
        return rows.table()


class MemoryRows:
    """Rows of a memory sink, added by its committer."""

    def __init__(self, schema: pa.Schema, key: tuple[str, ...] | None = None) -> None:
        self.schema = schema
        self.key = key  # of rows that are changes, with their kind as the last column
        self.landed: dict[str, int] = {}  # the last slot whose rows are here, by incarnation
        self._batches: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a committed batch."""
        self._batches.append(batch)

    @property
    def num_rows(self) -> int:
        """Rows committed so far."""
        return sum(batch.num_rows for batch in self._batches)

    def table(self) -> pa.Table:
        """All rows committed so far."""
        rows = pa.Table.from_batches(self._batches, self.schema)
        return rows if self.key is None else current(rows, self.key)


class Writers:
    """The writers of a stream."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def write_iceberg(
        self,
        table: str | Route,
        *,
        catalog: Catalog | None = None,
        mode: Literal["append", "upsert"] = "append",
        key: str | Sequence[str] = (),
        order_by: str | None = None,
        deletes: Literal["hard", "soft"] = "hard",
        existing: Literal["refuse", "adopt"] = "refuse",
        partition_by: str | Sequence[str] = (),
        branch: str = "main",
        commit_every: Duration | None = None,
        distribute_by: Literal["none", "partition"] = "none",
        properties: Mapping[str, str] | None = None,
        compression: Literal["zstd", "snappy", "gzip", "lz4", "none"] = "zstd",
        format_version: Literal[2, 3] | None = None,
        drift: Drift | Policy | None = None,
        s3: S3 | None = None,
        name: str | None = None,
    ) -> Sink:
        """Write the rows to an Apache Iceberg table, each exactly once.

        The table is made if it is not there; otherwise its columns are checked by name and type,
        and `drift` says what is done about differences.

        Parameters
        ----------
        table
            "namespace.table"; or `route` for many tables, of which each row says which it is for.
        catalog
            Name of a catalog in PyIceberg's configuration, a dict of its properties, or a PyIceberg
            catalog. Default: PyIceberg's configured default catalog, else SQLite and files in
            ``./warehouse``.
        mode
            "append" adds rows. "upsert" has one row for each key: a row takes the place of the one
            before it, and a stream of changes also takes rows away.
        key
            With mode="upsert": columns that tell which row is replaced.
        order_by
            With mode="upsert": a column that grows with each change of a row. A row that is older
            than the newest one of its key does nothing, in whatever order rows come.
        deletes
            With mode="upsert": "hard" takes rows away; "soft" keeps them, with true in a column
            ``_deleted`` that the table has then.
        existing
            With mode="upsert", of a table with rows that this sink did not write: "adopt" reads
            their keys at the first start and replaces them like its own; "refuse" does not start.
        partition_by
            Columns or transforms for a table that is made: "country", "day(created_at)",
            "bucket(16, user_id)", "truncate(4, zip)"; also year, month, hour.
        branch
            Branch of the table that is written.
        commit_every
            A multiple of the pipeline's `checkpoint_every`; default each checkpoint.
        distribute_by
            "partition" brings rows of a partition, and of one of many tables, to one worker: fewer,
            larger files.
        properties
            Table properties for a table that is made.
        compression
            Of the data files.
        format_version
            Of a table that is made: 2 by default, or 3, which has ids of rows, and deletion vectors
            in place of files of deletes. A table that is there has to have it, if it is given.
        drift
            What to do where stream and table have other columns: a `Drift`; or "evolve" for all
            that the table can be given. Default: refuse to start.
        s3
            How to reach the object store, if the catalog does not say it.
        name
            Name of the sink; default the table, with the branch unless it is main.

        Returns
        -------
        Sink
            For a `Pipeline`.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"id": 1, "country": "DE"}])
        >>> orders.write_iceberg("shop.orders", partition_by=["country"])
        Sink(iceberg shop.orders)
        >>> orders.write_iceberg("shop.latest", mode="upsert", key=["id"])
        Sink(iceberg shop.latest)
        """
        table, spec, schema = routed(table, self._port.schema)
        _check_table_options(table, mode, distribute_by, compression)
        given = {"key": key, "order_by": order_by, "deletes": deletes, "existing": existing}
        keys = _keys(self._port, table, mode, given)
        check_key(schema, keys, f"write_iceberg of {table}")
        for field in schema:
            _require_iceberg(field.name, field.type, name or table)
        listed = [partition_by] if isinstance(partition_by, str) else list(partition_by)
        fields = partition_fields(listed, schema)
        options: Json = {
            "table": table,
            "branch": branch,
            "mode": mode,
            "partition_by": fields,
            "distribute_by": distribute_by,
            "properties": references(properties or {}, "properties"),
            "compression": compression,
        }
        objects: dict[str, Any] = {}
        catalog_options(catalog, options, objects)
        if commit_every is not None:
            options["commit_every_ms"] = duration_ms(commit_every, "commit_every")
        options |= embedding_options(self._port) | ({} if s3 is None else {"s3": s3.to_json()})
        if format_version is not None:
            options["format_version"] = _checked_version(format_version)
        if keys:
            options |= _upsert_options(keys, order_by, deletes, existing)
        state = upsert_state(schema, keys, order_by, soft=deletes == "soft") if keys else {}
        if (policies := drift_of(drift, spec is not None, deletes == "soft")) is not None:
            options["drift"] = policies.to_json()
            state |= expanded_state(policies, schema, keys, f"write_iceberg of {table}")
        if spec is not None:
            options["route"] = spec
            state["rows that wait"] = f"for {table}"
        default = table if branch == "main" else f"{table}@{branch}"
        return Sink(
            SinkNode(
                self._port.schema,
                _distributed(self._port, distribute_by, fields, keys, spec),
                "iceberg",
                options,
                objects,
                "exactly once",
                _said(keys, listed),
                state or None,
                name=name or default,
            )
        )

    @on_user_line
    def write_files(
        self,
        folder: str | os.PathLike[str],
        *,
        format: Literal["json", "parquet"],
        commit_every: Duration | None = None,
        name: str | None = None,
    ) -> Sink:
        """Write the rows to files of a local folder, each exactly once.

        A file gets its final name when its checkpoint is committed; before that, it is hidden.

        Parameters
        ----------
        folder
            Local folder; made if it is not there.
        format
            "json": one object a line; or "parquet".
        commit_every
            A multiple of the pipeline's `checkpoint_every`; default each checkpoint.
        name
            Name of the sink; default from the folder.

        Returns
        -------
        Sink
            For a `Pipeline`.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1}]).write_files("out", format="json")
        Sink(file file:out)
        """
        if format not in ("json", "parquet"):
            raise ConfigError(f"format={format!r} is not offered", '"json" or "parquet"')
        path = os.fspath(folder)
        if not path or "://" in path:
            raise PlanError(f"{path!r} is no local folder", "write a path")
        options: Json = {
            "folder": os.path.abspath(os.path.expanduser(path)),
            "format": format,
        }
        if commit_every is not None:
            options["commit_every_ms"] = duration_ms(commit_every, "commit_every")
        return Sink(self._sink("file", name or f"file:{path}", options, {}, "exactly once", format))

    @on_user_line
    def write_console(self, *, name: str = "console") -> Sink:
        """Print the rows as JSON lines when their checkpoint is made.

        What is printed cannot be taken back: after a crash rows may be printed twice. Of a stream
        of changes every change is printed, with its kind.

        Parameters
        ----------
        name
            Name of the sink.

        Returns
        -------
        Sink
            For a `Pipeline`.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1}]).write_console()
        Sink(console console)
        """
        stream = self if changes_of(self._port) is None else make_log(self)
        return Sink(stream._sink("console", name, {}, {}, "at least once", ""))

    @on_user_line
    def write_memory(self, *, name: str = "memory") -> MemorySink:
        """Keep the rows in memory, to look at them after the run: for tests and notebooks.

        Of a stream of changes the rows that are left are shown, one for each key.

        Parameters
        ----------
        name
            Name of the sink.

        Returns
        -------
        MemorySink
            For a `Pipeline`; `MemorySink.table` gives the committed rows.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1}]).write_memory()
        Sink(memory memory)
        """
        found = changes_of(self._port)
        if found is not None and found.key is None:
            refuse_changes(self._port, "write_memory without the key", "keep the key's columns")
        stream = self if found is None else make_log(self)
        rows = MemoryRows(
            stream._port.schema.remove_metadata(), None if found is None else found.key
        )
        return MemorySink(
            stream._sink("memory", name, {}, {"rows": rows}, "exactly once within a process", "")
        )

    def _sink(
        self,
        connector: str,
        name: str,
        options: Json,
        objects: Mapping[str, Any],
        delivery: str,
        detail: str,
    ) -> SinkNode:
        _refuse_to_write(self._port, "write_files")
        return SinkNode(
            self._port.schema,
            self._port,
            connector,
            options,
            objects,
            delivery,
            detail,
            name=name,
        )


def _refuse_to_write(port: Port, what: str) -> None:
    refuse_changes(port, what, ".as_log() keeps every change as a row of its own")


def _check_table_options(table: str, mode: str, distribute_by: str, compression: str) -> None:
    parts = table.split(".") if isinstance(table, str) else []
    if len(parts) < 2 or not all(parts):
        raise PlanError(f"{table!r} is no table", 'write "namespace.table"')
    if mode not in ("append", "upsert"):
        raise ConfigError(f"mode={mode!r} is not offered", '"append" or "upsert"')
    if distribute_by not in ("none", "partition"):
        raise ConfigError(f"distribute_by={distribute_by!r}", '"none" or "partition"')
    if compression not in ("zstd", "snappy", "gzip", "lz4", "none"):
        raise ConfigError(f"compression={compression!r}", "zstd, snappy, gzip, lz4 or none")


def _distributed(
    port: Port,
    distribute_by: str,
    fields: Sequence[Mapping[str, Any]],
    keys: tuple[str, ...],
    route: Json | None,
) -> Port:
    """Bring rows that belong together to one worker: of a partition, of a table, or of a key."""
    if distribute_by == "none":
        return by_key(port, keys) if keys else port
    if keys:
        raise ConfigError(
            'distribute_by="partition" with mode="upsert"', "leave it out: rows go by their key"
        )
    tables = tuple(route["columns"]) if route is not None else ()
    if not fields and not tables:
        raise PlanError(
            'distribute_by="partition" without partition_by', 'write partition_by=["..."]'
        )
    columns = (*tables, *(field["source"] for field in fields))
    transforms = (
        *(("identity", 0) for _ in tables),
        *((field["transform"], field["param"]) for field in fields),
    )
    return Port(ExchangeNode(port.schema, port, columns, transforms))


def _keys(port: Port, table: str, mode: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    """By which columns rows replace each other; none if they are appended."""
    if mode != "upsert":
        _refuse_to_append(port, table, **given)
        return ()
    keys = upsert_key(port, given["key"], f"write_iceberg of {table}")
    _check_upsert_options(port, table, given["order_by"], given["deletes"], given["existing"])
    return keys


_UPSERT_DEFAULTS = {"key": (), "order_by": None, "deletes": "hard", "existing": "refuse"}


def _check_upsert_options(
    port: Port, table: str, order_by: str | None, deletes: str, existing: str
) -> None:
    what = f"write_iceberg of {table}"
    if deletes not in ("hard", "soft"):
        raise ConfigError(f"deletes={deletes!r} is not offered", '"hard" or "soft"')
    if existing not in ("refuse", "adopt"):
        raise ConfigError(f"existing={existing!r} is not offered", '"refuse" or "adopt"')
    if order_by is not None:
        check_order(port, order_by, what)
    if deletes == "soft":
        check_soft(port, what)


def _said(keys: Sequence[str], partition_by: Sequence[str]) -> str:
    """How a table is written, for `explain`."""
    how = f"upsert by {', '.join(keys)}" if keys else "append"
    if not partition_by:
        return how
    return f"{how}, {'partitioned ' if keys else ''}by {', '.join(partition_by)}"


def _upsert_options(
    keys: tuple[str, ...], order_by: str | None, deletes: str, existing: str
) -> Json:
    options: Json = {"key": list(keys)}
    if order_by is not None:
        options["order_by"] = order_by
    if deletes == "soft":
        options["deleted"] = DELETED_COLUMN
    if existing == "adopt":
        options["existing"] = existing
    return options


def _checked_version(version: int) -> int:
    if version not in (2, 3):
        raise ConfigError(f"format_version={version!r} is not offered", "2 or 3")
    return version


def _refuse_to_append(port: Port, table: str, **given: Any) -> None:
    what = f"write_iceberg of {table}"
    for option, value in given.items():
        if value and value != _UPSERT_DEFAULTS[option]:
            raise PlanError(
                f"{what}: {option}={value!r} is of another mode", 'write mode="upsert" too'
            )
    refuse_changes(
        port,
        what,
        'mode="upsert", key=[...] keeps the table as the changes say; .as_log() keeps every change '
        "as a row of its own",
    )


def catalog_options(catalog: Catalog | None, options: Json, objects: dict[str, Any]) -> None:
    """Put the catalog into the plan; a live one beside it."""
    match catalog:
        case None:
            pass
        case str():
            options["catalog_name"] = options["catalog"] = catalog
        case Mapping():
            name = catalog.get("name", "default")
            options["catalog_name"] = name
            options["catalog"] = references(catalog, "catalog")
        case _ if hasattr(catalog, "load_table") and hasattr(catalog, "name"):
            options["catalog_name"] = str(catalog.name)
            objects["catalog"] = catalog
        case _:
            raise TypeMismatch(
                f"catalog= got a {type(catalog).__name__}",
                "give a name, a dict of PyIceberg properties, or a PyIceberg catalog",
            )


def _require_iceberg(column: str, type_: pa.DataType, sink: str) -> None:
    """Refuse types that the table format does not have, in nested ones too."""
    reason = _refusal(type_)
    if reason:
        raise TypeMismatch(
            f"Iceberg has no {type_name(type_)}: column {column!r} of {sink}", reason
        )


def _refusal(type_: pa.DataType) -> str:
    t = pa.types
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return _refusal(type_.value_type)
    if t.is_map(type_):
        return _refusal(type_.key_type) or _refusal(type_.item_type)
    if t.is_struct(type_):
        return next((r for field in type_ if (r := _refusal(field.type))), "")
    if t.is_uint64(type_):
        return "cast it to int64, or to fz.Decimal[20, 0]"
    if t.is_timestamp(type_):
        if type_.unit == "ns":
            return 'cast it to pa.timestamp("us", "UTC")'
        if type_.tz is not None and type_.tz not in ("UTC", "+00:00", "Etc/UTC"):
            return 'cast it to pa.timestamp("us", "UTC")'
        return ""
    if t.is_time(type_):
        return "" if type_.unit != "ns" else 'cast it to pa.time64("us")'
    if t.is_decimal(type_):
        return "" if t.is_decimal128(type_) else "cast it to a decimal of up to 38 digits"
    if t.is_date(type_):
        return "" if t.is_date32(type_) else "cast it to date"
    known = (
        t.is_boolean(type_)
        or t.is_integer(type_)
        or t.is_float32(type_)
        or t.is_float64(type_)
        or t.is_string(type_)
        or t.is_large_string(type_)
        or t.is_binary(type_)
        or t.is_large_binary(type_)
        or t.is_fixed_size_binary(type_)
        or type_.equals(pa.uuid())
    )
    return "" if known else "cast it, or leave it out"
