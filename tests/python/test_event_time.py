"""Event time of streams: who may give it, what keeps it, what takes it away."""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col

MINUTE = fz.tumbling("1m")
ROWS = [{"id": 1, "at": datetime(2026, 1, 1, tzinfo=UTC), "to": datetime(2026, 1, 2, tzinfo=UTC)}]


@fz.udf
def later(id: int | None) -> int | None:
    return id


def rows(name: str = "rows") -> fz.Stream:
    return fz.read_memory(ROWS, name=name)


def timed(name: str = "rows") -> fz.Stream:
    return rows(name).event_time("at", out_of_order="10s")


def time_of(stream: fz.Stream) -> str | None:
    """The event time that a stream shows."""
    last = repr(stream).splitlines()[-1].strip()
    return last.removeprefix("event time: ") if last.startswith("event time: ") else None


def event_time_node(stream: fz.Stream) -> dict[str, Any]:
    nodes = fz.Pipeline("p", stream.write_memory()).plan.json["nodes"]
    (found,) = [node for node in nodes if node["kind"] == "event_time"]
    return found


def same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (timed(), "at, 10s out of order"),
        (timed().filter(col("id") > 0), "at, 10s out of order"),
        (timed().with_columns(x=later(col("id"))), "at, 10s out of order"),
        (timed().filter(later(col("id")) > 0).select("at", "id"), "at, 10s out of order"),
        (timed().rename(at="time"), "time, 10s out of order"),
        (timed().rename({"at": "to", "to": "at"}), "to, 10s out of order"),
        (timed().select(a=col("at"), at=col("at")), "at, 10s out of order"),
        (timed().with_columns(x=col("at")).drop("at"), "x, 10s out of order"),
        (timed().union(timed("more")), "at, 10s out of order"),
        (
            timed().union(rows("more").event_time("at", out_of_order="1m")),
            "at, 10s out of order or 1m out of order",
        ),
        (
            timed().group_by("id").window(MINUTE).agg(n=fz.count()).filter(col("n") > 1),
            "window_end - 1us",
        ),
        (rows(), None),
        (timed().drop("at"), None),
        (timed().with_columns(at=col("to")), None),
        (timed().map_batches(same, schema=timed().schema), None),
        (timed().union(rows("more")), None),
        (timed().union(rows("more").event_time("to", out_of_order="10s")), None),
    ],
)
def test_what_keeps_it(stream: fz.Stream, expected: str | None) -> None:
    assert time_of(stream) == expected


