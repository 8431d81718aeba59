"""The events of test_debezium_events.py behind ids of JSON Schemas come to the same rows."""

from __future__ import annotations

import base64
import json
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import _engine
from frazil.errors import SchemaError
from frazil.json_schema import JsonSchemaColumns

from tests.python.connect_avro import Json, Registry
from tests.python.connect_json_schema import JsonRegistry, json_schema
from tests.python.test_debezium_avro import KIND, KINDS, message_of
from tests.python.test_debezium_events import EVENTS, KEYS, TOPICS, Row, outcome, schema_of, tuples

REGISTRY = "http://registry"
DECIMAL = "org.apache.kafka.connect.data.Decimal"


def decoded(
    schema: pa.Schema,
    messages: Any,
    registry: Registry,
    *,
    key: list[str],
    format: fz.DebeziumJson | None = None,
    kind: str = "JSON",
) -> tuple[pa.RecordBatch, list[int], list[tuple[int, str, str]]]:
    described = {
        **(format or fz.DebeziumJson(truncates="reject"))._to_json(key),
        "registry": REGISTRY,
    }
    batch, kept, bad = _engine.decode(
        json.dumps(described), pa.schema([*schema, KIND]), messages, kind, registry.texts
    )
    rows = pa.record_batch(batch)
    return rows, kept or list(range(rows.num_rows)), bad


@pytest.mark.parametrize("topic", TOPICS)
def test_each_event_comes_to_its_rows(topic: str) -> None:
    prefix, _, table = topic.partition(".inventory.")
    schema = schema_of(topic)
    key = KEYS.get(table, ["id"])
    events = [event for event in EVENTS if event["topic"] == topic]
    registry = JsonRegistry()
    messages = [message_of(event, registry) for event in events]
    format = fz.DebeziumJson(unwrapped=prefix.partition(".")[0] == "pgu", truncates="reject")
    rows, kept, bad = decoded(schema, messages, registry, key=key, format=format)
    found: list[Any] = [[] for _ in events]
    kinds = rows[KIND.name].to_pylist()
    for number, kind, row in zip(kept, kinds, tuples(rows, schema), strict=True):
        found[number].append((KINDS[kind], row))
    for number, _, _ in bad:
        assert found[number] == []
        found[number] = "rejected"
    for event, got in zip(events, found, strict=True):
        expected: list[tuple[str, Row]] | str = outcome(event, schema, key)
        assert got == ([] if expected == "dropped" else expected), (event, bad)


def envelope(*fields: Json) -> Json:
    row = {"type": "struct", "optional": True, "name": "r.Value", "fields": list(fields)}
    sides = [{**row, "field": "before"}, {**row, "field": "after"}]
    op = {"field": "op", "type": "string"}
    return {"type": "struct", "name": "r.Envelope", "fields": [*sides, op]}


ID: Json = {"field": "id", "type": "int64"}


def message(registry: Registry, fields: list[Json], **row: Any) -> bytes:
    return registry.message(envelope(ID, *fields), {"op": "c", "after": {"id": 1, **row}})


def one(field: Json, column: pa.DataType, value: Any) -> Any:
    """What a value of a type of Connect comes to in a column; the reason if it is a bad row."""
    registry = JsonRegistry()
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field("x", column)])
    data = message(registry, [{"field": "x", **field}], x=value)
    rows, _, bad = decoded(schema, [data], registry, key=["id"])
    return bad[0][2] if bad else rows["x"][0].as_py()


def test_decimals_are_those_of_the_schema() -> None:
    """Both of the converter's forms: decimal.format BASE64 and NUMERIC."""
    money = pa.decimal128(9, 2)
    type_: Json = {"type": "bytes", "name": DECIMAL, "parameters": {"scale": "2"}}
    digits = base64.b64encode((12345).to_bytes(2, "big")).decode()
    assert str(one(type_, money, digits)) == "123.45"
    assert str(one(type_, money, 123.45)) == "123.45"
    assert str(one({"type": "string"}, money, "123.45")) == "123.45"
    assert str(one({"type": "double"}, money, 123.5)) == "123.50"
    bare: Json = {"type": "bytes", "name": DECIMAL}
    reason = one(bare, money, digits)
    assert "a decimal without a scale" in reason
    assert "decimal.handling.mode=string" in reason
    assert "declare fz.Decimal" in one(type_, pa.string(), digits)


def test_what_json_alone_does_not_say() -> None:
    assert one({"type": "bytes"}, pa.binary(), "AAE=") == b"\0\1"
    assert "declare bytes" in one({"type": "bytes"}, pa.string(), "AAE=")
    assert "binary.handling.mode=bytes" in one({"type": "string"}, pa.binary(), "AAE=")
    days: Json = {"type": "int32", "name": "io.debezium.time.Date"}
    assert str(one(days, pa.date32(), 1)) == "1970-01-02"
    stamp: Json = {"type": "int64", "name": "io.debezium.time.MicroTimestamp"}
    assert str(one(stamp, pa.timestamp("us"), 1)) == "1970-01-01 00:00:00.000001"
    assert "declare a timestamp" in one(stamp, pa.date32(), 1)
    # Numbers of no unit that anybody says.
    assert "expected" in one({"type": "int64"}, pa.timestamp("us"), 1)


