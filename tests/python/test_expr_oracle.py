"""Random typed expressions on random data against DuckDB; both refuse the same."""

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pytest
from frazil import _engine, errors
from frazil.expr import Expr, coalesce, col, concat_str, lit, max_of, min_of, to_json, when
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INT64 = st.integers(-(2**63), 2**63 - 1)
# Products of the decimals have at most 18 digits: DuckDB refuses some that would need more.
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[object]]] = {
    "i": (pa.int64(), st.integers(-5, 5) | st.integers(-(2**40), 2**40) | INT64),
    "j": (pa.int64(), st.integers(-5, 5) | st.integers(-(2**40), 2**40)),
    "n": (pa.int32(), st.integers(-3, 3) | st.integers(-(2**31), 2**31 - 1)),
    "x": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    "d": (pa.decimal128(9, 2), st.decimals(-(10**6), 10**6, places=2)),
    "e": (pa.decimal128(8, 4), st.decimals(-999, 999, places=4)),
    "s": (pa.string(), st.text("abAB1 ä€", max_size=6)),
    "t": (pa.string(), st.text("ab ", max_size=3)),
    "b": (pa.bool_(), st.booleans()),
    "c": (pa.bool_(), st.booleans()),
}


@dataclass(frozen=True)
class Pair:
    """The same expression for both."""

    expr: Expr
    sql: str


def unary(name: str, make: Callable[[Expr], Expr], sql: str) -> Callable[[Pair], Pair]:
    return lambda a: Pair(make(a.expr), sql.format(a.sql))


def leaves(*names: str) -> st.SearchStrategy[Pair]:
    return st.sampled_from([Pair(col(name), name) for name in names])


def binary(
    operands: st.SearchStrategy[Pair], table: dict[str, Callable[[Expr, Expr], Expr]]
) -> st.SearchStrategy[Pair]:
    return st.builds(
        lambda a, b, sql: Pair(table[sql](a.expr, b.expr), sql.format(a.sql, b.sql)),
        operands,
        operands,
        st.sampled_from([*table]),
    )


def integer_literals() -> st.SearchStrategy[Pair]:
    return st.integers(-9, 9).map(lambda n: Pair(lit(n), f"({n})::BIGINT"))


ARITHMETIC: dict[str, Callable[[Expr, Expr], Expr]] = {
    "({} + {})": lambda a, b: a + b,
    "({} - {})": lambda a, b: a - b,
    "({} * {})": lambda a, b: a * b,
}
PADDED = "lpad({0}, greatest(4, length({0}))::INT, '_')"
MATCHED = "regexp_matches({}, '[0-9]|b$')"


def in_place_of_a(expr: Expr) -> Expr:
    return expr.str.replace_all("a", "xy", literal=True)


CHOICES: dict[str, Callable[[Expr, Expr], Expr]] = {
    "coalesce({}, {})": coalesce,
    "least({}, {})": min_of,
    "greatest({}, {})": max_of,
    "nullif({}, {})": lambda a, b: a.null_if(b),
}
COMPARISONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "({} = {})": lambda a, b: a == b,
    "({} <> {})": lambda a, b: a != b,
    "({} < {})": lambda a, b: a < b,
    "({} <= {})": lambda a, b: a <= b,
    "({} > {})": lambda a, b: a > b,
    "({} >= {})": lambda a, b: a >= b,
}

