"""Change events as streams: what is declared, what may follow, and what is left, over restarts."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from random import Random
from typing import Any

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.errors import (
    ColumnNotFound,
    ConfigError,
    DataError,
    DecodeError,
    FrazilError,
    ModeMismatch,
    PlanError,
    TypeMismatch,
)
from pyiceberg.catalog import load_catalog

from tests.pipelines.pages import UNSENT, page_events, pages

Event = dict[str, Any]
USERS = {"id": pa.int64(), "name": pa.string(), "n": pa.int64()}


def users(
    path: Path | str = "users.jsonl", format: Any = "debezium-json", **more: Any
) -> fz.Stream:
    return fz.read_files(str(path), format=format, schema=USERS, key=["id"], **more)


def partitioned(events: list[Event | None]) -> list[list[Event | None]]:
    """The events in two partitions by key, as Debezium's messages are; some with a wrapper."""
    parts: list[list[Event | None]] = [[], []]
    part = 0
    for number, event in enumerate(events):
        if event is not None:
            part = (event["after"] or event["before"])["id"] % 2
        wrapped = {"schema": None, "payload": event}
        parts[part].append(wrapped if number % 3 == 0 and event is not None else event)
    return parts


def write(folder: Path, number: int, events: list[Event | None]) -> None:
    for name, part in zip("ab", partitioned(events), strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(event) + "\n" for event in part)
        (folder / name / f"{number}.jsonl").write_text(text)


def events_of(random: Random, count: int, *, whole: bool) -> tuple[list[Event | None], list[Event]]:
    """What Debezium writes of random statements, and the rows there are at the end."""
    table: dict[int, Event] = {}
    events: list[Event | None] = []
    for _ in range(count):
        id_ = random.randrange(12)
        old = table.get(id_)
        new = {"id": id_, "name": random.choice("abc"), "n": random.randrange(100)}
        before = old if whole or old is None else None
        if old is None:
            events.append({"op": random.choice("cr"), "before": None, "after": new})
            table[id_] = new
        elif random.random() < 0.3:
            del table[id_]
            kept = old if whole else {"id": id_, "name": "", "n": 0}
            events += [{"op": "d", "before": kept, "after": None}, None]
        elif random.random() < 0.2 and (moved := random.randrange(100, 112)) not in table:
            new = {**new, "id": moved}
            del table[id_]  # a key that changes is a delete and an insert
            events += [{"op": "d", "before": old, "after": None}, None]
            events.append({"op": "c", "before": None, "after": new})
            table[moved] = new
        else:
            events.append({"op": "u", "before": before, "after": new})
            table[id_] = new
    return events, list(table.values())


def by_id(rows: list[Event]) -> list[Event]:
    return sorted(rows, key=lambda row: int(row["id"]))


def test_a_stream_of_events_is_one_of_changes() -> None:
    read = users(metadata=["op", "source.ts_ms", "offset"])
    assert repr(read).startswith("Stream(changes by id) <- file:users.jsonl")
    assert read.schema.names == [*USERS, "_op", "_source_ts_ms", "_offset"]
    text = fz.Pipeline("p", read.filter(col("n") > 1).as_log().write_console()).explain()
    assert "changes by id (rows before a change may be missing)" in text
    whole = users(format=fz.DebeziumJson(before="full"))
    text = fz.Pipeline("p", whole.as_log().write_console()).explain()
    assert "changes by id" in text
    assert "may be missing" not in text


