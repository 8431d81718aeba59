"""The testing kit: rows and messages in place of topics, files and tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col, testing

START = datetime(2026, 1, 1, tzinfo=UTC)


class Order(fz.Schema):
    id: int
    user: str
    amount: float | None
    at: datetime


def orders(**options: Any) -> fz.Stream:
    return fz.read_kafka("shop.orders", servers="kafka:9092", schema=Order, **options)


def row(id: int, user: str = "ada", amount: float | None = 1.0, second: int = 0) -> dict[str, Any]:
    return {"id": id, "user": user, "amount": amount, "at": START + timedelta(seconds=second)}


def minutes(stream: fz.Stream) -> fz.Windowed:
    timed = stream.event_time("at", out_of_order="10s")
    return timed.group_by("user").window(fz.tumbling("1m")).agg(amount=col("amount").sum())


def test_rows_stand_in_place_of_a_topic() -> None:
    large = orders().filter(col("amount") > 1).select("id")
    assert testing.run_to_end(large, shop_orders=[row(1), row(2, amount=5.0)]) == [{"id": 2}]


def test_event_time_goes_by_the_rows() -> None:
    given = [row(1), row(2, second=70), row(3, second=5)]  # 70 s less 10 s is behind 5 s
    windows = minutes(orders())
    found = testing.run_to_end({"sums": windows, "late": windows.late}, shop_orders=given)
    testing.assert_rows(
        found["sums"],
        [
            {"window_start": START, "amount": 1.0},
            {"window_start": START + timedelta(minutes=1), "amount": 1.0},
        ],
    )
    testing.assert_rows(found["late"], [{"id": 3}])


def test_windows_that_are_open_stay_open_if_asked() -> None:
    given = [row(1), row(2, second=75)]
    sums = testing.run_to_end(minutes(orders()), close_windows=False, shop_orders=given)
    testing.assert_rows(sums, [{"window_start": START}])


def test_messages_are_decoded_and_bad_ones_rejected() -> None:
    read = orders(metadata=["key", "offset", "timestamp", "headers"])
    good = '{"id": 1, "user": "ada", "at": "2026-01-01T00:00:00Z"}'
    found = testing.run_to_end(
        {"good": read, "bad": read.rejected},
        shop_orders=[
            '{"id": "?"}',
            testing.Message(value=good, key=b"k", timestamp=START, headers=[("h", b"1")]),
        ],
    )
    [only] = found["good"]
    assert (only["id"], only["_key"], only["_offset"]) == (1, b"k", 1)
    assert (only["_timestamp"], only["_headers"]) == (START, [{"key": "h", "value": b"1"}])
    testing.assert_rows(found["bad"], [{"position": 0, "column": "id", "raw": b'{"id": "?"}'}])


def test_a_bad_message_ends_the_run_as_it_would() -> None:
    with pytest.raises(fz.DecodeError, match='memory-0@0: field "id"'):
        testing.run_to_end(orders(), shop_orders=['{"id": "?"}'])


def test_metadata_of_rows_is_made_up() -> None:
    read = orders(metadata=["offset", "partition"]).select("id", "_offset", "_partition")
    parts = testing.partitions([row(1), row(2)], [row(3)])
    testing.assert_rows(
        testing.run_to_end(read, shop_orders=parts),
        [
            {"id": 1, "_offset": 0, "_partition": 0},
            {"id": 2, "_offset": 1, "_partition": 0},
            {"id": 3, "_offset": 0, "_partition": 1},
        ],
    )


def users() -> fz.Stream:
    return fz.read_kafka(
        "users",
        servers="kafka:9092",
        format="debezium-json",
        schema={"id": int, "name": str},
        key=["id"],
    )


def test_changes_are_given_as_events() -> None:
    given = [
        testing.change(after={"id": 1, "name": "ada"}),
        testing.change(after={"id": 2, "name": "bob"}),
        testing.change({"id": 1, "name": "ada"}, {"id": 1, "name": "eve"}),
        testing.change({"id": 2, "name": "bob"}),
        None,
    ]
    testing.assert_rows(testing.run_to_end(users(), users=given), [{"id": 1, "name": "eve"}])


def test_changes_as_rows_are_refused() -> None:
    with pytest.raises(fz.ConfigError, match="its rows are changes"):
        testing.run_to_end(users(), users=[{"id": 1, "name": "ada"}])


def test_lookup_tables_are_given(tmp_path: Any) -> None:
    path = tmp_path / "cities.parquet"
    pa.parquet.write_table(pa.table({"user": ["x"], "city": ["x"]}), path)
    cities = fz.lookup_parquet(path, name="cities", refresh="1m")
    joined = orders().join_lookup(cities, on="user", how="left").select("id", "city")
    path.unlink()
    found = testing.run_to_end(
        joined,
        lookups={"cities": [{"user": "ada", "city": "London"}]},
        shop_orders=[row(1), row(2, user="bob")],
    )
    testing.assert_rows(found, [{"id": 1, "city": "London"}, {"id": 2, "city": None}])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no rows are given for kafka:shop.orders"),
        ({"orders": []}, "'orders' is no source"),
        ({"shop_orders": [row(1), "{}"]}, "some of what is given are rows, some messages"),
    ],
)
def test_what_is_given_wrong_is_said(given: dict[str, Any], message: str) -> None:
    with pytest.raises(fz.ConfigError, match=message):
        testing.run_to_end(orders(), **given)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(fz.PlanError, match="has nulls and may not"):
        testing.run_to_end(orders(), shop_orders=[{"id": 1}])


def test_nothing_of_the_real_source_is_asked() -> None:
    """Not even its secrets."""
    read = orders(security=fz.Sasl(username="u", password=fz.secret("NOT_THERE")))
    assert len(testing.run_to_end(read, shop_orders=[row(1)])) == 1
