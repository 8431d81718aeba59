"""Change events of PostgreSQL with values that were not sent, as it does with large ones."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tests.python.connect_avro import Registry

Event = dict[str, Any]
UNSENT = "__debezium_unavailable_value"


def pages(path: Path | str, keep: list[str], **more: Any) -> fz.Stream:
    schema = {"id": int, "title": pa.string(), "body": pa.string(), "raw": pa.binary()}
    format = fz.DebeziumJson(keep=keep)
    return fz.read_files(str(path), format=format, schema=schema, key=["id"], **more)


ROW: Event = {
    "type": "struct",
    "optional": True,
    "name": "crm.pages.Value",
    "fields": [
        {"field": "id", "type": "int64"},
        {"field": "title", "type": "string", "optional": True},
        {"field": "body", "type": "string", "optional": True},
        {"field": "raw", "type": "bytes", "optional": True},
    ],
}
ENVELOPE: Event = {
    "type": "struct",
    "name": "crm.pages.Envelope",
    "fields": [
        {**ROW, "field": "before"},
        {**ROW, "field": "after"},
        {
            "field": "source",
            "type": "struct",
            "name": "io.debezium.connector.postgresql.Source",
            "fields": [{"field": "lsn", "type": "int64", "optional": True}],
        },
        {"field": "op", "type": "string"},
    ],
}
AVRO_IDS = range(100, 108)
"""Keys whose bytes in Avro are no ends of lines."""


def avro_line(registry: Registry, event: Event) -> bytes:
    """An event in Avro, of `AVRO_IDS`, whose bytes are a line."""
    source = {"lsn": event["source"]["lsn"] + 1_000}
    line = registry.message(ENVELOPE, {**event, "source": source})
    assert not set(b"\r\n") & set(line)
    return line


PROTO = """
syntax = "proto3";
package crm.pages;
message Envelope {
  optional Value before = 2;
  optional Value after = 3;
  Source source = 4;
  string op = 5;
  message Value {
    int64 id = 2;
    optional string title = 3;
    optional string body = 4;
    optional bytes raw = 5;
  }
  message Source { optional int64 lsn = 2; }
}
"""
PROTO_ID = 100
"""Of the schema."""
PROTO_IDS = range(1 << 50, (1 << 50) + 8)
"""Keys with which messages have no bytes or sizes that are ends of lines."""


def proto_line(envelope: type[Message], event: Event) -> bytes:
    """An event in Protobuf, of `PROTO_IDS`, whose bytes are a line."""
    made: Any = envelope(op=event["op"])
    for side in ("before", "after"):
        for name, value in (event[side] or {}).items():
            if value is not None:
                setattr(
                    getattr(made, side),
                    name,
                    base64.b64decode(value) if name == "raw" else value,
                )
    made.source.lsn = event["source"]["lsn"] + 1_000
    line = b"\0" + PROTO_ID.to_bytes(4, "big") + b"\0" + bytes(made.SerializeToString())
    assert not set(b"\r\n") & set(line)
    return line


def page_events(
    random: Random, count: int, ids: Sequence[int] = range(8)
) -> tuple[list[Event | None], list[Event]]:
    """What PostgreSQL sends of random statements, and the rows there are at the end."""
    table: dict[int, Event] = {}
    events: list[Event | None] = []
    for lsn in range(count):
        id_ = random.choice(ids)
        row = table.get(id_)
        source = {"lsn": lsn}
        if row is not None and random.random() < 0.15:
            del table[id_]
            before = {"id": id_, "title": None, "body": None, "raw": None}
            events += [{"op": "d", "before": before, "after": None, "source": source}, None]
            continue
        body, raw = (
            random.choice([None, "", "b", "B" * 5_000]),
            random.choice([None, "AAE=", "/w=="]),
        )
        sent = {"id": id_, "title": random.choice("abc"), "body": body, "raw": raw}
        table[id_] = dict(sent)
        for name, text in (("body", UNSENT), ("raw", base64.b64encode(UNSENT.encode()).decode())):
            if row is not None and row[name] is not None and random.random() < 0.5:
                table[id_][name] = row[name]
                sent[name] = text
        op = "c" if row is None else "u"
        events.append({"op": op, "before": None, "after": sent, "source": source})
        if random.random() < 0.02:  # the connector begins again a little before
            events += events[-random.randrange(1, 9) :]
    while events and events[-1] is None:
        events.pop()
    return events, [table[id_] for id_ in sorted(table)]
