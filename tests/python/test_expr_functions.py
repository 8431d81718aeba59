"""The table of functions: each has a Python method whose example gives the result it promises."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import frazil.expr
import pyarrow as pa
import pytest
from frazil import _engine
from frazil.expr import Call, Column, Expr, LiteralValue, col, lit, to_json

TABLE = _engine.functions()
NAMES = {
    "UTC": UTC,
    "date": date,
    "datetime": datetime,
    "timedelta": timedelta,
    "Decimal": Decimal,
    "pa": pa,
    "fz": frazil.expr,
    "lit": lit,
    "col": col,
}
NO_COLUMNS = pa.record_batch([pa.array([0])], ["unused"])


def example(name: str) -> Expr:
    source = next(entry[4] for entry in TABLE if entry[0] == name)
    expr = eval(source, dict(NAMES))
    assert isinstance(expr, Expr)
    return expr


def values(expr: Expr, batch: pa.RecordBatch) -> pa.Array:
    out = pa.record_batch(_engine.eval_expr(to_json(expr), batch)).column(0)
    out.validate(full=True)
    return out


def functions_of(expr: Expr) -> set[str]:
    return {node._function for node in expr._walk() if isinstance(node, Call)}


def test_names_are_unique() -> None:
    names = [entry[0] for entry in TABLE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry[0])
def test_example(entry: tuple[str, ...]) -> None:
    name, signature, _, doc, _, result = entry
    expr = example(name)
    assert name in functions_of(expr)
    assert repr(values(expr, NO_COLUMNS)[0].as_py()) == result
    assert signature.startswith("(")
    assert doc.endswith(".")


def with_columns(expr: Expr) -> tuple[Expr, dict[str, pa.Array]]:
    """The example on columns: what can be other than a literal becomes one, with a null."""
    columns: dict[str, pa.Array] = {}

    def visit(node: Expr, changeable: bool) -> Expr:
        if isinstance(node, LiteralValue) and changeable and node._scalar.is_valid:
            name = f"c{len(columns)}"
            value = node._scalar
            columns[name] = pa.array([value, None, value, value, None], value.type)
            return Column(name)
        if not isinstance(node, Call):
            return node
        return node._with_args(
            tuple(
                visit(arg, changeable=index == 0 or not takes_literals(node._function))
                for index, arg in enumerate(node._args)
            )
        )

    return visit(expr, changeable=True), columns


def takes_literals(function: str) -> bool:
    if function in ("is_in", "map_get", "list_join", "strftime", "power"):
        return True
    return function.startswith("str_")


@pytest.mark.parametrize("name", [entry[0] for entry in TABLE])
def test_nulls_slices_and_no_rows(name: str) -> None:
    expr, columns = with_columns(example(name))
    if not columns:  # an example of a null literal
        assert name in ("is_null", "fill_null", "coalesce")
        columns = {"c0": pa.array([1, None, 1, 1, None])}
        expr = {
            "is_null": col("c0").is_null(),
            "fill_null": col("c0").fill_null(7),
            "coalesce": frazil.expr.coalesce(col("c0"), 7),
        }[name]
    batch = pa.record_batch(columns)
    whole = values(expr, batch)
    one_by_one: list[Any] = []
    for row in range(batch.num_rows):
        one_by_one += values(expr, batch.slice(row, 1)).to_pylist()
    assert len(whole) == batch.num_rows
    assert whole.to_pylist() == one_by_one
    assert values(expr, batch.slice(2, 3)).to_pylist() == one_by_one[2:5]
    empty = values(expr, batch.slice(0, 0))
    assert len(empty) == 0
    assert empty.type == whole.type
    bound = frazil.expr.bind(expr, batch.schema, "the test")
    assert bound.type == whole.type
    assert bound.nullable or whole.null_count == 0
    # The example's own result, where no column is null.
    alone = values(example(name), NO_COLUMNS)[0].as_py()
    if name not in ("is_null", "fill_null", "coalesce", "null_if"):
        assert whole[0].as_py() == alone


@pytest.mark.parametrize("name", [entry[0] for entry in TABLE])
def test_spelling_fills_its_holes(name: str) -> None:
    text = repr(example(name))
    assert not re.search(r"\{=?\w*\*?\}", text), text
