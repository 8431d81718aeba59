"""Rows whose values a table has no place for are dead letters, where a policy of drift says so."""

from __future__ import annotations

import json
import os
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import frazil as fz
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from frazil import col
from frazil.cli import main
from frazil.errors import ConfigError, PlanError, SchemaMismatch
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.table import prepare_table

from tests.pipelines.events import EVENT_SCHEMA, Event, counted, events_at
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    from pathlib import Path

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "4")))
LETTERS = "ops.letters"
# Of the events, whose n is a long, x a double and user text; they have a time, which is lacking.
NARROW = {"id": pa.int64(), "user": pa.int64(), "n": pa.int32(), "x": pa.float32()}


def catalog_of(folder: Path) -> dict[str, str]:
    return {
        "type": "sql",
        "uri": f"sqlite:///{folder / 'catalog.db'}",
        "warehouse": f"file://{folder / 'warehouse'}",
    }


class Quarantined(Processes):
    """Sinks of each kind: appended rows, rows by key in order, changes by key."""

    def __init__(self, partitions: list[list[Event]], folder: Path) -> None:
        super().__init__(partitions, lambda events: {})
        self.catalog = catalog_of(folder)
        self.options = {"dead_letters": LETTERS}
        for name, columns, key in (
            ("t.appended", NARROW, []),
            ("t.latest", {**NARROW, "group": pa.int64()}, ["group"]),
            ("t.counts", {"group": pa.int64(), "rows": pa.int64()}, ["group"]),
        ):
            prepare_table(open_catalog(self.catalog), name, pa.schema(columns), key=key)
        rows = pa.Table.from_pylist([e for part in partitions for e in part], EVENT_SCHEMA)
        events = fz.read_memory(rows, partitions=len(partitions), name="events")
        events = events.with_columns(group=col("id") % 3)
        odd = fz.when(col("rows") % 2 == 1).then(col("rows"))
        counts = events.group_by("group").agg(rows=fz.count()).with_columns(odd=odd)
        by_key: dict[str, Any] = {"mode": "upsert", "key": ["group"], "drift": "quarantine"}
        by_key["catalog"] = self.catalog
        self.sinks = {
            "appended": events.drop("group").write_iceberg(
                "t.appended", catalog=self.catalog, drift="quarantine"
            ),
            "latest": events.write_iceberg("t.latest", order_by="id", **by_key),
            "counts": counts.write_iceberg("t.counts", **by_key),
        }

    def found(self, name: str) -> list[Event]:
        return list(open_catalog(self.catalog).load_table(name).scan().to_arrow().to_pylist())


def blamed(row: Event) -> str | None:
    """The first column, in the order in which they are looked at, of which a value has no place."""
    if row["at"] is not None:
        return "at"
    if row["user"] is not None:
        return "user"
    if row["n"] is not None and not -(2**31) <= row["n"] < 2**31:
        return "n"
    if row["x"] is not None and float(np.float32(row["x"])) != row["x"]:
        return "x"
    return None


def check(made: Quarantined, partitions: list[list[Event]]) -> None:
    """What is in the tables, and what is a letter."""
    rows = [row for part in partitions for row in part]
    good = [{name: row[name] for name in NARROW} for row in rows if blamed(row) is None]
    assert counted(made.found("t.appended")) == counted(good)
    latest = {row["id"] % 3: {**row, "group": row["id"] % 3} for row in good}
    assert counted(made.found("t.latest")) == counted(list(latest.values()))
    groups = Counter(row["id"] % 3 for row in rows)
    assert counted(made.found("t.counts")) == counted(
        [{"group": group, "rows": n} for group, n in groups.items() if n % 2 == 0]
    )
    letters = [row for row in made.found(LETTERS) if row["source"]]
    assert {(row["kind"], row["source"]) for row in letters} <= {("constraint", "events")}
    expected = Counter((row["id"], why) for row in rows if (why := blamed(row)) is not None)
    expected = Counter({each: 2 * count for each, count in expected.items()})  # of two tables
    assert Counter((json.loads(row["raw"])["id"], row["column"]) for row in letters) == expected


