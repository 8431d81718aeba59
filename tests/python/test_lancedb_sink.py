"""Rows into tables of LanceDB, in a folder."""

from __future__ import annotations

import datetime
import multiprocessing
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import frazil as fz
import lancedb
import pyarrow as pa
import pytest
from frazil import lancedb_sink
from frazil.lancedb_sink import LanceDbSink
from frazil.testing import sink_conformance

ROWS = pa.schema([pa.field("id", pa.int64(), False), pa.field("text", pa.string())])


def table_of(folder: Path, name: str = "rows") -> Any:
    return lancedb.connect(str(folder)).open_table(name)


def rows_of(folder: Path, name: str = "rows") -> list[dict[str, Any]]:
    if not (folder / f"{name}.lance").exists():
        return []
    found = table_of(folder, name).to_arrow()
    ours = [each for each in found.schema.names if each.startswith("frazil_")]
    return list(found.drop_columns(ours).to_pylist())


def make(folder: Path, key: str | None = None) -> LanceDbSink:
    return LanceDbSink(str(folder), "rows", key, {}, {}, True)


def batch(*ids: int, text: str = "x") -> Iterator[pa.RecordBatch]:
    return iter([pa.RecordBatch.from_pylist([{"id": n, "text": text} for n in ids], schema=ROWS)])


def commit(epoch: int, *, sink: str = "s", digest: str = "a", landed: int = -1) -> fz.Commit:
    return fz.Commit(sink=sink, epoch=epoch, digest=digest, landed=landed)


def run(folder: Path, *sinks: fz.Sink, name: str = "lance") -> fz.RunReport:
    pipeline = fz.Pipeline(
        name, *sinks, checkpoint=str(folder / "checkpoints"), checkpoint_every="20ms"
    )
    return pipeline.run(until="now", quiet=True)


@pytest.mark.parametrize("key", [None, "id"])
def test_it_passes_the_suite(tmp_path: Path, key: str | None) -> None:
    sink_conformance(lambda: make(tmp_path, key), lambda: rows_of(tmp_path))


def test_vectors_are_found(tmp_path: Path) -> None:
    rows = [{"id": n, "text": text, "vector": v} for n, (text, v) in enumerate(WORDS.items())]
    schema = pa.schema(
        [("id", pa.int64()), ("text", pa.string()), ("vector", pa.list_(pa.float32()))]
    )
    stream = fz.read_memory(rows, schema=schema)
    sink = stream.write_lancedb(str(tmp_path), "rows", vectors={"vector": 2})
    run(tmp_path, sink)
    run(tmp_path, sink)
    table = table_of(tmp_path)
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 2)
    found = table.search([0.1, 0.9]).limit(2).to_list()
    assert [row["text"] for row in found] == ["north", "east"]
    assert table.count_rows() == 3
    embedded = stream.embed("text", into="made", model=compass, dimension=2)
    run(tmp_path, embedded.write_lancedb(str(tmp_path), "made"), name="made")
    made = table_of(tmp_path, "made").search([-0.1, -1.0], vector_column_name="made")
    assert made.limit(1).to_list()[0]["text"] == "south"


def compass(texts: list[str]) -> list[list[float]]:
    return [WORDS[text] for text in texts]


WORDS = {"north": [0.0, 1.0], "east": [1.0, 0.0], "south": [0.0, -1.0]}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1.0], "a vector in 'v' has 1 numbers, and declared are 2"),
        (None, "a vector in 'v' is null, or a number in it"),
        ([1.0, None], "a vector in 'v' is null, or a number in it"),
    ],
)
def test_a_vector_that_is_none_ends_the_run(tmp_path: Path, bad: Any, message: str) -> None:
    """Before its epoch is accepted: without the row the next start goes on."""
    good = {"id": 1, "v": [1.0, 2.0]}
    schema = pa.schema({"id": pa.int64(), "v": pa.list_(pa.float64())})
    stream = fz.read_memory(pa.Table.from_pylist([good, {"id": 2, "v": bad}], schema))
    for _ in range(2):
        with pytest.raises(fz.SinkError, match=message):
            run(tmp_path, stream.write_lancedb(str(tmp_path), "rows", vectors={"v": 2}))
    assert rows_of(tmp_path) == []
    kept = stream.filter(fz.col("id") == 1)
    run(tmp_path, kept.write_lancedb(str(tmp_path), "rows", vectors={"v": 2}))
    assert [row["id"] for row in rows_of(tmp_path)] == [1]


