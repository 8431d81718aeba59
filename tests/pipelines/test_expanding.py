"""Fields that appear while a pipeline runs become columns of its tables: whatever the order, the
workers, the crashes and what catalogs do, each row is there once and whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow as pa
import pytest
from frazil.checkpoint.log import CheckpointLog
from frazil.errors import CommitRefused, Fenced, FrazilError, PlanChanged
from frazil.iceberg.table import find_table
from frazil.run.runner import prepare
from pyiceberg.exceptions import ForbiddenError
from pyiceberg.types import FloatType, IntegerType

from tests.pipelines.events import BEGIN, Event
from tests.pipelines.expanding import Expanding, Trouble
from tests.pipelines.harness import Crash, CrashAt

if TYPE_CHECKING:
    from frazil.run.iceberg_target import IcebergTarget

    from tests.services.duckdb_reader import DuckdbReader

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "4")))

Mode = Literal["append", "upsert"]

# One type each: in whatever order they come, they are in a column.
VALUES: dict[str, Callable[[Random], Any]] = {
    "a": lambda rng: rng.randrange(-(2**62), 2**62),
    "b": lambda rng: rng.choice(["x", "ä\n", "", '"']),
    "c": lambda rng: rng.randrange(99) + 0.5,
    "d": lambda rng: rng.random() < 0.5,
    "e": lambda rng: rng.choice([[1, {"f": None}], {"g": 1.5}]),
}
# Whatever comes first, these are in a column: the other one has a twin in another case.
IN_COLUMNS = ["a", "c", "d", "e"]
# And those that may be refused, by order.
MIXED: dict[str, Callable[[Random], Any]] = {
    "mixed": lambda rng: rng.choice([1, "1", 1.5, True, None]),
    "B": lambda rng: rng.randrange(9),
    "x.y": lambda rng: 1,
    "big": lambda rng: 10**30,
}


def event(number: int, fields: dict[str, Any], n: int = 0) -> Event:
    """A row whose rest has these fields."""
    rest = json.dumps(fields) if fields else None
    return {"id": number, "at": BEGIN, "user": rest, "n": n, "x": None}


def draw(rng: Random, *, rows: int = 40, most: int = 3) -> list[list[Event]]:
    """Partitions in which later rows have more fields; a number is in one partition only."""
    partitions = []
    for p in range(rng.randint(1, most)):
        count = rng.choice([1, rows // 4, rows, rows])
        partition = []
        for i in range(count):
            fields: dict[str, Any] = {}
            known = [*VALUES, *MIXED][: 1 + (len(VALUES) + len(MIXED)) * i // count]
            for name in rng.sample(known, rng.randint(0, min(3, len(known)))):
                fields[name] = {**VALUES, **MIXED}[name](rng)
            partition.append(event(1000 * p + i, fields, 100 * p + rng.randrange(8)))
        partitions.append(partition)
    return partitions


def trouble(rng: Random, share: float = 0.5) -> Callable[[str], Trouble]:
    """Schemas are not changed when that is first asked for, or it is not said."""
    return lambda name: rng.choice(["refused", "lost"]) if rng.random() < share else ""


@pytest.fixture(autouse=True)
def _try_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that rows wait over a few checkpoints, of a few steps each."""
    monkeypatch.setattr("frazil.run.routes.RETRY_FIRST_S", 0.03)
    monkeypatch.setattr("frazil.run.routes.RETRY_MAX_S", 0.03)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(
    seed: int, mode: Mode, many: bool, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    tables = Expanding(draw(rng), tmp_path, mode=mode, many=many)
    tables.catalog.trouble = trouble(rng)
    for step in (6, *rng.sample(range(3, 60), 4)):
        with suppress(Crash):
            hook = CrashAt(step)
            tables.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
    tables.run_drawn(rng)
    tables.check(duckdb_reader, IN_COLUMNS)


@pytest.mark.slow
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_crashed_at_every_step(
    mode: Mode, many: bool, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw(Random(4), rows=12, most=2)

    def world(folder: Path) -> Expanding:
        folder.mkdir()
        tables = Expanding(partitions, folder, mode=mode, many=many)
        tables.catalog.trouble = trouble(Random(2), 0.3)
        return tables

    counter = CrashAt()
    whole = world(tmp_path / "whole")
    whole.run(seed=3, workers=2, batch_rows=2, every_s=0.012, hook=counter)
    whole.check(duckdb_reader)
    assert counter.steps > 30
    for step in range(1, counter.steps + 1):
        tables = world(tmp_path / str(step))
        with pytest.raises(Crash):
            tables.run(seed=3, workers=2, batch_rows=2, every_s=0.012, hook=CrashAt(step))
        tables.run(seed=step, workers=1 + step % 3)
        tables.check(duckdb_reader)


def columns(tables: Expanding, name: str = "all") -> dict[str, str]:
    """Types by names, of those that were added."""
    fields = tables.tables()[name].schema().fields
    own = {"id", "at", "user", "n", "x"}
    return {field.name: str(field.field_type) for field in fields if field.name not in own}


def test_types_and_names(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """What is no column's name or number stays in the rest, and so does what is of another type."""
    odd = {"with space": 1, "q\"`'": 2, "ä/ß": 3, "select": 4, "1": 5, "日本": 6}
    kept = {"": 1, "a.b": 1, "tab\t": 1, "_row_id": 1, "__fz_kind": 1, "x" * 200: 1, "big": 2**63}
    rows = [
        event(0, {"int": 1, "float": 1.0, "text": "x", "yes": False, "list": [1], "none": None}),
        event(1, odd),
        event(2, kept),
        event(3, {"int": "1", "Text": "other", "id": 7, "N": 8, "float": 2, "list": "plain"}),
    ]
    tables = Expanding([rows], tmp_path)
    tables.run(batch_rows=1)
    assert columns(tables) == {
        **{"int": "long", "float": "double", "text": "string", "yes": "boolean", "list": "string"},
        **dict.fromkeys(odd, "long"),
    }
    found = duckdb_reader.read_iceberg(tables.tables()["all"].metadata_location).to_pylist()
    found.sort(key=lambda row: row["id"])
    assert [json.loads(row["user"] or "{}") for row in found] == [
        {},
        {},
        kept,
        {"int": "1", "Text": "other", "id": 7, "N": 8},
    ]
    assert {name: found[1][name] for name in odd} == odd
    assert (found[3]["float"], found[3]["list"]) == (2.0, "plain")


@pytest.mark.parametrize("many", [False, True])
def test_tables_have_their_own_columns(
    many: bool, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    rows = [event(i, {f"f{i % 3}": i, "all": "x"}, n=i) for i in range(30)]
    tables = Expanding([rows[:15], rows[15:]], tmp_path, many=many)
    tables.run(workers=2, batch_rows=2, every_s=0.01)
    tables.check(duckdb_reader, ["f0", "f1", "f2", "all"])
    if many:
        for part in range(3):
            assert columns(tables, f"of_{part}").keys() == {"part", "all", f"f{part}"}


def test_columns_are_widened(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """An int to long, a float to double; not what the table is partitioned by."""
    tables = Expanding([[event(0, {})]], tmp_path)
    tables.run()
    with tables.catalog.load_table("t.all").update_schema() as update:
        update.add_column("i", IntegerType())
        update.add_column("f", FloatType())
        update.add_column("p", FloatType())
    with tables.catalog.load_table("t.all").update_spec() as spec:
        spec.add_identity("p")
    tables.partitions = [[event(0, {}), event(1, {"i": 2, "f": 0.5, "p": 0.5})]]
    tables.partitions[0].append(event(2, {"i": 2**40, "f": 0.1, "p": 0.1}))
    tables.run(batch_rows=1)
    assert columns(tables) == {"i": "long", "f": "double", "p": "float"}
    tables.check(duckdb_reader, ["i", "f"])


@pytest.mark.parametrize(
    ("drift", "fields", "text"),
    [
        ({"on_new_column": "stop"}, {"a": 1}, 'field "a" of column "user": the table has no col'),
        ({"on_type_conflict": "stop"}, {"x.y": 1}, "no dots"),
        ({"on_type_conflict": "stop"}, {"User": 1}, "column 'user' differs from it in case only"),
        (
            {"on_type_conflict": "stop", "columns_max": 6},
            {"a": 1, "b": 2},
            "the table has 6 columns, and columns_max=6",
        ),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_policies_that_end_the_run(
    drift: dict[str, Any],
    fields: dict[str, Any],
    text: str,
    many: bool,
    tmp_path: Path,
    duckdb_reader: DuckdbReader,
) -> None:
    """What is read is not lost: under another policy the next run writes it."""
    given: Any = {"on_new_column": "evolve", "expand": "user"}
    if many and "columns_max" in drift:
        drift = {**drift, "columns_max": 7}
        text = text.replace("6", "7")
    tables = Expanding([[event(0, {}), event(1, fields)]], tmp_path, many=many)
    strict = Expanding(tables.partitions, tmp_path, many=many, drift=fz.Drift(**{**given, **drift}))
    strict.store = tables.store
    for _ in range(2):
        with pytest.raises(FrazilError) as refused:
            strict.run(batch_rows=1, every_s=0.001)
        assert text in str(refused.value)
    tables.run()
    tables.check(duckdb_reader)


def test_new_columns_are_ignored(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    drift = fz.Drift(on_new_column={"*": "ignore", "a": "evolve"}, expand="user")
    tables = Expanding([[event(0, {"a": 1, "b": None, "c": [1]})]], tmp_path, drift=drift)
    tables.run()
    assert columns(tables) == {"a": "long"}
    [row] = duckdb_reader.read_iceberg(tables.tables()["all"].metadata_location).to_pylist()
    assert json.loads(row["user"]) == {"b": None, "c": [1]}


def test_columns_up_to_the_most(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Whichever come first; all others stay in the rest. So it is after a restart."""
    drift = fz.Drift(
        on_new_column="evolve", on_type_conflict="ignore", expand="user", columns_max=9
    )
    partitions = [[event(100 * p + i, {f"f{p}{i}": i, "g": i}) for i in range(20)] for p in (0, 1)]
    tables = Expanding(partitions, tmp_path, drift=drift)
    tables.run(workers=2, batch_rows=1, every_s=0.01)
    assert len(tables.tables()["all"].schema().fields) == 9
    tables.check(duckdb_reader)
    tables.partitions[0].append(event(300, {"more": 1, "g": 2}))
    tables.run()
    assert len(tables.tables()["all"].schema().fields) == 9
    tables.check(duckdb_reader)


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_others_change_the_schema_too(
    mode: Mode, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Between load and commit: the same column, another one, one in another case."""
    tables = Expanding([[event(i, {name: i}, i) for i, name in enumerate("abcde")]], tmp_path)
    theirs = iter(["a", "other", "C", "d2"])

    def before() -> None:
        tables.catalog.before = lambda: None
        if (name := next(theirs, None)) is not None:
            with tables.catalog.load_table("t.all").update_schema() as update:
                update.add_column(name, IntegerType())
        tables.catalog.before = before

    tables.catalog.before = before
    tables.run(batch_rows=1)
    assert columns(tables).keys() == {"a", "b", "C", "d", "e", "other", "d2"}
    tables.check(duckdb_reader, ["a", "b", "d", "e"])
    ids = [field.field_id for field in tables.tables()["all"].schema().fields]
    assert len(set(ids)) == len(ids)


def test_others_drop_a_column_meanwhile(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """As without expand: the run ends, and the next one takes the table as it is."""
    rows = [event(i, {"a": i} if i < 5 else {"a": i, "b": i}) for i in range(10)]
    tables = Expanding([rows], tmp_path)

    def before() -> None:
        tables.catalog.before = lambda: None
        if "a" in columns(tables):
            with tables.catalog.load_table("t.all").update_schema() as update:
                update.delete_column("a")
        else:
            tables.catalog.before = before

    tables.catalog.before = before
    with pytest.raises(CommitRefused, match="was changed while it was written to: column 'a'"):
        tables.run(batch_rows=1, every_s=0.001)
    tables.run(batch_rows=1)
    found = duckdb_reader.read_iceberg(tables.tables()["all"].metadata_location).to_pylist()
    assert sorted(row["id"] for row in found) == list(range(10))
    assert sorted(row["b"] for row in found if row["b"] is not None) == list(range(5, 10))


def test_no_right_to_change_the_table(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """The run ends with the reason; rows that waited over a checkpoint are written by the next."""
    tables = Expanding([[event(i, {"a": i}) for i in range(10)]], tmp_path)

    def refuse(name: str) -> Trouble:
        raise ForbiddenError("no right to change it")

    tables.catalog.trouble = refuse
    for workers in (2, 1):
        with pytest.raises(FrazilError, match=r"adding columns to table t\.all: no right"):
            tables.run(workers=workers, batch_rows=1, every_s=0.001)
    tables.catalog.trouble = lambda name: ""
    tables.run(workers=4)
    tables.check(duckdb_reader, ["a"])


def test_one_of_many_tables_cannot_be_changed(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """The others go on; its rows wait over runs with other numbers of workers."""
    rows = [event(i, {"a": i, "b": i} if i % 3 == 1 else {"a": i}, n=i) for i in range(60)]
    tables = Expanding([rows], tmp_path, many=True, mode="upsert")
    for each in rows[:3]:
        each["user"] = json.dumps({"a": each["id"]})
    right = False

    def refuse(name: str) -> Trouble:
        if not right and name == "t.of_1" and "a" in columns(tables, "of_1"):
            raise ForbiddenError("no right to change it")
        return ""

    tables.catalog.trouble = refuse
    for workers in (1, 2):
        with pytest.raises(FrazilError, match=r"of_1: rows wait for it"):
            tables.run(workers=workers, batch_rows=3, every_s=0.01)
    expected = tables.expected()
    for part in ("of_0", "of_2"):
        found = duckdb_reader.read_iceberg(tables.tables()[part].metadata_location)
        assert found.num_rows == len(expected[part])
    right = True
    tables.run(workers=3)
    tables.check(duckdb_reader, ["a", "b"])


def test_zombie_adds_no_column(tmp_path: Path) -> None:
    """Who was taken over from looks at the log before it changes the table."""
    tables = Expanding([[event(0, {})]], tmp_path)
    tables.run()
    pipeline = fz.Pipeline("events", *tables.sinks.values(), checkpoint="unused")
    runnable = prepare(pipeline, store=tables.store)
    [target] = runnable.targets.values()
    log = CheckpointLog.open(tables.store, plan=runnable.checkpoint_plan, takeover=True)
    target.recover(log)
    opened: IcebergTarget = target  # type: ignore[assignment]
    CheckpointLog.open(tables.store, plan=runnable.checkpoint_plan, takeover=True)
    with pytest.raises(Fenced, match="has taken over"):
        opened.open(log, {"a": ["long"]})
    assert columns(tables) == {}
    target.close()


def test_begins_with_a_pipeline_that_is_there(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """It may begin to expand, but not stop: rows may wait in the checkpoint."""
    plain = Expanding([[event(0, {"a": 1})]], tmp_path, drift=fz.Drift())
    plain.run()
    tables = Expanding(plain.partitions, tmp_path)
    tables.store = plain.store
    tables.partitions = [[event(0, {"a": 1}), event(1, {"a": 2})]]
    tables.run()
    tables.check(duckdb_reader)
    assert columns(tables) == {"a": "long"}
    with pytest.raises(PlanChanged, match="rows for new columns: was of user, is now none"):
        plain.run()


class Order(fz.Schema):
    """What the program knows of an order."""

    id: int
    note: str | None
    rest: str | None = fz.field(rest=True)


def test_fields_of_json(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """With threads, out of files; a later run of the same program knows the columns."""
    catalog = Expanding([], tmp_path).catalog
    folder = tmp_path / "in"
    folder.mkdir()

    def run(name: str, *rows: dict[str, Any]) -> dict[int, dict[str, Any]]:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        orders = fz.read_files(folder, format="json", schema=Order)
        sink = orders.write_iceberg(
            "t.orders",
            catalog=catalog,
            drift=fz.Drift(on_new_column="evolve", expand="rest"),
        )
        pipeline = fz.Pipeline("orders", sink, checkpoint=f"{tmp_path}/checkpoint", workers=2)
        pipeline.run(until="now", quiet=True)
        table = find_table(catalog, "t.orders")
        assert table is not None
        found = duckdb_reader.read_iceberg(table.metadata_location).to_pylist()
        return {row.pop("id"): row for row in found}

    first = run("1.jsonl", {"id": 1, "note": "x"}, {"id": 2, "plan": "pro", "seats": 5})
    assert first == {
        1: {"note": "x", "rest": None, "plan": None, "seats": None},
        2: {"note": None, "rest": None, "plan": "pro", "seats": 5},
    }
    second = run("2.jsonl", {"id": 3, "plan": "free", "tags": ["a"]})
    assert second[3] == {"note": None, "rest": None, "plan": "free", "seats": None, "tags": '["a"]'}


def test_columns_that_a_database_gets(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Change events: rows that go need no column, rows that come take the place of others."""
    catalog = Expanding([], tmp_path).catalog

    def line(op: str, old: Any, new: Any) -> str:
        return json.dumps({"before": old, "after": new, "op": op}) + "\n"

    (tmp_path / "events.jsonl").write_text(
        line("c", None, {"id": 1, "note": "x"})
        + line("c", None, {"id": 2, "note": "y"})
        + line("u", {"id": 1}, {"id": 1, "note": "x", "plan": None})
        + line("u", {"id": 1}, {"id": 1, "note": "z", "plan": "pro"})
        + line("d", {"id": 2, "note": "y", "gone": 1}, None)
        + line("c", None, {"id": 3, "note": None, "plan": "free", "seats": 3})
    )
    changes = fz.read_files(
        tmp_path / "events.jsonl", format=fz.DebeziumJson(before="full"), schema=Order, key=["id"]
    )
    sink = changes.write_iceberg(
        "t.orders",
        catalog=catalog,
        mode="upsert",
        key=["id"],
        drift=fz.Drift(on_new_column="evolve", expand="rest"),
    )
    fz.Pipeline("orders", sink, checkpoint=f"{tmp_path}/c").run(until="now", quiet=True)
    table = catalog.load_table("t.orders")
    found = duckdb_reader.read_iceberg(table.metadata_location).to_pylist()
    assert sorted(found, key=lambda row: row["id"]) == [
        {"id": 1, "note": "z", "rest": None, "plan": "pro", "seats": None},
        {"id": 3, "note": None, "rest": None, "plan": "free", "seats": 3},
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: rows.write_iceberg("t.a", drift=fz.Drift(expand="none")),
        lambda rows: rows.write_iceberg("t.a", drift=fz.Drift(expand="n")),
        lambda rows: rows.write_iceberg(
            "t.a", mode="upsert", key=["rest"], drift=fz.Drift(expand="rest")
        ),
        lambda rows: fz.Drift(expand="rest", columns_max=0),
    ],
)
def test_what_cannot_be_expanded(make: Callable[[fz.Stream], Any]) -> None:
    schema = pa.schema([("n", pa.int64()), ("rest", pa.string())])
    rows = fz.read_memory(pa.Table.from_pylist([], schema))
    with pytest.raises(FrazilError, match=r"expand|'none'|columns_max"):
        make(rows)
