"""Data files that cannot have a key are not read; those that may have it are."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from frazil.iceberg.key_bounds import Bounds, FirstValues
from frazil.iceberg.key_columns import encode_keys
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.conversions import to_bytes
from pyiceberg.schema import Schema
from pyiceberg.types import (
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
)


class _Table:
    """As much of a table as is asked for."""

    def __init__(self, type_: IcebergType) -> None:
        self._schema = Schema(NestedField(1, "k", type_, required=False))

    def schema(self) -> Schema:
        return self._schema


def values_of(type_: IcebergType, column: pa.Array) -> FirstValues:
    keys = encode_keys(pa.table({"k": column})).column("key")
    return FirstValues(_Table(type_), ["k"], keys)  # type: ignore[arg-type]


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**62),
)
def test_integers(values: list[int], lower: int, span: int) -> None:
    upper = min(lower + span, 2**63 - 1)
    bounds = Bounds(*(to_bytes(LongType(), each) for each in (lower, upper)))
    found = values_of(LongType(), pa.array(values, pa.int64())).may_be_in(bounds)
    assert found == any(lower <= value <= upper for value in values)


@given(st.lists(st.text(max_size=4), min_size=1), st.text(max_size=3), st.text(max_size=3))
def test_texts(values: list[str], one: str, other: str) -> None:
    lower, upper = sorted((one.encode(), other.encode()))
    found = values_of(StringType(), pa.array(values)).may_be_in(Bounds(lower, upper))
    assert found == any(lower <= value.encode() <= upper for value in values)


def test_bounds_from_before_a_column_was_widened() -> None:
    bounds = Bounds(*(to_bytes(IntegerType(), each) for each in (-5, 5)))
    assert values_of(LongType(), pa.array([-5])).may_be_in(bounds)
    assert not values_of(LongType(), pa.array([2**40])).may_be_in(bounds)


@pytest.mark.parametrize("bounds", [None, Bounds(b"\0", b"\0")])
def test_what_cannot_be_told_may_be_there(bounds: Any) -> None:
    if bounds is None:
        assert values_of(LongType(), pa.array([1])).may_be_in(None)
    else:
        column = pa.array([1]).cast(pa.decimal128(19, 0))
        assert values_of(DecimalType(19, 0), column).may_be_in(bounds)
