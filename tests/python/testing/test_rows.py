"""Rows are compared as values, and what differs is named."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import frazil as fz
import pytest
from frazil import testing


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([{"a": 1}, {"a": 2}], [{"a": 2}, {"a": 1}]),
        ([{"a": 1, "b": 2}], [{"a": 1}]),
        ([{"a": 1.0}], [{"a": 1}]),
        ([{"a": Decimal("2.50")}], [{"a": 2.5}]),
        ([{"a": float("nan")}], [{"a": float("nan")}]),
        ([{"a": datetime(2026, 1, 1, tzinfo=UTC)}], [{"a": datetime(2026, 1, 1)}]),
        ([{"a": {"x": [1, None]}}], [{"a": {"x": [1, None]}}]),
        ([], []),
    ],
)
def test_equal_rows(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    testing.assert_rows(found, expected)


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        ([{"a": 1}], [{"a": 1}, {"a": 1}], "missing: {'a': 1}"),
        ([{"a": 1}, {"a": 1}, {"a": 1}], [{"a": 1}], r"too many: {'a': 1} \(2 times\)"),
        ([{"a": True}], [{"a": 1}], "missing: {'a': 1}"),
        ([{"a": "1"}], [{"a": 1}], "missing: {'a': 1}"),
        ([{"a": 1}], [{"b": 1}], "no column 'b'"),
        ([{"a": 1}], [{"a": 1}, {"b": 1}], "name other columns"),
        ([{"a": n} for n in range(20)], [], "too many: 10 more"),
    ],
)
def test_unlike_rows(
    found: list[dict[str, Any]], expected: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        testing.assert_rows(found, expected)


def test_order_counts_if_asked() -> None:
    testing.assert_rows([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}], ordered=True)
    with pytest.raises(AssertionError, match="another order, from row 0 on"):
        testing.assert_rows([{"a": 1}, {"a": 2}], [{"a": 2}, {"a": 1}], ordered=True)


def test_tables(tmp_path: Path) -> None:
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/c.db",
        "warehouse": f"file://{tmp_path}",
    }
    sink = fz.read_memory([{"id": 1}]).write_iceberg("shop.t", catalog=catalog)
    fz.Pipeline("tables", sink, checkpoint=str(tmp_path / "log")).run(until="now", quiet=True)
    testing.assert_table("shop.t", [{"id": 1}], catalog=catalog)
    with pytest.raises(AssertionError, match=r"missing: {'id': 2}"):
        testing.assert_table("shop.t", [{"id": 1}, {"id": 2}], catalog=catalog)
