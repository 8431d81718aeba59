"""The events of test_debezium_events.py in Protobuf come to the same rows."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import _engine

from tests.pipelines.pages import ENVELOPE
from tests.python.connect_proto import Json, Nulls, ProtoRegistry
from tests.python.test_debezium_avro import DECIMAL, KIND, KINDS, PLACEHOLDER, plain_schema
from tests.python.test_debezium_events import (
    EVENTS,
    KEYS,
    TOPICS,
    is_time,
    outcome,
    schema_of,
    tuples,
)
from tests.python.test_registry_client import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.python.test_debezium_events import Row


def declared(topic: str) -> pa.Schema:
    """The columns, with the units of the connector's times: no message says them."""
    return pa.schema(
        [
            field.with_metadata({"fz:time_unit": "us"})
            if is_time(field.type) and field.metadata is None
            else field
            for field in schema_of(topic)
        ]
    )


def message_of(event: Json, registry: ProtoRegistry) -> bytes | None:
    if event["value"] is None:
        return None
    if event["mode"] == "schemas":
        return registry.message(event["value"]["schema"], event["value"]["payload"])
    return registry.message(plain_schema(event), event["value"])


def decoded(
    format: fz.DebeziumProtobuf,
    schema: pa.Schema,
    messages: Any,
    registry: ProtoRegistry,
    key: list[str] | None = None,
    kind: str = "PROTOBUF",
) -> tuple[pa.RecordBatch, list[int], list[tuple[int, str, str]]]:
    described = json.dumps({**format._to_json(key or ["id"]), "registry": "http://registry"})
    batch, kept, bad = _engine.decode(
        described, pa.schema([*schema, KIND]), messages, kind=kind, schemas=registry.texts
    )
    rows = pa.record_batch(batch)
    return rows, kept or list(range(rows.num_rows)), bad


@pytest.mark.parametrize("nulls", ["optional", "wrapper"])
@pytest.mark.parametrize("topic", TOPICS)
def test_each_event_comes_to_its_rows(topic: str, nulls: Nulls) -> None:
    prefix, _, table = topic.partition(".inventory.")
    schema = declared(topic)
    key = KEYS.get(table, ["id"])
    events = [event for event in EVENTS if event["topic"] == topic]
    registry = ProtoRegistry(nulls)
    messages = [message_of(event, registry) for event in events]
    unwrapped = prefix.partition(".")[0] == "pgu"
    format = fz.DebeziumProtobuf(unwrapped=unwrapped, truncates="reject")
    rows, kept, bad = decoded(format, schema, messages, registry, key)

    found: list[Any] = [[] for _ in events]
    for number, kind, row in zip(
        kept, rows[KIND.name].to_pylist(), tuples(rows, schema), strict=True
    ):
        found[number].append((KINDS[kind], row))
    for number, _, _ in bad:
        assert found[number] == []
        found[number] = "rejected"
    lists = [pa.types.is_list(field.type) for field in schema]

    def in_protobuf(row: Row) -> Row:
        """A list that is null is empty, whatever the converter is told."""
        return tuple(
            [] if value is None and many else value for value, many in zip(row, lists, strict=True)
        )

    for event, got in zip(events, found, strict=True):
        expected = outcome(event, schema, key)
        if isinstance(expected, str):
            assert got == ([] if expected == "dropped" else expected), (event, bad)
        else:
            assert got == [(kind, in_protobuf(row)) for kind, row in expected], (event, bad)


OPTIONAL_LONG = {"type": "int64", "optional": True}


def envelope(*fields: Json, source: tuple[Json, ...] = ()) -> Json:
    row = {"type": "struct", "optional": True, "name": "r.Value", "fields": list(fields)}
    inside = [{"field": "source", "type": "struct", "name": "r.Source", "fields": list(source)}]
    return {
        "type": "struct",
        "name": "r.Envelope",
        "fields": [
            {**row, "field": "before"},
            {**row, "field": "after"},
            *(inside if source else []),
            {"field": "op", "type": "string"},
        ],
    }