def here() -> str:
    """The line that calls."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"test_event_time.py:{frame.f_back.f_lineno}"


def test_a_window_says_what_took_it_away() -> None:
    overwritten, line = timed().with_columns(at=col("to")).filter(col("id") > 0), here()
    with pytest.raises(fz.WatermarkMissing, match="column 'at' was overwritten") as caught:
        overwritten.group_by("id").window(MINUTE)
    assert f"({line})" in str(caught.value)
    left_out, line = timed().select("id"), here()
    with pytest.raises(fz.WatermarkMissing, match="column 'at' was left out") as caught:
        left_out.group_by("id").window(MINUTE)
    assert f"({line})" in str(caught.value)
    mapped, line = timed().map_batches(same, schema=timed().schema), here()
    with pytest.raises(fz.WatermarkMissing, match="map_batches took it away") as caught:
        mapped.group_by("id").window(MINUTE)
    assert f"({line})" in str(caught.value)
    both, line = timed().union(rows("more")), here()
    with pytest.raises(fz.WatermarkMissing, match="stream 2 of the union") as caught:
        both.group_by("id").window(MINUTE)
    assert f"({line})" in str(caught.value)


def test_a_window_says_how_to_add_it() -> None:
    with pytest.raises(fz.WatermarkMissing) as caught:
        rows().group_by("id").window(MINUTE)
    assert str(caught.value) == (
        "a window (tumbling 1m) needs event time, and rows has none\n"
        "  add before group_by: .event_time('at', out_of_order='10s')"
    )


def test_it_can_be_given_again_behind_what_took_it() -> None:
    stream = rows().map_batches(same, schema=rows().schema).event_time("to", out_of_order="1s")
    assert time_of(stream) == "to, 1s out of order"


def union() -> fz.Stream:
    return rows().union(rows("more"))


def minutes() -> fz.Stream:
    return timed().group_by("id").window(MINUTE).agg(n=fz.count(), m=col("id").max() + 1)


def visits() -> fz.Stream:
    return timed().group_by("id").window(fz.session(gap="1m")).agg(n=fz.count())


def test_event_time_of_sessions_is_their_end() -> None:
    assert repr(visits()).endswith("event time: window_end")
    hours = visits().group_by("id").window(fz.tumbling("1h")).agg(n=col("n").sum())
    nodes = fz.Pipeline("p", hours.write_memory()).plan.json["nodes"]
    times = [node["time"] for node in nodes if node["kind"] == "window_partial"]
    assert times == [
        {"column": "at", "minus_us": 0},
        {"column": "window_end", "minus_us": 0},
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: union().event_time("at", out_of_order="1s"), "call it on each stream before"),
        (lambda: timed().event_time("to", out_of_order="1s"), "has event time already: 'at'"),
        (
            lambda: minutes().event_time("window_end", out_of_order="1s"),
            "event_time behind a window",
        ),
        (lambda: visits().event_time("window_end", out_of_order="1s"), "of its own: window_end"),
        (lambda: rows().event_time("id", out_of_order="1s"), "which is int64"),
        (lambda: rows().event_time("at_", out_of_order="1s"), "did you mean 'at'"),
        (lambda: rows().event_time(col("at") + 1, out_of_order="1s"), "give the name of a column"),
        (lambda: rows().event_time("at", out_of_order="soon"), "out_of_order='soon'"),
        (lambda: rows().event_time("at", out_of_order="400d"), "up to 366d"),
        (lambda: rows().event_time("at", out_of_order="1s", max_ahead="1d"), "its rows have no"),
        (lambda: rows().event_time("at", out_of_order="1s", idle_after="0s"), "idle_after='0s'"),
        (lambda: minutes().late.event_time("at", out_of_order="1s"), "event_time on late rows"),
    ],
)
def test_refused(make: Callable[[], fz.Stream], message: str) -> None:
    with pytest.raises(fz.PlanError) as caught:
        make()
    assert message in str(caught.value)
    frames = []
    trace = caught.tb
    while trace:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert frames[-2:] == ["<lambda>", "frazil_call"]


def test_a_forgotten_bound_is_an_error() -> None:
    with pytest.raises(TypeError, match="out_of_order"):
        rows().event_time("at")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("type_", "advice"),
    [
        (pa.timestamp("us"), "replace_time_zone"),
        (pa.string(), "to_datetime"),
        (pa.int64(), "from_epoch"),
        (pa.bool_(), "another column"),
    ],
)
def test_advice_by_type(type_: pa.DataType, advice: str) -> None:
    stream = fz.read_files("a.jsonl", format="json", schema={"at": type_})
    with pytest.raises(fz.TypeMismatch, match=advice):
        stream.event_time("at", out_of_order="1s")


def test_plan() -> None:
    stream = (
        rows().filter(col("id") > 0).event_time("at", out_of_order=timedelta(milliseconds=1500))
    )
    node = event_time_node(stream)
    assert node["column"] == "at"
    assert node["out_of_order_us"] == 1_500_000
    assert node["max_ahead_us"] is None
    assert event_time_node(rows().event_time("at", out_of_order="0s"))["out_of_order_us"] == 0


def orders() -> fz.Stream:
    schema = {"id": int, "at": datetime}
    return fz.read_kafka("orders", servers="localhost:9092", schema=schema)


def test_times_far_ahead_are_bad_where_a_broker_stores_its_own() -> None:
    day = 86_400_000_000
    stream = orders()
    assert event_time_node(stream.event_time("at", out_of_order="1s"))["max_ahead_us"] == day
    shorter = stream.event_time("at", out_of_order="1s", max_ahead="1h")
    assert event_time_node(shorter)["max_ahead_us"] == day // 24
    off = stream.event_time("at", out_of_order="1s", max_ahead=None)
    assert event_time_node(off)["max_ahead_us"] is None
    mapped = stream.map_batches(same, schema=stream.schema)
    assert event_time_node(mapped.event_time("at", out_of_order="1s"))["max_ahead_us"] is None
    with pytest.raises(fz.PlanError, match="call event_time before it"):
        mapped.event_time("at", out_of_order="1s", max_ahead="1h")


def test_the_column_is_read_though_nobody_else_needs_it() -> None:
    plan = fz.Pipeline("p", timed().select("id").write_memory()).plan
    (source,) = [node for node in plan.json["nodes"] if node["kind"] == "source"]
    assert plan.columns[source["id"]] == ["id", "at"]


def test_two_event_times_of_one_stream_are_told_apart() -> None:
    stream = rows()
    one = stream.event_time("at", out_of_order="10s")
    two = stream.event_time("at", out_of_order="20s")
    with pytest.raises(fz.PlanError, match="there twice with other options"):
        fz.Pipeline("p", one.write_memory(name="a"), two.write_memory(name="b"))
    again = stream.event_time("at", out_of_order="10s")
    nodes = fz.Pipeline("p", one.write_memory(name="a"), again.write_memory(name="b")).plan.json
    assert [node["kind"] for node in nodes["nodes"]].count("event_time") == 1


def test_rows_without_a_time_can_be_taken_of_every_reader() -> None:
    reader = rows()  # decodes nothing, so a missing time is all it can reject
    stream = reader.event_time("at", out_of_order="10s")
    plan = fz.Pipeline(
        "p", stream.write_memory(name="a"), reader.rejected.write_memory(name="b")
    ).plan
    (source,) = [node for node in plan.json["nodes"] if node["kind"] == "source"]
    assert source["on_bad_row"] == "divert"
