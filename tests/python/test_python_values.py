"""Columns as Python values are what Arrow makes of them, whatever the way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from frazil.python_values import python_values

COLUMNS = [
    pa.array([1, None, -(2**62)], pa.int64()),
    pa.array([1, None, 2**63], pa.uint64()),
    pa.array([1, None, -1], pa.int8()),
    pa.array([1.5, None, float("inf")], pa.float64()),
    pa.array([1.5, None, 0.1], pa.float32()),
    pa.array([True, None, False]),
    pa.array(["a", None, ""]),
    pa.array([0, None, -1], pa.timestamp("us", "UTC")),
    pa.array([0, None, 1], pa.timestamp("ms", "UTC")),
    pa.array([Decimal("1.50"), None]),
    pa.array([{"a": 1}, None]),
    pa.array([[1, None], None]),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_values_are_those_of_arrow(column: pa.Array) -> None:
    for part in (column, column.drop_null(), column.slice(1), column.slice(0, 0)):
        found, expected = python_values(part), part.to_pylist()
        assert found == expected
        assert kinds(found) == kinds(expected)


def kinds(values: list[Any]) -> list[type]:
    return [type(value) for value in values]
