"""Random streams looked up in random tables, against DuckDB over the same rows."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.checkpoint.memory_store import MemoryStore
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

# Types of keys: of the stream, of the table, and a value of a small number.
KEYS: dict[str, tuple[pa.DataType, pa.DataType, Any]] = {
    "i": (pa.int64(), pa.int16(), lambda n: n - 3),
    "s": (pa.string(), pa.string(), lambda n: "x" * n),
    "f": (pa.float64(), pa.float64(), lambda n: n / 4),
    "d": (pa.date32(), pa.date32(), lambda n: n),
    "b": (pa.bool_(), pa.bool_(), lambda n: n % 2 == 0),
}
HOWS = {
    "inner": "SELECT s.*, t.w, t.x AS x_b FROM rows_in s JOIN dim t ON {on}",
    "left": "SELECT s.*, t.w, t.x AS x_b FROM rows_in s LEFT JOIN dim t ON {on}",
    "semi": "SELECT s.* FROM rows_in s SEMI JOIN dim t ON {on}",
    "anti": "SELECT s.* FROM rows_in s ANTI JOIN dim t ON {on}",
}


def values(rng: Random, key: str, rows: int, span: int) -> list[Any]:
    value = KEYS[key][2]
    return [None if rng.random() < 0.1 else value(rng.randrange(span)) for _ in range(rows)]


def counted(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row.values()) for row in rows)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("seed", range(12))
def test_as_duckdb(how: str, seed: int, tmp_path: Path) -> None:
    rng = Random(f"{how}/{seed}")
    keys = rng.sample(list(KEYS), rng.choice([1, 1, 2, 3]))
    span = rng.choice([2, 6])
    rows, size = rng.choice([0, 1, 50, 400]), rng.choice([0, 1, 9, 60])
    stream = pa.table(
        {k: pa.array(values(rng, k, rows, span), KEYS[k][0]) for k in keys}
        | {"x": pa.array(range(rows), pa.int64())}
    )
    dim = pa.table(
        {f"{k}_key": pa.array(values(rng, k, size, span), KEYS[k][1]) for k in keys}
        | {"w": pa.array([f"w{n}" if n % 3 else None for n in range(size)], pa.string())}
        | {"x": pa.array(range(size), pa.int64())}
    )
    half = size // 2
    pq.write_table(dim.slice(0, half), tmp_path / "a.parquet")
    pq.write_table(dim.slice(half), tmp_path / "b.parquet", row_group_size=7)
    table = fz.lookup_parquet(tmp_path, name="dim")
    joined = fz.read_memory(stream, partitions=rng.choice([1, 3])).join_lookup(
        table, on={k: f"{k}_key" for k in keys}, how=how, duplicates="all"
    )
    halved = rng.random() < 0.3
    if halved:
        joined = joined.filter(col("x") % 2 == 0)
    ours = run(joined, rng)
    on = " AND ".join(f"s.{k} = t.{k}_key" for k in keys)
    with duckdb.connect() as connection:
        connection.register("rows_in", stream)
        connection.register("dim", dim)
        where = " WHERE x % 2 = 0" if halved else ""
        sql = f"SELECT * FROM ({HOWS[how].format(on=on)}){where}"
        theirs = connection.execute(sql).to_arrow_table().to_pylist()
    assert counted(ours) == counted(theirs)


def run(stream: fz.Stream, rng: Random) -> list[dict[str, Any]]:
    """The rows, in a drawn order of work."""
    sink = stream.write_memory()
    runnable = prepare(fz.Pipeline("random", sink, checkpoint="unused"), store=MemoryStore())
    for node in runnable.plan["nodes"]:
        if node["kind"] == "source":
            node["options"]["batch_rows"] = rng.choice([1, 7, 16_384])
    settings = RunSettings(
        workers=rng.choice([1, 2, 4]),
        bounded=True,
        quiet=True,
        checkpoint_every_s=0.02,
        simulated_seed=rng.randrange(1_000),
    )
    Coordinator(runnable, settings).run()
    return list(sink.table().to_pylist())


def test_windows_behind_a_lookup(tmp_path: Path) -> None:
    """Event time, late rows and the order of rows pass through."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    rng = Random(3)
    rows = [
        {"id": n, "user": rng.randrange(6), "at": begin + timedelta(seconds=n - rng.randrange(40))}
        for n in range(300)
    ]
    pq.write_table(
        pa.table({"user": [0, 1, 2, 3, 3], "city": ["a", "b", "a", "b", "c"]}),
        tmp_path / "users.parquet",
    )
    users = fz.lookup_parquet(tmp_path / "users.parquet", name="users")
    cities = fz.when(col("user") == 1).then("b").when(col("user") == 3).then("b").otherwise("a")

    def by_hand(orders: fz.Stream) -> fz.Stream:
        known = orders.filter(col("user") < 4).with_columns(city=cities)
        return known.union(orders.filter(col("user") == 3).with_columns(city=fz.lit("c")))

    def results(look_up: Any) -> tuple[Counter[Any], Counter[Any]]:
        orders = fz.read_memory(pa.Table.from_pylist(rows)).event_time("at", out_of_order="5s")
        totals = (
            look_up(orders)
            .group_by("city")
            .window(fz.tumbling("20s"))
            .agg(n=fz.count(), first=col("id").first(), ids=col("id").sum())
        )
        sinks = [totals.write_memory(name="results"), totals.late.write_memory(name="late")]
        settings = RunSettings(
            workers=2, bounded=True, quiet=True, close_windows=True, simulated_seed=5
        )
        runnable = prepare(fz.Pipeline("w", *sinks, checkpoint="unused"), store=MemoryStore())
        Coordinator(runnable, settings).run()
        kept = [counted(sink.table().to_pylist()) for sink in sinks]
        return kept[0], kept[1]

    looked_up = results(lambda orders: orders.join_lookup(users, on="user", duplicates="all"))
    assert looked_up == results(by_hand)
    assert looked_up[1]  # some are late


