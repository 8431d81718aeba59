"""Differences between a stream's columns and its table's: found, refused, ended by a commit."""

import re
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from frazil.cli import main
from frazil.drift import Drift
from frazil.errors import CommitRefused, ConfigError, SchemaMismatch
from frazil.iceberg import drift as drifting
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.drift import TRIES_MAX, changes, evolve, unreadable
from frazil.iceberg.schema import to_iceberg
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from tests.services.duckdb_reader import DuckdbReader

EVOLVE = fz.Drift(on_new_column="evolve", on_wider_type="evolve", on_missing_column="evolve")


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        ([("id", pa.int64()), ("names", pa.string())], r"no column 'names'\n.*did you mean 'name'"),
        ([("name", pa.string())], r"requires column 'id' and the stream does not have it"),
        ([("id", pa.int32())], r"'id' is int in the stream and long in table t\n.*to int64"),
        ([("id", pa.string())], r"'id' is string in the stream and long in table t"),
        (
            [("id", pa.int64()), ("s", pa.struct([("x", pa.int64())]))],
            r"'s.x' is long in the stream and int in table t\n.*to int32",
        ),
        (
            [("id", pa.int64()), ("s", pa.struct([("y", pa.int32())]))],
            r"table t has no column 's.y'",
        ),
        (
            [("id", pa.int64()), ("s", pa.list_(pa.int32()))],
            r"'s' is list<int> in the stream and struct<",
        ),
    ],
)
def test_streams_that_do_not_fit(stream: list[tuple[str, pa.DataType]], text: str) -> None:
    table = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("name", pa.string()),
            pa.field("s", pa.struct([("x", pa.int32())])),
        ]
    )
    with pytest.raises(SchemaMismatch) as caught:
        changes(to_iceberg(table), pa.schema(stream), "t", Drift())
    assert re.search(text, str(caught.value))


def test_streams_that_fit() -> None:
    table = pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())])
    for stream in (
        [("id", pa.int64())],
        [("name", pa.large_string()), ("id", pa.int64())],
        [("id", pa.uint32())],
    ):
        assert changes(to_iceberg(table), pa.schema(stream), "t", Drift()) == []


STRUCT = pa.struct([("x", pa.int32()), ("y", pa.float32())])


def test_what_is_done_about_each_difference() -> None:
    table = pa.schema(
        [
            pa.field("id", pa.int32(), nullable=False),
            pa.field("gone", pa.string(), nullable=False),
            ("old", pa.string()),
            ("price", pa.decimal128(8, 2)),
            ("s", pa.struct([("x", pa.int32())])),
            ("list", pa.list_(pa.struct([("x", pa.int32())]))),
            ("wide", pa.int64()),
        ]
    )
    stream = pa.schema(
        [
            ("id", pa.int64()),
            ("new", pa.string()),
            ("price", pa.decimal128(12, 2)),
            ("s", STRUCT),
            ("list", pa.list_(STRUCT)),
            ("wide", pa.int32()),
            ("note", pa.string()),
        ]
    )
    chosen = fz.Drift(
        on_new_column={"note": "ignore", "*": "evolve"},
        on_wider_type="evolve",
        on_missing_column="evolve",
        renamed={"old": "new"},
    )
    assert [str(change) for change in changes(to_iceberg(table), stream, "t", chosen)] == [
        "rename column old to new",
        "widen column id to long",
        "make column id optional",
        "widen column price to decimal(12, 2)",
        "add column s.y float",
        "add column list.element.y float",
        "leave out column note",
        "make column gone optional",
    ]


@pytest.mark.parametrize(
    ("table", "stream", "partitioned"),
    [
        (pa.int64(), pa.float64(), False),
        (pa.string(), pa.int64(), False),
        (pa.decimal128(8, 2), pa.decimal128(9, 3), False),
        (pa.list_(pa.int64()), pa.int64(), False),
        (pa.float32(), pa.float64(), True),
    ],
)
def test_what_no_policy_evolves(table: pa.DataType, stream: pa.DataType, partitioned: bool) -> None:
    with pytest.raises(SchemaMismatch, match="column 'a' is"):
        changes(
            to_iceberg(pa.schema([("a", table)])),
            pa.schema([("a", stream)]),
            "t",
            EVOLVE,
            [1] if partitioned else [],
        )