def test_values_that_were_not_sent() -> None:
    placeholder = "__debezium_unavailable_value"
    assert "keep=" in one({"type": "string", "optional": True}, pa.string(), placeholder)
    bytes_ = base64.b64encode(placeholder.encode()).decode()
    assert "keep=" in one({"type": "bytes"}, pa.binary(), bytes_)


def test_messages_that_cannot_be_read() -> None:
    registry = JsonRegistry()
    schema = pa.schema([pa.field("id", pa.int64(), False)])
    good = message(registry, [])
    head = good[:5]
    messages = [
        good,
        b"{}",
        head + b"null",
        None,
        head + b"{",
        head + b'{"op": "t"}',
        b"\0\0",
        good,
    ]
    rows, kept, bad = decoded(schema, messages, registry, key=["id"])
    assert kept == [0, 7]
    assert rows["id"].to_pylist() == [1, 1]
    assert [number for number, _, _ in bad] == [1, 4, 5, 6]
    assert "begins with a zero and the four bytes" in bad[0][2]
    assert "the table was truncated" in bad[2][2]
    for kind in ("AVRO", "PROTOBUF"):
        rows, _, bad = decoded(schema, [good], registry, key=["id"], kind=kind)
        advice = f'is {kind}, not JSON\n  read with format="debezium-{kind.lower()}"'
        assert bad[0][2].endswith(advice)


def test_the_schema_as_apicurio_registers_it() -> None:
    """Its converter keeps Connect's own form, of kind KCONNECT."""
    type_ = envelope(ID, {"field": "d", "type": "int32", "name": "io.debezium.time.Date"})
    registry = Registry()
    registry.texts[7] = [json.dumps(type_)]
    data = b"\0\0\0\0\7" + json.dumps({"op": "c", "after": {"id": 1, "d": 2}}).encode()
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field("d", pa.date32())])
    rows, _, bad = decoded(schema, [data], registry, key=["id"], kind="KCONNECT")
    assert bad == []
    assert str(rows["d"][0].as_py()) == "1970-01-03"


def test_schemas_of_others_say_the_types_of_json() -> None:
    """No titles, no "connect.type"; a union and a reference leave it to the declared column."""
    properties = {
        "id": {"type": "integer"},
        "name": {"type": ["null", "string"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "other": {"$ref": "#/definitions/Other"},
    }
    row = {"type": "object", "properties": properties}
    schema = {"properties": {"after": {"oneOf": [{"type": "null"}, row]}, "op": {"type": "string"}}}
    registry = Registry()
    registry.texts[7] = [json.dumps({"type": "object", **schema})]
    after = {"id": 1, "name": "a", "either": "b", "other": 5}
    data = b"\0\0\0\0\7" + json.dumps({"op": "c", "after": after}).encode()
    types = {"id": pa.int64(), "name": pa.string(), "either": pa.string(), "other": pa.int64()}
    columns = pa.schema([pa.field(name, type_, name != "id") for name, type_ in types.items()])
    rows, _, bad = decoded(columns, [data], registry, key=["id"])
    assert bad == []
    assert rows.select(list(types)).to_pylist() == [after]


def test_columns_of_the_newest_schema() -> None:
    parameters = {"scale": "2", "connect.decimal.precision": "12"}
    fields: list[Json] = [
        {"field": "small", "type": "int16"},
        {"field": "amount", "type": "bytes", "name": DECIMAL, "parameters": parameters},
        {"field": "day", "type": "int32", "name": "io.debezium.time.Date", "optional": True},
        {"field": "at", "type": "string", "name": "io.debezium.time.ZonedTimestamp"},
        {"field": "raw", "type": "bytes", "optional": True},
        {"field": "tags", "type": "array", "items": {"type": "string", "optional": True}},
    ]
    text = json.dumps(json_schema(envelope(ID, *fields)))
    found = JsonSchemaColumns([text], (), "the schema", connect=True).schema("after")
    assert found == pa.schema(
        [
            pa.field("id", pa.int64(), False),
            pa.field("small", pa.int16(), False),
            pa.field("amount", pa.decimal128(12, 2), False),
            pa.field("day", pa.date32()),
            pa.field("at", pa.timestamp("us", "UTC"), False),
            pa.field("raw", pa.binary()),
            pa.field("tags", pa.list_(pa.field("element", pa.string())), False),
        ]
    )
    with pytest.raises(SchemaError, match="no property 'after'"):
        JsonSchemaColumns([json.dumps({"type": "object"})], (), "it", connect=True).schema("after")
    bare = json.dumps(json_schema(envelope(ID, {**fields[1], "parameters": {"scale": "2"}})))
    with pytest.raises(SchemaError, match="a decimal of digits that are not said"):
        JsonSchemaColumns([bare], (), "it", connect=True).schema("after")
