"""JSON behind the id of its schema, and the columns of JSON Schemas."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from frazil import _engine
from frazil.errors import SchemaError
from frazil.json_schema import JsonSchemaColumns


def columns(schema: Any, **named: Any) -> pa.Schema:
    texts = [json.dumps(each) for each in (*named.values(), schema)]
    return JsonSchemaColumns(texts, tuple(named), "the schema").schema()


def test_every_type() -> None:
    address = {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]}
    schema = {
        "type": "object",
        "definitions": {"Tag": {"type": ["string", "null"]}},
        "properties": {
            "id": {"type": "integer"},
            "amount": {"type": "number"},
            "ok": {"type": "boolean"},
            "at": {"type": "string", "format": "date-time"},
            "day": {"oneOf": [{"type": "null"}, {"type": "string", "format": "date"}]},
            "data": {"type": "string", "contentEncoding": "base64"},
            "kind": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"$ref": "#/definitions/Tag"}},
            "labels": {"type": "object", "additionalProperties": {"type": "integer"}},
            "home": {"$ref": "address"},
            "either": {"type": ["integer", "number"]},
        },
        "required": ["id", "day", "home"],
    }
    assert columns(schema, address=address) == pa.schema(
        [
            pa.field("id", pa.int64(), False),
            pa.field("amount", pa.float64()),
            pa.field("ok", pa.bool_()),
            pa.field("at", pa.timestamp("us", "UTC")),
            pa.field("day", pa.date32()),
            pa.field("data", pa.binary()),
            pa.field("kind", pa.string()),
            pa.field("tags", pa.list_(pa.field("element", pa.string()))),
            pa.field("labels", pa.map_(pa.string(), pa.field("value", pa.int64(), False))),
            pa.field("home", pa.struct([pa.field("zip", pa.string(), False)]), False),
            pa.field("either", pa.float64()),
        ]
    )


@pytest.mark.parametrize(
    ("property", "reason"),
    [
        ({"type": ["integer", "string"]}, "'x' is of several types"),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, "'x' is of several types"),
        ({}, "'x' is of a type that is not said"),
        ({"$ref": "#/definitions/Nothing"}, "'x' is of a type that is not defined"),
        ({"$ref": "nowhere"}, "'x' is of a type that is not defined"),
        ({"$ref": "#/properties/x"}, "'x' is of a type that is not defined"),
        ({"type": "array", "items": {"$ref": "#/properties/x"}}, "holds itself"),
        ({"type": "object", "properties": {}}, "'x' is an object without properties"),
    ],
)
def test_what_has_no_column(property: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        columns({"type": "object", "properties": {"x": property}})


def test_no_object() -> None:
    with pytest.raises(SchemaError, match="is no object"):
        columns({"type": "string"})
    with pytest.raises(SchemaError, match="is not JSON"):
        JsonSchemaColumns(["{"], (), "the schema")


def test_messages() -> None:
    schema = pa.schema([pa.field("id", pa.int64(), False)])
    header = b"\0\0\0\0\7"
    messages = [header + b'{"id": 1}', b'{"id": 2}', header + b'{"id": 3, "x": "\\n"}', None]
    batch, kept, bad = _engine.decode('{"kind": "json-schema"}', schema, messages)
    assert pa.record_batch(batch).to_pylist() == [{"id": 1}, {"id": 3}]
    assert kept == [0, 2]
    assert [row for row, _, _ in bad] == [1, 3]