def test_a_key_that_is_null_ends_the_run(tmp_path: Path) -> None:
    stream = fz.read_memory([{"id": None, "n": 1}, {"id": 2, "n": 1}])
    with pytest.raises(fz.SinkError, match="the key 'id' is null"):
        run(tmp_path, stream.write_lancedb(str(tmp_path), "rows", mode="upsert", key="id"))
    assert rows_of(tmp_path) == []


def test_a_row_takes_the_place_of_the_one_with_its_key(tmp_path: Path) -> None:
    for number in range(3):
        events = [{"id": n % 4, "n": 100 * number + n} for n in range(10 + number)]
        stream = fz.read_memory(events, name=f"events {number}")
        sink = stream.write_lancedb(str(tmp_path), "rows", mode="upsert", key="id")
        run(tmp_path, sink, name=f"upserts-{number}")
    found = sorted((row["id"], row["n"]) for row in rows_of(tmp_path))
    assert found == [(0, 208), (1, 209), (2, 210), (3, 211)]


def test_an_older_epoch_does_not_take_the_place_of_a_newer_one(tmp_path: Path) -> None:
    """Of a process that was held up between looking and writing."""
    sink, zombie = make(tmp_path, "id"), make(tmp_path, "id")
    for each in (sink, zombie):
        each.start(ROWS)
    sink.commit(commit(1), batch(1, 2, text="one"))
    held = zombie._open(create=False)
    assert not zombie._landed(held, commit(2))
    sink.commit(commit(2), batch(1, text="two"))
    sink.commit(commit(3), batch(1, text="three"))
    zombie._merge(held, commit(2), lancedb_sink._Source(batch(1, text="two")))
    zombie._note(commit(2))
    assert sorted(row["text"] for row in rows_of(tmp_path)) == ["one", "three"]
    assert lancedb_sink._noted(table_of(tmp_path).schema, "s") == (3, "a")


def _race(folder: Path, key: str | None, barrier: Any) -> None:
    sink = make(folder, key)
    sink.start(ROWS)
    for epoch in range(4):
        barrier.wait(60)
        sink.commit(commit(epoch), batch(*range(epoch * 10, epoch * 10 + 10)))


