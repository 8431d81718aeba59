"""Lookup joins as they are declared: columns, types, names, what plan and explain say."""

from __future__ import annotations

import base64
import traceback
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col

NEVER_IN_A_TEXT = "s3cr3t-w0rd"


@pytest.fixture
def users(tmp_path: Path) -> fz.Lookup:
    table = pa.table(
        {"id": [1, 2], "city": ["Rome", "Oslo"], "age": [30, 40], "amount": [1.5, 2.5]},
        pa.schema(
            [
                pa.field("id", pa.int64(), nullable=False),
                pa.field("city", pa.string()),
                pa.field("age", pa.int32(), nullable=False),
                pa.field("amount", pa.float64(), nullable=False),
            ]
        ),
    )
    pq.write_table(table, tmp_path / "users.parquet")
    return fz.lookup_parquet(tmp_path / "users.parquet", name="users")


@pytest.fixture
def orders() -> fz.Stream:
    return fz.read_memory([{"user": 1, "amount": 2.0, "note": "x"}], name="orders")


def lookup_node(stream: fz.Stream) -> dict[str, Any]:
    plan = fz.Pipeline("p", stream.write_memory(), checkpoint="unused").plan
    (node,) = (each for each in plan.json["nodes"] if each["kind"] == "lookup")
    return node


def schema_of(node: dict[str, Any]) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(node["schema"])))


def test_columns(orders: fz.Stream, users: fz.Lookup) -> None:
    inner = orders.join_lookup(users, on={"user": "id"})
    assert str(inner) == (
        "Stream(append) <- orders\n  user: int64\n  amount: double\n  note: string\n"
        "  city: string\n  age: int32 not null\n  amount_b: double not null"
    )
    left = orders.join_lookup(users, on={"user": "id"}, how="left", suffix="_user")
    assert left.schema.field("amount_user").nullable
    assert left.schema.field("age").nullable
    for how in ("semi", "anti"):
        assert orders.join_lookup(users, on={"user": "id"}, how=how).schema == orders.schema
    same = orders.rename(user="id").join_lookup(users, on="id")
    assert same.schema.names == ["id", "amount", "note", "city", "age", "amount_b"]
    several = orders.rename(user="id").join_lookup(users, on=["id", "amount"])
    assert several.schema.names == ["id", "amount", "note", "city", "age"]


def test_only_what_is_needed_is_loaded(orders: fz.Stream, users: fz.Lookup) -> None:
    joined = orders.join_lookup(users, on={"user": "id"})
    node = lookup_node(joined.select("city"))
    assert schema_of(node).names == ["id", "city"]
    assert node["take"] == [["city", "city"]]
    assert lookup_node(joined.select("amount_b"))["take"] == [["amount", "amount_b"]]
    counted = lookup_node(joined.select(one=fz.lit(1)))
    assert schema_of(counted).names == ["id"]
    assert counted["take"] == []


def test_ids_do_not_hang_on_the_columns_that_are_used(orders: fz.Stream, users: fz.Lookup) -> None:
    joined = orders.join_lookup(users, on={"user": "id"})
    assert lookup_node(joined.select("city"))["id"] == lookup_node(joined)["id"]
    left = orders.join_lookup(users, on={"user": "id"}, how="left")
    assert lookup_node(left)["id"] != lookup_node(joined)["id"]


def test_explain(orders: fz.Stream, users: fz.Lookup, tmp_path: Path) -> None:
    def explained(dim: fz.Lookup, **options: Any) -> str:
        joined = orders.rename(user="id").join_lookup(dim, on="id", **options)
        return fz.Pipeline("p", joined.write_memory(), checkpoint="unused").explain()

    text = explained(users)
    assert text.splitlines()[0].endswith("exact, 1 worker, memory up to 512 MiB")
    assert "<- join_lookup users on id" in text
    assert "inner, exact: one version for ever" in text
    path = tmp_path / "users.parquet"
    text = explained(fz.lookup_parquet(path, refresh="90s"), how="left", duplicates="all")
    assert "consistent, 1 worker" in text.splitlines()[0]
    assert "left, all rows of a key, consistent: refreshed every 90s" in text
    text = explained(fz.lookup_parquet(path, on_change="take"))
    assert "inner, consistent: may be another at each start" in text


