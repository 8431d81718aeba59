"""Real events of Debezium, each with the rows it comes to, worked out here without the engine.

Debezium 3.6 (PostgreSQL 15) and 3.5 (MariaDB 10.11) wrote them through Kafka Connect:
with schemas, without, and unwrapped by ExtractNewRecordState.
"""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest

Event = dict[str, Any]
Row = tuple[Any, ...]

EVENTS: list[Event] = [
    json.loads(line)
    for line in gzip.decompress(
        (Path(__file__).parent / "data/debezium_events.jsonl.gz").read_bytes()
    ).splitlines()
]
TOPICS = sorted({event["topic"] for event in EVENTS})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"ms": 1_000, "us": 1}
INSTANT = pa.timestamp("us", "UTC")

COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "orders": {
        "id": pa.int64(),
        "customer_id": pa.int32(),
        "order_date": pa.date32(),
        "placed_at": pa.timestamp("us"),
        "amount": pa.decimal128(12, 2),
        "weight": pa.float64(),
        "qty": pa.int16(),
        "small": pa.int8(),
        "status": pa.string(),
        "note": pa.large_string(),
        "tags": pa.list_(pa.string()),
        "uid": pa.string(),
        "raw": pa.binary(),
        "t": pa.time64("us"),
        "iv": pa.duration("us"),
        "ip": pa.string(),
    },
    "customers": {
        "id": pa.int64(),
        "first_name": pa.string(),
        "last_name": pa.string(),
        "email": pa.string(),
        "is_vip": pa.bool_(),
        "created_at": INSTANT,
        "meta": pa.string(),
        "phone": pa.string(),
        "tel": pa.string(),
        "score": pa.decimal128(38, 10),
    },
    "composite": {"a": pa.int32(), "b": pa.string(), "c": pa.float32()},
    "nopk": {"a": pa.int32(), "b": pa.string()},
    "items": {
        "order_id": pa.int32(),
        "line": pa.int32(),
        "price": pa.decimal256(50, 3),
        "d": pa.date32(),
        "t": pa.duration("us"),
        "y": pa.int32(),
        "b": pa.binary(),
        "bits": pa.binary(),
        "txt": pa.string(),
        "f": pa.float32(),
    },
    "users": {
        "id": pa.uint32(),
        "name": pa.string(),
        "email": pa.string(),
        "created": pa.timestamp("us"),
        "ts": INSTANT,
        "active": pa.int16(),
        "e": pa.string(),
        "se": pa.string(),
        "j": pa.string(),
        "big": pa.int64(),
        "phone": pa.string(),
    },
    "extra": {"id": pa.int32(), "v": pa.string()},
}
KEYS = {"composite": ["a", "b"], "nopk": ["a", "b"], "items": ["order_id", "line"]}
REQUIRED = {
    "orders": {"id", "order_date", "placed_at", "amount", "qty", "status"},
    "customers": {"id", "first_name", "last_name", "email", "created_at"},
    "composite": {"a", "b"},
    "items": {"order_id", "line"},
    "users": {"id"},
    "extra": {"id"},
}
PLAIN_UNIT = {"pgn": "ms", "pgu": "us"}  # of times that have no schema: the connectors' settings
FORMATS = {
    "pgn": fz.DebeziumJson(decimals="string", truncates="reject"),
    "pgs": fz.DebeziumJson(truncates="reject"),
    "pgu": fz.DebeziumJson(unwrapped=True, decimals="precise"),
    "my": fz.DebeziumJson(truncates="reject"),
}


def is_time(type_: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(type_)) and not pa.types.is_date(type_)


def schema_of(topic: str) -> pa.Schema:
    prefix, _, table = topic.partition(".inventory.")
    columns = COLUMNS.get(table, {"id": pa.int64()})
    unit = PLAIN_UNIT.get(prefix)
    return pa.schema(
        [
            pa.field(
                name,
                type_,
                name not in REQUIRED.get(table, ()),
                {"fz:time_unit": unit}
                if unit and is_time(type_) and name != "created_at"
                else None,
            )
            for name, type_ in columns.items()
        ]
    )


def number_of(raw: Any, name: str, unit: str) -> int:
    """A time in microseconds."""
    if isinstance(raw, str):
        return (datetime.fromisoformat(raw) - EPOCH) // timedelta(microseconds=1)
    if name.startswith("io.debezium.time."):
        unit = "us" if "Micro" in name else "ms"
    return int(raw) * UNITS[unit]


def value_of(raw: Any, type_: pa.DataType, field: Event, unit: str, mode: str) -> Any:
    if raw is None:
        return None
    if pa.types.is_decimal(type_):
        if field.get("name", "").endswith("Decimal") or (isinstance(raw, str) and mode == "unwrap"):
            digits = int.from_bytes(base64.b64decode(raw), "big", signed=True)
            scale = int(field.get("parameters", {}).get("scale", type_.scale))
            return Decimal(digits).scaleb(-scale)
        return Decimal(str(raw))
    if is_time(type_):
        return number_of(raw, field.get("name", ""), unit)
    if pa.types.is_binary(type_):
        return base64.b64decode(raw)
    return raw


