"""Rows of a database behind a cursor, with SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import frazil as fz
import pytest
from frazil import sql_source
from frazil.errors import PlanChanged
from frazil.testing import source_conformance

SCHEMA = {"id": int, "name": str | None}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    execute(path, "CREATE TABLE orders (id INTEGER, name TEXT, at TEXT)")
    return path


def execute(path: Path, statement: str, rows: Any = ()) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(statement, rows) if rows else database.execute(statement)


def insert(path: Path, *rows: tuple[Any, ...]) -> None:
    execute(path, "INSERT INTO orders VALUES (?, ?, ?)", rows)


def read(path: Path, query: str = "orders", **options: Any) -> fz.Stream:
    given: dict[str, Any] = {"url": f"sqlite:///{path}", "schema": SCHEMA, "cursor": "id"}
    return fz.read_sql(query, **{**given, **options})


def source(path: Path, query: str = "orders", **options: Any) -> Any:
    return read(path, query, **options)._port.node.objects["source"]


def run(stream: fz.Stream, folder: Path) -> list[int]:
    sink = stream.write_memory()
    fz.Pipeline("sql", sink, checkpoint=str(folder)).run(until="now", quiet=True)
    return [row["id"] for row in sink.table().to_pylist()]


def test_each_run_reads_what_came_since(database: Path, tmp_path: Path) -> None:
    assert run(read(database), tmp_path) == []
    insert(database, (1, "a", ""), (2, None, ""), (2**40, "c", ""))
    assert run(read(database), tmp_path) == [1, 2, 2**40]
    assert run(read(database), tmp_path) == []
    insert(database, (2**40 + 1, "d", ""), (3, "behind the cursor", ""))
    assert run(read(database, max_rows=1), tmp_path) == [2**40 + 1]


@pytest.mark.parametrize("max_rows", [1, 2, 100])
@pytest.mark.parametrize(
    ("query", "cursor"),
    [
        ("orders", "id"),
        ("main.orders", ("at", "id")),
        ("SELECT id, name, at, ':x' FROM orders", ("at", "id")),
    ],
)
def test_it_passes_the_suite(database: Path, query: str, cursor: Any, max_rows: int) -> None:
    insert(database, *((n, f"name {n}", f"2026-01-0{1 + n // 4}") for n in range(11)))

    def make() -> Any:
        return source(database, query, cursor=cursor, max_rows=max_rows, name="orders")

    assert source_conformance(make, schema=SCHEMA) == 11


def test_a_cursor_that_is_there_twice(database: Path) -> None:
    insert(database, (1, "a", "x"), (2, "b", "y"), (3, "c", "y"))
    for max_rows in (2, 3):
        asked = source(database, cursor="at", max_rows=max_rows)
        with pytest.raises(fz.SourceError, match="two rows have the cursor at = y"):
            asked.poll(None)
    first = source(database, cursor="at", max_rows=1)
    rows, cursor = first.poll(None)
    assert rows.num_rows == 1
    with pytest.raises(fz.SourceError, match=r'cursor=\("at", "id"\)'):
        first.poll(cursor)


def test_rows_that_come_late(database: Path, monkeypatch: Any) -> None:
    """What is behind the cursor is lost without lag; with it, it may come so much later."""
    now = 1_000.0
    monkeypatch.setattr(sql_source.time, "time", lambda: now)
    hasty, patient = source(database), source(database, lag="10s")
    places: dict[Any, Any] = {hasty: None, patient: None}
    found: dict[Any, list[int]] = {hasty: [], patient: []}

    def poll() -> None:
        for each in found:
            rows, places[each] = each.poll(places[each])
            found[each] += rows["id"].to_pylist()

    insert(database, (2, "b", ""), (4, "d", ""))
    poll()
    assert (found[hasty], found[patient]) == ([2, 4], [])
    now += 9
    insert(database, (1, "a", ""), (5, "e", ""), (3, "c", ""))
    poll()
    assert (found[hasty], found[patient]) == ([2, 4, 5], [])
    now += 1
    poll()
    assert found[patient] == [1, 2, 3, 4]
    now += 9
    poll()
    assert (found[hasty], found[patient]) == ([2, 4, 5], [1, 2, 3, 4, 5])
    for n in range(6, 200):
        now += 0.1
        insert(database, (n, "x", ""))
        poll()
        assert len(places[patient]["seen"]) <= sql_source.SEEN_MAX
    for _ in range(2):
        now += 10
        poll()
    assert found[patient] == list(range(1, 200))


def test_rows_that_do_not_fit(database: Path) -> None:
    insert(database, (1, "a", None), (2, "b", None))
    with pytest.raises(fz.DataError, match=r"column 'at' is null in the row with id = 1"):
        source(database, schema={"id": int, "at": str}).poll(None)
    with pytest.raises(fz.DataError, match="column 'name': expected int64, got 'a'"):
        source(database, schema={"name": int}).poll(None)
    with pytest.raises(fz.SourceError, match="the cursor 'at' is null in a row"):
        source(database, cursor="at").poll(None)
    execute(database, "CREATE TABLE other (id REAL)")
    execute(database, "INSERT INTO other VALUES (0.5)")
    with pytest.raises(fz.SourceError, match=r"is 0\.5, a float"):
        source(database, "other", schema={"id": float}).poll(None)


def test_what_is_not_there_ends_the_run(database: Path, tmp_path: Path) -> None:
    with pytest.raises(fz.SourceError, match="no such table: missing"):
        run(read(database, "missing"), tmp_path)
    with pytest.raises(fz.SourceError, match="Can't load plugin"):
        run(read(database, url="nothing://here"), tmp_path / "other")


def test_another_cursor_does_not_fit_the_checkpoint(database: Path, tmp_path: Path) -> None:
    run(read(database), tmp_path)
    with pytest.raises(PlanChanged, match="by id"):
        run(read(database, cursor=("at", "id")), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": ""}, "got no query"),
        ({"query": "SELECT 1"}, "needs a name"),
        ({"url": "postgresql://me:word@db/shop"}, "has a password"),
        ({"url": 7}, "url= got a int"),
        ({"cursor": ()}, r"cursor=\(\)"),
        ({"cursor": ("id", "id")}, "a column twice"),
        ({"max_rows": 0}, "max_rows=0"),
        ({"lag": "0s"}, "lag"),
        ({"every": "soon"}, "every"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((fz.PlanError, fz.ConfigError), match=message):
        read(Path("x.db"), **options)