def test_repr(users: fz.Lookup, tmp_path: Path) -> None:
    assert repr(users).splitlines()[:2] == ["Lookup(users), read once", "  id: int64 not null"]
    path = tmp_path / "users.parquet"
    assert repr(fz.lookup_parquet(path, refresh="2h", columns=["age"])) == (
        f"Lookup(parquet:{path}), refreshed every 2h\n  age: int32 not null"
    )


def test_event_time_passes_through(orders: fz.Stream, users: fz.Lookup) -> None:
    timed = orders.with_columns(at=fz.from_epoch(col("user"), unit="s"))
    joined = timed.event_time("at", out_of_order="5s").join_lookup(users, on={"user": "id"})
    assert "event time: at, 5s out of order" in repr(joined)
    behind = timed.join_lookup(users, on={"user": "id"}).event_time("at", out_of_order="5s")
    assert "event time: at" in repr(behind)
    several = timed.join_lookup(users, on={"user": "id"}, duplicates="all")
    with pytest.raises(fz.PlanError, match="behind join_lookup with duplicates"):
        several.event_time("at", out_of_order="5s")
    once = timed.join_lookup(users, on={"user": "id"}, how="semi", duplicates="all")
    assert "event time" in repr(once.event_time("at", out_of_order="5s"))


def join_errors() -> list[tuple[dict[str, Any], type[fz.FrazilError], str]]:
    on = {"user": "id"}
    return [
        ({"on": "user"}, fz.ColumnNotFound, "no column 'user' in users\n  have: id: int64, city"),
        ({"on": "usr"}, fz.ColumnNotFound, "no column 'usr' in orders"),
        ({"on": {"user": "ID"}}, fz.ColumnNotFound, "did you mean 'id'"),
        ({"on": {"user": 3}}, fz.TypeMismatch, "3 is no name of a column of users"),
        ({"on": {"note": "id"}}, fz.TypeMismatch, "string in orders and int64 in users"),
        ({"on": []}, fz.PlanError, "join_lookup on 0 columns"),
        ({"on": 7}, fz.TypeMismatch, "on=7"),
        ({"on": ["amount", "amount"]}, fz.PlanError, "names column 'amount' of orders twice"),
        ({"on": on, "how": "outer"}, fz.PlanError, "how='outer' is not offered"),
        ({"on": on, "duplicates": "first"}, fz.PlanError, "duplicates='first' is not offered"),
        ({"on": on, "suffix": ""}, fz.ColumnExists, "'amount' of users would be 'amount'"),
        ({"on": on, "suffix": None}, fz.TypeMismatch, "suffix=None"),
    ]


@pytest.mark.parametrize(("options", "error", "text"), join_errors())
def test_join_errors(
    options: dict[str, Any],
    error: type[fz.FrazilError],
    text: str,
    orders: fz.Stream,
    users: fz.Lookup,
) -> None:
    with pytest.raises(error) as caught:
        orders.join_lookup(users, **options)
    assert text in str(caught.value)
    last = traceback.extract_tb(caught.value.__traceback__)[-2]
    assert last.filename == __file__  # the line of the program, and one frame of ours


def test_a_name_with_the_suffix_may_be_there_too(orders: fz.Stream, users: fz.Lookup) -> None:
    both = orders.with_columns(amount_b=col("amount"))
    with pytest.raises(fz.ColumnExists, match="would be 'amount_b'"):
        both.join_lookup(users, on={"user": "id"})
    assert both.join_lookup(users, on={"user": "id"}, suffix="_u").schema.names[-1] == "amount_u"


