"""Rows for which Python functions raise: the same ones whatever the order, the batches, a crash."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from random import Random
from typing import Any

import frazil as fz
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from frazil import col

from tests.pipelines.crashes import check_crashes, check_every_crash
from tests.pipelines.events import Event, counted, events_at
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))


@fz.udf(on_error="divert")
def by_row(number: int) -> int:
    if number % 3 == 0:
        raise ValueError(f"{number} is a multiple of three")
    return number * 10


@fz.batch_udf(returns=int, nullable=False, on_error="divert")
def by_column(number: pa.Array) -> pa.Array:
    if any(value % 4 == 0 for value in number.to_pylist()):
        raise ValueError("a multiple of four")
    return pc.multiply(number, 100)


@fz.udf(on_error="drop")
def dropping(number: int) -> int:
    if number % 7 == 0:
        raise ValueError
    return number


@fz.batch_udf(returns=int, on_error="null")
def or_null(number: pa.Array) -> pa.Array:
    if any(value % 6 == 0 for value in number.to_pylist()):
        raise ValueError("a multiple of six")
    return number


@fz.async_udf(on_error="divert", concurrency=3)
async def by_task(number: int) -> int:
    await asyncio.sleep(0)
    if number % 9 == 0:
        raise ValueError(f"{number} is a multiple of nine")
    return -number


def by_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Two rows for each of the batch."""
    ids = batch["id"].to_pylist()
    if any(i % 5 == 0 for i in ids):
        raise KeyError("five")
    return pa.record_batch({"id": [i for i in ids for _ in range(2)]})


class Failing:
    """Functions of each kind, before and behind an exchange, on rows and on changes."""

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        both = events.filter(col("id") >= 0).with_columns(
            a=by_row(col("id")), b=by_column(col("id"))
        )
        twice = events.select("id").map_batches(
            by_batch, schema={"id": pa.int64()}, on_error="divert"
        )
        # The number of rows of a user, while it is none of those that fail.
        totals = events.group_by("user").agg(n=fz.count())
        later = totals.with_columns(a=by_row(fz.coalesce(col("n"), 0)))
        asked = events.select("id", c=by_task(col("id")))
        return {
            "asked": asked,
            "asked_failed": asked.failed,
            "nulls": events.select("id", c=or_null(col("id"))),
            "both": both,
            "both_failed": both.failed,
            "twice": twice,
            "twice_failed": twice.failed,
            "dropped": events.filter(dropping(col("id")) > 0),
            "totals": later,
        }

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        rows = [row for part in partitions for row in part]
        good = [
            {**row, "a": row["id"] * 10, "b": row["id"] * 100}
            for row in rows
            if row["id"] % 3 and row["id"] % 4
        ]
        assert processes.rows("both") == counted(good)
        assert processes.rows("asked") == counted(
            [{"id": row["id"], "c": -row["id"]} for row in rows if row["id"] % 9]
        )
        letters = processes.table("asked_failed")
        assert sorted(json.loads(letter["raw"])["id"] for letter in letters) == sorted(
            row["id"] for row in rows if row["id"] % 9 == 0
        )
        self.check_places(partitions, letters)
        assert processes.rows("nulls") == counted(
            [{"id": row["id"], "c": row["id"] if row["id"] % 6 else None} for row in rows]
        )
        failed = processes.table("both_failed")
        # A row fails in the first function that raises for it, and is not given to the other.
        ids = [row["id"] for row in rows]
        found = [(json.loads(row["raw"])["id"], row["column"].split(":")[1]) for row in failed]
        assert sorted(found) == sorted(
            [(i, "by_row") for i in ids if i % 3 == 0]
            + [(i, "by_column") for i in ids if i % 3 and i % 4 == 0]
        )
        assert processes.rows("twice") == counted(
            [{"id": row["id"]} for row in rows if row["id"] % 5 for _ in range(2)]
        )
        self.check_places(partitions, failed)
        self.check_places(partitions, processes.table("twice_failed"))
        dropped = [row for row in rows if row["id"] % 7]
        assert processes.rows("dropped") == counted(dropped)
        users = Counter(row["user"] for row in rows)
        assert processes.rows("totals") == counted(
            [{"user": user, "n": n, "a": n * 10} for user, n in users.items() if n % 3]
        )

    def check_places(self, partitions: list[list[Event]], letters: list[Event]) -> None:
        """Each letter says where its row stands, and has it as it was."""
        assert len({(row["partition"], row["position"]) for row in letters}) == len(letters)
        places = {part["id"]: at for rows in partitions for at, part in enumerate(rows)}
        for letter in letters:
            assert letter["source"] == "events"
            assert letter["kind"] == "function"
            assert letter["position"] == places[json.loads(letter["raw"])["id"]]
            assert letter["raw_bytes"] == len(letter["raw"])