def draw(rng: Random) -> list[list[Event]]:
    """Rows in rising order of id, which is that of the table by key."""
    partitions, given = [], iter(range(10_000))
    for _ in range(rng.randrange(1, 4)):
        events = events_at(*range(rng.randrange(2, 25)))
        for event in events:
            event |= {
                "id": next(given),
                "at": event["at"] if rng.random() < 0.15 else None,
                "user": rng.choice([None] * 6 + ["a"]),
                "n": rng.choice([None, 1, 2, -(2**31), 2**31, 2**40]),
                "x": rng.choice([None, 0.5, -0.0, float("inf"), 0.1]),
            }
        partitions.append(events)
    return partitions


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int, tmp_path: Path) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw(rng)
    made = Quarantined(partitions, tmp_path)
    crashes = 0
    for step in (6, *rng.sample(range(3, 60), 3)):
        try:
            made.run_drawn(
                rng, hook=CrashAt(step), every_s=0.01, batch_rows=rng.choice([1, 3, 16_384])
            )
        except Crash:
            crashes += 1
    made.run_drawn(rng)
    check(made, partitions)
    assert crashes > 0


class Shop:
    """A table, and rows of another shape that are written to it."""

    def __init__(self, folder: Path, table: dict[str, pa.DataType | pa.Field]) -> None:
        self.folder = folder
        self.catalog = catalog_of(folder)
        fields = [
            kind if isinstance(kind, pa.Field) else pa.field(name, kind)
            for name, kind in table.items()
        ]
        prepare_table(open_catalog(self.catalog), "t.rows", pa.schema(fields))

    def write(self, rows: pa.Table, drift: Any = "quarantine", **options: Any) -> fz.RunReport:
        sink = fz.read_memory(rows).write_iceberg(
            "t.rows", catalog=self.catalog, drift=drift, **options
        )
        pipeline = fz.Pipeline(
            "shop", sink, dead_letters=LETTERS, checkpoint=str(self.folder / "cp")
        )
        return pipeline.run(until="now", quiet=True)

    def rows(self, name: str = "t.rows") -> list[dict[str, Any]]:
        return list(open_catalog(self.catalog).load_table(name).scan().to_arrow().to_pylist())


def test_what_is_inside_of_columns(tmp_path: Path) -> None:
    shop = Shop(
        tmp_path,
        {
            "id": pa.int64(),
            "s": pa.struct([("x", pa.int64())]),
            "list": pa.list_(pa.struct([("x", pa.int64())])),
            "map": pa.map_(pa.string(), pa.struct([("x", pa.int64())])),
        },
    )
    wide = pa.struct([("x", pa.int64()), ("y", pa.string())])
    rows = pa.Table.from_pylist(
        [
            {"id": 1, "s": {"x": 1}, "list": [{"x": 1}, None], "map": {"a": {"x": 1}}},
            {"id": 2, "s": {"x": 2, "y": "deep"}},
            {"id": 3, "list": [{"x": 3}, {"x": 3, "y": "deep"}]},
            {"id": 4, "map": {"a": None, "b": {"y": "deep"}}},
            {"id": 5},
        ],
        pa.schema(
            [
                ("id", pa.int64()),
                ("s", wide),
                ("list", pa.list_(wide)),
                ("map", pa.map_(pa.string(), wide)),
            ]
        ),
    )
    report = shop.write(rows)
    assert sorted(row["id"] for row in shop.rows()) == [1, 5]
    found = sorted((json.loads(row["raw"])["id"], row["column"]) for row in shop.rows(LETTERS))
    assert found == [(2, "s.y"), (3, "list.element.y"), (4, "map.value.y")]
    assert report.failed == {"t.rows": 3}


