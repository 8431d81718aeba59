"""Tables that sinks write to: made or checked before a run, and what their writer needs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from frazil.drift import Drift
from frazil.errors import ConfigError, ConnectError, FrazilError, PlanError, SchemaMismatch
from frazil.iceberg.drift import changes_of
from frazil.iceberg.partition import spec_text, to_spec, transform_parts
from frazil.iceberg.schema import to_arrow, to_iceberg
from pyiceberg.exceptions import (
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

# Format versions of tables that can be written, and that of tables that are made here.
FORMAT_VERSIONS = (2, 3)
FORMAT_VERSION = 2

# Properties of tables that are made here. Each commit writes a metadata.json; that many old ones
# are kept, so that neither their number nor their list in the newest one grows for ever.
TABLE_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "1",
}

NO_DRIFT = Drift()
"""No difference is allowed."""

_METRICS_DEFAULT = "write.metadata.metrics.default"
_METRICS_COLUMN = "write.metadata.metrics.column."


class PartitionOption(TypedDict):
    """A field of the partition spec, for the writer."""

    source: str  # top-level column
    field_id: int  # of the source column
    name: str
    transform: str  # identity, bucket, truncate, year, month, day, hour, void
    param: int  # buckets or width, else 0
    result_type: str


class WriterOptions(TypedDict):
    """What the engine's data writer is told of a table; can be JSON. Holds no secrets."""

    table: str
    table_uuid: str
    format_version: int
    location: str  # URI of the folder of data files
    schema: str  # base64 of the Arrow IPC schema, with PARQUET:field_id everywhere
    schema_id: int
    spec_id: int
    partition: list[PartitionOption]
    compression: str
    compression_level: NotRequired[int]
    target_file_bytes: NotRequired[int]
    row_group_bytes: NotRequired[int]
    metrics: dict[str, str]  # by dotted column path; "*" is for columns not named


def split_name(name: str) -> tuple[str, ...]:
    """The parts of "namespace.table"."""
    parts = tuple(name.split("."))
    if len(parts) < 2 or not all(parts):
        raise PlanError(f"{name!r} is not the name of a table", "write namespace.table")
    return parts


def prepare_table(
    catalog: Catalog,
    name: str,
    schema: pa.Schema,
    *,
    partition_by: Sequence[str] | None = None,
    branch: str = MAIN_BRANCH,
    properties: Mapping[str, str] | None = None,
    location: str | None = None,
    key: Sequence[str] = (),
    format_version: int | None = None,
    drift: Drift = NO_DRIFT,
) -> Table:
    """Load the table of a sink and check that it takes these columns; make it if it is not there.

    Parameters
    ----------
    catalog
        From `open_catalog`.
    name
        namespace.table; the namespace is made too.
    schema
        Columns of the stream. Hidden columns of the engine are not part of it.
    partition_by
        Transforms of columns: "day(ts)", "bucket(16, user)". For a table that is there: what its
        spec has to be; None, or none of them, takes it as it is.
    branch
        Has to be there, unless it is main.
    properties
        Properties of a new table, before Frazil's own defaults.
    location
        Folder of a new table; the catalog's choice by default.
    key
        Columns by which rows replace each other: the identifier fields of a new table.
    format_version
        Of a new table; what that of a table which is there has to be. None: 2 of a new one.
    drift
        Which differences are allowed; `frazil.iceberg.drift.evolve` ends them.

    Raises
    ------
    SchemaError, SchemaMismatch, PlanError
        The table cannot hold the columns, or is not as asked.
    ConnectError
        The catalog does not answer.
    """
    parts = split_name(name)
    table = find_table(catalog, name)
    if table is None:
        try:
            iceberg = to_iceberg(schema, key)
            made = {"format-version": str(FORMAT_VERSION), **(properties or {})}
            if format_version is not None:
                made["format-version"] = str(format_version)
            table = _create(catalog, parts, iceberg, partition_by, branch, made, location)
        except FrazilError:
            raise
        except Exception as error:  # depends on the catalog: requests, sqlalchemy, boto, ...
            raise ConnectError(f"making table {name}: {_first_line(error)}") from error
    check_table(
        table,
        name,
        schema,
        partition_by=partition_by,
        branch=branch,
        format_version=format_version,
        key=key,
        drift=drift,
    )
    return table


