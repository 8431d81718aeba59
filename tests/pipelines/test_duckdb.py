"""Random pipelines over random rows, run by the engine, against DuckDB over the same rows."""

from __future__ import annotations

import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import frazil as fz
import pyarrow as pa
from frazil.checkpoint.memory_store import MemoryStore
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))
from test_expr_oracle import COLUMNS, expressions, logic

# Small, so that no expression leaves its type: what DuckDB then refuses depends on its plan.
SMALL: dict[str, st.SearchStrategy[Any]] = {
    "i": st.integers(-500, 500),
    "j": st.integers(-5, 5),
    "n": st.integers(-3, 3),
    "x": st.integers(-4000, 4000).map(lambda n: n / 8),
    "d": st.decimals(-(10**3), 10**3, places=2),
    "e": st.decimals(-99, 99, places=4),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Rows of all columns, these in any order, each with or without nulls."""
    count = draw(st.integers(0, 40))
    columns = {}
    for name in draw(st.permutations(list(COLUMNS))):
        type_, any_value = COLUMNS[name]
        value = SMALL.get(name, any_value)
        nullable = draw(st.booleans())
        values = draw(
            st.lists(st.none() | value if nullable else value, min_size=count, max_size=count)
        )
        columns[name] = (pa.field(name, type_, nullable=nullable), pa.array(values, type_))
    schema = pa.schema([field for field, _ in columns.values()])
    return pa.table([array for _, array in columns.values()], schema=schema)


def step(draw: st.DrawFn, stream: fz.Stream, sql: str, number: int) -> tuple[fz.Stream, str]:
    """One more operator, and the same over DuckDB's query."""
    kind = draw(st.sampled_from(["filter", "with", "replace", "union"]))
    if kind == "filter":
        pair = draw(logic)
        return stream.filter(pair.expr), f"SELECT * FROM ({sql}) WHERE {pair.sql}"
    if kind == "union":
        pair = draw(logic)
        both = stream.union(stream.filter(pair.expr))
        return both, f"SELECT * FROM ({sql}) UNION ALL SELECT * FROM ({sql}) WHERE {pair.sql}"
    if kind == "replace":  # a column that no arithmetic reads, so that numbers stay small
        pair = draw(logic)
        return stream.with_columns(c=pair.expr), f"SELECT * REPLACE ({pair.sql} AS c) FROM ({sql})"
    pair = draw(expressions)
    name = f"new{number}"
    return stream.with_columns({name: pair.expr}), f"SELECT *, {pair.sql} AS {name} FROM ({sql})"


@st.composite
def pipelines(draw: st.DrawFn) -> tuple[pa.Table, fz.Stream, str]:
    table = draw(tables())
    partitions = draw(st.integers(1, 3))
    stream, sql = fz.read_memory(table, partitions=partitions), "SELECT * FROM rows_in"
    for number in range(draw(st.integers(1, 5))):
        stream, sql = step(draw, stream, sql, number)
    names = draw(st.lists(st.sampled_from(stream.schema.names), min_size=1, unique=True))
    return table, stream.select(*names), f"SELECT {', '.join(names)} FROM ({sql})"


def plain(value: object) -> object:
    """Equal for equal values of both."""
    if isinstance(value, float):
        return repr(value + 0.0)  # no negative zero
    return str(value.normalize() + 0) if isinstance(value, Decimal) else value


def counted(rows: list[tuple[object, ...]]) -> Counter[tuple[object, ...]]:
    return Counter(tuple(map(plain, row)) for row in rows)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=pipelines(), seed=st.integers(0, 999), batch_rows=st.integers(1, 9), two=st.booleans())
def test_as_duckdb(
    drawn: tuple[pa.Table, fz.Stream, str], seed: int, batch_rows: int, two: bool
) -> None:
    table, stream, sql = drawn
    sink = stream.write_memory()
    runnable = prepare(fz.Pipeline("random", sink, checkpoint="unused"), store=MemoryStore())
    for node in runnable.plan["nodes"]:
        if node["kind"] == "source":
            node["options"]["batch_rows"] = batch_rows
    Coordinator(
        runnable,
        RunSettings(
            workers=1 + two, bounded=True, quiet=True, checkpoint_every_s=0.01, simulated_seed=seed
        ),
    ).run()
    with duckdb.connect() as connection:
        connection.register("rows_in", table)
        theirs = connection.execute(sql).fetchall()
    ours = [tuple(row.values()) for row in sink.table().to_pylist()]
    assert counted(ours) == counted(theirs), sql
