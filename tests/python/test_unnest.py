"""A row for each element of a list: what is offered, and what comes out in any order of work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col, testing

START = datetime(2026, 1, 1, tzinfo=UTC)


class Item(fz.Schema):
    sku: str
    n: int


class Order(fz.Schema):
    id: int
    items: list[Item] | None
    at: datetime


def orders() -> fz.Stream:
    return fz.read_kafka("orders", servers="kafka:9092", schema=Order)


def order(id: int, *skus: str, second: int = 0) -> dict[str, Any]:
    items = [{"sku": sku, "n": n} for n, sku in enumerate(skus)]
    return {"id": id, "items": items, "at": START + timedelta(seconds=second)}


def test_a_row_for_each_element() -> None:
    rows = orders().unnest("items", into="item").select("id", sku=col("item").struct["sku"])
    given = [order(1, "a", "b"), order(2), {**order(3), "items": None}, order(4, "c")]
    testing.assert_rows(
        testing.run_to_end(rows, orders=given),
        [{"id": 1, "sku": "a"}, {"id": 1, "sku": "b"}, {"id": 4, "sku": "c"}],
    )


def test_empty_lists_may_keep_their_row() -> None:
    rows = orders().unnest("items", keep_empty=True).select("id", sku=col("items").struct["sku"])
    given = [order(1, "a"), order(2), {**order(3), "items": None}]
    testing.assert_rows(
        testing.run_to_end(rows, orders=given),
        [{"id": 1, "sku": "a"}, {"id": 2, "sku": None}, {"id": 3, "sku": None}],
    )


def test_only_the_lists_may_be_wanted() -> None:
    texts = fz.read_memory([{"id": 1, "tags": ["x", "y"]}]).unnest("tags").select("tags")
    assert testing.run_to_end(texts) == [{"tags": "x"}, {"tags": "y"}]
    counted = fz.read_memory([{"id": 1, "tags": ["x", "y"]}]).unnest("tags").select("id")
    assert testing.run_to_end(counted) == [{"id": 1}, {"id": 1}]


def test_rows_keep_their_event_time_and_the_order_of_the_list() -> None:
    items = orders().event_time("at", out_of_order="20s").unnest("items", into="item")
    skus = items.with_columns(sku=col("item").struct["sku"], n=col("item").struct["n"])
    windows = skus.group_by("sku").window(fz.tumbling("1m")).agg(sold=fz.count())
    running = skus.group_by("id").running(so_far=col("n").sum())
    first = (
        skus.group_by("id")
        .window(fz.tumbling("1h"))
        .agg(first=col("sku").first(), last=col("sku").last())
    )
    given = [order(n, *"abcd"[: n % 5], second=n * 7 % 100) for n in range(40)]
    found = testing.check_any_order(
        {
            "windows": windows,
            "late": windows.late,
            "running": running.select("id", "n", "so_far"),
            "running_late": running.late,
            "first": first,
        },
        cases=15,
        orders=testing.partitions(given[::2], given[1::2]),
    )
    items_given = sum(n % 5 for n in range(40))
    assert sum(row["sold"] for row in found["windows"]) + len(found["late"]) == items_given
    assert len(found["running"]) + len(found["running_late"]) == items_given
    assert found["running_late"]
    for row in found["running"]:
        assert row["so_far"] == sum(range(row["n"] + 1))
    assert all(row["first"] == "a" for row in found["first"])


def test_explain_says_it() -> None:
    text = fz.Pipeline("p", orders().unnest("items", into="item").write_memory()).explain()
    assert "unnest items as item" in text
    assert "a row for each element of a list" in text


def test_what_is_no_list_is_refused() -> None:
    with pytest.raises(fz.TypeMismatch, match="unnest of column 'id', which is int64"):
        orders().unnest("id")
    with pytest.raises(fz.ColumnNotFound, match="no column 'item'"):
        orders().unnest("item")
    with pytest.raises(fz.ColumnExists, match="unnest into 'id', which is there already"):
        orders().unnest("items", into="id")
    changes = orders().group_by("id").agg(all=col("at").any_value())
    with pytest.raises(fz.FrazilError, match="unnest"):
        changes.unnest("all")


def test_event_time_may_stand_behind_it() -> None:
    """Of the elements, whose order in their partition is that of the rows and of the lists."""
    given = [
        {"id": n, "items": [{"sku": "a", "n": n * 7 % 60 + k} for k in (0, 5)], "at": START}
        for n in range(40)
    ]
    items = orders().unnest("items", into="item").select(seconds=col("item").struct["n"])
    timed = items.select(at=fz.from_epoch(col("seconds"), unit="s"))
    windows = timed.event_time("at", out_of_order="20s").group_by().window(fz.tumbling("10s"))
    counts = windows.agg(rows=fz.count())
    parts = testing.partitions(given[:20], given[20:])
    found = testing.check_any_order({"counts": counts, "late": counts.late}, cases=10, orders=parts)
    assert sum(row["rows"] for row in found["counts"]) + len(found["late"]) == 80
    assert found["late"]


def test_large_lists() -> None:
    table = pa.table({"xs": pa.array([[1, 2], None, [3]], pa.large_list(pa.int64()))})
    rows = testing.run_to_end(fz.read_memory(table).unnest("xs"))
    assert rows == [{"xs": 1}, {"xs": 2}, {"xs": 3}]