def find_table(catalog: Catalog, name: str) -> Table | None:
    """Load a table; None if there is none of that name."""
    parts = split_name(name)
    try:
        return catalog.load_table(parts)
    except NoSuchTableError:
        return None
    except Exception as error:  # depends on the catalog: requests, sqlalchemy, boto, ...
        raise ConnectError(f"opening table {name}: {_first_line(error)}") from error


def check_table(
    table: Table,
    name: str,
    schema: pa.Schema,
    *,
    partition_by: Sequence[str] | None = None,
    branch: str = MAIN_BRANCH,
    format_version: int | None = None,
    key: Sequence[str] = (),
    drift: Drift = NO_DRIFT,
) -> None:
    """Check an existing table: format, columns, spec, branch. See `prepare_table`."""
    version = table.metadata.format_version
    if version not in FORMAT_VERSIONS:
        raise PlanError(
            f"table {name} has format version {version}, Frazil writes versions "
            f"{' and '.join(map(str, FORMAT_VERSIONS))}",
            "upgrade the table" if version < FORMAT_VERSION else "write to a table of version 3",
        )
    if format_version is not None and version != format_version:
        raise PlanError(
            f"table {name} has format version {version}, not {format_version}",
            "upgrade the table, or leave format_version out to take it as it is",
        )
    for change in changes_of(table, schema, drift):
        if change.kind in ("ignore", "set_aside") and change.path[0] in key:
            raise SchemaMismatch(
                f"table {name}: column {change.path[0]!r} is of the key, and drift leaves it out",
                "rows are told apart by it: give the table the column, or take another key",
            )
    _check_spec(table.spec(), table.schema(), name, partition_by)
    ref = table.metadata.refs.get(branch)
    if ref is None and branch != MAIN_BRANCH:
        raise PlanError(
            f"table {name} has no branch {branch!r}",
            f"make it first: table.manage_snapshots().create_branch(snapshot_id, {branch!r})",
        )
    if ref is not None and ref.snapshot_ref_type != SnapshotRefType.BRANCH:
        raise PlanError(f"{branch!r} is a tag of table {name}, not a branch")


def writer_options(table: Table) -> WriterOptions:
    """What the data writer needs to know of a loaded table."""
    schema, spec = table.schema(), table.spec()
    properties = table.metadata.properties
    options: WriterOptions = {
        "table": ".".join(table.name()),
        "table_uuid": str(table.metadata.table_uuid),
        "format_version": table.metadata.format_version,
        "location": table.location_provider().data_path,
        "schema": base64.b64encode(to_arrow(schema).serialize().to_pybytes()).decode(),
        "schema_id": schema.schema_id,
        "spec_id": spec.spec_id,
        "partition": [_partition_option(spec, i, schema) for i in range(len(spec.fields))],
        "compression": properties.get("write.parquet.compression-codec", "zstd"),
        "metrics": _metrics(properties),
    }
    if (level := _number(properties, "write.parquet.compression-level")) is not None:
        options["compression_level"] = level
    if (size := _number(properties, "write.target-file-size-bytes")) is not None:
        options["target_file_bytes"] = size
    if (size := _number(properties, "write.parquet.row-group-size-bytes")) is not None:
        options["row_group_bytes"] = size
    return options


def writer_s3(table: Table) -> dict[str, Any] | None:
    """How the data writer reaches S3, None for other places. Holds secrets: never write it down."""
    return s3_options(table.location_provider().data_path, table.io.properties)