@pytest.mark.parametrize("seed", range(6))
def test_rows_of_one_row_are_in_the_order_of_the_table(seed: int, tmp_path: Path) -> None:
    """Whatever the batches, the workers and the order of work: the order is that of rows."""
    rng = Random(seed)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    table = {"user": [1, 0, 1, 1], "w": ["c", "z", "a", "b"]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    dim = fz.lookup_parquet(tmp_path / "t.parquet", name="t")
    rows = [{"id": n, "user": n % 3, "at": begin + timedelta(seconds=n // 4)} for n in range(90)]
    totals = (
        fz.read_memory(pa.Table.from_pylist(rows))
        .event_time("at", out_of_order="5s")
        .join_lookup(dim, on="user", duplicates="all")
        .with_columns(row=fz.concat_str(col("id").cast(pa.string()), col("w")))
        .group_by("user")
        .window(fz.tumbling("10s"))
        .agg(rows=col("row").collect_list(), first=col("row").first(), last=col("row").last())
    )
    sink = totals.write_memory()
    runnable = prepare(fz.Pipeline("w", sink, checkpoint="unused"), store=MemoryStore())
    for node in runnable.plan["nodes"]:
        if node["kind"] == "source":
            node["options"]["batch_rows"] = rng.choice([1, 7, 16_384])
    settings = RunSettings(
        workers=rng.choice([1, 2, 4]),
        bounded=True,
        quiet=True,
        close_windows=True,
        checkpoint_every_s=0.02,
        simulated_seed=rng.randrange(1_000),
    )
    Coordinator(runnable, settings).run()
    expected: dict[tuple[int, datetime], list[str]] = {}
    for row in rows:
        key = (row["user"], row["at"].replace(second=row["at"].second // 10 * 10))
        partners = [w for user, w in zip(*table.values(), strict=True) if user == row["user"]]
        if partners:
            expected.setdefault(key, []).extend(f"{row['id']}{w}" for w in partners)
    found = sink.table().to_pylist()
    assert {(row["user"], row["window_start"]): row["rows"] for row in found} == expected
    assert all(row["first"] == row["rows"][0] for row in found)
    assert all(row["last"] == row["rows"][-1] for row in found)
