"""Columns of an Avro schema: what a reader declares if the program does not say it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from frazil.errors import SchemaError

ALIASES = b"fz:aliases"
DEPTH_MAX = 64
"""Levels of nesting of a schema."""
_DECIMAL128_MAX, DECIMAL256_MAX = 38, 76

_PRIMITIVES: dict[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_UTC = pa.timestamp("us", "UTC")
NUMBERS: dict[str, tuple[pa.DataType, str]] = {
    "date": (pa.date32(), "d"),
    "time-millis": (pa.time64("us"), "ms"),
    "time-micros": (pa.time64("us"), "us"),
    "timestamp-millis": (_UTC, "ms"),
    "timestamp-micros": (_UTC, "us"),
    "timestamp-nanos": (pa.timestamp("ns", "UTC"), "ns"),
    "local-timestamp-millis": (pa.timestamp("us"), "ms"),
    "local-timestamp-micros": (pa.timestamp("us"), "us"),
    "local-timestamp-nanos": (pa.timestamp("ns"), "ns"),
    "org.apache.kafka.connect.data.Date": (pa.date32(), "d"),
    "org.apache.kafka.connect.data.Time": (pa.time64("us"), "ms"),
    "org.apache.kafka.connect.data.Timestamp": (_UTC, "ms"),
    "io.debezium.time.Date": (pa.date32(), "d"),
    "io.debezium.time.Time": (pa.time64("us"), "ms"),
    "io.debezium.time.MicroTime": (pa.time64("us"), "us"),
    "io.debezium.time.NanoTime": (pa.time64("ns"), "ns"),
    "io.debezium.time.Timestamp": (pa.timestamp("us"), "ms"),
    "io.debezium.time.MicroTimestamp": (pa.timestamp("us"), "us"),
    "io.debezium.time.NanoTimestamp": (pa.timestamp("ns"), "ns"),
    "io.debezium.time.MicroDuration": (pa.duration("us"), "us"),
    "io.debezium.time.NanoDuration": (pa.duration("ns"), "ns"),
}
"""Types and units of numbers by logicalType or connect.name."""
TEXTS: dict[str, pa.DataType] = {
    "io.debezium.time.ZonedTimestamp": _UTC,
    "io.debezium.time.IsoDate": pa.date32(),
    "io.debezium.time.IsoTimestamp": _UTC,
    "io.debezium.time.Interval": pa.duration("us"),
}
"""Types of texts by connect.name."""
VARIABLE = "io.debezium.data.VariableScaleDecimal"


class AvroColumns:
    """The types of an Avro schema as Arrow's.

    Parameters
    ----------
    texts
        The schema, behind those it refers to.
    what
        How errors call it.
    """

    def __init__(self, texts: Sequence[str], what: str) -> None:
        self._what = what
        self._named: dict[str, tuple[dict[str, Any], str]] = {}
        self._open: list[str] = []
        for text in texts:
            try:
                self._root = json.loads(text)
            except ValueError:
                raise SchemaError(f"{what} is not JSON", "declare schema= yourself") from None
            self._collect(self._root, "", 1)

    def schema(self, inside: str | None = None) -> pa.Schema:
        """The columns of the record.

        Parameters
        ----------
        inside
            The name of a field of it, whose record is meant.

        Raises
        ------
        SchemaError
            If it is no record, or a field has a type that no column has.
        """
        root, space = self._resolved(self._root, "")
        if inside is not None:
            found = [
                field
                for field in _fields(root)
                if isinstance(field, dict) and field["name"] == inside
            ]
            if not found:
                raise SchemaError(
                    f"{self._what} has no field {inside!r}: it is no change event of Debezium",
                    'rows that are no changes are read with format="avro"',
                )
            branches = self._branches(found[0]["type"])
            root, space = self._resolved(branches[0], self._space(root, space))
        if not isinstance(root, dict) or root.get("type") not in ("record", "error"):
            raise SchemaError(f"{self._what} is no record", "only records can be rows")
        return pa.schema(self._record(root, space))

    # Names.

    def _collect(self, type_: Any, space: str, depth: int) -> None:
        """Note the named types, and in which namespace each stands."""
        if depth > DEPTH_MAX:
            raise SchemaError(f"{self._what} is nested deeper than {DEPTH_MAX} levels")
        if isinstance(type_, list):
            for branch in type_:
                self._collect(branch, space, depth + 1)
        elif isinstance(type_, dict):
            inner = space
            if isinstance(type_.get("name"), str) and type_.get("type") in (
                "record",
                "error",
                "enum",
                "fixed",
            ):
                inner = self._space(type_, space)
                name = str(type_["name"]).rpartition(".")[2]
                self._named[f"{inner}.{name}" if inner else name] = (type_, space)
            for field in _fields(type_):
                self._collect(field.get("type"), inner, depth + 1)
            for key in ("type", "items", "values"):
                if isinstance(type_.get(key), dict | list):
                    self._collect(type_[key], inner, depth + 1)

    @staticmethod
    def _space(type_: Any, space: str) -> str:
        if not isinstance(type_, dict):
            return space
        before, dot, _ = str(type_.get("name", "")).rpartition(".")
        return before if dot else str(type_.get("namespace", space) or "")

    def _resolved(self, type_: Any, space: str) -> tuple[Any, str]:
        """The definition of a type, and the namespace it stands in."""
        if isinstance(type_, dict) and not isinstance(type_.get("type"), str):
            return self._resolved(type_.get("type"), space)
        name = type_ if isinstance(type_, str) else None
        if (
            isinstance(type_, dict)
            and type_["type"] not in _COMPLEX
            and type_["type"] not in _PRIMITIVES
        ):
            name = type_["type"]
        if name is None or name in _PRIMITIVES:
            return type_, space
        for full in (name if "." in name or not space else f"{space}.{name}", name):
            if full in self._named:
                return self._named[full]
        raise SchemaError(f"{self._what} refers to {name!r}, which is not defined")

    @staticmethod
    def _branches(type_: Any) -> list[Any]:
        """The types of a union without null; of another type, itself."""
        branches = type_ if isinstance(type_, list) else [type_]
        return [each for each in branches if each not in ("null", {"type": "null"})]

    # Types.

    def _record(self, record: dict[str, Any], space: str) -> list[pa.Field]:
        return [self._field(field, self._space(record, space)) for field in _fields(record)]

    def _field(self, field: dict[str, Any], space: str) -> pa.Field:
        name = str(field["name"])
        self._open.append(name)
        type_, nullable = self._type(field["type"], space)
        metadata: dict[bytes, bytes] = {}
        if field.get("default") is not None:
            metadata = self._default(field["type"], space, field["default"])
        if field.get("aliases"):
            metadata[ALIASES] = json.dumps(field["aliases"]).encode()
        self._open.pop()
        return pa.field(name, type_, nullable, metadata or None)

    def _type(self, type_: Any, space: str) -> tuple[pa.DataType, bool]:
        """Arrow type, and whether it may be null."""
        if len(self._open) > DEPTH_MAX:
            raise self._cannot("a type that holds itself")
        if isinstance(type_, dict) and isinstance(type_.get("type"), list):
            type_ = type_["type"]
        if isinstance(type_, list):
            branches = self._branches(type_)
            if len(branches) > 1:
                raise self._cannot("a union of several types")
            nullable = len(branches) < len(type_)
            return (self._type(branches[0], space)[0] if branches else pa.null()), nullable
        found, space = self._resolved(type_, space)
        if found == "null":
            return pa.null(), True
        if isinstance(found, str):
            return _PRIMITIVES[found], False
        return self._annotated(found, space), False

    def _annotated(self, type_: dict[str, Any], space: str) -> pa.DataType:
        kind = type_["type"]
        marks = (type_.get("connect.name"), type_.get("logicalType"))
        for mark in marks:
            if kind in ("int", "long") and mark in NUMBERS:
                return NUMBERS[str(mark)][0]
            if kind == "string" and mark in TEXTS:
                return TEXTS[str(mark)]
        if kind in ("bytes", "fixed") and "decimal" in str(marks).lower():
            return self._decimal(type_)
        if type_.get("connect.name") == VARIABLE:
            raise self._cannot("a decimal of any scale")
        match kind:
            case "enum":
                return pa.string()
            case "fixed":
                if "uuid" in marks:
                    return pa.string()
                return pa.duration("ms") if "duration" in marks else pa.binary(int(type_["size"]))
            case "array":
                item, nullable = self._inside(type_.get("items"), space)
                return pa.list_(pa.field("element", item, nullable))
            case "map":
                item, nullable = self._inside(type_.get("values"), space)
                return pa.map_(
                    pa.field("key", pa.string(), False), pa.field("value", item, nullable)
                )
            case "record" | "error":
                fields = self._record(type_, space)
                if not fields:
                    raise self._cannot("a record without fields")
                return pa.struct(fields)
        return _PRIMITIVES[kind]

    def _inside(self, type_: Any, space: str) -> tuple[pa.DataType, bool]:
        self._open.append("[]")
        found = self._type(type_, space)
        self._open.pop()
        return found

    def _decimal(self, type_: dict[str, Any]) -> pa.DataType:
        parameters = type_.get("connect.parameters") or {}
        precision = type_.get("precision") or parameters.get("connect.decimal.precision")
        scale = type_.get("scale", parameters.get("scale", 0))
        if precision is None:
            raise self._cannot("a decimal without a precision")
        if int(precision) > DECIMAL256_MAX:
            raise self._cannot(f"a decimal of {precision} digits")
        return decimal_type(int(precision), int(scale))

    def _cannot(self, what: str) -> SchemaError:
        path = ".".join(self._open[:8]).replace(".[]", "[]")
        return SchemaError(
            f"{self._what}: field {path!r} is {what}, which no column has",
            "declare schema= with the columns you need: what is not in it is skipped",
        )

    # Defaults.

    def _default(self, type_: Any, space: str, value: Any) -> dict[bytes, bytes]:
        """The default as the decoder reads it: JSON, times as numbers of a unit."""
        metadata = {b"fz:default": json.dumps(self._value(type_, space, value)).encode()}
        found, _ = self._resolved(self._first(type_), space)
        if isinstance(found, dict) and found.get("type") in ("int", "long"):
            for mark in (found.get("connect.name"), found.get("logicalType")):
                if mark in NUMBERS:
                    metadata.setdefault(b"fz:time_unit", NUMBERS[str(mark)][1].encode())
        return metadata

    @staticmethod
    def _first(type_: Any) -> Any:
        """Whose values defaults of a type are: of a union, its first one's."""
        return type_[0] if isinstance(type_, list) and type_ else type_

    def _value(self, type_: Any, space: str, value: Any) -> Any:
        found, space = self._resolved(self._first(type_), space)
        kind = found["type"] if isinstance(found, dict) else found
        if kind in ("bytes", "fixed") and isinstance(value, str):
            data = value.encode("latin-1", "replace")
            if isinstance(found, dict) and found.get("logicalType") == "decimal":
                unscaled = int.from_bytes(data, "big", signed=True)
                return str(Decimal(unscaled).scaleb(-int(found.get("scale", 0))))
            return base64.b64encode(data).decode()
        if kind == "array" and isinstance(value, list):
            return [self._value(found["items"], space, each) for each in value]
        if kind == "map" and isinstance(value, dict):
            return {key: self._value(found["values"], space, each) for key, each in value.items()}
        if kind in ("record", "error") and isinstance(value, dict):
            types = {field["name"]: field["type"] for field in _fields(found)}
            inner = self._space(found, space)
            return {
                key: self._value(types[key], inner, each)
                for key, each in value.items()
                if key in types
            }
        return value


def decimal_type(precision: int, scale: int) -> pa.DataType:
    """A decimal of as many digits."""
    wide = precision > _DECIMAL128_MAX
    return (pa.decimal256 if wide else pa.decimal128)(precision, scale)


_COMPLEX = ("record", "error", "enum", "fixed", "array", "map")


def _fields(record: Any) -> list[dict[str, Any]]:
    fields = record.get("fields") if isinstance(record, dict) else None
    return [each for each in fields if isinstance(each, dict)] if isinstance(fields, list) else []
