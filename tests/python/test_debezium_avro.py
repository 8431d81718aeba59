"""The events of test_debezium_events.py in Avro come to the same rows."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import _engine

from tests.pipelines.pages import ENVELOPE
from tests.python.connect_avro import Json, Registry
from tests.python.test_debezium_events import (
    COLUMNS,
    EVENTS,
    KEYS,
    PLAIN_UNIT,
    TOPICS,
    Row,
    outcome,
    schema_of,
    tuples,
)

KINDS = ("insert", "update_before", "update_after", "delete")
KIND = pa.field("__fz_kind", pa.uint8(), nullable=False)


def field_of(name: str, type_: pa.DataType, prefix: str, value: Any) -> Json:
    """What Connect's schema says of a column of events that came without one."""
    micros = PLAIN_UNIT[prefix] == "us"
    made: Json = {"field": name, "optional": True}
    if pa.types.is_decimal(type_):
        if isinstance(value, float):
            return {**made, "type": "double"}
        if prefix == "pgn":
            return {**made, "type": "string"}
        parameters = {"scale": str(type_.scale)}
        decimal = "org.apache.kafka.connect.data.Decimal"
        return {**made, "type": "bytes", "name": decimal, "parameters": parameters}
    if pa.types.is_list(type_):
        return {**made, "type": "array", "items": {"type": "string", "optional": True}}
    if pa.types.is_date(type_):
        return {**made, "type": "int32", "name": "io.debezium.time.Date"}
    if pa.types.is_timestamp(type_) and name == "created_at":
        return {**made, "type": "string", "name": "io.debezium.time.ZonedTimestamp"}
    if pa.types.is_timestamp(type_):
        unit = "MicroTimestamp" if micros else "Timestamp"
        return {**made, "type": "int64", "name": f"io.debezium.time.{unit}"}
    if pa.types.is_time(type_):
        if micros:
            return {**made, "type": "int64", "name": "io.debezium.time.MicroTime"}
        return {**made, "type": "int32", "name": "io.debezium.time.Time"}
    if pa.types.is_duration(type_):
        return {**made, "type": "int64", "name": "io.debezium.time.MicroDuration"}
    names = {pa.binary(): "bytes", pa.bool_(): "boolean", pa.float64(): "double"}
    names |= {pa.float32(): "float", pa.string(): "string", pa.large_string(): "string"}
    return {**made, "type": names.get(type_, "int64")}


def plain_schema(event: Json) -> Json:
    """A schema for an event that has none."""
    prefix, _, table = event["topic"].partition(".inventory.")
    prefix = prefix.partition(".")[0]
    columns = COLUMNS.get(table, {"id": pa.int64()})
    value = event["value"]
    row_of = value if event["mode"] == "unwrap" else value.get("after") or value.get("before") or {}
    fields = [field_of(name, type_, prefix, row_of.get(name)) for name, type_ in columns.items()]
    texts = [{"field": name, "type": "string", "optional": True} for name in ("__op", "__deleted")]
    if event["mode"] == "unwrap":
        return {"type": "struct", "name": "row.Value", "fields": [*fields, *texts]}
    row = {"type": "struct", "optional": True, "name": "row.Value", "fields": fields}
    lsn = {"field": "lsn", "type": "int64", "optional": True}
    source = {"field": "source", "type": "struct", "name": "s.Source", "fields": [lsn]}
    return {
        "type": "struct",
        "name": "row.Envelope",
        "fields": [
            {**row, "field": "before"},
            {**row, "field": "after"},
            source,
            {"field": "op", "type": "string"},
            {"field": "ts_ms", "type": "int64", "optional": True},
        ],
    }


def in_micros(event: Json) -> Any:
    """The value, with durations in their own unit where the declared one is another."""
    value = json.loads(json.dumps(event["value"]))
    if event["topic"].startswith("pgn"):
        for side in ("before", "after"):
            row = value.get(side) or {}
            if row.get("iv") is not None:
                row["iv"] *= 1_000
    return value


def message_of(event: Json, registry: Registry) -> bytes | None:
    if event["value"] is None:
        return None
    if event["mode"] == "schemas":
        return registry.message(event["value"]["schema"], event["value"]["payload"])
    return registry.message(plain_schema(event), in_micros(event))