integers = st.recursive(
    leaves("i", "j") | integer_literals(),
    lambda inner: (
        binary(inner, ARITHMETIC | CHOICES)
        | inner.map(unary("abs", lambda a: a.abs(), "abs({})"))
        | inner.map(unary("neg", lambda a: -a, "(- {})"))
    ),
    max_leaves=5,
)
floats = st.recursive(
    leaves("x") | integers.map(unary("cast", lambda a: a.cast(float), "({})::DOUBLE")),
    lambda inner: (
        binary(inner, ARITHMETIC | CHOICES)
        | inner.map(unary("floor", lambda a: a.floor(), "floor({})"))
        | inner.map(unary("ceil", lambda a: a.ceil(), "ceil({})"))
        | inner.map(unary("abs", lambda a: a.abs(), "abs({})"))
    ),
    max_leaves=4,
)
decimals = binary(leaves("d", "e"), ARITHMETIC | CHOICES) | leaves("d", "e")
strings = st.recursive(
    leaves("s", "t"),
    lambda inner: (
        inner.map(unary("upper", lambda a: a.str.to_uppercase(), "upper({})"))
        | inner.map(unary("lower", lambda a: a.str.to_lowercase(), "lower({})"))
        | inner.map(unary("reverse", lambda a: a.str.reverse(), "reverse({})"))
        | inner.map(unary("trim", lambda a: a.str.strip_chars(" a"), "trim({}, ' a')"))
        | inner.map(unary("slice", lambda a: a.str.slice(1, 3), "substr({}, 2, 3)"))
        | inner.map(
            unary(
                "one",
                lambda a: a.str.replace_all("a", "xy", literal=True),
                "replace({}, 'a', 'xy')",
            )
        )
        | inner.map(
            unary(
                "all",
                lambda a: a.str.replace_all("[ab]+", "_"),
                "regexp_replace({}, '[ab]+', '_', 'g')",
            )
        )
        | inner.map(
            unary(
                "pad",
                lambda a: a.str.pad_start(4, "_"),
                "lpad({0}, greatest(4, length({0}))::INT, '_')",
            )
        )
        | binary(inner, {"({} || {})": concat_str} | CHOICES)
    ),
    max_leaves=3,
)
comparisons = (
    binary(integers, COMPARISONS)
    | binary(floats, COMPARISONS)
    | binary(decimals, COMPARISONS)
    | binary(strings, COMPARISONS)
    | strings.map(unary("starts", lambda a: a.str.starts_with("a"), "starts_with({}, 'a')"))
    | strings.map(
        unary("contains", lambda a: a.str.contains("[0-9]|b$"), "regexp_matches({}, '[0-9]|b$')")
    )
    | integers.map(unary("in", lambda a: a.is_in([1, 2, None]), "({} IN (1, 2, NULL))"))
    | integers.map(unary("between", lambda a: a.is_between(-1, 3), "({} BETWEEN -1 AND 3)"))
    | (integers | strings | decimals).map(unary("null", lambda a: a.is_null(), "({} IS NULL)"))
)
logic = st.recursive(
    leaves("b", "c") | comparisons,
    lambda inner: (
        binary(
            inner,
            {
                "({} AND {})": lambda a, b: a & b,
                "({} OR {})": lambda a, b: a | b,
                "({} <> {})": lambda a, b: a ^ b,
            },
        )
        | inner.map(unary("not", lambda a: ~a, "(NOT {})"))
    ),
    max_leaves=4,
)
branches = st.one_of(
    *(
        st.builds(
            lambda c, a, b: Pair(
                when(c.expr).then(a.expr).otherwise(b.expr),
                f"CASE WHEN {c.sql} THEN {a.sql} ELSE {b.sql} END",
            ),
            logic,
            kind,
            kind,
        )
        for kind in (integers, strings, floats)
    )
)
expressions = integers | floats | decimals | strings | logic | branches

rows = st.fixed_dictionaries(
    {name: st.none() | strategy for name, (_, strategy) in COLUMNS.items()}
)


def batch_of(data: list[dict[str, object]]) -> pa.RecordBatch:
    return pa.record_batch(
        [pa.array([row[name] for row in data], type_) for name, (type_, _) in COLUMNS.items()],
        names=[*COLUMNS],
    )


def ours(expr: Expr, batch: pa.RecordBatch) -> pa.Array:
    return pa.record_batch(_engine.eval_expr(to_json(expr), batch)).column(0)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return a == b


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pair=expressions, data=st.lists(rows, min_size=1, max_size=8), cut=st.integers(0, 3))
def test_as_duckdb(
    connection: duckdb.DuckDBPyConnection, pair: Pair, data: list[dict[str, object]], cut: int
) -> None:
    batch = batch_of(data).slice(min(cut, len(data) - 1))
    table = pa.table(batch)
    connection.register("data", table)
    try:
        theirs = [row[0] for row in connection.execute(f"SELECT {pair.sql} FROM data").fetchall()]
    except (duckdb.OutOfRangeException, duckdb.ConversionException):
        theirs = None
    try:
        result = ours(pair.expr, batch)
    except errors.DataError:
        result = None
    if result is None or theirs is None:
        assert result is None, f"DuckDB refuses what gives {result.to_pylist()}"
        assert theirs is None, f"we refuse what gives {theirs}"
        return
    result.validate(full=True)
    assert all(map(same, result.to_pylist(), theirs)), (pair, result.to_pylist(), theirs)
    pieces = [ours(pair.expr, batch.slice(row, 1)).to_pylist()[0] for row in range(len(batch))]
    assert all(map(same, pieces, result.to_pylist()))
