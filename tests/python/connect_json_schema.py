"""Kafka Connect's JSON Schema converter (Confluent's), as far as change events need it."""

from __future__ import annotations

import json
from typing import Any

from tests.python.connect_avro import Json, Registry

_TYPES = {
    "int8": ("integer", "int8"),
    "int16": ("integer", "int16"),
    "int32": ("integer", "int32"),
    "int64": ("integer", "int64"),
    "float": ("number", "float32"),
    "double": ("number", "float64"),
    "boolean": ("boolean", None),
    "string": ("string", None),
    "bytes": ("string", "bytes"),
}
_DECIMAL = "org.apache.kafka.connect.data.Decimal"


def json_schema(type_: Json, index: int | None = None) -> Json:
    """The JSON Schema of a schema in Connect's JSON form."""
    made: Json
    match type_["type"]:
        case "struct":
            properties = {
                field["field"]: json_schema(field, number)
                for number, field in enumerate(type_["fields"])
            }
            made = {"type": "object", "properties": properties}
        case "array":
            made = {"type": "array", "items": json_schema(type_["items"])}
        case "map":
            values = json_schema(type_["values"])
            made = {"type": "object", "additionalProperties": values, "connect.type": "map"}
        case plain:
            name, connect = _TYPES[plain]
            made = {"type": "number" if type_.get("name") == _DECIMAL else name}
            if connect is not None:
                made["connect.type"] = connect
    if type_.get("name") is not None:
        made["title"] = type_["name"]
    if "version" in type_:
        made["connect.version"] = type_["version"]
    if "parameters" in type_:
        made["connect.parameters"] = type_["parameters"]
    if type_.get("optional"):
        made = {"oneOf": [{"type": "null"}, made]}
    return made if index is None else {**made, "connect.index": index}


class JsonRegistry(Registry):
    """JSON Schemas by id, and messages with these ids."""

    def message(self, type_: Json, value: Any) -> bytes:
        """A value, behind the id of its schema."""
        schema = json_schema(type_)
        text = json.dumps(schema)
        if text not in self._ids:
            self._ids[text] = self._next(schema)
        id_ = self._ids[text]
        self.texts[id_] = [text]
        return b"\0" + id_.to_bytes(4, "big") + json.dumps(value).encode()