def test_a_key_is_never_made_optional() -> None:
    table = to_iceberg(pa.schema([("id", pa.int64()), ("a", pa.int64())]), ["id"])
    assert changes(table, pa.schema([("id", pa.int64())]), "t", EVOLVE) == []
    with pytest.raises(SchemaMismatch, match="requires column 'id'"):
        changes(table, pa.schema([("a", pa.int64())]), "t", EVOLVE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fz.Drift(on_wider_type="ignore"),
        lambda: fz.Drift(on_new_column={"a": "all"}),  # type: ignore[dict-item]
        lambda: fz.Drift(on_type_conflict="evolve"),
        lambda: fz.Drift(on_missing_column="ignore"),
        lambda: fz.Drift(renamed={"a": "c", "b": "c"}),
        lambda: fz.Drift(renamed={"a": "b", "b": "c"}),
        lambda: fz.read_memory([{"id": 1}]).write_iceberg("s.t", drift="all"),  # type: ignore[arg-type]
    ],
)
def test_policies_that_are_not_offered(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


def _catalog(folder: Path) -> dict[str, str]:
    return {"type": "sql", "uri": f"sqlite:///{folder}/c.db", "warehouse": f"file://{folder}/w"}


def _write(folder: Path, rows: pa.Table, drift: Any = None) -> None:
    """The next rows of one pipeline, whose stream has the columns of these rows."""
    files = folder / "in"
    files.mkdir(exist_ok=True)
    number = len(list(files.iterdir()))
    pq.write_table(rows, files / f"{number:03d}.parquet")
    stream = fz.read_files(
        f"{files}/{number:03d}.parquet", format="parquet", schema=rows.schema, name="rows"
    )
    fz.Pipeline(
        f"drift-{number}",
        stream.write_iceberg("shop.rows", catalog=_catalog(folder), drift=drift),
        checkpoint=f"{folder}/checkpoint",
    ).run(until="now", quiet=True)


def _read(folder: Path) -> list[dict[str, Any]]:
    table = open_catalog(_catalog(folder)).load_table("shop.rows")
    return sorted(table.scan().to_arrow().to_pylist(), key=lambda row: row["id"])


def test_rows_of_both_sides_of_a_change(tmp_path: Path) -> None:
    old = pa.table({"id": pa.array([1], pa.int32()), "old": ["a"], "s": [{"x": 1}]})
    _write(tmp_path, old)
    new = pa.table(
        {
            "id": pa.array([2**40], pa.int64()),
            "new": ["b"],
            "s": [{"x": 2, "y": "deep"}],
            "more": [[1.5]],
        }
    )
    with pytest.raises(SchemaMismatch):
        _write(tmp_path, new)
    (tmp_path / "in" / "001.parquet").unlink()
    evolving = fz.Drift(on_new_column="evolve", on_wider_type="evolve", renamed={"old": "new"})
    _write(tmp_path, new, evolving)
    _write(tmp_path, old.set_column(0, "id", pa.array([3], pa.int32())).drop(["old"]), "evolve")
    assert _read(tmp_path) == [
        {"id": 1, "new": "a", "s": {"x": 1, "y": None}, "more": None},
        {"id": 3, "new": None, "s": {"x": 1, "y": None}, "more": None},
        {"id": 2**40, "new": "b", "s": {"x": 2, "y": "deep"}, "more": [1.5]},
    ]


def test_columns_that_are_left_out(tmp_path: Path) -> None:
    _write(tmp_path, pa.table({"id": [1], "s": [{"x": 1}], "a": ["text"]}))
    other = pa.table({"id": [2], "s": [{"x": 2, "y": "deep"}], "a": [5], "more": [1.5]})
    ignoring = fz.Drift(on_new_column="ignore", on_type_conflict="ignore")
    _write(tmp_path, other, ignoring)
    assert _read(tmp_path) == [
        {"id": 1, "s": {"x": 1}, "a": "text"},
        {"id": 2, "s": {"x": 2}, "a": None},
    ]


@pytest.mark.parametrize("kind", [pa.string(), None], ids=["of another type", "missing"])
def test_a_key_is_not_left_out(tmp_path: Path, kind: pa.DataType | None) -> None:
    catalog = open_catalog(_catalog(tmp_path))
    catalog.create_namespace("shop")
    columns = [("a", pa.string()), *([("id", kind)] if kind else [])]
    catalog.create_table("shop.rows", to_iceberg(pa.schema(columns)))
    drift = fz.Drift(on_new_column="ignore", on_type_conflict="ignore")
    rows = fz.read_memory([{"id": 1, "a": "x"}])
    sink = rows.write_iceberg(
        "shop.rows", catalog=_catalog(tmp_path), mode="upsert", key=["id"], drift=drift
    )
    with pytest.raises(SchemaMismatch, match="column 'id' is of the key"):
        fz.Pipeline("p", sink, checkpoint=f"{tmp_path}/checkpoint").run(until="now", quiet=True)


def test_the_table_is_as_it_was_if_the_start_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, pa.table({"id": [1], "a": ["text"]}))
    before = open_catalog(_catalog(tmp_path)).load_table("shop.rows").metadata_location
    with pytest.raises(SchemaMismatch, match="column 'a' is"):
        _write(tmp_path, pa.table({"id": [2], "a": [5], "more": [1.5]}), "evolve")
    assert open_catalog(_catalog(tmp_path)).load_table("shop.rows").metadata_location == before