def decoded(
    format: fz.DebeziumAvro, schema: pa.Schema, key: list[str], messages: Any, registry: Registry
) -> tuple[pa.RecordBatch, list[int], list[tuple[int, str, str]]]:
    described = json.dumps({**format._to_json(key), "registry": "http://registry"})
    batch, kept, bad = _engine.decode(
        described, pa.schema([*schema, KIND]), messages, schemas=registry.texts
    )
    rows = pa.record_batch(batch)
    return rows, kept or list(range(rows.num_rows)), bad


@pytest.mark.parametrize("topic", TOPICS)
def test_each_event_comes_to_its_rows(topic: str) -> None:
    prefix, _, table = topic.partition(".inventory.")
    schema = schema_of(topic)
    key = KEYS.get(table, ["id"])
    events = [event for event in EVENTS if event["topic"] == topic]
    registry = Registry()
    messages = [message_of(event, registry) for event in events]
    format = fz.DebeziumAvro(unwrapped=prefix.partition(".")[0] == "pgu", truncates="reject")
    rows, kept, bad = decoded(format, schema, key, messages, registry)

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


OPTIONAL_TEXT = {"type": "string", "optional": True}  # as items of arrays are in PostgreSQL


def test_bad_events_say_what_is_wrong() -> None:
    registry = Registry()
    row = {
        "type": "struct",
        "optional": True,
        "name": "r.Value",
        "fields": [
            {"field": "id", "type": "int64"},
            {"field": "note", "type": "string", "optional": True},
            {"field": "data", "type": "bytes", "optional": True},
            {"field": "tags", "type": "array", "items": OPTIONAL_TEXT, "optional": True},
        ],
    }
    envelope = {
        "type": "struct",
        "name": "r.Envelope",
        "fields": [
            {**row, "field": "before"},
            {**row, "field": "after"},
            {"field": "op", "type": "string"},
        ],
    }
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), False),
            pa.field("note", pa.string()),
            pa.field("data", pa.binary()),
            pa.field("tags", pa.list_(pa.string())),
        ]
    )
    placeholder = "__debezium_unavailable_value"
    base64 = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="
    values: list[Any] = [
        {"op": "u", "after": {"id": 1, "note": placeholder}},
        {"op": "u", "after": {"id": 1, "data": base64}},
        {"op": "u", "after": {"id": 1, "tags": [placeholder]}},
        {"op": "t"},
        {"op": "c"},
        {"op": "c", "after": {"id": 7, "note": "whole"}},
    ]
    messages = [registry.message(envelope, value) for value in values]
    format = fz.DebeziumAvro(truncates="reject")
    rows, kept, bad = decoded(format, schema, ["id"], messages, registry)
    assert kept == [5]
    assert rows["id"].to_pylist() == [7]
    assert [(number, column) for number, column, _ in bad] == [
        (0, "note"),
        (1, "data"),
        (2, "tags"),
        (3, ""),
        (4, ""),
    ]
    for _, column, reason in bad[:3]:
        assert reason.startswith(f'"{placeholder}" stands for a value that did not change')
        assert (f'read with DebeziumAvro(keep=["{column}"])' in reason) == (column != "tags")
    assert "the table was truncated" in bad[3][2]
    assert bad[4][2] == 'op "c" without a row after it'
    narrow = schema.set(1, pa.field("note", pa.int64()))
    rows, kept, bad = decoded(fz.DebeziumAvro(), narrow, ["id"], messages[5:], registry)
    assert rows.num_rows == 0
    ((_, column, reason),) = bad
    assert column == "note"
    assert reason == "the message's schema says string, and the column is declared int64"


