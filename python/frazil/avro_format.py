"""Rows as Avro messages: the options of `write_kafka`, and the schema that columns come to."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from frazil.errors import ConfigError, PlanError, TypeMismatch
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.node import Json

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FULL_NAME = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern})*")


@dataclass(frozen=True, kw_only=True)
class Avro:
    """Messages in Avro with the id of their schema, for the `format` of `write_kafka`.

    The schema is made of the stream's columns and registered when a run starts, before the first
    message; or it is one that the registry has.

    Parameters
    ----------
    subject
        Under which the schema of values is registered; default the topic with "-value".
    version
        A version of that subject, or "latest", whose schema is used: columns go to its fields by
        name. Nothing is registered.
    auto_register
        Whether schemas are registered; else they have to be there.
    keys
        Keys are "avro" too, of a schema of their own: the type of the column, or a record of
        several; or "text", as `write_kafka` writes them with JSON.
    key_subject, key_version
        The same for keys; the default subject is the topic with "-key".
    record
        Full name of the record; default made of the topic's.

    Examples
    --------
    >>> import frazil as fz
    >>> orders = fz.read_memory([{"id": 1, "country": "DE"}])
    >>> orders.write_kafka(
    ...     "orders",
    ...     servers="localhost:9092",
    ...     format=fz.Avro(keys="text"),
    ...     registry="http://localhost:8081",
    ...     key="id",
    ... )
    Sink(kafka kafka:orders)
    """

    subject: str | None = None
    version: int | Literal["latest"] | None = None
    auto_register: bool = True
    keys: Literal["avro", "text"] = "avro"
    key_subject: str | None = None
    key_version: int | Literal["latest"] | None = None
    record: str | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises
        ------
        ConfigError
            If one is not offered.
        """
        for name in ("subject", "key_subject"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigError(f"Avro({name}={value!r})", "a text, not empty")
        for name in ("version", "key_version"):
            value = getattr(self, name)
            numbered = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if value not in (None, "latest") and not numbered:
                raise ConfigError(f"Avro({name}={value!r})", 'a number from 1 on, or "latest"')
        if self.keys not in ("avro", "text"):
            raise ConfigError(f"Avro(keys={self.keys!r}) is not offered", "one of 'avro', 'text'")
        if not isinstance(self.auto_register, bool):
            raise ConfigError(f"Avro(auto_register={self.auto_register!r})", "True or False")
        if self.keys == "text" and (self.key_subject or self.key_version):
            raise ConfigError(
                'Avro(keys="text"), and a subject or version of keys is given',
                "texts have no schema: leave key_subject= and key_version= out",
            )
        if self.record is not None and not _FULL_NAME.fullmatch(str(self.record)):
            raise ConfigError(f"Avro(record={self.record!r})", 'a name of Avro, as "shop.Order"')

    def _to_json(self, topic: str, schema: pa.Schema, key: Sequence[str]) -> Json:
        """What the coordinator has to know."""
        record = self.record or _record_name(topic)
        made: Json = {
            "kind": "avro",
            "auto_register": self.auto_register,
            "value": {
                "subject": self.subject or f"{topic}-value",
                "version": self.version,
                "schema": None if self.version else written_schema(schema, record),
            },
        }
        if self.keys == "avro" and key:
            made["key"] = {
                "subject": self.key_subject or f"{topic}-key",
                "version": self.key_version,
                "schema": None if self.key_version else key_schema(schema, key, f"{record}_key"),
            }
        return made


def avro_format(format: object) -> Avro | None:
    """The options of a format that is Avro; None if it is another."""
    return Avro() if format == "avro" else format if isinstance(format, Avro) else None


def written_schema(schema: pa.Schema, record: str) -> str:
    """The Avro schema of rows with these columns: its text.

    Raises
    ------
    PlanError, TypeMismatch
        A name or type has no place in Avro.
    """
    return json.dumps(_Types(record).record(list(schema), record, ()))


def key_schema(schema: pa.Schema, key: Sequence[str], record: str) -> str:
    """The Avro schema of keys of these columns: its text. Raises as `written_schema`."""
    fields = [schema.field(name) for name in key]
    if len(fields) > 1:
        return written_schema(pa.schema(fields), record)
    return json.dumps(_Types(record).value(fields[0].type, (fields[0].name,)))


def _record_name(topic: str) -> str:
    parts = [re.sub(r"[^A-Za-z0-9_]", "_", part) for part in topic.split(".") if part]
    return ".".join(f"_{part}" if part[0].isdigit() else part for part in parts) or "Row"


_TIME_UNITS = {"s": "millis", "ms": "millis", "us": "micros", "ns": "nanos"}


class _Types:
    """Types of columns as Avro's; records and fixed within are named after the way to them."""

    def __init__(self, record: str) -> None:
        self._record = record.rpartition(".")[2]
        self._names = {self._record}

    def record(self, fields: Sequence[pa.Field], name: str, path: tuple[str, ...]) -> Json:
        made = []
        for field in fields:
            if not _NAME.fullmatch(field.name):
                where = ".".join((*path, field.name))
                raise PlanError(
                    f"column {where!r} has a name that Avro does not allow",
                    "letters of ASCII, digits and _ are: rename the column",
                )
            type_ = self.optional(field, (*path, field.name))
            made.append({"name": field.name, "type": type_})
            if field.nullable:
                made[-1]["default"] = None
        return {"type": "record", "name": name, "fields": made}

    def optional(self, field: pa.Field, path: tuple[str, ...]) -> Any:
        """The type of a field, which may be null."""
        type_ = self.value(field.type, path)
        return ["null", type_] if field.nullable and type_ != "null" else type_

    def value(self, type_: pa.DataType, path: tuple[str, ...]) -> Any:
        if isinstance(type_, pa.DictionaryType):
            return self.value(type_.value_type, path)
        if isinstance(type_, pa.BaseExtensionType):
            if type_.extension_name == "arrow.uuid":
                return {"type": "string", "logicalType": "uuid"}
            return self.value(type_.storage_type, path)
        found = self.nested(type_, path) if pa.types.is_nested(type_) else _plain(type_)
        if found is None and pa.types.is_fixed_size_binary(type_):
            found = {"type": "fixed", "name": self.name(path), "size": type_.byte_width}
        if found is None:
            raise TypeMismatch(
                f"column {'.'.join(path)!r} is {type_name(type_)}, which Avro has no type for",
                "cast it to another",
            )
        return found

    def nested(self, type_: pa.DataType, path: tuple[str, ...]) -> Any:
        t = pa.types
        if t.is_struct(type_):
            return self.record(list(type_), self.name(path), path)
        if t.is_map(type_):
            item = self.optional(type_.item_field, (*path, "value"))
            if _plain(type_.key_type) == "string":
                return {"type": "map", "values": item}
            key = {"name": "key", "type": self.value(type_.key_type, (*path, "key"))}
            fields = [key, {"name": "value", "type": item}]
            entry = {"type": "record", "name": self.name(path), "fields": fields}
            return {"type": "array", "items": entry}
        if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
            return {
                "type": "array",
                "items": self.optional(type_.value_field, (*path, "item")),
            }
        return None

    def name(self, path: tuple[str, ...]) -> str:
        """A name that no other type has."""
        name = wanted = "_".join((self._record, *path))
        number = 1
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name


def _plain(type_: pa.DataType) -> Any:
    """A type without others within; None if Avro has none, or it needs a name."""
    t = pa.types
    if t.is_decimal(type_):
        if type_.scale < 0 or type_.scale > type_.precision:
            return None
        parameters = {"precision": type_.precision, "scale": type_.scale}
        return {"type": "bytes", "logicalType": "decimal", **parameters}
    if t.is_uint64(type_):  # a long has one bit too few
        return {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0}
    if t.is_date(type_):
        return {"type": "int", "logicalType": "date"}
    if t.is_timestamp(type_):
        local = "" if type_.tz is not None else "local-"
        logical = f"{local}timestamp-{_TIME_UNITS[type_.unit]}"
        return {"type": "long", "logicalType": logical}
    if t.is_time32(type_):
        return {"type": "int", "logicalType": "time-millis"}
    if t.is_time64(type_) and type_.unit == "us":
        return {"type": "long", "logicalType": "time-micros"}
    # Avro has neither of these: names of Debezium, which Kafka Connect and this library know.
    if t.is_time64(type_):
        return {"type": "long", "connect.name": "io.debezium.time.NanoTime"}
    if t.is_duration(type_):
        unit = "Nano" if type_.unit == "ns" else "Micro"
        return {"type": "long", "connect.name": f"io.debezium.time.{unit}Duration"}
    for test, name in (
        (t.is_null, "null"),
        (t.is_boolean, "boolean"),
        (t.is_uint32, "long"),
        (t.is_int64, "long"),
        (t.is_integer, "int"),
        (t.is_float64, "double"),
        (t.is_floating, "float"),
    ):
        if test(type_):
            return name
    if t.is_string(type_) or t.is_large_string(type_) or t.is_string_view(type_):
        return "string"
    if t.is_binary(type_) or t.is_large_binary(type_) or t.is_binary_view(type_):
        return "bytes"
    return None