ID = {"field": "id", "type": "int64"}
NOTE = {"field": "note", "type": "string", "optional": True}


def columns_of(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, type_, name != "id") for name, type_ in types.items()])


@pytest.mark.parametrize("nulls", ["lost", "optional", "wrapper"])
def test_what_is_null(nulls: Nulls) -> None:
    """Without presence a null is zero. Of the envelope it is null, but for places in a log."""
    registry = ProtoRegistry(nulls)
    source = [{"field": name, **OPTIONAL_LONG} for name in ("lsn", "pos")]
    type_ = envelope(ID, NOTE, {"field": "n", **OPTIONAL_LONG}, source=tuple(source))
    after = {"id": 0, "note": None, "n": None}
    messages = [
        registry.message(type_, {"op": "c", "after": after, "source": {"lsn": 7, "pos": 0}}),
        registry.message(type_, {"op": "d", "before": {"id": 0, "note": "", "n": 0}, "source": {}}),
    ]
    schema = columns_of(id=pa.int64(), note=pa.string(), n=pa.int64())
    for name in ("lsn", "pos"):
        where = {"fz:envelope": json.dumps(["source", name])}
        schema = schema.append(pa.field(f"_source_{name}", pa.int64(), metadata=where))
    rows, _, bad = decoded(fz.DebeziumProtobuf(), schema, messages, registry)
    assert bad == []
    lost = nulls == "lost"
    values = [list(row.values())[:-1] for row in rows.to_pylist()]
    assert values == [
        [0, "" if lost else None, 0 if lost else None, 7, 0],
        [0, "", 0, None, 0 if lost else None],
    ]


def test_bad_events_say_what_is_wrong() -> None:
    registry = ProtoRegistry("optional")
    data = {"field": "data", "type": "bytes", "optional": True}
    items = {"type": "string", "optional": True}
    type_ = envelope(ID, NOTE, data, {"field": "tags", "type": "array", "items": items})
    schema = columns_of(
        id=pa.int64(), note=pa.string(), data=pa.binary(), tags=pa.list_(pa.string())
    )
    unsent = base64.b64encode(PLACEHOLDER.encode()).decode()
    values: list[Any] = [
        {"op": "u", "after": {"id": 1, "note": PLACEHOLDER}},
        {"op": "u", "after": {"id": 1, "data": unsent}},
        {"op": "u", "after": {"id": 1, "tags": [PLACEHOLDER]}},
        {"op": "t"},
        {"op": "c"},
        {"op": "x"},
        {"op": "c", "after": {"id": 7, "note": "whole"}},
    ]
    messages = [registry.message(type_, value) for value in values]
    format = fz.DebeziumProtobuf(truncates="reject")
    rows, kept, bad = decoded(format, schema, messages, registry)
    assert kept == [6]
    assert rows["id"].to_pylist() == [7]
    assert [(number, column) for number, column, _ in bad] == [
        *((0, "note"), (1, "data"), (2, "tags")),
        *((3, ""), (4, ""), (5, "")),
    ]
    for _, column, reason in bad[:3]:
        assert reason.startswith(f'"{PLACEHOLDER}" stands for a value that did not change')
        assert (f'read with DebeziumProtobuf(keep=["{column}"])' in reason) == (column != "tags")
    assert "the table was truncated" in bad[3][2]
    assert bad[4][2] == 'op "c" without a row after it'
    assert 'op "x" is none that is known' in bad[5][2]
    with pytest.raises(fz.errors.FrazilError, match="the table was truncated"):
        decoded(fz.DebeziumProtobuf(), schema, messages[3:], registry)

    def clash(type_: pa.DataType) -> str:
        narrow = schema.set(1, pa.field("note", type_))
        _, _, bad = decoded(fz.DebeziumProtobuf(), narrow, messages[6:], registry)
        ((_, column, reason),) = bad
        assert column == "note"
        return reason

    says = "the message's schema says string, and the column is declared"
    assert clash(pa.int64()) == f"{says} int64"
    assert "binary.handling.mode=bytes" in clash(pa.binary())
    _, _, bad = decoded(format, schema, messages[6:], registry, kind="AVRO")
    assert bad[0][2].endswith("is AVRO, not PROTOBUF")


