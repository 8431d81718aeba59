"""Tables by key with rows that come out of order, and with rows that stay when they are deleted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow as pa
import pytest
from frazil.errors import PlanChanged, PlanError, TypeMismatch
from frazil.iceberg.catalog import open_catalog
from frazil.run.drift import drift_report

from tests.pipelines.events import Event, events_at
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.upserts import Kept, Mirrors

if TYPE_CHECKING:
    from tests.services.duckdb_reader import DuckdbReader

SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "6")))
Version = Literal[2, 3]


def draw_disordered(rng: Random) -> list[list[Event]]:
    """Changes of few keys: `id` grows with each change of any key, `user` says what it is, `n` is
    the key. They come in any order, in any partition.
    """
    count = rng.choice([20, 60])
    keys = rng.choice([3, 10])
    events = [
        {**event, "n": rng.randrange(keys), "user": rng.choice("cuud"), "x": rng.random()}
        for event in events_at(*range(count))
    ]
    rng.shuffle(events)
    parts = rng.randint(1, 3)
    return [events[part::parts] for part in range(parts)]


def newest(partitions: list[list[Event]]) -> dict[int, Event]:
    """The newest change of each key."""
    found: dict[int, Event] = {}
    for event in sorted((e for part in partitions for e in part), key=lambda e: e["id"]):
        found[event["n"]] = event
    return found


def without(row: Event, *names: str) -> Event:
    return {name: value for name, value in row.items() if name not in names}


def run_with_crashes(mirrors: Mirrors, rng: Random) -> None:
    """Some processes that end early, and one that does not."""
    for step in rng.sample(range(3, 40), 3):
        with suppress(Crash):
            mirrors.run_drawn(rng, hook=CrashAt(step), every_s=0.01, batch_rows=rng.choice([1, 5]))
    mirrors.run_drawn(rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_older_rows_do_nothing(seed: int, tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Whatever the order in which they come, over restarts too: also of keys that are gone."""
    rng = Random(seed)
    partitions = draw_disordered(rng)

    def build(events: fz.Stream) -> Mapping[str, Kept]:
        changes = events.as_changes("user", key="n")
        return {
            "hard": Kept(changes, ["n"], options={"order_by": "id"}),
            "soft": Kept(changes, ["n"], options={"order_by": "id", "deletes": "soft"}),
            "rows": Kept(events, ["n"], ["bucket(2, id)"], options={"order_by": "id"}),
        }

    mirrors = Mirrors(partitions, build, tmp_path, version=rng.choice([2, 3]))
    run_with_crashes(mirrors, rng)
    left = newest(partitions).values()
    hard = [without(row, "user") for row in left if row["user"] != "d"]
    mirrors.check("hard", hard, duckdb_reader)
    soft = [{**without(row, "user"), "_deleted": row["user"] == "d"} for row in left]
    mirrors.check("soft", soft, duckdb_reader)
    mirrors.check("rows", list(left), duckdb_reader)


@pytest.mark.parametrize("type_", [pa.int32(), pa.timestamp("ms"), pa.date32()])
def test_types_of_order(type_: pa.DataType, tmp_path: Path) -> None:
    """What is negative is older than zero."""
    orders = pa.array([5, -7, 0, 6, -3, 6], pa.int32())
    if type_ == pa.timestamp("ms"):
        orders = orders.cast(pa.int64())
    rows = pa.table({"k": [1, 1, 1, 2, 2, 2], "v": list("abcdef"), "at": orders.cast(type_)})
    mirrors = Mirrors([[]], lambda events: {"none": Kept(events, ["id"])}, tmp_path)
    sink = fz.read_memory(rows).write_iceberg(
        "t.ordered", catalog=mirrors.properties, mode="upsert", key="k", order_by="at"
    )
    fz.Pipeline("p", sink, checkpoint=str(tmp_path / "c")).run(until="now", quiet=True)
    found = mirrors.iceberg("ordered").scan().to_arrow()
    # Of two that are equal the later one counts.
    assert dict(zip(*(found.column(c).to_pylist() for c in "kv"), strict=True)) == {1: "a", 2: "f"}


def test_older_rows_are_counted(tmp_path: Path) -> None:
    events = [{**event, "n": 1} for event in reversed(events_at(1, 2, 3))]

    def build(rows: fz.Stream) -> Mapping[str, Kept]:
        return {"rows": Kept(rows, ["n"], options={"order_by": "id"})}

    mirrors = Mirrors([events], build, tmp_path)
    mirrors.run()
    summary: Any = mirrors.iceberg("rows").metadata.current_snapshot().summary  # type: ignore[union-attr]
    assert summary["frazil.older-rows"] == "2"


def test_row_without_order_is_refused(tmp_path: Path) -> None:
    def build(rows: fz.Stream) -> Mapping[str, Kept]:
        return {"rows": Kept(rows, ["id"], options={"order_by": "n"})}

    events = [{**event, "n": None} for event in events_at(1, 2)]
    with pytest.raises(PlanError, match='2 rows of a batch have no value in order_by="n"'):
        Mirrors([events], build, tmp_path).run()