def test_what_is_refused_where_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="need the key of their table"):
        fz.read_files("x", format="debezium-json", schema=USERS)
    with pytest.raises(PlanError, match="write key="):
        fz.read_files("x", format="debezium-json", schema=USERS, key="id")
    with pytest.raises(ColumnNotFound, match="no column 'ids'"):
        fz.read_files("x", format="debezium-json", schema=USERS, key=["ids"])
    with pytest.raises(PlanError, match="goes with"):
        fz.read_files("x", format="json", schema=USERS, key=["id"])
    with pytest.raises(ConfigError, match="metadata"):
        users(format=fz.DebeziumJson(unwrapped=True), metadata=["op"])
    with pytest.raises(ConfigError, match="decimals"):
        fz.DebeziumJson(decimals="exact")  # type: ignore[arg-type]
    with pytest.raises(ModeMismatch, match="updates of its rows"):
        users().write_files("out", format="json")
    with pytest.raises(ModeMismatch, match="agg has to know the row before"):
        users().group_by("name").agg(rows=fz.count())
    pq.write_table(pa.table({"id": [1]}), tmp_path / "ids.parquet")
    ids = fz.lookup_parquet(str(tmp_path / "ids.parquet"))
    with pytest.raises(ModeMismatch, match="how='inner'"):
        users().join_lookup(ids, on="id")
    users().join_lookup(ids, on="id", how="left")
    users(format=fz.DebeziumJson(before="full")).join_lookup(ids, on="id")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_is_the_table_over_restarts(seed: int, whole: bool, tmp_path: Path) -> None:
    random = Random(seed)
    events, table = events_of(random, 400, whole=whole)
    format = fz.DebeziumJson(before="full" if whole else "key")
    read = users(tmp_path / "events", format, lanes="by_folder")
    some = read.filter(col("n") >= 50).with_columns(twice=col("n") * 2)
    lake = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path / 'catalog.db'}",
        "warehouse": f"file://{tmp_path / 'warehouse'}",
    }
    rows, large = read.write_memory(name="rows"), some.write_memory(name="large")
    kept = some.write_iceberg("crm.users", mode="upsert", key=["id"], catalog=lake)
    begin = read_rows = 0
    for number, end in enumerate([*sorted(random.sample(range(1, len(events)), 2)), len(events)]):
        write(tmp_path / "events", number, events[begin:end])
        begin = end
        report = fz.Pipeline(
            "users", rows, large, kept, checkpoint=str(tmp_path / "state"), workers=1 + number % 2
        ).run(until="now", quiet=True)
        (source,) = report.sources.values()
        read_rows += source.read
        assert source.rejected == 0
    assert read_rows == len(events)
    assert by_id(rows.table().to_pylist()) == by_id(table)
    expected = [{**row, "twice": row["n"] * 2} for row in table if row["n"] >= 50]
    assert by_id(large.table().to_pylist()) == by_id(expected)
    landed = load_catalog("default", **lake).load_table("crm.users").scan().to_arrow()
    assert by_id(landed.to_pylist()) == by_id(expected)


@pytest.mark.parametrize("whole", [True, False])
def test_a_bad_event_costs_only_itself(whole: bool, tmp_path: Path) -> None:
    good = {"op": "c", "before": None, "after": {"id": 1, "name": "a", "n": 1}}
    write(tmp_path / "events", 0, [{**good, "after": {"id": 1, "name": "a", "n": "x"}}, good])
    read = users(tmp_path / "events", lanes="by_folder")
    if whole:
        sink = read.write_memory()
        pipeline = fz.Pipeline("bad", sink, checkpoint=str(tmp_path / "state"))
        with pytest.raises(DecodeError, match=r'b/0.jsonl@0: field "n": expected number'):
            pipeline.run(until="now", quiet=True)
        return
    sink, bad = read.write_memory(), read.rejected.write_memory(name="bad")
    fz.Pipeline("bad", sink, bad, checkpoint=str(tmp_path / "state")).run(until="now", quiet=True)
    assert sink.table().to_pylist() == [good["after"]]
    (row,) = bad.table().to_pylist()
    assert (row["column"], json.loads(row["raw"])["payload"]["op"]) == ("n", "c")


def test_columns_that_nobody_reads_may_be_missing_values(tmp_path: Path) -> None:
    placeholder = "__debezium_unavailable_value"
    event = {"op": "u", "before": None, "after": {"id": 1, "name": placeholder, "n": 1}}
    write(tmp_path / "events", 0, [event])
    read = users(tmp_path / "events", lanes="by_folder")
    assert read.select("n").as_log().head().to_pylist() == [{"n": 1, "_kind": "update_after"}]
    with pytest.raises(DecodeError, match="REPLICA IDENTITY FULL"):
        read.head()


