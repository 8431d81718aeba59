"""Rows and changes into a real PostgreSQL."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.postgres_sink import PostgresSink
from frazil.testing import sink_conformance

if TYPE_CHECKING:
    from tests.services.postgres import Postgres

pytestmark = pytest.mark.service


@pytest.fixture
def place(postgres: Postgres) -> Postgres:
    """A server whose schema `fz` is empty."""
    with postgres.session() as session:
        session.execute("DROP SCHEMA IF EXISTS fz CASCADE")
        session.execute("CREATE SCHEMA fz")
    return postgres


def rows_of(postgres: Postgres, query: str) -> list[tuple[Any, ...]]:
    with postgres.session() as session:
        return session.execute(query).fetchall()


def run(name: str, folder: Path, *sinks: fz.Sink) -> fz.RunReport:
    pipeline = fz.Pipeline(name, *sinks, checkpoint=str(folder), checkpoint_every="20ms")
    return pipeline.run(until="now", quiet=True)


@pytest.mark.parametrize("key", [(), ("id",)])
def test_it_passes_the_suite(place: Postgres, key: tuple[str, ...]) -> None:
    def visible() -> list[dict[str, Any]]:
        if not rows_of(place, "SELECT to_regclass('fz.rows')")[0][0]:
            return []
        found = rows_of(place, "SELECT id, text FROM fz.rows")
        return [{"id": number, "text": text} for number, text in found]

    sink_conformance(lambda: PostgresSink(("fz", "rows"), place.conninfo, key, True), visible)


def test_every_type_comes_back(place: Postgres, tmp_path: Path) -> None:
    utc = datetime.UTC
    row = {
        "id": 1,
        "flag": True,
        "small": -5,
        "ratio": 0.1,
        "text": "tab\t, line\n, \\N, \\. 'quote' \"double\" ü 漢",
        "data": b"\x00\\\xff",
        "day": datetime.date(1969, 12, 31),
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, 678_901, utc),
        "local": datetime.datetime(1900, 1, 2, 3, 4, 5),
        "clock": datetime.time(23, 59, 59, 999_999),
        "amount": Decimal("-12345678901234567890.12"),
        "tags": ["a", "b\n"],
        "place": {"city": "Köln", "zip": None},
    }
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), False),
            ("flag", pa.bool_()),
            ("small", pa.int16()),
            ("ratio", pa.float64()),
            ("text", pa.string()),
            ("data", pa.binary()),
            ("day", pa.date32()),
            ("at", pa.timestamp("us", "UTC")),
            ("local", pa.timestamp("us")),
            ("clock", pa.time64("us")),
            ("amount", pa.decimal128(38, 2)),
            ("tags", pa.list_(pa.string())),
            ("place", pa.struct([("city", pa.string()), ("zip", pa.string())])),
        ]
    )
    nothing = {name: None for name in row} | {"id": 2}
    stream = fz.read_memory([row, nothing], schema=schema)
    run("types", tmp_path, stream.write_postgres("fz.types", dsn=place.conninfo))
    names = ", ".join(row)
    first, second = rows_of(place, f"SELECT {names} FROM fz.types ORDER BY id")
    assert dict(zip(row, first, strict=True)) == row
    assert second == (2, *[None] * (len(row) - 1))


def test_upserts_of_rows_and_of_changes(place: Postgres, tmp_path: Path) -> None:
    log = [
        {"op": "c", "id": 1, "n": 1},
        {"op": "c", "id": 2, "n": 1},
        {"op": "c", "id": 3, "n": 1},
        {"op": "u", "id": 2, "n": 2},
        {"op": "d", "id": 1, "n": 1},
    ]
    more = [
        {"op": "d", "id": 3, "n": 1},
        {"op": "c", "id": 1, "n": 7},
        {"op": "u", "id": 2, "n": 9},
    ]
    for number, events in enumerate((log, more)):
        rows = fz.read_memory(events, name=f"events {number}")
        plain = rows.write_postgres("fz.last", dsn=place.conninfo, mode="upsert", key="id")
        sums = rows.group_by("id").agg(n=fz.col("n").sum())
        changed = sums.filter(fz.col("n") < 3).write_postgres(
            "fz.sums", dsn=place.conninfo, mode="upsert", key=["id"]
        )
        run(f"upserts-{number}", tmp_path, plain, changed)
        last = rows_of(place, "SELECT id, op, n FROM fz.last ORDER BY id")
        found = rows_of(place, "SELECT id, n FROM fz.sums ORDER BY id")
        if number == 0:
            assert last == [(1, "d", 1), (2, "u", 2), (3, "c", 1)]
            assert found == [(1, 2), (3, 1)]  # that of 2 has become too large: it is gone
    assert last == [(1, "c", 7), (2, "u", 9), (3, "d", 1)]


def test_tables_that_do_not_fit_are_refused_before_anything_is_read(
    place: Postgres, tmp_path: Path
) -> None:
    with place.session() as session:
        session.execute("CREATE TABLE fz.narrow (id bigint)")
        session.execute("CREATE TABLE fz.loose (id bigint, name text)")
    rows = fz.read_memory([{"id": 1, "name": "x"}])
    for table, options, message in (
        ("fz.narrow", {}, 'column "name" does not exist'),
        ("fz.loose", {"mode": "upsert", "key": "id"}, "no unique or exclusion constraint"),
        ("fz.none", {"create": False}, 'relation "fz.none" does not exist'),
        ("nowhere.t", {}, 'schema "nowhere" does not exist'),
    ):
        sink = rows.write_postgres(table, dsn=place.conninfo, **options)
        with pytest.raises(fz.SinkError, match=message):
            run(f"refused-{table}", tmp_path, sink)


def test_a_row_that_the_server_does_not_take_ends_the_run(place: Postgres, tmp_path: Path) -> None:
    with place.session() as session:
        session.execute("CREATE TABLE fz.small (id bigint CHECK (id < 5))")
    rows = fz.read_memory([{"id": n} for n in range(9)])
    sink = rows.write_postgres("fz.small", dsn=place.conninfo)
    with pytest.raises(fz.CommitError, match="violates check constraint") as caught:
        run("checked", tmp_path, sink)
    assert "sink postgres:fz.small: PostgresSink.commit of epoch" in str(caught.value)
    assert rows_of(place, "SELECT * FROM fz.small") == []
    with place.session() as session:
        session.execute("ALTER TABLE fz.small DROP CONSTRAINT small_id_check")
    run("checked", tmp_path, sink)
    assert len(rows_of(place, "SELECT * FROM fz.small")) == 9


def test_two_pipelines_have_epochs_of_their_own(place: Postgres, tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        rows = fz.read_memory([{"id": 1}, {"id": 2}], name=name)
        run(name, tmp_path, rows.write_postgres("fz.shared", dsn=place.conninfo))
    assert len(rows_of(place, "SELECT * FROM fz.shared")) == 4
    sinks = [sink for (sink,) in rows_of(place, "SELECT sink FROM fz.frazil_epochs")]
    assert sorted(each.split(".")[0] for each in sinks) == ["one", "two"]


def test_a_database_that_was_put_back_is_refused(place: Postgres, tmp_path: Path) -> None:
    for rows in (100, 200):
        ids = fz.read_generator(rows=rows).select("id")
        run("back", tmp_path, ids.write_postgres("fz.back", dsn=place.conninfo))
    with place.session() as session:
        session.execute("DELETE FROM fz.back WHERE id >= 100")
        session.execute("UPDATE fz.frazil_epochs SET epoch = epoch - 2")
    ids = fz.read_generator(rows=300).select("id")
    with pytest.raises(fz.CommitRefused, match="put back to an older state"):
        run("back", tmp_path, ids.write_postgres("fz.back", dsn=place.conninfo))
    assert len(rows_of(place, "SELECT * FROM fz.back")) == 100


def test_another_log_under_the_same_numbers_is_refused(place: Postgres, tmp_path: Path) -> None:
    sink = PostgresSink(("fz", "other"), place.conninfo, (), True)
    schema = pa.schema([("id", pa.int64())])
    sink.start(schema)
    batch = pa.RecordBatch.from_pylist([{"id": 1}], schema=schema)
    sink.commit(fz.Commit(sink="s", epoch=3, digest="a" * 64), iter([batch]))
    with pytest.raises(fz.CommitRefused, match="another epoch 3"):
        sink.commit(fz.Commit(sink="s", epoch=3, digest="b" * 64), iter([batch]))
    sink.close()
    assert len(rows_of(place, "SELECT * FROM fz.other")) == 1


def test_a_server_that_is_away_at_the_start(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("NO_SERVER", "host=127.0.0.1 port=1 user=me password=topsecret")
    rows = fz.read_memory([{"id": 1}])
    with pytest.raises(fz.ConnectError) as caught:
        run("away", tmp_path, rows.write_postgres("t", dsn=fz.secret("NO_SERVER")))
    assert "topsecret" not in str(caught.value)
    assert "refused" in str(caught.value)


def test_without_the_driver(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    rows = fz.read_memory([{"id": 1}])
    with pytest.raises(fz.SinkError, match="psycopg, which is not installed"):
        run("driver", tmp_path, rows.write_postgres("t", dsn="host=127.0.0.1"))
