"""Readers: functions that make a stream of what an external system holds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from frazil import _engine
from frazil.client_options import client_options_json
from frazil.debezium import (
    Debezium,
    DebeziumJson,
    DebeziumMetadata,
    checked_key,
    debezium_format,
    metadata_field,
    metadata_names,
)
from frazil.duration import Duration, duration_ms
from frazil.errors import ConfigError, PlanError, on_user_line
from frazil.memory_rows import encoded_rows, memory_table
from frazil.node import Json, OnBadRow, Port, SourceNode
from frazil.protobuf import Protobuf
from frazil.registry_format import MAY_BE_REGISTERED, REGISTERED, message_schema, registry_of
from frazil.schema import SchemaLike, checked, has_rest, resolve
from frazil.security import S3, Sasl, Tls, security_json, tls_client_options
from frazil.stream import Stream
from frazil.unsent_values import fill_unsent

if TYPE_CHECKING:
    from frazil.schema_registry import SchemaRegistry
    from frazil.secret import Secret

KafkaMetadata = Literal["key", "topic", "partition", "offset", "timestamp", "headers"]
KafkaFormat = Literal[
    "json",
    "avro",
    "json-schema",
    "protobuf",
    "debezium-json",
    "debezium-avro",
    "debezium-protobuf",
]
FileMetadata = Literal["path", "offset"]
Start = Literal["earliest", "latest", "group"] | datetime | Mapping[str, Mapping[int, int]]

METADATA_TYPES: dict[str, pa.Field] = {
    "key": pa.field("_key", pa.binary()),
    "topic": pa.field("_topic", pa.string(), nullable=False),
    "path": pa.field("_path", pa.string(), nullable=False),
    "partition": pa.field("_partition", pa.int32(), nullable=False),
    "offset": pa.field("_offset", pa.int64(), nullable=False),
    "timestamp": pa.field("_timestamp", pa.timestamp("ms", "UTC")),
    "headers": pa.field(
        "_headers",
        pa.list_(
            pa.field(
                "element",
                pa.struct([pa.field("key", pa.string(), False), pa.field("value", pa.binary())]),
                nullable=False,
            )
        ),
    ),
}
"""Columns a connector can add, by the name given in `metadata=`."""

TOPICS_MAX = 1_000
"""Topics of one reader."""
PATHS_MAX = 100_000
"""Paths and patterns of one reader."""
MEMORY_PARTITIONS_MAX = 1_024
"""Partitions of an in-memory or generated source."""


@on_user_line
def read_kafka(
    *topics: str,
    servers: str | Sequence[str],
    schema: SchemaLike | None = None,
    format: KafkaFormat | Debezium | Protobuf = "json",
    registry: str | SchemaRegistry | None = None,
    key: Sequence[str] | None = None,
    start: Start = "earliest",
    group: str | None = None,
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
    metadata: Sequence[KafkaMetadata | DebeziumMetadata] = (),
    security: Sasl | Tls | None = None,
    tombstones: Literal["reject", "skip"] | None = None,
    on_truncated: Literal["fail", "earliest", "latest"] = "fail",
    give_up_after: Duration | None = None,
    on_bad_row: OnBadRow | None = None,
    client_options: Mapping[str, str | int | float | bool | Secret] | None = None,
    name: str | None = None,
) -> Stream:
    """Read topics of a Kafka broker, each message a row.

    Partitions that are added while the pipeline runs are read from their beginning.

    Parameters
    ----------
    topics
        Names of topics.
    servers
        Addresses of brokers: "host:port", several with commas or as a list.
    schema
        What a message holds; of change events, the columns of the table. With a registry the
        default is the newest schema that it has of the topic, asked for now.
    format
        How it is written: "json", one object; "avro", a record; "json-schema", an object behind
        the id of its schema; "protobuf" or `Protobuf`, a message; or "debezium-json",
        "debezium-avro" or "debezium-protobuf" (or `DebeziumJson`, `DebeziumAvro`,
        `DebeziumProtobuf`), change events of Debezium: a stream of changes.
    registry
        Where the schemas of "avro", "json-schema" and "protobuf" are: a URL, or `SchemaRegistry`.
        With one, "debezium-json" is JSON behind the id of its JSON Schema.
    key
        Columns of the table's key, for change events.
    start
        Where a first run begins: "earliest", "latest", "group" (what `group` has committed), a
        time, or ``{topic: {partition: offset}}``. Later runs continue from the checkpoint.
    group
        Consumer group under which landed offsets are committed, for lag tools only.
    isolation
        Whether messages of open and aborted transactions are read.
    metadata
        Further columns: "key", "topic", "partition", "offset", "timestamp" or "headers", each named
        with an underscore in front (``_offset``). Of change events also "op", "ts_ms" and, named
        ``_source_lsn``, what "source" holds: "source.lsn".
    security
        `Tls` or `Sasl`.
    tombstones
        What to do with messages without a value: "reject" sets them aside as bad rows, "skip"
        leaves them out. Default "reject"; those of change events are dropped and counted.
    on_truncated
        What to do if the broker has deleted messages that were not read yet.
    give_up_after
        How long to wait for a broker that is away; default for ever.
    on_bad_row
        "fail", "drop" or "divert" (to `Stream.rejected`); default "divert" if that is written, else
        "fail".
    client_options
        Options of librdkafka that have no name here.
    name
        Name of the source, under which its positions are kept; default from the topics.

    Returns
    -------
    Stream
        The schema's columns, then the metadata.

    Examples
    --------
    >>> import frazil as fz
    >>> class Order(fz.Schema):
    ...     order_id: int
    ...     amount: float
    >>> fz.read_kafka("orders", servers="localhost:9092", schema=Order, metadata=["offset"])
    Stream(append) <- kafka:orders
      order_id: int64 not null
      amount: double not null
      _offset: int64 not null
    """
    if not topics or not all(isinstance(topic, str) and topic for topic in topics):
        raise PlanError("read_kafka needs names of topics", 'write fz.read_kafka("orders", ...)')
    if len(set(topics)) != len(topics) or len(topics) > TOPICS_MAX:
        raise PlanError(f"read_kafka: {len(topics)} topics", f"up to {TOPICS_MAX}, each once")
    debezium = debezium_format(format)
    written = _written(format, debezium)
    schemas = registry_of(registry, written, "read_kafka")
    _one_of("isolation", isolation, ("read_committed", "read_uncommitted"))
    _one_of("tombstones", tombstones, (None, "reject", "skip"))
    _one_of("on_truncated", on_truncated, ("fail", "earliest", "latest"))
    server_list = servers if isinstance(servers, str) else ",".join(servers)
    if not server_list:
        raise PlanError("read_kafka needs servers", 'write servers="host:9092"')
    options: Json = {
        "topics": list(topics),
        "servers": server_list,
        "start": _start_json(start, topics),
        "isolation": isolation,
        "tombstones": tombstones or ("reject" if debezium is None else "null"),
        "on_truncated": on_truncated,
        "metadata": list(metadata),
        "client_options": client_options_json(client_options or {}) | tls_client_options(security),
    }
    if security is not None:
        options["security"] = security_json(security)
    if give_up_after is not None:
        options["give_up_after_ms"] = duration_ms(give_up_after, "give_up_after")
    if start == "group" and group is None:
        raise PlanError('start="group" needs a group', 'write group="name"')
    if group is not None:
        options["group"] = group
    unwrapped = debezium is not None and debezium.unwrapped
    return _source(
        connector="kafka",
        name=name or "kafka:" + ",".join(topics),
        schema=format._columns(schema)
        if isinstance(format, Protobuf)
        else message_schema(schema, schemas, topics, written["kind"], unwrapped=unwrapped),
        metadata=metadata,
        allowed=("key", "topic", "partition", "offset", "timestamp", "headers"),
        options=options,
        format=written,
        debezium=debezium,
        key=key,
        registry=schemas,
        on_bad_row=on_bad_row,
        detail=f"from {_start_text(start)}",
    )


@on_user_line
def read_files(
    *paths: str | os.PathLike[str],
    format: Literal["json", "parquet", "debezium-json"] | DebeziumJson,
    schema: SchemaLike | None = None,
    key: Sequence[str] | None = None,
    lanes: Literal["one", "by_folder"] | Sequence[Sequence[str]] = "one",
    ordered: bool = True,
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto",
    watch_every: Duration = "10s",
    on_removed: Literal["fail", "skip"] = "fail",
    metadata: Sequence[FileMetadata | DebeziumMetadata] = (),
    s3: S3 | None = None,
    on_bad_row: OnBadRow | None = None,
    name: str | None = None,
) -> Stream:
    """Read files of a local disk or an object store.

    The files are one sequence, in the order of their names; files that come later are read after
    those before them. A bounded run reads those that are there at its start.

    Parameters
    ----------
    paths
        Paths, folders or patterns (``events/*.jsonl``), local or ``s3://bucket/...``.
    format
        "json": one object a line; "parquet"; or "debezium-json" (or `DebeziumJson`): a change event
        of Debezium a line, which makes a stream of changes.
    schema
        What a row holds. Parquet files carry theirs: if given, it is checked.
    key
        Columns of the table's key, for change events.
    lanes
        "one" reads all files in one sequence, "by_folder" one sequence a folder, side by side; or
        lists of paths, each a sequence, in place of `paths`.
    ordered
        False: the order of files means nothing, each may be read at any time.
    compression
        Of JSON files; "auto" goes by the ending (.gz, .zst).
    watch_every
        How often to look for new files in an unbounded run.
    on_removed
        What to do at a start if a file that was read halfway is gone, or all that a lane had left:
        "fail", or "skip" the rest of it.
    metadata
        Further columns: "path" and "offset" (of the row in its file), named ``_path``, ``_offset``;
        of change events those that `read_kafka` has.
    s3
        How to reach the object store.
    on_bad_row
        "fail", "drop" or "divert" (to `Stream.rejected`); default "divert" if that is written, else
        "fail".
    name
        Name of the source, under which its positions are kept; default from the paths.

    Returns
    -------
    Stream
        The schema's columns, then the metadata.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.read_files("events/*.jsonl", format="json", schema={"id": int, "user": str})
    Stream(append) <- file:events/*.jsonl
      id: int64 not null
      user: string not null
    """
    listed = [os.fspath(path) for path in paths]
    if not listed and not isinstance(lanes, str):
        listed = [os.fspath(path) for lane in lanes for path in lane]
    if not listed or not all(listed) or len(listed) > PATHS_MAX:
        raise PlanError(
            f"read_files got {len(listed)} paths", f"1 to {PATHS_MAX} paths, folders or patterns"
        )
    debezium = debezium_format(format)
    if debezium is None or not isinstance(debezium, DebeziumJson):
        _one_of("format", format, ("json", "parquet", "debezium-json"))
    written = "parquet" if format == "parquet" else "json"
    _one_of("compression", compression, ("auto", "none", "gzip", "zstd"))
    _one_of("on_removed", on_removed, ("fail", "skip"))
    if written == "json" and schema is None:
        raise PlanError(
            "JSON files carry no schema, and none is given",
            f'write one, or let fz.infer("{listed[0]}") propose it',
        )
    options: Json = {
        "paths": [_absolute(path) for path in listed],
        "format": written,
        "compression": compression,
        "lanes": _lanes_json(lanes),
        "ordered": ordered,
        "watch_every_ms": duration_ms(watch_every, "watch_every"),
        "on_removed": on_removed,
        "metadata": list(metadata),
    }
    if s3 is not None:
        options["s3"] = s3.to_json()
    if schema is None:
        from frazil.infer import parquet_schema

        declared = checked(parquet_schema(listed[0], s3))
    else:
        declared = resolve(schema)
    return _source(
        connector="file",
        name=name or "file:" + ",".join(listed),
        schema=declared,
        metadata=metadata,
        allowed=("path", "offset"),
        options=options,
        format={"kind": "json"} if written == "json" else None,
        debezium=debezium,
        key=key,
        on_bad_row=on_bad_row,
        detail=f"{written}, {'in order' if ordered else 'in any order'}",
    )


@on_user_line
def read_generator(
    *,
    rows: int | None = None,
    rate: float | None = None,
    seed: int = 0,
    partitions: int = 1,
    name: str | None = None,
) -> Stream:
    """Make up events of a shop: the same seed gives the same rows, always.

    Parameters
    ----------
    rows
        How many in all; default without end.
    rate
        Rows per second in all; default as fast as they are taken.
    seed
        Where the values come from.
    partitions
        Number of partitions.
    name
        Name of the source, under which its positions are kept.

    Returns
    -------
    Stream
        Columns id (0, 1, 2, ... over all partitions), at (a millisecond a row, one in five up to
        5 s early), user, page, country, device, amount, quantity, flag.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.read_generator(rows=1_000, seed=7).select("id", "at", "amount")
    Stream(append) <- generator:7
      id: int64 not null
      at: timestamp[us, UTC] not null
      amount: double not null
    """
    _at_least("rows", rows, 0)
    _at_least("seed", seed, 0)
    _partitions(partitions)
    if rate is not None and not rate > 0:
        raise PlanError(f"rate={rate!r} rows per second", "more than 0, or None for no limit")
    options: Json = {"seed": seed, "partitions": partitions}
    if rows is not None:
        options["rows"] = rows
    if rate is not None:
        options["rate"] = float(rate)
    return _source(
        connector="generator",
        name=name or f"generator:{seed}",
        schema=pa.schema(_engine.generator_schema()),
        metadata=(),
        allowed=(),
        options=options,
        format=None,
        on_bad_row=None,
        detail=f"{'unbounded' if rows is None else f'{rows} rows'}, seed {seed}",
    )


@on_user_line
def read_memory(
    data: pa.Table | pa.RecordBatch | Sequence[pa.RecordBatch] | Sequence[Mapping[str, Any]],
    *,
    schema: SchemaLike | None = None,
    partitions: int = 1,
    name: str = "memory",
) -> Stream:
    """Read rows that are in memory already: for tests, small tables and notebooks.

    Parameters
    ----------
    data
        A table, a batch, batches, or rows as dicts.
    schema
        What the rows hold; needed for rows as dicts unless Arrow can tell it, checked otherwise.
    partitions
        Number of partitions the rows are dealt to, in turn.
    name
        Name of the source, under which its positions are kept.

    Returns
    -------
    Stream
        The table's columns.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.read_memory([{"id": 1, "user": "ada"}, {"id": 2, "user": None}])
    Stream(append) <- memory
      id: int64
      user: string
    """
    _partitions(partitions)
    table = memory_table(data, None if schema is None else resolve(schema))
    checked(table.schema)
    return _source(
        connector="memory",
        name=name,
        schema=table.schema,
        metadata=(),
        allowed=(),
        options={"partitions": encoded_rows(table, partitions)},
        format=None,
        on_bad_row=None,
        detail=f"{table.num_rows} rows",
    )


def _source(
    *,
    connector: str,
    name: str,
    schema: pa.Schema,
    metadata: Sequence[str],
    allowed: Sequence[str],
    options: Json,
    format: Json | None,
    on_bad_row: OnBadRow | None,
    detail: str = "",
    debezium: Debezium | None = None,
    key: Sequence[str] | None = None,
    registry: SchemaRegistry | None = None,
    objects: Mapping[str, Any] | None = None,
) -> Stream:
    if debezium is None and key is not None:
        raise PlanError(
            f"{name}: key={key!r}, and its rows are no changes",
            'a key goes with format="debezium-json" or another of Debezium\'s',
        )
    written = "none" if format is None and debezium is None else str((format or {}).get("kind"))
    if written in ("none", "parquet", "avro", "debezium-avro", "protobuf", "debezium-protobuf"):
        for field in filter(has_rest, schema):
            raise PlanError(
                f"{name}: column {field.name!r} is the rest of an object of JSON, and this is none",
                "leave it out",
            )
    if on_bad_row is not None:
        _one_of("on_bad_row", on_bad_row, ("fail", "drop", "divert"))
    if isinstance(metadata, str):
        raise PlanError(f"metadata={metadata!r} is a text", f"write metadata=[{metadata!r}]")
    events = metadata_names(debezium)
    for item in metadata:
        _one_of("metadata", item, (*allowed, *events))
    if "metadata" in options:
        options["metadata"] = [item for item in metadata if item not in events]
    added = [metadata_field(m) if m in events else METADATA_TYPES[m] for m in metadata]
    columns = (*schema, *added)
    row_key = None
    if debezium is not None:
        row_key = checked_key(key, schema, name)
        format = debezium._to_json(row_key)
    if format is not None and registry is not None:
        format = {**format, "registry": registry.name}
    node = SourceNode(
        checked(pa.schema(columns)),
        connector,
        options,
        format,
        on_bad_row,
        tuple(field.name for field in added),
        detail,
        row_key,
        debezium is None or debezium.before == "full",
        None if registry is None else registry.to_json(),
        objects or {},
        name=name,
    )
    if debezium is not None and debezium.keep:
        return Stream(fill_unsent(node, debezium))
    return Stream(Port(node))


def _written(format: object, debezium: Debezium | None) -> Json:
    """How messages are written, as far as their reader goes by it."""
    if isinstance(format, Protobuf):
        return format._to_json()
    if debezium is None:
        _one_of("format", format, ("json", *REGISTERED, *MAY_BE_REGISTERED))
        return {"kind": str(format)}
    return {"kind": debezium._to_json(())["kind"]}


def _one_of(option: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"{option}={value!r} is not offered", "one of " + ", ".join(map(repr, allowed))
        )


def _at_least(option: str, value: int | None, least: int) -> None:
    if value is not None and (not isinstance(value, int) or value < least):
        raise ConfigError(f"{option}={value!r} is not offered", f"a whole number from {least}")


def _partitions(partitions: int) -> None:
    if not isinstance(partitions, int) or not 1 <= partitions <= MEMORY_PARTITIONS_MAX:
        raise ConfigError(f"partitions={partitions!r}", f"1 to {MEMORY_PARTITIONS_MAX}")


def _start_json(start: Start, topics: Sequence[str]) -> Any:
    match start:
        case "earliest" | "latest" | "group":
            return start
        case datetime():
            if start.tzinfo is None:
                raise PlanError(
                    f"start={start.isoformat()} has no zone",
                    "write datetime(..., tzinfo=timezone.utc)",
                )
            return {"timestamp_ms": (start - _EPOCH) // timedelta(milliseconds=1)}
        case Mapping():
            for topic, offsets in start.items():
                _one_of("topic in start", topic, topics)
                for partition, offset in offsets.items():
                    _at_least(f"partition of {topic} in start", partition, 0)
                    _at_least(f"offset of {topic}-{partition} in start", offset, 0)
            return {
                "offsets": {
                    f"{topic}-{partition}": offset
                    for topic, offsets in start.items()
                    for partition, offset in offsets.items()
                }
            }
    raise PlanError(
        f"start={start!r} is no place to begin",
        '"earliest", "latest", "group", a datetime, or {"orders": {0: 1042}}',
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _start_text(start: Start) -> str:
    match start:
        case datetime():
            return start.isoformat()
        case Mapping():
            return "given offsets"
    return start


def _lanes_json(lanes: object) -> Any:
    if lanes in ("one", "by_folder"):
        return lanes
    if isinstance(lanes, Sequence) and not isinstance(lanes, str) and lanes:
        if all(isinstance(lane, Sequence) and not isinstance(lane, str) and lane for lane in lanes):
            return [[_absolute(os.fspath(path)) for path in lane] for lane in lanes]
    raise PlanError(
        f"lanes={lanes!r} is not offered", '"one", "by_folder", or lists of paths, each in order'
    )


def _absolute(path: str) -> str:
    """Local paths from the root, so that a plan means the same wherever it is run from."""
    if "://" in path:
        if not path.startswith(("s3://", "file://")):
            raise PlanError(f"no files at {path!r}", "local paths and s3://bucket/... are read")
        return path
    return os.path.abspath(os.path.expanduser(path))
