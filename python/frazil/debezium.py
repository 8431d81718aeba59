"""Change events of Debezium: how they are written, and what becomes of them."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import pyarrow as pa
from frazil.errors import ConfigError, PlanError, TypeMismatch
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.node import Json

PLACEHOLDER = "__debezium_unavailable_value"
"""What Debezium writes for a value that the database did not send, unless it is told otherwise."""

Truncates = Literal["stop", "apply", "reject", "skip"]

DebeziumMetadata = Literal[
    "op",
    "ts_ms",
    "source.ts_ms",
    "source.db",
    "source.schema",
    "source.table",
    "source.snapshot",
    "source.lsn",
    "source.txId",
    "source.gtid",
    "source.file",
    "source.pos",
    "source.row",
]

_INSTANT = pa.timestamp("ms", "UTC")
_TYPES: dict[str, tuple[pa.DataType, bool]] = {
    "op": (pa.string(), False),
    "ts_ms": (_INSTANT, True),
    "source.ts_ms": (_INSTANT, True),
    "source.db": (pa.string(), True),
    "source.schema": (pa.string(), True),
    "source.table": (pa.string(), True),
    "source.snapshot": (pa.string(), True),
    "source.lsn": (pa.int64(), True),
    "source.txId": (pa.int64(), True),
    "source.gtid": (pa.string(), True),
    "source.file": (pa.string(), True),
    "source.pos": (pa.int64(), True),
    "source.row": (pa.int64(), True),
}


@dataclass(frozen=True, kw_only=True)
class DebeziumJson:
    """Change events of Debezium in JSON, for the `format` of `read_kafka` and `read_files`.

    Messages with and without their schema ({"schema", "payload"}) are told apart one by one.

    Parameters
    ----------
    unwrapped
        The transform ExtractNewRecordState has taken the rows out of the envelope; fields `__op`
        or `__deleted` (rewritten deletes) tell what they are.
    before
        What is sent of the row before an update or delete: "key", the key at least; or "full", the
        whole row (PostgreSQL: REPLICA IDENTITY FULL), and events without it are bad.
    decimals
        What `decimal.handling.mode` is, for messages without a schema: "precise" (base64; its scale
        is that of the column), "string" or "double".
    truncates
        What to do when the table was truncated: "stop" ends the run; "apply" takes all rows away
        that were there before, in an Iceberg table by key with `order_by`; "reject" sets the event
        aside as a bad row, "skip" leaves it out, and with both the rows stay.
    unavailable
        What stands for a value that did not change and was not sent:
        `unavailable.value.placeholder` of the connector.
    keep
        Columns (of text or bytes) whose values may not be sent, which PostgreSQL does with large
        ones that an update leaves as they are: of each key the newest is kept in state and put in
        their place. In other columns, such an event is a bad row.

    Examples
    --------
    >>> import frazil as fz
    >>> users = fz.read_kafka(
    ...     "crm.public.users",
    ...     servers="localhost:9092",
    ...     format=fz.DebeziumJson(before="full", decimals="string"),
    ...     schema={"id": int, "email": str},
    ...     key=["id"],
    ... )
    >>> users
    Stream(changes by id) <- kafka:crm.public.users
      id: int64 not null
      email: string not null
    """

    unwrapped: bool = False
    before: Literal["key", "full"] = "key"
    decimals: Literal["precise", "string", "double"] | None = None
    truncates: Truncates = "stop"
    unavailable: str = PLACEHOLDER
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the options.

        Raises
        ------
        ConfigError
            If one is not offered.
        """
        for name, allowed in (
            ("unwrapped", (False, True)),
            ("before", ("key", "full")),
            ("decimals", (None, "precise", "string", "double")),
            ("truncates", get_args(Truncates)),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} is not offered",
                    "one of " + ", ".join(map(repr, allowed)),
                )
        if not isinstance(self.unavailable, str) or not self.unavailable:
            raise ConfigError(f"unavailable={self.unavailable!r}", "a text, not empty")
        if self.unwrapped and self.before == "full":
            raise ConfigError(
                'unwrapped events have no row before an update, and before="full" asks for it',
                "leave before= away, or read the events as Debezium writes them",
            )
        if self.unwrapped and self.truncates == "apply":
            raise ConfigError(
                'truncates="apply" of unwrapped events, which do not say where in the database\'s '
                "log they stand",
                "read the events as Debezium writes them",
            )
        self._check_keep()

    def _check_keep(self) -> None:
        if isinstance(self.keep, str) or not all(isinstance(name, str) for name in self.keep):
            raise ConfigError(f"keep={self.keep!r}", 'names of columns: keep=["body"]')
        if self.keep and self.before == "full":
            raise ConfigError(
                f'keep={list(self.keep)} and before="full": whole rows have all their values',
                "leave keep= away",
            )
        if self.keep and self.unwrapped:
            raise ConfigError(
                f"keep={list(self.keep)} of unwrapped events, which do not say where in the "
                "database's log they stand",
                "read the events as Debezium writes them",
            )

    def _to_json(self, key: Sequence[str]) -> Json:
        """What the engine has to know."""
        digest = hashlib.md5(self.unavailable.encode(), usedforsecurity=False).digest()
        made: Json = {
            "kind": "debezium-json",
            "key": list(key),
            "unwrapped": self.unwrapped,
            "before": self.before,
            "decimals": self.decimals,
            "truncates": self.truncates,
            "unavailable": self.unavailable,
            "unavailable_uuid": str(uuid.UUID(bytes=digest, version=3)),
        }
        if self.keep:
            made["keep"] = list(self.keep)
        return made