def row_of(side: Event | None, schema: pa.Schema, event: Event, which: str) -> Row | None:
    if side is None:
        return None
    wrapper = event["value"].get("schema", {}) if event["mode"] == "schemas" else {}
    fields = next((f for f in wrapper.get("fields", ()) if f["field"] == which), {})
    types = {field["field"]: field for field in fields.get("fields", ())}
    unit = PLAIN_UNIT.get(event["topic"].partition(".")[0], "us")
    return tuple(
        value_of(side.get(f.name), f.type, types.get(f.name, {}), unit, event["mode"])
        for f in schema
    )


def outcome(event: Event, schema: pa.Schema, key: list[str]) -> list[tuple[str, Row]] | str:
    """The rows of an event, or "rejected", or "dropped"."""
    if event["value"] is None:
        return "dropped"
    if event["mode"] == "unwrap":
        op = event["value"].get("__op")
        row = row_of(event["value"], schema, event, "")
        kinds = {"c": "insert", "r": "insert", "u": "update_after", "d": "delete"}
        return [(kinds[op], row)] if op and row else "rejected"
    payload = event["value"]["payload"] if event["mode"] == "schemas" else event["value"]
    before = row_of(payload.get("before"), schema, event, "before")
    after = row_of(payload.get("after"), schema, event, "after")
    places = [schema.names.index(name) for name in key]
    match payload.get("op"):
        case "c" | "r" if after:
            return [("insert", after)]
        case "u" if after and before is None:
            return [("update_after", after)]
        case "u" if after and before:
            if [before[at] for at in places] != [after[at] for at in places]:
                return [("delete", before), ("insert", after)]
            return [("update_before", before), ("update_after", after)]
        case "d" if before:
            return [("delete", before)]
        case "m":
            return "dropped"
    return "rejected"


def tuples(table: pa.Table, schema: pa.Schema) -> list[Row]:
    """Rows with times as numbers: PostgreSQL's dates go further than Python's."""
    columns = []
    for name in schema.names:
        column = table[name]
        if pa.types.is_date(column.type):
            column = column.cast(pa.int32())
        elif is_time(column.type):
            column = column.cast(pa.int64())
        columns.append(column.to_pylist())
    return list(zip(*columns, strict=True))


def test_the_events_are_all_there() -> None:
    assert len(EVENTS) == 240
    assert len(TOPICS) == 20


@pytest.mark.parametrize("topic", TOPICS)
def test_each_event_comes_to_its_rows(topic: str, tmp_path: Path) -> None:
    prefix, _, table = topic.partition(".inventory.")
    schema = schema_of(topic)
    key = KEYS.get(table, ["id"])
    events = [event for event in EVENTS if event["topic"] == topic]
    expected = {}
    counts = {"dropped": 0, "rejected": 0}
    with (tmp_path / "events.jsonl").open("wb") as file:
        for event in events:
            expected[file.tell()] = outcome(event, schema, key)
            file.write(json.dumps(event["value"]).encode() + b"\n")
    read = fz.read_files(
        str(tmp_path / "events.jsonl"),
        format=FORMATS[prefix.partition(".")[0]],
        schema=schema,
        key=key,
        metadata=["offset"],
    )
    log, left = read.as_log().write_memory(name="log"), read.write_memory(name="left")
    bad = read.rejected.write_memory(name="bad")
    pipeline = fz.Pipeline("events", log, left, bad, checkpoint=str(tmp_path / "checkpoint"))
    report = pipeline.run(until="now", quiet=True)

    found: dict[int, Any] = {place: [] for place in expected}
    logged = log.table()
    rows = zip(
        logged["_offset"].to_pylist(),
        logged["_kind"].to_pylist(),
        tuples(logged, schema),
        strict=True,
    )
    for place, kind, row in rows:
        found[place].append((kind, row))
    for place in bad.table()["position"].to_pylist():
        assert found[place] == []
        found[place] = "rejected"
    model: dict[Row, Row] = {}
    for place, rows_of in expected.items():
        if isinstance(rows_of, str):
            counts[rows_of] += 1
            assert found[place] == ([] if rows_of == "dropped" else rows_of), place
            continue
        assert found[place] == rows_of, place
        for kind, row in rows_of:
            name = tuple(row[schema.names.index(column)] for column in key)
            if kind in ("delete", "update_before"):
                model.pop(name, None)
            else:
                model[name] = row
    (source,) = report.sources.values()
    assert (source.read, source.rejected, source.dropped) == (
        len(events),
        counts["rejected"],
        counts["dropped"],
    )
    assert sorted(map(repr, tuples(left.table(), schema))) == sorted(map(repr, model.values()))
