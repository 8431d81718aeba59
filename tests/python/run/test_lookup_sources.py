"""Rows of lookup tables from files, databases and Iceberg tables, and what goes wrong with them."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil.checkpoint.memory_store import MemoryStore
from frazil.infer import s3_store
from frazil.run.coordinator import Coordinator
from frazil.run.lookup_source import Gone, Loaded, LookupSource
from frazil.run.lookups import lookup_tables
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings
from frazil.secret import resolve_secrets
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.types import StringType

if TYPE_CHECKING:
    from tests.services.s3 import S3

PASSWORD = "s3cr3t-w0rd"


def joined(dim: fz.Lookup, on: str = "id", **options: Any) -> fz.MemorySink:
    rows = fz.read_memory([{"id": n} for n in range(1, 5)], name="rows")
    return rows.join_lookup(dim, on=on, **options).write_memory()


def source_of(dim: fz.Lookup) -> tuple[LookupSource, pa.Schema]:
    """How a run loads a table, and the columns it asks for."""
    plan = fz.Pipeline("p", joined(dim), checkpoint="unused").plan
    (table,) = lookup_tables(resolve_secrets(plan.json), plan.objects).values()
    return table.source, table.columns


def load(dim: fz.Lookup, version: str | None = None, known: str | None = None) -> Loaded:
    source, columns = source_of(dim)
    found = source.load(columns, version, known)
    assert found is not None
    assert found.table.schema.equals(columns)
    return found


def run(sink: fz.MemorySink, store: MemoryStore, seed: int = 1) -> list[dict[str, Any]]:
    pipeline = fz.Pipeline("p", sink, checkpoint="unused")
    settings = RunSettings(bounded=True, quiet=True, takeover=True, simulated_seed=seed)
    Coordinator(prepare(pipeline, store=store), settings).run()
    return list(sink.table().to_pylist())


# -- Parquet ---------------------------------------------------------------------------------------


def test_files_by_name_whatever_their_encoding(tmp_path: Path) -> None:
    cities = pa.array(["Rome", "Oslo"]).dictionary_encode()
    pq.write_table(pa.table({"id": [3], "city": ["Bern"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"id": [1, 2], "city": cities}), tmp_path / "a.parquet")
    (tmp_path / "notes.txt").write_text("no table")
    for path in (tmp_path, tmp_path / "*.parquet"):
        dim = fz.lookup_parquet(path, name="t")
        assert dim.schema.field("city").type == pa.string()
        assert load(dim).table.to_pydict() == {"id": [1, 2, 3], "city": ["Rome", "Oslo", "Bern"]}


def test_the_version_is_the_content(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1], "v": [1]}), path)
    dim = fz.lookup_parquet(path)
    first = load(dim).version
    os.utime(path, (1, 1))
    moved = tmp_path / "u.parquet"
    moved.write_bytes(path.read_bytes())
    assert load(dim).version == load(fz.lookup_parquet(moved)).version == first
    source, columns = source_of(dim)
    assert source.load(columns, None, first) is None
    pq.write_table(pa.table({"id": [1], "v": [2]}), path)
    assert load(dim, known=first).version != first


def parquet_changes() -> list[tuple[pa.Table | None, type[fz.FrazilError], str]]:
    return [
        (None, fz.ConfigError, "there is no Parquet file at"),
        (pa.table({"id": [1]}), fz.DataError, "there is no column 'v' any more"),
        (pa.table({"id": [1], "v": ["x"]}), fz.DataError, "column 'v' is string, the program was"),
        (pa.table({"id": [1] * 99, "v": range(99)}), fz.DataError, "more than 1,500 bytes"),
    ]


@pytest.mark.parametrize(("table", "error", "text"), parquet_changes())
def test_files_that_have_changed(
    table: pa.Table | None, error: type[fz.FrazilError], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1], "v": [1]}), path)
    dim = fz.lookup_parquet(path, max_bytes=1_500)
    path.unlink()
    if table is not None:
        pq.write_table(table, path)
    with pytest.raises(error) as caught:
        load(dim)
    assert text in str(caught.value)


def test_bytes_that_are_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1], "v": [1]}), path)
    dim = fz.lookup_parquet(path, name="t")
    path.write_bytes(b"PAR1 no more PAR1")
    with pytest.raises(fz.ConnectError, match="loading lookup t: "):
        load(dim)


def test_another_file_is_refused_or_taken(tmp_path: Path) -> None:
    path, store = tmp_path / "t.parquet", MemoryStore()
    pq.write_table(pa.table({"id": [1, 2, 3, 4], "v": [1] * 4}), path)
    sink = joined(fz.lookup_parquet(path, name="t"))
    assert [row["v"] for row in run(sink, store)] == [1] * 4
    pq.write_table(pa.table({"id": [1, 2, 3, 4], "v": [2] * 4}), path)
    with pytest.raises(fz.LookupChanged, match="lookup t: its content is another"):
        run(sink, store)
    run(joined(fz.lookup_parquet(path, name="t", on_change="take")), store)
    run(sink, store)  # now it is the one of the checkpoint
    pq.write_table(pa.table({"id": [1, 2, 3, 4], "v": [1] * 4}), path)
    with pytest.raises(fz.LookupChanged):
        run(sink, store)


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1, 3, 3], "v": [1, 2, 3]}), path)
    dim = fz.lookup_parquet(path, name="t")
    with pytest.raises(fz.DataError) as caught:
        run(joined(dim), MemoryStore())
    assert str(caught.value).startswith("lookup t: rows 1 and 2 have the same key id=3\n")
    assert 'duplicates="all"' in str(caught.value)
    found = [row["v"] for row in run(joined(dim, duplicates="all"), MemoryStore())]
    assert found == [1, 2, 3]
    assert len(run(joined(dim, how="semi"), MemoryStore())) == 2


def test_a_start_does_not_go_by_a_table_that_cannot_be_used(tmp_path: Path) -> None:
    """It was pinned before it was indexed: the file that was then put right was refused."""
    path, store = tmp_path / "t.parquet", MemoryStore()
    pq.write_table(pa.table({"id": [1, 1], "v": [1, 2]}), path)
    sink = joined(fz.lookup_parquet(path, name="t"))
    with pytest.raises(fz.DataError, match="the same key id=1"):
        run(sink, store)
    pq.write_table(pa.table({"id": [1], "v": [1]}), path)
    assert run(sink, store) == [{"id": 1, "v": 1}]


def test_a_table_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": range(1_000), "v": [0] * 1_000}), path)
    with pytest.raises(fz.DataError, match=r"at most 20000 bytes \(max_bytes\)"):
        run(joined(fz.lookup_parquet(path, max_bytes=20_000)), MemoryStore())


# -- SQL -------------------------------------------------------------------------------------------


def database(path: Path, *statements: str) -> str:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return f"sqlite:///{path}"


def test_types_that_sqlite_does_not_have(tmp_path: Path) -> None:
    url = database(
        tmp_path / "t.db",
        "create table t (id integer, ok integer, day text, at text, amount real, raw blob)",
        "insert into t values (1, 1, '2026-01-02', '2026-01-02T03:04:05', 1.25, x'00ff')",
        "insert into t values (2, null, null, null, null, null)",
    )
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            ("ok", pa.bool_()),
            ("day", pa.date32()),
            ("at", pa.timestamp("us", "UTC")),
            ("amount", pa.decimal128(9, 2)),
            ("raw", pa.binary()),
        ]
    )
    dim = fz.lookup_sql("select * from t order by id", url=url, schema=schema, name="t")
    assert load(dim).table.to_pylist() == [
        {
            "id": 1,
            "ok": True,
            "day": dt.date(2026, 1, 2),
            "at": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
            "amount": Decimal("1.25"),
            "raw": b"\x00\xff",
        },
        {"id": 2, "ok": None, "day": None, "at": None, "amount": None, "raw": None},
    ]


def test_the_version_is_that_of_the_rows_in_any_order(tmp_path: Path) -> None:
    url = database(
        tmp_path / "t.db",
        "create table t (id integer, v integer)",
        "insert into t values (1, 1), (2, 2), (3, 3), (3, 3)",
    )
    schema = {"id": int, "v": int}

    def version(query: str) -> str:
        return load(fz.lookup_sql(query, url=url, schema=schema)).version

    first = version("select id, v from t order by id")
    assert version("select v, id, 7 from t order by id desc") == first
    assert version("select id, v from t limit 3") != first
    assert version("select v + 1 as v, id from t") != first
    source, columns = source_of(fz.lookup_sql("select * from t", url=url, schema=schema))
    assert source.load(columns, None, first) is None
    narrow = source.load(pa.schema([columns.field("id")]), None, None)
    assert narrow is not None
    assert narrow.version == first  # whatever columns are used


def test_a_query_is_run_as_it_stands_and_changes_nothing(tmp_path: Path) -> None:
    url = database(
        tmp_path / "t.db",
        "create table t (id integer, v text)",
        "insert into t values (1, 'a:b')",
    )
    schema = {"id": int, "v": str}
    query = "select id, v from t where v = 'a:b' and v like '%:b' -- :name"
    assert load(fz.lookup_sql(query, url=url, schema=schema)).table.num_rows == 1
    inserting = "insert into t values (2, 'c') returning id, v"
    assert load(fz.lookup_sql(inserting, url=url, schema=schema)).table.num_rows == 1
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (1,)


def sql_errors() -> list[tuple[str, dict[str, Any], type[fz.FrazilError], str]]:
    return [
        ("select id from nowhere", {}, fz.ConnectError, "no such table: nowhere"),
        ("select id from t", {}, fz.DataError, "the query gives no column 'v'"),
        ("select 1 as id, 'x' as v", {}, fz.DataError, "column 'v': expected int64, got 'x'"),
        ("select 1 as id, null as v", {}, fz.DataError, "column 'v' has a null"),
        ("select id, v from t", {"max_rows": 2}, fz.DataError, "more than 2 rows (max_rows)"),
        ("select id, v from t", {"max_bytes": 20}, fz.DataError, "more than 20 bytes (max_bytes)"),
    ]


@pytest.mark.parametrize(("query", "options", "error", "text"), sql_errors())
def test_sql_errors(
    query: str, options: dict[str, Any], error: type[fz.FrazilError], text: str, tmp_path: Path
) -> None:
    url = database(
        tmp_path / "t.db",
        "create table t (id integer, v integer)",
        "insert into t values (1, 1), (2, 2), (3, 3)",
    )
    dim = fz.lookup_sql(query, url=url, schema={"id": int, "v": int}, name="t", **options)
    with pytest.raises(error) as caught:
        load(dim)
    assert str(caught.value).startswith("loading lookup t: ")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"nodatabase://me:{PASSWORD}@host/db",
        f"sqlite:////nowhere/{PASSWORD}/t.db",
        f"{PASSWORD}",
        f"sqlite+nodriver://me:{PASSWORD}@host",
    ],
)
def test_the_url_is_in_no_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERS_DB", url)
    dim = fz.lookup_sql("select 1", url=fz.secret("USERS_DB"), schema={"id": int})
    plan = fz.Pipeline("p", joined(dim), checkpoint="unused").plan
    assert PASSWORD not in plan.text
    with pytest.raises(fz.FrazilError) as caught:
        load(dim)
    shown: BaseException | None = caught.value
    while shown is not None and not shown.__suppress_context__:
        assert PASSWORD not in str(shown)
        shown = shown.__cause__ or shown.__context__
    assert PASSWORD not in str(caught.value)


# -- Iceberg ---------------------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path / 'catalog.db'}",
        "warehouse": f"file://{tmp_path / 'warehouse'}",
    }
    opened = load_catalog("default", **properties)
    opened.create_namespace("crm")
    return opened


def rows(*values: tuple[int, int]) -> pa.Table:
    ids, versions = zip(*values, strict=True)
    return pa.table({"id": pa.array(ids, pa.int64()), "v": pa.array(versions, pa.int64())})


def test_snapshots(catalog: Catalog) -> None:
    table = catalog.create_table("crm.users", rows((0, 0)).schema)
    dim = fz.lookup_iceberg("crm.users", catalog=catalog)
    empty = load(dim)
    assert (empty.version, empty.table.num_rows) == ("snapshot:none", 0)
    table.append(rows((1, 1), (2, 1)))
    first = load(dim)
    table.append(rows((3, 1)))
    second = load(dim, known=first.version)
    assert [each.table.num_rows for each in (first, second)] == [2, 3]
    assert load(dim, version=first.version).table.to_pylist() == first.table.to_pylist()
    assert load(dim, version=empty.version).table.num_rows == 0
    source, columns = source_of(dim)
    assert source.load(columns, None, second.version) is None
    with pytest.raises(Gone, match=r"snapshot 12345 of table crm\.users"):
        source.load(columns, "snapshot:12345", None)
    number = int(first.version.removeprefix("snapshot:"))
    fixed, _ = source_of(fz.lookup_iceberg("crm.users", catalog=catalog, snapshot=number))
    assert fixed.fixed == first.version


def test_rows_and_columns_that_are_wanted(catalog: Catalog) -> None:
    table = catalog.create_table("crm.users", rows((0, 0)).schema)
    table.append(rows((1, 5), (2, 7)))
    table.append(rows((3, 9)))
    dim = fz.lookup_iceberg("crm.users", catalog=catalog, where="v > 6", columns=["id"])
    assert sorted(load(dim).table["id"].to_pylist()) == [2, 3]
    for where in ("v >", "w > 6", "v > 'x'"):
        with pytest.raises(fz.PlanError, match=r"of table crm\.users"):
            fz.lookup_iceberg("crm.users", catalog=catalog, where=where)


def test_a_column_that_came_later(catalog: Catalog) -> None:
    table = catalog.create_table("crm.users", rows((0, 0)).schema)
    table.append(rows((1, 1)))
    store = MemoryStore()
    run(joined(fz.lookup_iceberg("crm.users", catalog=catalog, name="u")), store)
    with table.update_schema() as update:
        update.add_column("w", StringType())
    sink = joined(fz.lookup_iceberg("crm.users", catalog=catalog, name="u"))
    with pytest.raises(fz.ColumnNotFound, match="has no column 'w'"):
        run(sink, store)


def test_iceberg_errors(catalog: Catalog) -> None:
    with pytest.raises(fz.ConfigError, match=r"there is no table crm\.users"):
        fz.lookup_iceberg("crm.users", catalog=catalog)
    catalog.create_table("crm.users", rows((0, 0)).schema).append(rows((1, 1)))
    with pytest.raises(fz.ConfigError, match=r"table crm\.users has no snapshot 7"):
        fz.lookup_iceberg("crm.users", catalog=catalog, snapshot=7)
    dim = fz.lookup_iceberg("crm.users", catalog=catalog, max_bytes=8, name="u")
    with pytest.raises(fz.DataError, match="loading lookup u: it has more than 8 bytes"):
        load(dim)
    later = fz.lookup_iceberg("crm.users", catalog=catalog, name="u")
    catalog.drop_table("crm.users")
    with pytest.raises(fz.ConfigError, match=r"there is no table crm\.users"):
        load(later)


# -- S3 --------------------------------------------------------------------------------------------


@pytest.mark.service
def test_files_in_s3(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.create_bucket("lookups")
    monkeypatch.setenv("LOOKUP_ACCESS_KEY", s3.access_key)
    monkeypatch.setenv("LOOKUP_SECRET_KEY", s3.secret_key)
    reached = fz.S3(
        endpoint=s3.endpoint,
        region=s3.region,
        access_key=fz.secret("LOOKUP_ACCESS_KEY"),
        secret_key=fz.secret("LOOKUP_SECRET_KEY"),
    )
    store = s3_store(resolve_secrets(reached.to_json()))
    for name, ids in (("b", [3, 4]), ("a", [1, 2])):
        pq.write_table(
            pa.table({"id": ids, "v": ids}), f"{bucket}/t/{name}.parquet", filesystem=store
        )
    for path in ("t", "t/", "t/*.parquet"):
        dim = fz.lookup_parquet(f"s3://{bucket}/{path}", s3=reached, name="t")
        assert load(dim).table["id"].to_pylist() == [1, 2, 3, 4]
    one = fz.lookup_parquet(f"s3://{bucket}/t/a.parquet", s3=reached, name="t")
    assert len(run(joined(one), MemoryStore())) == 2
    store.delete_dir_contents(f"{bucket}/t")
    with pytest.raises(fz.ConfigError, match="there is no Parquet file at"):
        load(dim)
