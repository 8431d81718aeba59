"""Joins of two streams as they are declared: columns, types, names, what plan and explain say."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col
from frazil.errors import PlanChanged

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = pa.field("at", pa.timestamp("us", "UTC"), nullable=False)


def stream(name: str, *fields: pa.Field, timed: bool = True) -> fz.Stream:
    table = pa.Table.from_pylist([], pa.schema([*fields, AT]))
    rows = fz.read_memory(table, name=name)
    return rows.event_time("at", out_of_order="10s") if timed else rows


@pytest.fixture
def orders() -> fz.Stream:
    return stream(
        "orders", pa.field("id", pa.int64(), nullable=False), pa.field("user", pa.string())
    )


@pytest.fixture
def clicks() -> fz.Stream:
    return stream(
        "clicks", pa.field("user", pa.string(), nullable=False), pa.field("page", pa.string())
    )


def join_node(joined: fz.Stream, kind: str = "interval_join") -> dict[str, Any]:
    plan = fz.Pipeline("p", joined.write_memory(), checkpoint="unused").plan
    (node,) = (each for each in plan.json["nodes"] if each["kind"] == kind)
    return node


def schema_of(node: dict[str, Any]) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(node["schema"])))


def test_columns(orders: fz.Stream, clicks: fz.Stream) -> None:
    inner = orders.join(clicks, on="user", within="10m")
    assert str(inner) == (
        "Stream(append) <- orders, clicks\n  id: int64 not null\n  user: string\n"
        "  at: timestamp[us, UTC] not null\n  page: string\n"
        "  at_b: timestamp[us, UTC] not null\n  event time: at"
    )
    left = orders.join(clicks, on="user", within="10m", how="left", suffix="_click")
    assert left.schema.names[-1] == "at_click"
    assert left.schema.field("at_click").nullable
    assert not left.schema.field("at").nullable
    for how in ("semi", "anti"):
        only = orders.join(clicks, on="user", within="10m", how=how)  # type: ignore[arg-type]
        assert only.schema == orders.schema


def test_columns_of_right_and_full(orders: fz.Stream, clicks: fz.Stream) -> None:
    right = orders.join(clicks, on="user", within="10m", how="right")
    assert str(right).endswith("event time: at_b")
    assert not right.schema.field("user").nullable  # that of the right row
    assert right.schema.field("id").nullable
    assert not right.schema.field("at_b").nullable
    full = orders.join(clicks, on="user", within="10m", how="full")
    assert full.schema.names == ["id", "user", "at", "page", "at_b", "event_time"]
    assert str(full).endswith("event time: event_time")
    nullable = [field.nullable for field in full.schema]
    assert nullable == [True, True, True, True, True, False]


def test_only_what_is_needed_is_kept(orders: fz.Stream, clicks: fz.Stream) -> None:
    joined = orders.join(clicks, on="user", before="5m", after="1m")
    node = join_node(joined.select("page"))
    assert schema_of(node).names == ["page"]
    assert node["columns"] == [["right", "page"]]
    assert (node["before_us"], node["after_us"]) == (300_000_000, 60_000_000)
    assert node["state"] == {
        "keys": "user",
        "how": "inner",
        "left": "user: string, at: timestamp[us, UTC]",
        "right": "user: string, page: string, at: timestamp[us, UTC]",
        "within": "at most 5m before and 1m after",
    }
    counted = join_node(joined.select(one=fz.lit(1)))
    assert counted["columns"] == [["left", "id"]]
    assert join_node(orders.join(clicks, on="user", before="5m", how="full"))["columns"] == [
        ["left", "id"],
        ["either", 0],
        ["left", "at"],
        ["right", "page"],
        ["right", "at"],
        ["time", "event_time"],
    ]


def test_two_joins_of_the_same_streams(orders: fz.Stream, clicks: fz.Stream) -> None:
    seen = orders.join(clicks, on="user", before="5m", how="semi").write_memory(name="seen")
    missed = orders.join(clicks, on="user", before="5m", how="anti").write_memory(name="missed")
    assert fz.Pipeline("p", seen, missed, checkpoint="unused").plan
    sooner = orders.join(clicks, on="user", before="1m", how="semi").write_memory(name="sooner")
    with pytest.raises(fz.PlanError, match=r"with other options[\s\S]*\.named\(\)"):
        fz.Pipeline("p", seen, sooner, checkpoint="unused")
    named = orders.join(clicks, on="user", before="1m", how="semi").named("sooner")
    assert fz.Pipeline("p", seen, named.write_memory(name="sooner"), checkpoint="unused").plan


def test_keys_of_other_names_and_widths(orders: fz.Stream) -> None:
    paid = stream("paid", pa.field("order", pa.int32()), pa.field("by", pa.string()))
    joined = orders.join(paid, on={"id": "order"}, within="1h", how="full")
    assert joined.schema.names == ["id", "user", "at", "by", "at_b", "event_time"]
    assert joined.schema.field("id").type == pa.int64()
    small = stream("small", pa.field("id", pa.int16()))
    assert (
        paid.join(small, on={"order": "id"}, within="1h").schema.field("order").type == pa.int32()
    )
    assert small.join(paid, on={"id": "order"}, within="1h").schema.field("id").type == pa.int32()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.int64(), pa.string()),
        (pa.int64(), pa.uint64()),
        (pa.int64(), pa.float64()),
        (pa.decimal128(10, 2), pa.decimal128(10, 3)),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
    ],
    ids=str,
)
def test_keys_of_other_types(left: pa.DataType, right: pa.DataType) -> None:
    a, b = stream("a", pa.field("k", left)), stream("b", pa.field("k", right))
    with pytest.raises(fz.TypeMismatch, match=r"join on 'k', which is .* in a, and 'k', which is"):
        a.join(b, on="k", within="1m")


def test_types_that_are_no_keys() -> None:
    nested = stream("a", pa.field("k", pa.list_(pa.int64())))
    with pytest.raises(fz.TypeMismatch, match="join on column 'k' of a, which is list"):
        nested.join(nested, on="k", within="1m")


def test_a_bound_in_time_is_asked_for(orders: fz.Stream, clicks: fz.Stream) -> None:
    with pytest.raises(fz.PlanError) as error:
        orders.join(clicks, on="user")
    assert str(error.value).splitlines() == [
        "join without a bound in time would keep for ever: every row of orders and every row of "
        "clicks",
        '  say how far apart times may be: within="10m", or before="10m", after="1m"',
        '  or put both streams into the same windows before: .assign_window(fz.tumbling("1h"))',
        "  a table that fits into memory is joined by join_lookup",
    ]
    with pytest.raises(fz.PlanError, match="before and after in one"):
        orders.join(clicks, on="user", within="1m", after="1m")
    with pytest.raises(fz.PlanError, match=r"within=.* is too long"):
        orders.join(clicks, on="user", within=timedelta(days=1_000))


def test_what_is_refused(orders: fz.Stream, clicks: fz.Stream) -> None:
    with pytest.raises(fz.ColumnNotFound, match="no column 'usr' in orders"):
        orders.join(clicks, on="usr", within="1m")
    with pytest.raises(fz.ColumnNotFound, match="no column 'id' in clicks"):
        orders.join(clicks, on="id", within="1m")
    with pytest.raises(fz.PlanError, match="names column 'user' of orders twice"):
        orders.join(clicks, on=["user", "user"], within="1m")
    with pytest.raises(fz.PlanError, match="join on 0 columns"):
        orders.join(clicks, on=[], within="1m")
    with pytest.raises(fz.PlanError, match="how='outer' is not offered"):
        orders.join(clicks, on="user", within="1m", how="outer")  # type: ignore[arg-type]
    with pytest.raises(fz.TypeMismatch, match="join got a str"):
        orders.join("clicks", on="user", within="1m")  # type: ignore[arg-type]
    with pytest.raises(fz.ColumnExists, match="'at' of clicks would be 'at', which is there"):
        orders.join(clicks, on="user", within="1m", suffix="")
    with pytest.raises(fz.ColumnExists, match="a full join adds it"):
        orders.with_columns(event_time=col("at")).join(clicks, on="user", within="1m", how="full")


def test_both_need_event_time(orders: fz.Stream) -> None:
    untimed = stream("clicks", pa.field("user", pa.string()), timed=False)
    with pytest.raises(fz.WatermarkMissing, match="join needs event time, and clicks has none"):
        orders.join(untimed, on="user", within="1m")
    with pytest.raises(fz.WatermarkMissing, match="join needs event time, and clicks has none"):
        untimed.join(orders, on="user", within="1m")


def test_late_rows_of_both(orders: fz.Stream, clicks: fz.Stream) -> None:
    joined = orders.join(clicks, on="user", within="1m")
    assert joined.late.schema.names[:3] == ["id", "user", "at"]
    assert joined.late_right.schema.names[:3] == ["user", "page", "at"]
    assert joined.late.schema.names[-3:] == ["watermark", "partition", "position"]
    with pytest.raises(fz.PlanError, match="late right rows belong to what a join"):
        assert orders.late_right
    with pytest.raises(fz.PlanError, match="late right rows belong to what a join"):
        assert joined.filter(col("id") > 1).late_right


def test_explain(orders: fz.Stream, clicks: fz.Stream) -> None:
    joined = orders.join(clicks, on="user", before="5m", after="1m", how="left")
    text = fz.Pipeline("p", joined.write_memory(), checkpoint="unused").explain()
    assert "join left on user at most 5m before and 1m after" in text
    assert "state: left rows for 1m, right rows for 6m of event time" in text
    assert text.count("late gate") == 2
    assert "exact" in text.splitlines()[0]


def test_windows_behind_a_join(orders: fz.Stream, clicks: fz.Stream) -> None:
    joined = orders.join(clicks, on="user", within="5m")
    hours = joined.group_by("page").window(fz.tumbling("1h")).agg(orders=fz.count())
    assert hours.schema.names == ["page", "window_start", "window_end", "orders"]
    again = hours.join(clicks, on="page", before="1h", how="right")
    assert str(again).endswith("event time: at")
    assert str(hours.join(clicks, on="page", within="1h")).endswith("event time: window_end - 1us")


def per_minute(rows: fz.Stream, window: fz.Window | None = None) -> fz.Stream:
    return rows.group_by("user").window(window or fz.tumbling("1m")).agg(n=fz.count())


def test_per_window(orders: fz.Stream, clicks: fz.Stream) -> None:
    left, right = per_minute(orders), per_minute(clicks)
    joined = left.join(right, on="user", how="full")
    assert str(joined) == (
        "Stream(append) <- orders, clicks\n  user: string\n"
        "  window_start: timestamp[us, UTC] not null\n  window_end: timestamp[us, UTC] not null\n"
        "  n: int64\n  n_b: int64\n  event time: window_end - 1us"
    )
    for how in ("inner", "left", "right", "semi", "anti"):
        assert str(left.join(right, on="user", how=how)).endswith("window_end - 1us")  # type: ignore[arg-type]
    node = join_node(joined)
    assert node["left"]["keys"] == ["user", "window_start", "window_end"]
    assert (node["before_us"], node["after_us"]) == (0, 0)
    text = fz.Pipeline("p", joined.write_memory(), checkpoint="unused").explain()
    assert "join full on user per window" in text
    assert "state: rows of open windows" in text
    hours = joined.group_by("user").window(fz.tumbling("1h")).agg(n=col("n").sum())
    assert "window_end - 1us" in str(hours.join(hours, on="user"))
    chain = joined.filter(col("n") > 1).join(right.rename(n="m"), on="user")
    assert chain.schema.names[-1] == "m"
    # Windows of what is aggregated once more are those that it was in.
    again = left.group_by("user").agg(most=col("n").max()).join(right, on="user")
    assert again.schema.names[-2:] == ["most", "n"]


def test_per_window_of_assigned_rows(orders: fz.Stream, clicks: fz.Stream) -> None:
    left, right = (each.assign_window(fz.tumbling("1m")) for each in (orders, clicks))
    joined = left.join(right, on="user", how="left")
    assert joined.schema.names == [
        "id",
        "user",
        "at",
        "window_start",
        "window_end",
        "page",
        "at_b",
    ]
    assert str(joined).endswith("event time: window_end - 1us")
    assert joined.join(per_minute(clicks), on="user").schema.names[-1] == "n"
    with pytest.raises(fz.PlanError, match=r"in windows tumbling 1m, and .* hopping"):
        left.join(clicks.assign_window(fz.hopping("1m", every="10s")), on="user")


def test_per_window_is_refused(orders: fz.Stream, clicks: fz.Stream) -> None:
    left = per_minute(orders)
    with pytest.raises(fz.PlanError, match="without a bound in time"):
        left.join(clicks, on="user")
    with pytest.raises(fz.PlanError, match="without a bound in time"):
        left.join(left.drop("window_start"), on="user")
    with pytest.raises(fz.PlanError, match=r"in windows tumbling 1m, and .* tumbling 1h"):
        left.join(per_minute(clicks, fz.tumbling("1h")), on="user")
    with pytest.raises(fz.PlanError, match="on no other column"):
        left.join(per_minute(clicks), on="window_end")
    sessions = per_minute(orders, fz.session(gap="1m"))
    with pytest.raises(fz.PlanError, match="without a bound in time"):
        sessions.join(sessions, on="user")
    near = left.join(per_minute(clicks), on="user", within="1m")
    assert near.schema.names[-3:] == ["window_start_b", "window_end_b", "n_b"]


def test_asof(orders: fz.Stream, clicks: fz.Stream) -> None:
    joined = orders.join_asof(clicks, on="user", tolerance="5m")
    assert str(joined) == (
        "Stream(append) <- orders, clicks\n  id: int64 not null\n  user: string\n"
        "  at: timestamp[us, UTC] not null\n  page: string\n  at_b: timestamp[us, UTC]\n"
        "  event time: at"
    )
    assert not orders.join_asof(clicks, on="user", how="inner").schema.field("at_b").nullable
    node = join_node(joined.select("page"), "asof_join")
    assert node["tolerance_us"] == 300_000_000
    assert node["columns"] == [["right", "page"]]
    assert node["state"]["tolerance"] == "5m"
    assert join_node(orders.join_asof(clicks, on="user"), "asof_join")["tolerance_us"] is None
    assert joined.late_right.schema.names[:3] == ["user", "page", "at"]


def test_asof_in_explain(orders: fz.Stream, clicks: fz.Stream) -> None:
    for tolerance, said in (
        (None, "the latest right row of each key, for ever"),
        ("5m", "right rows for 5m of event time"),
    ):
        joined = orders.join_asof(clicks, on="user", tolerance=tolerance)
        text = fz.Pipeline("p", joined.write_memory(), checkpoint="unused").explain()
        assert "join_asof left on user" in text
        assert f"left rows ahead of the right stream, {said}" in text


def test_asof_is_refused(orders: fz.Stream, clicks: fz.Stream) -> None:
    with pytest.raises(fz.PlanError, match="direction='forward' is not offered"):
        orders.join_asof(clicks, on="user", direction="forward")  # type: ignore[arg-type]
    with pytest.raises(fz.PlanError, match="how='full' is not offered"):
        orders.join_asof(clicks, on="user", how="full")  # type: ignore[arg-type]
    with pytest.raises(fz.ColumnNotFound, match="no column 'usr' in orders"):
        orders.join_asof(clicks, on="usr")
    untimed = stream("clicks", pa.field("user", pa.string()), timed=False)
    with pytest.raises(fz.WatermarkMissing, match="join_asof needs event time, and clicks has"):
        orders.join_asof(untimed, on="user")


def test_a_checkpoint_fits_only_the_same_join(tmp_path: Path) -> None:
    rows = [{"k": 1, "at": NOON}]

    def run(**options: Any) -> None:
        left, right = (
            fz.read_memory(rows, name=name).event_time("at", out_of_order="10s")
            for name in ("left", "right")
        )
        joined = left.join(right, on="k", **options).named("pairs").write_memory(name="out")
        pipeline = fz.Pipeline("p", joined, checkpoint=f"file://{tmp_path}")
        pipeline.run(until="now", quiet=True)

    run(within="1m")
    run(within="1m")
    with pytest.raises(PlanChanged, match=r"pairs[\s\S]*within: was within 1m, is now within 2m"):
        run(within="2m")
    with pytest.raises(PlanChanged, match=r"how: was inner, is now left"):
        run(within="1m", how="left")
