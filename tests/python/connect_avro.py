"""Kafka Connect's Avro converter, as far as change events need it, on top of fastavro."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import fastavro

Json = dict[str, Any]

_TYPES = {
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "long",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
    "bytes": "bytes",
}
_DECIMAL = "org.apache.kafka.connect.data.Decimal"


def avro_schema(type_: Json, seen: set[str] | None = None) -> Any:
    """The Avro schema of a schema in Connect's JSON form."""
    seen = set() if seen is None else seen
    made = _required(type_, seen)
    if not type_.get("optional"):
        return made
    return [made, "null"] if type_.get("default") is not None else ["null", made]


def _required(type_: Json, seen: set[str]) -> Any:
    name = type_.get("name")
    if type_["type"] == "struct":
        name = name or f"ConnectDefault{len(seen)}"
        if name in seen:
            return name
        seen.add(name)
        return {
            "type": "record",
            "name": name.rpartition(".")[2],
            "namespace": name.rpartition(".")[0],
            "connect.name": name,
            "fields": [
                {"name": field["field"], "type": avro_schema(field, seen)}
                for field in type_["fields"]
            ],
        }
    if type_["type"] == "array":
        return {"type": "array", "items": avro_schema(type_["items"], seen)}
    made: Json = {"type": _TYPES[type_["type"]]}
    if type_["type"] in ("int8", "int16"):
        made["connect.type"] = type_["type"]
    if name is not None:
        made |= {"connect.name": name, "connect.version": type_.get("version", 1)}
    if "parameters" in type_:
        made["connect.parameters"] = type_["parameters"]
    if name == _DECIMAL:
        parameters = type_["parameters"]
        precision = int(parameters.get("connect.decimal.precision", 64))
        made |= {
            "logicalType": "decimal",
            "precision": precision,
            "scale": int(parameters["scale"]),
        }
    return made


def avro_value(value: Any, type_: Json) -> Any:
    """A value of Connect's JSON form as fastavro takes it."""
    if value is None:
        return None
    match type_["type"]:
        case "struct":
            return {
                field["field"]: avro_value(value.get(field["field"]), field)
                for field in type_["fields"]
            }
        case "array":
            return [avro_value(each, type_["items"]) for each in value]
        case "bytes":
            data = base64.b64decode(value)
            if type_.get("name") != _DECIMAL:
                return data
            digits = int.from_bytes(data, "big", signed=True)
            return Decimal(digits).scaleb(-int(type_["parameters"]["scale"]))
    return value


class Registry:
    """Schemas by id, as a registry would give them, and messages with these ids.

    `register` puts a schema into a real one and gives its id.
    """

    def __init__(self, register: Callable[[Any], int] | None = None) -> None:
        self.texts: dict[int, list[str]] = {}
        self._ids: dict[str, int] = {}
        self._next = register or (lambda _: len(self._ids) + 1)

    def message(self, type_: Json, value: Any) -> bytes:
        """A value, behind the id of its schema."""
        schema = avro_schema(type_)
        text = json.dumps(schema)
        if text not in self._ids:
            self._ids[text] = self._next(schema)
        id_ = self._ids[text]
        self.texts[id_] = [text]
        out = io.BytesIO(b"\0" + id_.to_bytes(4, "big"))
        out.seek(5)
        fastavro.schemaless_writer(out, fastavro.parse_schema(schema), avro_value(value, type_))
        return out.getvalue()