PLACEHOLDER = "__debezium_unavailable_value"
DECIMAL = {
    "type": "bytes",
    "name": "org.apache.kafka.connect.data.Decimal",
    "parameters": {"scale": "1"},
}


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize(
    ("type_", "column", "unsent", "sent"),
    [
        ({"type": "int32"}, pa.int32(), list(PLACEHOLDER.encode()), [95, 95]),
        ({"type": "int64"}, pa.int64(), list(PLACEHOLDER.encode()), [1 << 40] * 28),
        ({"type": "float"}, pa.float32(), [float(b) for b in PLACEHOLDER.encode()], [95.0]),
        ({"type": "double"}, pa.float64(), [float(b) for b in PLACEHOLDER.encode()], [95.5] * 28),
        (
            DECIMAL,
            pa.decimal128(9, 1),
            [base64.b64encode(bytes([b])).decode() for b in PLACEHOLDER.encode()],
            ["Xw=="],
        ),
        (
            {"type": "bytes"},
            pa.binary(),
            [base64.b64encode(PLACEHOLDER.encode()).decode()],
            ["Xw=="],
        ),
        ({"type": "string"}, pa.string(), [PLACEHOLDER], [PLACEHOLDER, PLACEHOLDER]),
        (
            {"type": "string", "name": "io.debezium.data.Uuid"},
            pa.string(),
            [str(uuid.UUID(bytes=hashlib.md5(PLACEHOLDER.encode()).digest(), version=3))],
            [str(uuid.UUID(int=7))],
        ),
    ],
)
def test_lists_that_were_not_sent(
    type_: Json, column: pa.DataType, unsent: list[Any], sent: list[Any], optional: bool
) -> None:
    """Each type of items has a placeholder of its own; a value that is like it stays one."""
    registry = Registry()
    items = {**type_, "optional": optional}
    fields = [
        {"field": "id", "type": "int64"},
        {"field": "list", "type": "array", "items": items, "optional": True},
    ]
    row = {"type": "struct", "optional": True, "name": "l.Value", "fields": fields}
    sides = [{**row, "field": "before"}, {**row, "field": "after"}]
    op = {"field": "op", "type": "string"}
    envelope = {"type": "struct", "name": "l.Envelope", "fields": [*sides, op]}
    lists: list[Any] = [unsent, sent, [], None, *([[None], [None, *sent]] if optional else [])]
    messages = [
        registry.message(envelope, {"op": "u", "after": {"id": n, "list": each}})
        for n, each in enumerate(lists)
    ]
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field("list", pa.list_(column))])
    rows, _, bad = decoded(fz.DebeziumAvro(), schema, ["id"], messages, registry)
    assert [(number, name) for number, name, _ in bad] == [(0, "list")]
    assert rows["id"].to_pylist() == list(range(1, len(lists)))
    assert [each and len(each) for each in rows["list"].to_pylist()] == [
        each and len(each) for each in lists[1:]
    ]


def test_kept_columns_are_left_to_the_step_behind() -> None:
    """What was not sent stays in place in columns that are kept, as text and as bytes."""
    registry = Registry()
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), False),
            *(pa.field(name, pa.string()) for name in ("title", "body")),
            pa.field("raw", pa.binary()),
        ]
    )
    unsent = base64.b64encode(PLACEHOLDER.encode()).decode()
    after = {"id": 1, "title": "a", "body": PLACEHOLDER, "raw": unsent}
    events = [after, {**after, "title": PLACEHOLDER}]
    messages = [
        registry.message(ENVELOPE, {"op": "u", "before": None, "after": each, "source": {"lsn": 5}})
        for each in events
    ]
    format = fz.DebeziumAvro(keep=["body", "raw"])
    rows, kept, bad = decoded(format, schema, ["id"], messages, registry)
    assert kept == [0]
    assert rows.to_pylist()[0] | {KIND.name: 0} == {
        **{"id": 1, "title": "a", "body": PLACEHOLDER, "raw": PLACEHOLDER.encode()},
        KIND.name: 0,
    }
    assert [(number, column) for number, column, _ in bad] == [(1, "title")]
    # Bytes as a text, which only the connector's setting tells apart, are refused too.
    texts = schema.set(2, pa.field("body", pa.binary()))
    _, _, bad = decoded(format, texts, ["id"], messages, registry)
    assert {(column, "binary.handling.mode=bytes" in reason) for _, column, reason in bad} == {
        ("body", True)
    }


def test_keep_makes_the_step_that_fills_values_in() -> None:
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field("body", pa.string())])
    options: Any = {
        "servers": "localhost:9092",
        "registry": "http://localhost:8081",
        "schema": schema,
        "key": ["id"],
    }
    read = fz.read_kafka("pages", format=fz.DebeziumAvro(keep=["body"]), **options)
    sink = read.write_memory()
    assert "unsent_values by id" in fz.Pipeline("pages", sink, checkpoint="unused").explain()
    with pytest.raises(fz.errors.PlanError, match="the key is always sent"):
        fz.read_kafka("pages", format=fz.DebeziumAvro(keep=["id"]), **options)
    with pytest.raises(fz.errors.ConfigError, match="whole rows have all their values"):
        fz.DebeziumAvro(keep=["body"], before="full")