@pytest.mark.parametrize("key", [None, "id"])
def test_two_processes_commit_the_same_at_once(tmp_path: Path, key: str | None) -> None:
    spawn = multiprocessing.get_context("spawn")
    make(tmp_path, key).start(ROWS)
    barrier = spawn.Barrier(2)
    processes = [spawn.Process(target=_race, args=(tmp_path, key, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(row["id"] for row in rows_of(tmp_path)) == list(range(40))


def test_a_note_that_was_not_written(tmp_path: Path, monkeypatch: Any) -> None:
    """A process dies behind the rows: the next finds them, and goes on."""
    sink = make(tmp_path)
    sink.start(ROWS)
    with monkeypatch.context() as patched:
        patched.setattr(sink, "_note", lambda commit: None)
        sink.commit(commit(1), batch(1))
    again = make(tmp_path)
    again.start(ROWS)
    again.commit(commit(1), batch(1))
    again.commit(commit(2, landed=1), batch(2))
    assert sorted(row["id"] for row in rows_of(tmp_path)) == [1, 2]


def test_a_table_that_was_put_back_is_refused(tmp_path: Path) -> None:
    sink = make(tmp_path)
    sink.start(ROWS)
    sink.commit(commit(1), batch(1))
    version = table_of(tmp_path).version
    sink.commit(commit(2, landed=1), batch(2))
    table = table_of(tmp_path)
    table.delete("id = 2")  # what users do with rows is theirs
    sink.commit(commit(3, landed=2), batch(3))
    table.checkout(version)
    table.restore()
    with pytest.raises(fz.CommitRefused, match="put back to an older version"):
        sink.commit(commit(4, landed=3), batch(4))
    with pytest.raises(fz.CommitRefused, match="another epoch 1"):
        sink.commit(commit(1, digest="b"), batch(1))


def test_every_type_comes_back(tmp_path: Path) -> None:
    row = {
        "id": 1,
        "flag": True,
        "ratio": 0.5,
        "data": b"\x00\xff",
        "day": datetime.date(1969, 12, 31),
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, 678_901, datetime.UTC),
        "amount": Decimal("-12.50"),
        "tags": ["a", None],
        "place": {"city": "Köln", "zip": None},
    }
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), False),
            ("flag", pa.bool_()),
            ("ratio", pa.float64()),
            ("data", pa.binary()),
            ("day", pa.date32()),
            ("at", pa.timestamp("us", "UTC")),
            ("amount", pa.decimal128(12, 2)),
            ("tags", pa.list_(pa.string())),
            ("place", pa.struct([("city", pa.string()), ("zip", pa.string())])),
        ]
    )
    nothing = {name: None for name in row} | {"id": 2}
    stream = fz.read_memory([row, nothing], schema=schema)
    run(tmp_path, stream.write_lancedb(str(tmp_path), "rows"))
    assert rows_of(tmp_path) == [row, nothing]


def test_two_pipelines_write_to_one_table(tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        rows = fz.read_memory([{"id": 1}, {"id": 2}], name=name)
        run(tmp_path, rows.write_lancedb(str(tmp_path), "rows"), name=name)
    assert sorted(row["id"] for row in rows_of(tmp_path)) == [1, 1, 2, 2]


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    database = lancedb.connect(str(tmp_path))
    database.create_table("narrow", schema=pa.schema([("id", pa.int64())]))
    rows = fz.read_memory([{"id": 1, "text": "x"}])
    run(tmp_path, rows.write_lancedb(str(tmp_path), "appended"), name="first")
    for table, options, message in (
        ("narrow", {}, "has no column 'text'"),
        ("none", {"create": False}, "Table 'none' was not found"),
        ("appended", {"mode": "upsert", "key": "id"}, "has the primary key 'frazil_row'"),
    ):
        sink = rows.write_lancedb(str(tmp_path), table, **options)
        with pytest.raises(fz.SinkError, match=message):
            run(tmp_path, sink, name=f"refused-{table}")
    other = fz.read_memory([{"id": "a", "text": "x"}])
    with pytest.raises(fz.SinkError, match="column 'id' is int64, and its rows string"):
        run(tmp_path, other.write_lancedb(str(tmp_path), "appended"), name="other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uri": "db://cloud"}, "uri="),
        ({"mode": "merge"}, "mode="),
        ({"key": "id"}, "of another mode"),
        ({"mode": "upsert", "key": ["id", "text"]}, "one column"),
        ({"mode": "upsert", "key": "no"}, "no"),
        ({"vectors": {"no": 2}}, "which is no column"),
        ({"vectors": {"text": 2}}, "vectors are lists of floats"),
        ({"vectors": {"v": 0}}, "vectors= has 'v': 0"),
        ({"storage_options": {"aws_secret_access_key": "x"}}, "secrets are not written"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    rows = fz.read_memory([{"id": 1, "text": "x", "v": [1.0]}])
    with pytest.raises(fz.FrazilError, match=message):
        rows.write_lancedb(**{"uri": "search", "table": "rows", **options})
    changes = rows.group_by("id").agg(n=fz.count())
    with pytest.raises(fz.PlanError, match="as_log"):
        changes.write_lancedb("search", "rows")


def test_without_the_library(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    rows = fz.read_memory([{"id": 1}])
    with pytest.raises(fz.SinkError, match="lancedb, which is not installed"):
        run(tmp_path, rows.write_lancedb(str(tmp_path), "rows"))
