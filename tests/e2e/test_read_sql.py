"""Rows of a real PostgreSQL behind a cursor, while others write."""

from __future__ import annotations

import datetime
import random
import threading
import uuid
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.testing import source_conformance

from tests.e2e.waiting import running, wait_until

if TYPE_CHECKING:
    from tests.services.postgres import Postgres

pytestmark = pytest.mark.service


@pytest.fixture
def place(postgres: Postgres) -> Postgres:
    """A server whose schema `fz` is empty."""
    with postgres.session() as session:
        session.execute("DROP SCHEMA IF EXISTS fz CASCADE")
        session.execute("CREATE SCHEMA fz")
        session.execute(
            "CREATE TABLE fz.orders (id bigserial, at timestamptz DEFAULT now(), n int)"
        )
    return postgres


def url(postgres: Postgres) -> str:
    given = dict(part.split("=", 1) for part in postgres.conninfo.split())
    return f"postgresql+psycopg://{given['user']}@{given['host']}:{given['port']}/{given['dbname']}"


def read(postgres: Postgres, query: str = "fz.orders", **options: Any) -> fz.Stream:
    given: dict[str, Any] = {"url": url(postgres), "schema": {"id": int}, "cursor": "id"}
    return fz.read_sql(query, **{**given, **options})


@pytest.mark.parametrize("cursor", ["id", ("at", "id"), ("day", "price", "key")])
def test_it_passes_the_suite(place: Postgres, cursor: Any) -> None:
    """Also of rows of one time, in a zone whose hour is there twice, and with other types."""
    with place.session() as session:
        session.execute("ALTER DATABASE postgres SET timezone TO 'Europe/Berlin'")
        session.execute("ALTER TABLE fz.orders ADD day date, ADD price numeric, ADD key uuid")
        session.execute(
            "INSERT INTO fz.orders SELECT n, timestamptz '2026-10-25 00:30:00Z' + n / 3 * interval "
            "'11 min', n, date '2026-01-01' + n / 5, 0.1 * (n / 2), md5(n::text)::uuid "
            "FROM generate_series(1, 20) n"
        )

    def make() -> Any:
        return read(place, cursor=cursor, max_rows=3)._port.node.objects["source"]

    try:
        assert source_conformance(make, schema={"id": int}) == 20
    finally:
        with place.session() as session:
            session.execute("ALTER DATABASE postgres RESET timezone")


def test_every_type_is_read(place: Postgres, tmp_path: Path) -> None:
    utc = datetime.UTC
    row = {
        "id": 2**62,
        "flag": True,
        "ratio": 0.1,
        "share": 0.25,
        "text": "ü 漢",
        "data": b"\x00\xff",
        "day": datetime.date(1969, 12, 31),
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, 678_901, utc),
        "local": datetime.datetime(1900, 1, 2, 3, 4, 5),
        "clock": datetime.time(23, 59, 59, 999_999),
        "amount": Decimal("-1234567.12"),
        "tags": ["a", "b"],
        "key": "00000000-0000-0000-0000-000000000007",
        "body": '{"a": [1, "ü"]}',
    }
    with place.session() as session:
        session.execute(
            "CREATE TABLE fz.types (id bigint, flag boolean, ratio float8, share numeric, "
            "text text, data bytea, day date, at timestamptz, local timestamp, clock time, "
            "amount numeric(20, 2), tags text[], key uuid, body jsonb)"
        )
        values = {**row, "key": uuid.UUID(int=7)}
        session.execute(
            f"INSERT INTO fz.types VALUES ({', '.join(f'%({name})s' for name in row)})", values
        )
        session.execute("INSERT INTO fz.types (id) VALUES (1)")
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), False),
            ("flag", pa.bool_()),
            ("ratio", pa.float64()),
            ("share", pa.float64()),
            ("text", pa.string()),
            ("data", pa.binary()),
            ("day", pa.date32()),
            ("at", pa.timestamp("us", "UTC")),
            ("local", pa.timestamp("us")),
            ("clock", pa.time64("us")),
            ("amount", pa.decimal128(20, 2)),
            ("tags", pa.list_(pa.string())),
            ("key", pa.string()),
            ("body", pa.string()),
        ]
    )
    sink = read(place, "fz.types", schema=schema).write_memory()
    fz.Pipeline("types", sink, checkpoint=str(tmp_path)).run(until="now", quiet=True)
    empty, full = sink.table().to_pylist()
    assert full == row
    assert empty == {name: None for name in row} | {"id": 1}


class Writers:
    """Sessions that insert rows in transactions which end in another order than they began."""

    def __init__(self, postgres: Postgres, rows: int) -> None:
        self._postgres = postgres
        self._rows = rows
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(4)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        rng, pause = random.Random(number), threading.Event()
        with self._postgres.session(autocommit=True) as session:
            for _ in range(self._rows):
                with session.transaction():
                    session.execute("INSERT INTO fz.orders (n) VALUES (%s)", [number])
                    pause.wait(rng.uniform(0, 0.03))  # ids and times are taken, not visible


@pytest.mark.parametrize("cursor", ["id", ("at", "id")])
def test_rows_of_transactions_that_end_out_of_order(
    place: Postgres, tmp_path: Path, cursor: Any
) -> None:
    sink = read(place, cursor=cursor, lag="1s", every="20ms", max_rows=7).write_memory()
    pipeline = fz.Pipeline("late", sink, checkpoint=str(tmp_path), checkpoint_every="20ms")
    with running(pipeline) as handle, Writers(place, 25):
        wait_until(lambda: sink.table().num_rows >= 100, handle)
    ids = sink.table()["id"].to_pylist()
    assert sorted(ids) == list(range(1, 101))


def test_the_server_goes_away(place: Postgres, tmp_path: Path) -> None:
    sink = read(place, every="20ms").write_memory()
    pipeline = fz.Pipeline("away", sink, checkpoint=str(tmp_path), checkpoint_every="20ms")
    with running(pipeline) as handle:
        for count in (5, 10):
            with place.session() as session:
                session.execute("SET synchronous_commit = on")
                session.execute("INSERT INTO fz.orders (n) SELECT generate_series(1, 5)")
            wait_until(lambda count=count: sink.table().num_rows >= count, handle)  # type: ignore[misc]
            place.kill()
            place.start()
    ids = sink.table()["id"].to_pylist()
    assert ids[:5] == [1, 2, 3, 4, 5]
    assert len(set(ids)) == len(ids) == 10


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SHOP", "postgresql+psycopg://me:topsecret@127.0.0.1:1/shop?topsecret=1")
    stream = fz.read_sql("orders", url=fz.secret("SHOP"), schema={"id": int}, cursor="id")
    source: Any = stream._port.node.objects["source"]
    with pytest.raises((fz.ConnectError, fz.SourceError)) as caught:
        source.poll(None)
    assert "topsecret" not in str(caught.value)