def test_times_and_decimals() -> None:
    """A number whose unit is not known is no time; in a duration it is microseconds."""
    registry = ProtoRegistry("optional")
    any_scale = {
        "field": "any",
        "type": "struct",
        "name": "io.debezium.data.VariableScaleDecimal",
        "fields": [{"field": "scale", "type": "int32"}, {"field": "value", "type": "bytes"}],
    }
    type_ = envelope(
        ID,
        {"field": "at", "type": "int64", "name": "io.debezium.time.MicroTimestamp"},
        {"field": "took", "type": "int64", "name": "io.debezium.time.MicroDuration"},
        {"field": "day", "type": "int32", "name": "io.debezium.time.Date"},
        any_scale,
    )
    after = {"id": 1, "at": 5, "took": -7, "day": 3, "any": {"scale": 2, "value": "/w=="}}
    message = registry.message(type_, {"op": "c", "after": after})
    schema = columns_of(
        id=pa.int64(),
        at=pa.timestamp("us"),
        took=pa.duration("ns"),
        day=pa.date32(),
        any=pa.decimal128(20, 3),
    )
    _, _, bad = decoded(fz.DebeziumProtobuf(), schema, [message], registry)
    assert [(column, "fz.field(time_unit=" in reason) for _, column, reason in bad] == [
        ("at", True)
    ]
    known = schema.set(1, pa.field("at", pa.timestamp("us"), metadata={"fz:time_unit": "us"}))
    rows, _, bad = decoded(fz.DebeziumProtobuf(), known, [message], registry)
    assert bad == []
    assert rows["at"].cast(pa.int64()).to_pylist() == [5]
    assert rows["took"].cast(pa.int64()).to_pylist() == [-7_000]
    assert rows["day"].cast(pa.int32()).to_pylist() == [3]
    assert rows["any"].to_pylist() == [Decimal("-0.010")]


@pytest.mark.parametrize("wrapped", [False, True])
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
            {"type": "string"},
            pa.string(),
            [str(uuid.UUID(bytes=hashlib.md5(PLACEHOLDER.encode()).digest(), version=3))],
            [str(uuid.UUID(int=7))],
        ),
    ],
)
def test_lists_that_were_not_sent(
    type_: Json, column: pa.DataType, unsent: list[Any], sent: list[Any], wrapped: bool
) -> None:
    """Each type of items has a placeholder of its own; a value that is like it stays one."""
    registry = ProtoRegistry("wrapper" if wrapped else "lost")
    items = {**type_, "optional": wrapped}
    event = envelope(ID, {"field": "list", "type": "array", "items": items, "optional": True})
    lists: list[Any] = [unsent, sent, [], unsent[:-1], [*unsent, *unsent]]
    messages = [
        registry.message(event, {"op": "u", "after": {"id": n, "list": each}})
        for n, each in enumerate(lists)
    ]
    schema = columns_of(id=pa.int64(), list=pa.list_(column))
    rows, _, bad = decoded(fz.DebeziumProtobuf(), schema, messages, registry)
    assert [(number, name) for number, name, _ in bad] == [(0, "list")]
    assert [len(each) for each in rows["list"].to_pylist()] == [len(each) for each in lists[1:]]