# -- values that were not sent


@pytest.mark.parametrize("seed", range(4))
def test_unsent_values_are_those_of_the_table(seed: int, tmp_path: Path) -> None:
    """Over restarts with other numbers of workers, and events that are written again."""
    events, table = page_events(Random(seed), 600)
    for number in range(3):
        write(
            tmp_path / "in",
            number,
            events[number * 200 : None if number == 2 else number * 200 + 200],
        )
        read = pages(tmp_path / "in", ["body", "raw"], lanes="by_folder")
        sink = read.write_memory()
        pipeline = fz.Pipeline(
            "pages", sink, checkpoint=str(tmp_path / "state"), workers=1 + (number + seed) % 3
        )
        pipeline.run(until="now", quiet=True)
    left = sorted(sink.table().to_pylist(), key=lambda row: row["id"])
    for row in left:
        row["raw"] = None if row["raw"] is None else base64.b64encode(row["raw"]).decode()
    assert left == table


def test_unsent_value_of_an_unknown_row_ends_the_run(tmp_path: Path) -> None:
    row = {"id": 7, "title": "a", "body": UNSENT, "raw": None}
    write(tmp_path / "in", 0, [{"op": "u", "before": None, "after": row, "source": {"lsn": 5}}])
    sink = pages(tmp_path / "in", ["body"], lanes="by_folder").write_memory()
    with pytest.raises(DataError, match='id=7: column "body" was not sent') as error:
        fz.Pipeline("pages", sink, checkpoint=str(tmp_path / "state")).run(until="now", quiet=True)
    assert "snapshot.mode=initial" in str(error.value)


def test_unsent_value_that_is_not_kept_is_a_bad_row(tmp_path: Path) -> None:
    row = {"id": 7, "title": UNSENT, "body": None, "raw": None}
    write(tmp_path / "in", 0, [{"op": "u", "before": None, "after": row, "source": {"lsn": 5}}])
    read = pages(tmp_path / "in", ["body"], lanes="by_folder")
    sink, bad = read.write_memory(), read.rejected.write_memory(name="bad")
    pipeline = fz.Pipeline("pages", sink, bad, checkpoint=str(tmp_path / "state"))
    pipeline.run(until="now", quiet=True)
    (row,) = bad.table().to_pylist()
    assert row["column"] == "title"
    assert 'DebeziumJson(keep=["title"])' in row["reason"]


def test_other_columns_are_kept_than_the_checkpoint_has(tmp_path: Path) -> None:
    write(tmp_path / "in", 0, page_events(Random(1), 20)[0])

    def run(keep: list[str]) -> None:
        sink = pages(tmp_path / "in", keep, lanes="by_folder").write_memory()
        fz.Pipeline("pages", sink, checkpoint=str(tmp_path / "state")).run(until="now", quiet=True)

    run(["body", "raw"])
    with pytest.raises(FrazilError, match="columns"):
        run(["raw"])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"keep": "body"}, ConfigError),
        ({"keep": ["body"], "before": "full"}, ConfigError),
        ({"keep": ["body"], "unwrapped": True}, ConfigError),
        ({"keep": ["nobody"]}, ColumnNotFound),
        ({"keep": ["id"]}, PlanError),
        ({"keep": ["body", "body"]}, PlanError),
        ({"keep": ["n"]}, TypeMismatch),
    ],
)
def test_columns_that_cannot_be_kept(options: dict[str, Any], error: type[Exception]) -> None:
    schema = {"id": int, "body": pa.string(), "n": pa.list_(pa.string())}
    with pytest.raises(error):
        fz.read_files("pages.jsonl", format=fz.DebeziumJson(**options), schema=schema, key=["id"])


def test_kept_columns_are_explained() -> None:
    text = fz.Pipeline("pages", pages("pages.jsonl", ["body"]).write_memory()).explain()
    assert "unsent_values by id" in str(text)
    assert "the newest body of every key" in str(text)
