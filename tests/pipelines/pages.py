"""Change events of PostgreSQL with values that were not sent, as it does with large ones."""

from __future__ import annotations

import base64
from pathlib import Path
from random import Random
from typing import Any

import frazil as fz
import pyarrow as pa

Event = dict[str, Any]
UNSENT = "__debezium_unavailable_value"


def pages(path: Path | str, keep: list[str], **more: Any) -> fz.Stream:
    schema = {"id": int, "title": pa.string(), "body": pa.string(), "raw": pa.binary()}
    format = fz.DebeziumJson(keep=keep)
    return fz.read_files(str(path), format=format, schema=schema, key=["id"], **more)


def page_events(random: Random, count: int) -> tuple[list[Event | None], list[Event]]:
    """What PostgreSQL sends of random statements, and the rows there are at the end."""
    table: dict[int, Event] = {}
    events: list[Event | None] = []
    for lsn in range(count):
        id_ = random.randrange(8)
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
