"""Aggregates over change events of a database are those of the rows that are left in it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import frazil as fz
import pytest
from frazil import col

from tests.pipelines.changes import fold

LANES = 2  # a row's events are all in the one of its key
RUNS = 4

Row = dict[str, Any]


class Table:
    """A table whose rows are changed at random, and a log of it."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.rows: dict[int, Row] = {}

    def change(self) -> tuple[int, str]:
        """The next event: its key, and its text."""
        rng, key = self._rng, self._rng.randrange(12)
        old = self.rows.get(key)
        if old is not None and rng.random() < 0.3:
            del self.rows[key]
            return key, self._event("d", old, None)
        new = {
            "id": key,
            "city": rng.choice(["Rome", "Oslo", None]),
            "amount": rng.choice([None, 1.5, -2.25, 1e17]),
            "price": rng.choice(["0.10", "12.34"]),
        }
        self.rows[key] = new
        return key, self._event("u" if old else rng.choice("cr"), old, new)

    def _event(self, op: str, old: Row | None, new: Row | None) -> str:
        payload = {"before": old, "after": new, "op": op, "source": {"db": "shop"}, "ts_ms": 1}
        wrapped = {"schema": None, "payload": payload} if self._rng.random() < 0.3 else payload
        return json.dumps(wrapped) + "\n"

    def by_city(self) -> dict[str | None, tuple[Any, ...]]:
        """What the aggregates of a city have to be."""
        found: dict[str | None, tuple[Any, ...]] = {}
        for city in {row["city"] for row in self.rows.values()}:
            rows = [row for row in self.rows.values() if row["city"] == city]
            amounts = [row["amount"] for row in rows if row["amount"] is not None]
            cents = sum(int(row["price"].replace(".", "")) for row in rows)
            large = sum(row["price"] == "12.34" for row in rows)
            # Sums of doubles that are taken back leave no trace; these are exact.
            total = float(sum(map(_exact, amounts))) / 4 if amounts else None
            found[city] = (len(rows), total, cents, large)
        return found


def _exact(value: float) -> int:
    return int(value * 4)


class Order(fz.Schema):
    """Its columns."""

    id: int
    city: str | None
    amount: float | None
    price: fz.Decimal[10, 2]


@pytest.mark.parametrize("seed", range(12))
def test_as_of_the_rows_that_are_left(tmp_path: Path, seed: int) -> None:
    """Each run reads on, with another number of workers."""
    rng = Random(seed)
    table = Table(rng)
    log: list[Row] = []
    for run in range(RUNS):
        lines: list[list[str]] = [[] for _ in range(LANES)]
        for _ in range(rng.randrange(5, 60)):
            key, text = table.change()
            lines[key % LANES].append(text)
        for lane in range(LANES):
            path = tmp_path / "in" / str(lane) / f"{run}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines[lane]))
        orders = fz.read_files(
            f"{tmp_path}/in/**",
            format=fz.DebeziumJson(before="full", decimals="string"),
            schema=Order,
            key=["id"],
            lanes="by_folder",
        )
        cities = orders.group_by("city").agg(
            n=fz.count(),
            total=col("amount").sum(),
            price=col("price").sum(),
            large=fz.count().filter(col("price") > 10),
        )
        sink = cities.as_log().write_memory()
        folder = str(tmp_path / "checkpoint")
        pipeline = fz.Pipeline("cities", sink, checkpoint=folder, workers=rng.choice([1, 2, 3]))
        pipeline.run(until="now", quiet=True)
        log += sink.table().to_pylist()
        found = {
            row["city"]: (row["n"], row["total"], int(row["price"] * 100), row["large"])
            for row in fold(log, ["city"])
        }
        assert found == table.by_city()