def s3_options(place: str, properties: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a place on S3 is reached, by PyIceberg's properties; None for other places."""
    if not place.startswith(("s3://", "s3a://", "s3n://")):
        return None

    def get(name: str) -> str | None:
        value = properties.get(f"s3.{name}", properties.get(f"client.{name}"))
        return str(value) if value else None

    found: dict[str, Any] = {
        "endpoint": get("endpoint"),
        "region": get("region") or ("us-east-1" if get("endpoint") else None),
        "access_key_id": get("access-key-id"),
        "secret_access_key": get("secret-access-key"),
        "session_token": get("session-token"),
        "role_arn": get("role-arn"),
    }
    options = {key: value for key, value in found.items() if value is not None}
    for name, key in (
        ("force-virtual-addressing", "force_virtual_addressing"),
        ("anonymous", "anonymous"),
    ):
        if (get(name) or "").lower() == "true":
            options[key] = True
    return options


def _create(
    catalog: Catalog,
    parts: tuple[str, ...],
    schema: Schema,
    partition_by: Sequence[str] | None,
    branch: str,
    properties: Mapping[str, str],
    location: str | None,
) -> Table:
    name = ".".join(parts)
    if branch != MAIN_BRANCH:
        raise PlanError(
            f"table {name} is not there, and a new one has no branch {branch!r}",
            "make the table and its branch first, or write to main",
        )
    spec = to_spec(partition_by or (), schema)
    _create_namespaces(catalog, parts[:-1])
    try:
        return catalog.create_table(
            parts,
            schema,
            location=location,
            partition_spec=spec,
            properties={**TABLE_PROPERTIES, **properties},
        )
    except TableAlreadyExistsError:  # somebody was faster; it is checked like any other
        return catalog.load_table(parts)


def _create_namespaces(catalog: Catalog, parts: tuple[str, ...]) -> None:
    for depth in range(1, len(parts) + 1):
        if not catalog.namespace_exists(parts[:depth]):
            try:
                catalog.create_namespace(parts[:depth])
            except NamespaceAlreadyExistsError:
                continue
            except Exception:  # what a catalog says when somebody was faster: sqlalchemy's own
                if not catalog.namespace_exists(parts[:depth]):
                    raise


def _check_spec(
    spec: PartitionSpec, schema: Schema, name: str, partition_by: Sequence[str] | None
) -> None:
    have = spec_text(spec, schema)
    if partition_by:
        want = spec_text(to_spec(partition_by, schema), schema)
        live = [text for text in have if not text.startswith("void(")]
        if live != want:
            raise SchemaMismatch(
                f"table {name} is partitioned by {', '.join(live) or 'nothing'}, not by "
                f"{', '.join(want) or 'nothing'}",
                "leave partition_by out to take the table as it is, or change the table's spec",
            )
    for field, text in zip(spec.fields, have, strict=True):
        if field.source_id not in (column.field_id for column in schema.fields):
            raise PlanError(
                f"table {name} is partitioned by {text}, which is not a whole column",
                "Frazil cannot write to it yet",
            )


def _partition_option(spec: PartitionSpec, index: int, schema: Schema) -> PartitionOption:
    field = spec.fields[index]
    source = schema.find_field(field.source_id)
    transform, param = transform_parts(field)
    return {
        "source": source.name,
        "field_id": field.source_id,
        "name": field.name,
        "transform": transform,
        "param": param,
        "result_type": str(field.transform.result_type(source.field_type)),
    }


def _metrics(properties: Mapping[str, str]) -> dict[str, str]:
    modes = {}
    if mode := properties.get(_METRICS_DEFAULT):
        modes["*"] = mode
    for key, mode in properties.items():
        if key.startswith(_METRICS_COLUMN):
            modes[key.removeprefix(_METRICS_COLUMN)] = mode
    return modes


def _number(properties: Mapping[str, str], key: str) -> int | None:
    value = properties.get(key)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"table property {key}: expected a number, got {value!r}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