@pytest.mark.parametrize("nulls", ["optional", "wrapper"])
def test_kept_columns_are_left_to_the_step_behind(nulls: Nulls) -> None:
    registry = ProtoRegistry(nulls)
    schema = columns_of(id=pa.int64(), title=pa.string(), body=pa.string(), raw=pa.binary())
    unsent = base64.b64encode(PLACEHOLDER.encode()).decode()
    after = {"id": 1, "title": "a", "body": PLACEHOLDER, "raw": unsent}
    messages = [
        registry.message(ENVELOPE, {"op": "u", "before": None, "after": each, "source": {"lsn": 5}})
        for each in (after, {**after, "title": PLACEHOLDER})
    ]
    format = fz.DebeziumProtobuf(keep=["body", "raw"])
    rows, kept, bad = decoded(format, schema, messages, registry)
    assert kept == [0]
    assert rows.drop_columns([KIND.name]).to_pylist() == [
        {"id": 1, "title": "a", "body": PLACEHOLDER, "raw": PLACEHOLDER.encode()}
    ]
    assert [(number, column) for number, column, _ in bad] == [(1, "title")]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.start()
    yield made
    made.close()


TEXT = """
syntax = "proto3";
package crm.public.users;
import "confluent/type/decimal.proto";
import "confluent/meta.proto";
message Envelope {
  optional Value before = 1;
  optional Value after = 2;
  Source source = 3;
  string op = 4;
  message Value {
    int64 id = 1;
    optional string email = 2;
    optional confluent.type.Decimal paid = 3 [(confluent.field_meta) = {
      params: [{ key: "precision", value: "12" }, { key: "scale", value: "2" }]
    }];
  }
  message Source { optional int64 lsn = 1; }
}
"""


def test_columns_of_the_newest_schema(server: Server) -> None:
    def latest(topic: str, text: str) -> None:
        answer = {"id": 3, "version": 1, "schema": text, "schemaType": "PROTOBUF"}
        server.answers[f"/subjects/{topic}-value/versions/latest"] = [(200, answer)]

    def read(topic: str, **more: Any) -> fz.Stream:
        options: Any = {"servers": "h:1", "registry": server.url, "key": ["id"], **more}
        return fz.read_kafka(topic, **options)

    latest("users", TEXT)
    users = read("users", format="debezium-protobuf", metadata=["source.lsn"])
    assert repr(users).splitlines() == [
        "Stream(changes by id) <- kafka:users",
        "  id: int64 not null",
        "  email: string",
        "  paid: decimal128(12, 2)",
        "  _source_lsn: int64",
    ]
    latest("rows", 'syntax = "proto3"; message Value { int64 id = 1; string __op = 2; }')
    rows = read("rows", format=fz.DebeziumProtobuf(unwrapped=True))
    assert rows.schema.names == ["id", "__op"]
    with pytest.raises(fz.errors.SchemaError, match="Value has no message 'after'"):
        read("rows", format="debezium-protobuf")


def test_what_a_reader_takes() -> None:
    schema = columns_of(id=pa.int64(), body=pa.string())
    options: Any = {"servers": "h:1", "registry": "http://h:1", "schema": schema, "key": ["id"]}
    read = fz.read_kafka("pages", format=fz.DebeziumProtobuf(keep=["body"]), **options)
    sink = read.write_memory()
    assert "unsent_values by id" in fz.Pipeline("pages", sink, checkpoint="unused").explain()
    with pytest.raises(fz.errors.ConfigError, match="no registry is given"):
        fz.read_kafka("pages", format="debezium-protobuf", **{**options, "registry": None})
    with pytest.raises(fz.errors.ConfigError, match="DebeziumProtobuf"):
        fz.read_files("a", format=fz.DebeziumProtobuf(), schema={"id": int}, key=["id"])  # type: ignore[arg-type]
    with pytest.raises(fz.errors.ConfigError, match="whole rows have all their values"):
        fz.DebeziumProtobuf(keep=["body"], before="full")
    with pytest.raises(fz.errors.ConfigError, match="truncates"):
        fz.DebeziumProtobuf(truncates="never")  # type: ignore[arg-type]