@pytest.mark.parametrize("seed", SEEDS)
def test_deleted_rows_stay_marked(seed: int, tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """With what the delete brought; a row that comes again is there again."""
    rng = Random(seed)
    partitions: list[list[Event]] = []
    left: dict[int, Event] = {}
    for part in range(rng.randint(1, 3)):
        events = events_at(*range(rng.choice([1, 40, 80])))
        for event in events:
            event |= {"n": 100 * part + rng.randrange(5), "user": rng.choice("cud")}
            event["x"] = None if event["user"] == "d" else rng.random()
            left[event["n"]] = {**without(event, "user"), "_deleted": event["user"] == "d"}
        partitions.append(events)

    def build(events: fz.Stream) -> Mapping[str, Kept]:
        changes = events.as_changes("user", key="n")
        return {"rows": Kept(changes, ["n"], options={"deletes": "soft"})}

    mirrors = Mirrors(partitions, build, tmp_path, version=rng.choice([2, 3]))
    run_with_crashes(mirrors, rng)
    mirrors.check("rows", list(left.values()), duckdb_reader)


class User(fz.Schema):
    id: int
    plan: str | None


@pytest.mark.parametrize("seed", SEEDS)
def test_change_events_by_their_position(seed: int, tmp_path: Path) -> None:
    """Of Debezium, of which deletes have only the key, in any order and some of them twice."""
    rng = Random(seed)
    events: list[dict[str, Any]] = []
    left: dict[int, str] = {}
    for lsn in range(10, 70):
        key, plan = rng.randrange(6), f"p{lsn}"
        if rng.random() < 0.3:
            event = {"op": "d", "before": {"id": key}, "after": None}
            left.pop(key, None)
        else:
            event = {"op": "u", "before": None, "after": {"id": key, "plan": plan}}
            left[key] = plan
        events.append({**event, "source": {"lsn": lsn}})
    events += rng.sample(events, 10)
    rng.shuffle(events)
    lines = [json.dumps(event) for event in events]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    users = fz.read_files(
        str(tmp_path / "in.jsonl"),
        format="debezium-json",
        schema=User,
        key=["id"],
        metadata=["source.lsn"],
    )
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path / 'catalog.db'}",
        "warehouse": f"file://{tmp_path / 'warehouse'}",
    }
    sink = users.write_iceberg(
        "t.users", catalog=properties, mode="upsert", key=["id"], order_by="_source_lsn"
    )
    fz.Pipeline("p", sink, checkpoint=str(tmp_path / "c")).run(until="now", quiet=True)
    rows = open_catalog(properties).load_table("t.users").scan().to_arrow().to_pylist()
    assert {row["id"]: row["plan"] for row in rows} == left
    assert len(rows) == len(left)


def test_order_that_deletes_may_not_have(tmp_path: Path) -> None:
    """A delete with only its key has zero in a column that may not be null: no order."""
    (tmp_path / "in.jsonl").write_text("")

    def write(before: Literal["key", "full"], *, nullable: bool) -> None:
        fields = [pa.field("id", pa.int64(), False), pa.field("version", pa.int64(), nullable)]
        users = fz.read_files(
            str(tmp_path / "in.jsonl"),
            format=fz.DebeziumJson(before=before),
            schema=pa.schema(fields),
            key=["id"],
        )
        some = users.filter(fz.col("version") > 1).with_columns(twice=fz.col("version") * 2)
        some.write_iceberg("t.x", mode="upsert", key="id", order_by="version")

    with pytest.raises(PlanError, match="a delete may bring only its key"):
        write("key", nullable=False)
    write("key", nullable=True)
    write("full", nullable=False)


def test_drift_of_a_table_with_deleted_rows(tmp_path: Path) -> None:
    """The column that marks them is no difference."""
    rows = [{"id": 1, "op": "c", "v": 1}, {"id": 1, "op": "d", "v": None}]
    changes = fz.read_memory(rows).as_changes("op", key="id")
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path / 'catalog.db'}",
        "warehouse": f"file://{tmp_path / 'warehouse'}",
    }
    sink = changes.write_iceberg(
        "t.soft", catalog=properties, mode="upsert", key="id", deletes="soft"
    )
    pipeline = fz.Pipeline("p", sink, checkpoint=str(tmp_path / "c"))
    pipeline.run(until="now", quiet=True)
    assert drift_report(pipeline) == ["table t.soft: nothing to change"]


def test_options_are_checked() -> None:
    rows = fz.read_memory([{"id": 1, "op": "c", "f": 0.5}])
    changes = rows.as_changes("op", key="id")
    with pytest.raises(TypeMismatch, match="order_by='f' is double"):
        rows.write_iceberg("t.x", mode="upsert", key="id", order_by="f")
    with pytest.raises(fz.FrazilError, match="no column 'at'"):
        rows.write_iceberg("t.x", mode="upsert", key="id", order_by="at")
    with pytest.raises(PlanError, match="of a stream without deletes"):
        rows.write_iceberg("t.x", mode="upsert", key="id", deletes="soft")
    with pytest.raises(PlanError, match="adds the column '_deleted'"):
        changes.rename({"f": "_deleted"}).write_iceberg(
            "t.x", mode="upsert", key="id", deletes="soft"
        )
    with pytest.raises(PlanError, match="order_by='id' is of another mode"):
        rows.write_iceberg("t.x", order_by="id")
    with pytest.raises(PlanError, match="existing='adopt' is of another mode"):
        rows.write_iceberg("t.x", existing="adopt")
    with pytest.raises(fz.FrazilError, match="deletes='both' is not offered"):
        changes.write_iceberg("t.x", mode="upsert", key="id", deletes="both")  # type: ignore[arg-type]


def test_other_order_on_the_state(tmp_path: Path) -> None:
    def by(order: str | None) -> Any:
        def build(events: fz.Stream) -> Mapping[str, Kept]:
            return {"users": Kept(events.select("id", "n"), ["id"], options={"order_by": order})}

        return build

    mirrors = Mirrors([events_at(1, 2)], by(None), tmp_path)
    mirrors.run()
    other = Mirrors([events_at(1, 2)], by("n"), tmp_path)
    other.store = mirrors.store
    with pytest.raises(PlanChanged, match="order_by"):
        other.run()
