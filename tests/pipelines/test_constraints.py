"""Rows that a table refuses are dead letters: the same ones in any order, whatever crashes."""

from __future__ import annotations

import json
import os
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col
from frazil.errors import FrazilError
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.table import prepare_table

from tests.pipelines.events import EVENT_SCHEMA, Event, counted, events_at
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    from pathlib import Path

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "6")))
LETTERS = "ops.letters"


def tables(folder: Path) -> dict[str, str]:
    """A catalog with tables that require a value in each column."""
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{folder / 'catalog.db'}",
        "warehouse": f"file://{folder / 'warehouse'}",
    }
    for name, columns in {
        "t.appended": {"id": pa.int64(), "n": pa.int64()},
        "t.latest": {"id": pa.int64(), "user": pa.string(), "n": pa.int64()},
        "t.counts": {"user": pa.string(), "rows": pa.int64(), "odd": pa.int64()},
    }.items():
        schema = pa.schema([pa.field(*column, nullable=False) for column in columns.items()])
        key = {"t.latest": ["user"], "t.counts": ["user"]}.get(name, [])
        prepare_table(open_catalog(catalog), name, schema, key=key)
    return catalog


class Refused(Processes):
    """Sinks of each kind: appended rows, rows by key in order, changes by key."""

    def __init__(self, partitions: list[list[Event]], folder: Path) -> None:
        super().__init__(partitions, lambda events: {})
        self.catalog = tables(folder)
        self.options = {"dead_letters": LETTERS}
        rows = pa.Table.from_pylist([e for part in partitions for e in part], EVENT_SCHEMA)
        events = fz.read_memory(rows, partitions=len(partitions), name="events")
        odd = fz.when(col("rows") % 2 == 1).then(col("rows"))
        counts = events.filter(col("user").is_not_null()).group_by("user").agg(rows=fz.count())
        by_key: dict[str, Any] = {"mode": "upsert", "key": ["user"], "catalog": self.catalog}
        self.sinks = {
            "appended": events.select("id", "n").write_iceberg("t.appended", catalog=self.catalog),
            "latest": events.select("id", "user", "n").write_iceberg(
                "t.latest", order_by="id", **by_key
            ),
            "counts": counts.with_columns(odd=odd).write_iceberg("t.counts", **by_key),
        }

    def found(self, name: str) -> list[Event]:
        return list(open_catalog(self.catalog).load_table(name).scan().to_arrow().to_pylist())


def check(refused: Refused, partitions: list[list[Event]]) -> None:
    """What is in the tables, and what is a letter."""
    rows = [row for part in partitions for row in part]
    whole = [row for row in rows if row["n"] is not None]
    assert counted(refused.found("t.appended")) == counted(
        [{"id": row["id"], "n": row["n"]} for row in whole]
    )
    latest: dict[str, Event] = {}
    for row in sorted(whole, key=lambda row: row["id"]):
        if row["user"] is not None:
            latest[row["user"]] = {key: row[key] for key in ("id", "user", "n")}
    assert counted(refused.found("t.latest")) == counted(list(latest.values()))
    users = Counter(row["user"] for row in rows if row["user"] is not None)
    assert counted(refused.found("t.counts")) == counted(
        [{"user": user, "rows": n, "odd": n} for user, n in users.items() if n % 2]
    )
    letters = [row for row in refused.found(LETTERS) if row["source"]]
    assert {(row["kind"], row["source"]) for row in letters} <= {("constraint", "events")}
    places = {row["id"]: at for part in partitions for at, row in enumerate(part)}
    assert all(row["position"] == places[json.loads(row["raw"])["id"]] for row in letters)
    expected = Counter[tuple[int, str, bool]]()
    for row in rows:
        if row["n"] is None:
            expected[row["id"], "n", False] += 1
        if row["user"] is None:
            expected[row["id"], "user", True] += 1
        elif row["n"] is None:
            expected[row["id"], "n", True] += 1
    assert expected == Counter(
        (raw["id"], row["column"], "user" in raw)
        for row in letters
        for raw in [json.loads(row["raw"])]
    )


def draw(rng: Random, most: int = 3, rows: int = 30) -> list[list[Event]]:
    partitions, given = [], iter(range(10_000))
    for _ in range(rng.randrange(1, most + 1)):
        events = events_at(*range(rng.randrange(2, rows)))
        for event in events:
            event |= {
                "id": next(given),
                "user": rng.choice(["a", "b", "c", None]),
                "n": rng.choice([None, 1, 2, 3]),
            }
        partitions.append(events)
    return partitions


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int, tmp_path: Path) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw(rng)
    refused = Refused(partitions, tmp_path)
    crashes = 0
    for step in (6, *rng.sample(range(3, 60), 4)):
        try:
            refused.run_drawn(
                rng, hook=CrashAt(step), every_s=0.01, batch_rows=rng.choice([1, 3, 16_384])
            )
        except Crash:
            crashes += 1
    refused.run_drawn(rng)
    check(refused, partitions)
    assert crashes > 0


def test_without_dead_letters_such_a_row_ends_the_run(tmp_path: Path) -> None:
    refused = Refused([events_at(0, 1)], tmp_path)
    refused.partitions[0][1]["n"] = None
    refused.options = {}
    with pytest.raises(FrazilError, match='writing column "n"'):
        refused.run()