@dataclass(frozen=True, kw_only=True)
class DebeziumAvro:
    """Change events of Debezium in Avro, for the `format` of `read_kafka`.

    Each message names its schema by the id it has in the registry.

    Parameters
    ----------
    unwrapped, before, truncates, unavailable, keep
        As of `DebeziumJson`.

    Examples
    --------
    >>> import frazil as fz
    >>> users = fz.read_kafka(
    ...     "crm.public.users",
    ...     servers="localhost:9092",
    ...     format=fz.DebeziumAvro(before="full"),
    ...     registry="http://localhost:8081",
    ...     schema={"id": int, "email": str},
    ...     key=["id"],
    ... )
    >>> users
    Stream(changes by id) <- kafka:crm.public.users
      id: int64 not null
      email: string not null
    """

    unwrapped: bool = False
    before: Literal["key", "full"] = "key"
    truncates: Truncates = "stop"
    unavailable: str = PLACEHOLDER
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the options; raises as `DebeziumJson`."""
        self._options()

    def _options(self) -> DebeziumJson:
        return DebeziumJson(
            unwrapped=self.unwrapped,
            before=self.before,
            truncates=self.truncates,
            unavailable=self.unavailable,
            keep=self.keep,
        )

    def _to_json(self, key: Sequence[str]) -> Json:
        """What the engine has to know."""
        return {**self._options()._to_json(key), "kind": "debezium-avro"}


@dataclass(frozen=True, kw_only=True)
class DebeziumProtobuf:
    """Change events of Debezium in Protobuf, for the `format` of `read_kafka`.

    Each message names its schema by the id it has in the registry. Needs
    ``pip install 'frazil[protobuf]'``.

    Parameters
    ----------
    unwrapped, before, truncates, unavailable, keep
        As of `DebeziumJson`.

    Examples
    --------
    >>> import frazil as fz
    >>> users = fz.read_kafka(
    ...     "crm.public.users",
    ...     servers="localhost:9092",
    ...     format=fz.DebeziumProtobuf(before="full"),
    ...     registry="http://localhost:8081",
    ...     schema={"id": int, "email": str},
    ...     key=["id"],
    ... )
    >>> users
    Stream(changes by id) <- kafka:crm.public.users
      id: int64 not null
      email: string not null
    """

    unwrapped: bool = False
    before: Literal["key", "full"] = "key"
    truncates: Truncates = "stop"
    unavailable: str = PLACEHOLDER
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the options; raises as `DebeziumJson`."""
        self._options()

    def _options(self) -> DebeziumJson:
        return DebeziumJson(
            unwrapped=self.unwrapped,
            before=self.before,
            truncates=self.truncates,
            unavailable=self.unavailable,
            keep=self.keep,
        )

    def _to_json(self, key: Sequence[str]) -> Json:
        """What the engine has to know."""
        return {**self._options()._to_json(key), "kind": "debezium-protobuf"}


Debezium: TypeAlias = DebeziumJson | DebeziumAvro | DebeziumProtobuf


def debezium_format(format: object) -> Debezium | None:
    """The options of a format that is Debezium's; None if it is another."""
    if format == "debezium-json":
        return DebeziumJson()
    if format == "debezium-avro":
        return DebeziumAvro()
    if format == "debezium-protobuf":
        return DebeziumProtobuf()
    return format if isinstance(format, Debezium) else None


def checked_key(key: object, schema: pa.Schema, what: str) -> tuple[str, ...]:
    """Check the columns that tell rows of a table apart.

    Raises
    ------
    PlanError
        None is given, or they are none of the schema's.
    """
    if key is None or isinstance(key, str) or not isinstance(key, Sequence) or not key:
        like = repr([key]) if isinstance(key, str) else '["id"]'
        raise PlanError(
            f"{what}: change events need the key of their table, got key={key!r}",
            f"write key={like}: the columns of its primary key",
        )
    from frazil.stream import column_not_found

    names = tuple(key)
    for name in names:
        if not isinstance(name, str):
            raise TypeMismatch(f"{what}: key={name!r}", "names of columns are texts")
        if name not in schema.names:
            raise column_not_found(name, schema, f"the schema of {what}")
        if names.count(name) > 1:
            raise PlanError(f"{what}: key= names column {name!r} twice", "once is enough")
        type_ = schema.field(name).type
        if pa.types.is_nested(type_) or pa.types.is_floating(type_) or pa.types.is_null(type_):
            raise TypeMismatch(
                f"{what}: key column {name!r} is {type_name(type_)}",
                "a key is an integer, a decimal, text, bytes, a time or a boolean",
            )
    return names


def metadata_names(format: Debezium | None) -> tuple[str, ...]:
    """What `metadata` may ask of the events themselves."""
    return () if format is None or format.unwrapped else tuple(_TYPES)


def metadata_field(name: str) -> pa.Field:
    """The column of one of them: ``_source_lsn``; its metadata says where it is."""
    type_, nullable = _TYPES[name]
    where = {"fz:envelope": json.dumps(name.split("."))}
    if pa.types.is_timestamp(type_):
        where["fz:time_unit"] = "ms"
    return pa.field("_" + name.replace(".", "_"), type_, nullable, where)
