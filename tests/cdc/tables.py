"""The tables of the tests: how each database declares them, and what their rows look like to us."""

from __future__ import annotations

import datetime as dt
import json
import random
import uuid
from decimal import Decimal
from typing import Any

import frazil as fz
import pyarrow as pa

from tests.services.rows import arrow_rows

# A table of each has this name in its test's own schema or database.
POSTGRES_DDL = """
create type {name}_state as enum ('new', 'paid', 'sent');
create table {name} (
  id bigint primary key, name varchar(60) not null, amount numeric(12, 2), wide numeric(38, 10),
  small smallint, n integer, ok boolean, ratio double precision, day date, at timestamp(6),
  zoned timestamptz, clock time(6), uid uuid, doc jsonb, raw bytea, state {name}_state, tags text[],
  note text)
"""
MARIADB_DDL = """
create table {name} (
  id bigint primary key, name varchar(60) not null, amount decimal(12, 2), wide decimal(38, 10),
  small smallint, n integer unsigned, ok tinyint(1), ratio double, day date, at datetime(6),
  zoned timestamp(6) null, clock time(6), uid varchar(36), doc longtext, raw blob,
  state enum('new', 'paid', 'sent'), note mediumtext)
"""


class PostgresItem(fz.Schema):
    """Of messages with schemas: these say the units."""

    id: int
    name: str
    amount: fz.Decimal[12, 2] | None
    wide: fz.Decimal[38, 10] | None
    small: int | None
    n: int | None
    ok: bool | None
    ratio: float | None
    day: dt.date | None
    at: dt.datetime | None
    zoned: dt.datetime | None
    clock: dt.time | None
    uid: str | None
    doc: str | None
    raw: bytes | None
    state: str | None
    tags: list[str] | None
    note: str | None


class MariadbItem(fz.Schema):
    """Of messages with schemas and without."""

    id: int
    name: str
    amount: fz.Decimal[12, 2] | None
    wide: fz.Decimal[38, 10] | None
    small: int | None
    n: int | None
    ok: int | None
    ratio: float | None
    day: dt.date | None
    at: dt.datetime | None = fz.field(time_unit="us")
    zoned: dt.datetime | None
    clock: dt.time | None = fz.field(time_unit="us")
    uid: str | None
    doc: str | None
    raw: bytes | None
    state: str | None
    note: str | None


def _when(chance: random.Random) -> dt.datetime:
    return dt.datetime(1990, 1, 1) + dt.timedelta(microseconds=chance.randrange(10**15))


def _text(chance: random.Random, most: int) -> str:
    return "".join(chance.choice("abcdefgh ij\"\\\n\tßé€\U0001f9ca'") for _ in range(most))


def value_of(column: str, chance: random.Random) -> Any:
    """A random value of a column, as both drivers take it."""
    if column != "name" and chance.random() < 0.15:
        return None
    match column:
        case "name":
            return _text(chance, chance.randrange(40))
        case "amount":
            return Decimal(chance.randrange(-(10**12), 10**12)).scaleb(-2)
        case "wide":
            return Decimal(chance.randrange(-(10**37), 10**37)).scaleb(-10)
        case "small":
            return chance.randrange(-(2**15), 2**15)
        case "n":
            return chance.randrange(2**31)
        case "ok":
            return chance.random() < 0.5
        case "ratio":
            return chance.choice([0.0, -1.5, 1e-300, 1e300, chance.random()])
        case "day":
            return _when(chance).date()
        case "at":
            return _when(chance)
        case "zoned":
            return _when(chance).replace(tzinfo=dt.UTC)
        case "clock":
            return _when(chance).time()
        case "uid":
            return str(uuid.UUID(int=chance.getrandbits(128)))
        case "doc":
            return json.dumps({"k": chance.randrange(99), "t": [None, _text(chance, 3)]})
        case "raw":
            return chance.randbytes(chance.randrange(40))
        case "state":
            return chance.choice(["new", "paid", "sent"])
        case "tags":
            return [_text(chance, 3) for _ in range(chance.randrange(3))]
        case "note":
            # One in four is so long that PostgreSQL stores it apart.
            return _text(chance, chance.randrange(99) if chance.random() < 0.75 else 3_000)
    raise AssertionError(column)


def source_rows(session: Any, name: str, schema: pa.Schema) -> list[dict[str, Any]]:
    """The rows of the table as it is now, in the form of `arrow_rows`."""
    cursor = session.cursor()
    columns = [f"{c}::text" if c in ("doc", "state") else c for c in schema.names]
    if "tags" not in schema.names:
        columns = list(schema.names)
    cursor.execute(f"select {', '.join(columns)} from {name}")
    rows = [
        {
            column: _typed(value, schema.field(column).type)
            for column, value in zip(schema.names, row, strict=True)
        }
        for row in cursor.fetchall()
    ]
    session.rollback()  # ends the transaction of the select
    return arrow_rows(pa.Table.from_pylist(rows, schema=schema.remove_metadata()))


def _typed(value: Any, type_: pa.DataType) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dt.timedelta):  # a time of MariaDB
        return (dt.datetime.min + value).time()
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        return value.replace(tzinfo=dt.UTC)
    if isinstance(value, memoryview):
        return bytes(value)
    return value
