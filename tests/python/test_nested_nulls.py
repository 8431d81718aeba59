"""Nulls inside of nested values are found, wherever they are."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from frazil.nested_nulls import row_with_null

INT = pa.field("element", pa.int64(), nullable=False)
STRUCT = pa.struct([pa.field("a", pa.int64(), nullable=False), pa.field("b", pa.int64())])
MAP = pa.map_(pa.string(), pa.field("value", pa.int64(), nullable=False))


@pytest.mark.parametrize(
    ("type_", "values", "row"),
    [
        (pa.int64(), [1, None], None),
        (pa.list_(INT), [[1], None, []], None),
        (pa.list_(INT), [[1], None, [2, None]], 2),
        (pa.large_list(INT), [[], [None]], 1),
        (pa.list_(pa.int64()), [[None]], None),
        (STRUCT, [{"a": 1}, None], None),
        (STRUCT, [{"a": 1, "b": None}, {"a": None, "b": 2}], 1),
        (pa.list_(STRUCT), [[{"a": 1}], [], [{"a": 1}, {"a": None}]], 2),
        (pa.struct([pa.field("x", pa.list_(INT))]), [{"x": [1]}, {"x": [None]}], 1),
        (MAP, [[("k", 1)], None], None),
    ],
)
def test_rows(type_: pa.DataType, values: list[Any], row: int | None) -> None:
    column = pa.array(values, type_)
    assert row_with_null(column) == row
    if row is not None:
        assert row_with_null(column.slice(row)) == 0
        assert row_with_null(column.slice(0, row)) is None