def draw(rng: Random, most: int = 4, rows: int = 40) -> list[list[Event]]:
    """Partitions of rows with distinct ids."""
    partitions, given = [], iter(range(10_000))
    for _ in range(rng.randrange(1, most + 1)):
        events = events_at(*range(rng.randrange(1, rows)))
        for event in events:
            event |= {"id": next(given), "user": rng.choice("abc")}
        partitions.append(events)
    return partitions


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    check_crashes(Failing(), draw(rng), rng)


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    check_every_crash(Failing(), draw(Random(4), most=2, rows=20), given=["both_failed"])


@pytest.mark.parametrize("batch_rows", [1, 2, 7, 16_384])
def test_letters_do_not_depend_on_batches(batch_rows: int) -> None:
    """Not even their reasons do."""
    partitions = draw(Random(3))

    def letters(rows: int, workers: int) -> Counter[Any]:
        processes = Processes(partitions, Failing().streams)
        processes.run(batch_rows=rows, workers=workers)
        names = ("both_failed", "twice_failed", "asked_failed")
        return counted(
            [
                {key: value for key, value in row.items() if key not in ("log", "epoch")}
                for name in names
                for row in processes.table(name)
            ]
        )

    assert letters(batch_rows, 2) == letters(3, 1)


def test_the_account() -> None:
    """Rows given to a function are good, failed or dropped, in each checkpoint."""
    partitions = draw(Random(5))
    processes = Processes(partitions, Failing().streams)
    report = processes.run(batch_rows=2, every_s=0.01, retain=100, workers=2)
    steps: dict[str, list[int]] = {}
    for manifest in processes.manifests():
        for step, rows in manifest.steps.items():
            total = steps.setdefault(step, [0, 0, 0, 0])
            for i, count in enumerate((rows.given, rows.good, rows.failed, rows.dropped)):
                total[i] += count
    rows = sum(map(len, partitions))
    ids = [row["id"] for part in partitions for row in part]
    thirds, fives = sum(i % 3 == 0 for i in ids), sum(i % 5 == 0 for i in ids)
    fours = sum(i % 4 == 0 and i % 3 != 0 for i in ids)
    sevens = sum(i % 7 == 0 for i in ids)
    nines = sum(i % 9 == 0 for i in ids)
    found = sorted(tuple(total) for total in steps.values())
    assert (rows, rows - thirds, thirds, 0) in found
    assert (rows - thirds, rows - thirds - fours, fours, 0) in found
    assert (rows, rows - fives, fives, 0) in found
    assert (rows, rows - sevens, 0, sevens) in found
    # Of changes only new rows count, and nobody takes those that fail.
    assert all(given == good + failed + dropped for given, good, failed, dropped in found)
    assert (rows, rows - nines, nines, 0) in found
    assert len(found) == 6
    here = __name__
    assert report.failed[f"{here}:by_column"] == fours
    assert report.failed[f"{here}:by_batch"] == fives
    assert report.failed[f"{here}:dropping"] == sevens
    assert f"{here}:by_batch: {fives} rows failed" in str(report)


def test_behind_an_exchange_the_place_is_not_known() -> None:
    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="1s")
        windows = timed.group_by("user").window(fz.tumbling("1m")).agg(n=col("id").sum())
        given = windows.with_columns(a=by_row(fz.coalesce(col("n"), 0)))
        return {"results": given.failed}

    partitions = [[{**row, "id": 3} for row in events_at(*at)] for at in ((0, 1), (2, 70))]
    processes = Processes(partitions, streams)
    processes.run(close_windows=True, workers=2)
    places = {(r["source"], r["partition"], r["position"]) for r in processes.table()}
    assert places == {("", "", -1)}
    assert json.loads(processes.table()[0]["raw"]).keys() == {
        "user", "window_start", "window_end", "n",
    }  # fmt: skip