def _made(folder: Path) -> tuple[Catalog, Table]:
    catalog = open_catalog(_catalog(folder))
    catalog.create_namespace("shop")
    return catalog, catalog.create_table("shop.rows", to_iceberg(pa.schema([("id", pa.int32())])))


def _others(folder: Path, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Somebody adds a column each time between our look and our commit."""
    ours = drifting._commit
    left = iter(range(times))

    def commit(catalog: Catalog, table: Table, needed: Any) -> None:
        if (number := next(left, None)) is not None:
            foreign = open_catalog(_catalog(folder)).load_table("shop.rows")
            with foreign.update_schema() as update:
                update.add_column(
                    f"theirs_{number}",
                    to_iceberg(pa.schema([("x", pa.string())])).fields[0].field_type,
                )
        ours(catalog, table, needed)

    monkeypatch.setattr(drifting, "_commit", commit)


def test_others_change_the_schema_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, _ = _made(tmp_path)
    _others(tmp_path, monkeypatch, times=2)
    stream = pa.schema([("id", pa.int64()), ("ours", pa.string()), ("theirs_1", pa.string())])
    table, done = evolve(catalog, lambda: catalog.load_table("shop.rows"), stream, EVOLVE)
    assert {field.name: field.field_id for field in table.schema().fields} == {
        "id": 1,
        "theirs_0": 2,
        "theirs_1": 3,
        "ours": 4,
    }
    assert [str(change) for change in done] == ["widen column id to long", "add column ours string"]


def test_others_change_the_schema_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, _ = _made(tmp_path)
    _others(tmp_path, monkeypatch, times=TRIES_MAX)
    with pytest.raises(CommitRefused, match="changed by others 10 times"):
        evolve(
            catalog,
            lambda: catalog.load_table("shop.rows"),
            pa.schema([("ours", pa.string())]),
            EVOLVE,
        )


def test_an_id_that_was_given_is_not_given_again(tmp_path: Path) -> None:
    """A column that others added and took back has used its id up, whatever the schema says."""
    catalog, seen = _made(tmp_path)
    foreign = catalog.load_table("shop.rows")
    with foreign.update_schema() as update:
        update.add_column("theirs", to_iceberg(pa.schema([("x", pa.int64())])).fields[0].field_type)
    with foreign.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("theirs")
    tables = iter([seen])
    stream = pa.schema([("id", pa.int32()), ("ours", pa.string())])
    table, _ = evolve(
        catalog, lambda: next(tables, None) or catalog.load_table("shop.rows"), stream, EVOLVE
    )
    assert {field.name: field.field_id for field in table.schema().fields} == {"id": 1, "ours": 3}


def test_what_others_change_so_that_rows_are_not_seen(tmp_path: Path) -> None:
    catalog = open_catalog(_catalog(tmp_path))
    catalog.create_namespace("shop")
    inner = pa.struct([("x", pa.int32()), ("y", pa.string())])
    made = catalog.create_table(
        "shop.rows", to_iceberg(pa.schema([("id", pa.int32()), ("a", pa.string()), ("s", inner)]))
    )
    written = made.schema()
    kind = written.find_field("a").field_type

    def changed(change: Any) -> str | None:
        table = catalog.load_table("shop.rows")
        with table.update_schema(allow_incompatible_changes=True) as update:
            change(update)
        return unreadable(written, catalog.load_table("shop.rows").schema())

    assert changed(lambda to: to.add_column("more", kind)) is None
    assert changed(lambda to: to.rename_column("a", "b")) is None
    assert changed(lambda to: to.update_column("id", written.find_field("id").field_type)) is None
    assert changed(lambda to: to.delete_column(("s", "y"))) == (
        "column 's.y' was dropped, or made anew"
    )
    assert changed(lambda to: to.add_column(("s", "y"), kind)) == (
        "column 's.y' was dropped, or made anew"
    )
    written = catalog.load_table("shop.rows").schema()
    assert changed(lambda to: to.update_column("b", required=True)) == "column 'b' is required now"
    written = catalog.load_table("shop.rows").schema()
    assert changed(lambda to: to.add_column("last", kind, required=True)) == (
        "column 'last' is there now, and required"
    )


def test_check_says_what_would_be_changed(tmp_path: Path) -> None:
    _write(tmp_path, pa.table({"id": pa.array([1], pa.int32())}))
    program = tmp_path / "program.py"
    program.write_text(
        "import frazil as fz\n"
        "rows = fz.read_memory([{'id': 1, 'note': 'x'}])\n"
        f"catalog = {_catalog(tmp_path)!r}\n"
        "pipeline = fz.Pipeline(\n"
        "    'p',\n"
        "    rows.write_iceberg('shop.rows', catalog=catalog, drift='evolve'),\n"
        "    rows.write_iceberg('shop.other', catalog=catalog),\n"
        ")\n"
    )
    done = CliRunner().invoke(main, ["check", str(program), "--drift"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[1:] == [
        "table shop.rows: would widen column id to long",
        "table shop.rows: would add column note string",
        "table shop.other: would be made",
    ]
    table = open_catalog(_catalog(tmp_path)).load_table("shop.rows")
    assert [field.name for field in table.schema().fields] == ["id"]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_pipeline_goes_on_with_another_column(tmp_path: Path, mode: Any, version: Any) -> None:
    """The same pipeline, with its positions and its index of keys."""
    folder = tmp_path / "in"
    folder.mkdir()

    def run(schema: dict[str, type]) -> None:
        stream = fz.read_files(f"{folder}/*.jsonl", format="json", schema=schema)
        sink = stream.write_iceberg(
            "shop.rows",
            catalog=_catalog(tmp_path),
            mode=mode,
            key=["id"] if mode == "upsert" else (),
            format_version=version,
            drift="evolve",
        )
        checkpoint = f"{tmp_path}/checkpoint"
        fz.Pipeline("drift", sink, checkpoint=checkpoint).run(until="now", quiet=True)

    (folder / "0.jsonl").write_text('{"id": 1, "a": "one"}\n{"id": 2, "a": "two"}\n')
    run({"id": int, "a": str})
    (folder / "1.jsonl").write_text('{"id": 2, "a": "zwei", "b": 2.5}\n{"id": 3, "b": 3.5}\n')
    run({"id": int, "a": str | None, "b": float | None})  # type: ignore[dict-item]
    table = open_catalog(_catalog(tmp_path)).load_table("shop.rows")
    rows = DuckdbReader().read_iceberg(table.metadata_location).sort_by("id").to_pylist()
    new = [{"id": 2, "a": "zwei", "b": 2.5}, {"id": 3, "a": None, "b": 3.5}]
    if mode == "append":
        assert sorted(map(str, rows)) == sorted(
            map(str, [{"id": 1, "a": "one", "b": None}, {"id": 2, "a": "two", "b": None}, *new])
        )
    else:
        assert rows == [{"id": 1, "a": "one", "b": None}, *new]