def test_nested_columns_are_no_keys(tmp_path: Path) -> None:
    pq.write_table(pa.table({"k": [[1]], "v": [1]}), tmp_path / "t.parquet")
    dim = fz.lookup_parquet(tmp_path / "t.parquet")
    stream = fz.read_memory(pa.table({"k": pa.array([[1]], pa.list_(pa.int64()))}))
    with pytest.raises(fz.TypeMismatch, match="keys are numbers, texts, bytes, times or booleans"):
        stream.join_lookup(dim, on="k")


def test_two_tables_of_one_name(orders: fz.Stream, users: fz.Lookup, tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    first = orders.join_lookup(users, on={"user": "id"}, how="semi")
    again = fz.lookup_parquet(path, name="users", columns=["id", "age"])
    twice = first.join_lookup(again, on={"user": "id"})
    assert twice.schema.names[-1] == "age"
    fz.Pipeline("p", twice.write_memory(), checkpoint="unused")
    other = fz.lookup_parquet(path, name="users", refresh="1m")
    with pytest.raises(fz.PlanError, match="two lookup tables are called 'users'"):
        fz.Pipeline("p", first.join_lookup(other, on={"user": "id"}).write_memory())


def table_errors() -> list[tuple[Any, type[fz.FrazilError], str]]:
    sql = {"url": "sqlite://", "schema": {"id": int}}
    return [
        (lambda p: fz.lookup_parquet(p / "no.parquet"), fz.ConfigError, "there is no file"),
        (lambda p: fz.lookup_parquet(""), fz.PlanError, "got no path"),
        (
            lambda p: fz.lookup_parquet(p / "users.parquet", columns=["idd"]),
            fz.ColumnNotFound,
            "did you mean 'id'",
        ),
        (lambda p: fz.lookup_parquet(p / "users.parquet", columns=[]), fz.PlanError, "columns=[]"),
        (
            lambda p: fz.lookup_parquet(p / "users.parquet", refresh="soon"),
            fz.PlanError,
            "refresh='soon' is not a duration",
        ),
        (
            lambda p: fz.lookup_parquet(p / "users.parquet", on_change="x"),
            fz.ConfigError,
            "on_change='x' is not offered",
        ),
        (lambda p: fz.lookup_sql(" ", **sql), fz.PlanError, "lookup_sql got no query"),
        (lambda p: fz.lookup_sql("q", max_rows=0, **sql), fz.ConfigError, "max_rows=0"),
        (lambda p: fz.lookup_sql("q", **{**sql, "url": 3}), fz.TypeMismatch, "url= got a int"),
        (lambda p: fz.lookup_sql("q", **{**sql, "url": "x"}), fz.PlanError, "is no URL"),
        (
            lambda p: fz.lookup_sql(
                "q", **{**sql, "url": f"postgresql://me:{NEVER_IN_A_TEXT}@host/db"}
            ),
            fz.PlanError,
            'fz.secret("USERS_DB")',
        ),
        (lambda p: fz.lookup_iceberg("users"), fz.PlanError, "'users' is no table"),
        (
            lambda p: fz.lookup_iceberg("a.b", snapshot=1, refresh="1m"),
            fz.PlanError,
            "contradict each other",
        ),
        (lambda p: fz.lookup_iceberg("a.b", snapshot="1"), fz.TypeMismatch, "snapshot='1'"),
        (lambda p: fz.read_memory([{"a": 1}]).join_lookup(3, on="a"), fz.TypeMismatch, "a int"),
    ]


@pytest.mark.parametrize(("make", "error", "text"), table_errors())
@pytest.mark.usefixtures("users")
def test_table_errors(make: Any, error: type[fz.FrazilError], text: str, tmp_path: Path) -> None:
    with pytest.raises(error) as caught:
        make(tmp_path)
    assert text in str(caught.value)
    assert NEVER_IN_A_TEXT not in str(caught.value)