def test_of_some_columns_only(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": pa.int64(), "a": pa.int64()})
    rows = pa.table({"id": [1, 2], "a": ["x", None], "b": ["x", "y"], "c": [None, "z"]})
    shop.write(
        rows,
        fz.Drift(
            on_new_column={"b": "evolve", "c": "ignore"}, on_type_conflict={"a": "quarantine"}
        ),
    )
    assert shop.rows() == [{"id": 2, "a": None, "b": "y"}]
    [letter] = shop.rows(LETTERS)
    assert letter["raw"] == b'{"id":1,"a":"x","b":"x","c":null}'
    assert letter["reason"] == "t.rows: a value, and the table has no place for one"


def test_a_decimal_and_what_the_table_requires(tmp_path: Path) -> None:
    table: dict[str, Any] = {
        "id": pa.field("id", pa.int64(), nullable=False),
        "price": pa.decimal128(5, 2),
    }
    shop = Shop(tmp_path, table)
    from decimal import Decimal

    prices = pa.array([Decimal("999.99"), Decimal("1000.00"), None], pa.decimal128(9, 2))
    shop.write(pa.table({"id": pa.array([1, 2, None], pa.int64()), "price": prices}))
    assert shop.rows() == [{"id": 1, "price": Decimal("999.99")}]
    found = sorted((row["column"], row["raw"]) for row in shop.rows(LETTERS))
    assert found == [
        ("id", b'{"id":null,"price":null}'),
        ("price", b'{"id":2,"price":1000.00}'),
    ]


@pytest.mark.parametrize(
    ("table", "stream", "said"),
    [
        ({"a": pa.field("a", pa.int64(), nullable=False)}, {"a": ["x"]}, "it takes no row"),
        (
            {"a": pa.int64(), "b": pa.field("b", pa.int64(), nullable=False)},
            {"a": [1]},
            "requires column 'b' and the stream does not have it",
        ),
        (
            {"a": pa.struct([("x", pa.int32())])},
            {"a": [{"x": 1}]},
            "'a.x' is long in the stream and int in table",
        ),
    ],
)
def test_differences_that_would_set_every_row_aside(
    tmp_path: Path, table: dict[str, Any], stream: dict[str, Any], said: str
) -> None:
    shop = Shop(tmp_path, table)
    with pytest.raises(SchemaMismatch) as caught:
        shop.write(pa.table(stream))
    assert said in str(caught.value)


def test_a_key_is_not_set_aside(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"a": pa.int64()})
    with pytest.raises(SchemaMismatch, match="column 'id' is of the key"):
        shop.write(pa.table({"id": [1], "a": [1]}), mode="upsert", key=["id"])


def test_where_it_is_refused() -> None:
    rows = fz.read_memory([{"id": 1, "rest": "{}"}])
    conflict = fz.Drift(on_type_conflict={"a": "quarantine"})
    with pytest.raises(PlanError, match="has no table for such rows"):
        fz.Pipeline("p", rows.write_iceberg("t.rows", drift=conflict))
    sink = rows.rejected.write_iceberg("t.rejected", drift=conflict)
    with pytest.raises(PlanError, match="dead letters have no dead letters"):
        fz.Pipeline("p", sink, rows.write_iceberg("t.rows"), dead_letters=LETTERS)
    with pytest.raises(ConfigError, match="expand='rest'"):
        fz.Drift(on_type_conflict="quarantine", expand="rest")
    with pytest.raises(ConfigError, match=r"fz\.route"):
        rows.write_iceberg(table=fz.route("t.{rest}"), drift=conflict)
    with pytest.raises(ConfigError, match='deletes="soft"'):
        rows.as_changes("rest", key=["id"]).write_iceberg(
            "t.rows",
            mode="upsert",
            key=["id"],
            deletes="soft",
            drift=fz.Drift(on_wider_type="quarantine"),
        )


def test_check_says_which_rows_would_be_set_aside(tmp_path: Path) -> None:
    required = pa.field("b", pa.int64(), nullable=False)
    Shop(tmp_path, {"id": pa.int32(), "a": pa.int64(), "b": required})
    program = tmp_path / "program.py"
    program.write_text(
        "import frazil as fz\n"
        "from frazil import col\n"
        "rows = fz.read_memory([{'id': 1, 'a': 'x', 'b': 1, 'new': 1}])\n"
        f"sink = rows.write_iceberg('t.rows', catalog={catalog_of(tmp_path)!r}, "
        "drift='quarantine')\n"
        "pipeline = fz.Pipeline('p', sink, dead_letters='ops.letters')\n"
    )
    done = CliRunner().invoke(main, ["check", str(program), "--drift"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[1:5] == [
        "table t.rows: would set aside rows with a value in column id that is no int",
        "table t.rows: would set aside rows with a value in column a",
        "table t.rows: would set aside rows without a value in column b",
        "table t.rows: would set aside rows with a value in column new",
    ]
