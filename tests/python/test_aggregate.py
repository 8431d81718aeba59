"""Windowed aggregates: their columns, the plan made of them, and what is refused."""

import base64
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import _engine, col
from frazil.checkpoint.plan_fit import compare, plan_of
from frazil.expr_aggregate import Aggregate
from frazil.expr_group import AggregateMethods
from frazil.node import WindowAggregateNode
from frazil.types import type_name

MINUTE = fz.tumbling("1m")
SCHEMA = {
    "user": str,
    "amount": fz.Decimal[12, 2],
    "n": int,
    "x": float,
    "note": str,
    "at": datetime,
}
WINDOWED = "window_start: timestamp[us, UTC] not null window_end: timestamp[us, UTC] not null"


@fz.udf
def size(word: str) -> int:
    return len(word)


def same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def orders(name: str | None = None) -> fz.Stream:
    stream = fz.read_files("orders.jsonl", format="json", schema=SCHEMA, name=name)
    return stream.event_time("at", out_of_order="10s")


def by_user() -> fz.Windowed:
    return orders().group_by("user").window(MINUTE)


def columns(stream: fz.Stream) -> str:
    return " ".join(line.strip() for line in repr(stream).splitlines()[1:-1])


def nodes_of(*sinks: fz.Sink) -> dict[str, dict[str, Any]]:
    """The nodes of a plan by kind, each kind once."""
    nodes = fz.Pipeline("p", *sinks).plan.json["nodes"]
    by_kind = {node["kind"]: node for node in nodes}
    assert len(by_kind) == len(nodes), [node["kind"] for node in nodes]
    return by_kind


def names_in(node: dict[str, Any]) -> list[str]:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(node["schema"]))).names


def test_columns() -> None:
    made = by_user().agg(orders=fz.count(), revenue=col("amount").sum())
    assert columns(made) == (
        f"user: string not null {WINDOWED} orders: int64 not null revenue: decimal128(38, 2)"
    )
    everything = orders().group_by().window(MINUTE).agg({"of x": col("x").mean()})
    assert columns(everything) == f"{WINDOWED} of x: double"
    assert repr(orders().group_by().window(MINUTE)) == (
        "Windowed(tumbling 1m) of file:orders.jsonl"
    )


def test_keys_can_be_computed() -> None:
    made = orders().group_by("user", day=col("at").dt.date()).window(MINUTE).agg(n=fz.count())
    assert columns(made).startswith("user: string not null day: date32[day] not null window_start")
    same = orders().group_by(col("user")).window(MINUTE).agg(n=fz.count())
    assert columns(same).startswith("user: string not null window_start")


def test_plan() -> None:
    stream = (
        orders()
        .filter(col("n") > 0)
        .group_by("user")
        .window(MINUTE, lateness="5m")
        .agg(orders=fz.count(), revenue=col("amount").sum().filter(col("x") > 1))
    )
    nodes = nodes_of(stream.write_memory())
    assert list(nodes) == [
        "source",
        "event_time",
        "filter",
        "window_partial",
        "exchange",
        "window_aggregate",
        "sink",
    ]
    assert names_in(nodes["source"]) == ["user", "amount", "n", "x", "at"]
    partial, exchange = nodes["window_partial"], nodes["exchange"]
    aggregate = nodes["window_aggregate"]
    assert partial["input"] == [nodes["filter"]["id"], "rows"]
    assert partial["time"] == {"column": "at", "minus_us": 0}
    for node in (partial, aggregate):
        assert node["keys"] == ["user"]
        assert node["window"] == {"kind": "tumbling", "size_us": 60_000_000, "offset_us": 0}
        assert node["lateness_us"] == 300_000_000
        orders_, revenue = node["aggregates"]
        assert orders_ == {
            "name": "orders",
            "fn": "count",
            "args": [],
            "filter": None,
            "options": {},
        }
        assert (revenue["fn"], revenue["args"]) == ("sum", [{"col": "amount"}])
        assert revenue["filter"]["fn"] == "greater"
    assert exchange["keys"] == ["user"]
    assert exchange["hashed"] is True
    assert exchange["transforms"] == [{"name": "identity", "param": 0}]
    assert aggregate["emit"] == "on_close"
    assert names_in(aggregate) == ["user", "window_start", "window_end", "orders", "revenue"]


def test_all_aggregates_are_kept_whoever_reads_them() -> None:
    made = by_user().agg(a=fz.count(), b=col("n").sum())
    nodes = nodes_of(made.select("a").write_memory())
    assert len(nodes["window_aggregate"]["aggregates"]) == 2
    assert names_in(nodes["source"]) == ["user", "n", "at"]


def test_minutes_make_hours() -> None:
    minutes = by_user().agg(n=fz.count())
    hours = minutes.group_by("user").window(fz.tumbling("1h")).agg(n=col("n").sum())
    nodes = fz.Pipeline("p", hours.write_memory()).plan.json["nodes"]
    first, second = (node for node in nodes if node["kind"] == "window_partial")
    assert first["time"] == {"column": "at", "minus_us": 0}
    assert second["time"] == {"column": "window_end", "minus_us": 1}


def test_arithmetic_on_aggregates() -> None:
    made = by_user().agg(
        n=fz.count(), mean=col("n").sum() / fz.count(), late=col("at").max().dt.date()
    )
    assert columns(made).endswith("n: int64 not null mean: double late: date32[day]")
    nodes = nodes_of(made.write_memory())
    named = [one["name"] for one in nodes["window_aggregate"]["aggregates"]]
    assert named == ["n", "__agg_1", "__agg_2"]
    assert [name for name, _ in nodes["project"]["columns"]] == [
        "user",
        "window_start",
        "window_end",
        "n",
        "mean",
        "late",
    ]
    assert nodes_of(made.named("totals").write_memory())["window_aggregate"]["name"] == "totals"
    assert made.late.schema.names[-3:] == ["watermark", "partition", "position"]


def test_keys_can_stand_beside_aggregates() -> None:
    made = by_user().agg(label=col("user") + ":" + col("n").max().cast(str))
    assert columns(made).endswith("label: string")


def test_python_functions_in_aggregates() -> None:
    made = by_user().agg(letters=size(col("user")).sum(), longest=size(col("note")).max() + 1)
    assert columns(made).endswith("letters: int64 longest: int64")
    assert made.late.schema.names[:6] == list(SCHEMA)
    with pytest.raises(fz.TypeMismatch, match=r"size\(user\)\.sum\(\) \+ 'x'"):
        by_user().agg(letters=size(col("user")).sum() + "x")


def test_late_rows() -> None:
    made = orders().filter(col("n") > 0).group_by("user").window(MINUTE).agg(n=fz.count())
    window = ["window_start", "window_end"]
    assert made.late.schema.names == [*SCHEMA, *window, "watermark", "partition", "position"]
    assert made.late.schema.field("window_end").nullable  # a session's end is not known
    assert repr(made.late).startswith("Stream(append) <- file:orders.jsonl.late")

    plan = fz.Pipeline("p", made.write_memory(name="a"), made.late.write_memory(name="b")).plan
    by_kind = {node["kind"]: node for node in plan.json["nodes"]}
    assert names_in(by_kind["source"]) == list(SCHEMA)
    assert by_kind["sink"]["input"] == [by_kind["window_partial"]["id"], "late"]
    assert names_in(by_kind["sink"]) == made.late.schema.names


def test_late_rows_have_just_their_columns() -> None:
    stream = orders()
    made = stream.select("user", "at").group_by("user").window(MINUTE).agg(n=fz.count())
    with_more = stream.select("n", "at")  # the source reads more than the window needs
    more = with_more.group_by().window(MINUTE).agg(n=fz.count())
    plan = fz.Pipeline("p", made.late.write_memory(name="a"), more.late.write_memory(name="b")).plan
    by_id = {node["id"]: node for node in plan.json["nodes"]}
    for late, names in ((made.late, ["user", "at"]), (more.late, ["n", "at"])):
        assert late.schema.names[:2] == names
    for node in by_id.values():
        if node["kind"] == "window_partial":
            upstream = by_id[node["input"][0]]
            assert [name for name, _ in upstream["columns"]] in (["user", "at"], ["n", "at"])


def test_what_map_batches_returns_has_no_position() -> None:
    schema = orders().schema
    mapped = fz.read_files("a.jsonl", format="json", schema=SCHEMA).map_batches(same, schema=schema)
    windowed = mapped.event_time("at", out_of_order="1s").group_by("user").window(MINUTE)
    made = windowed.agg(n=fz.count())
    with pytest.raises(fz.PlanError, match=r"what map_batches returned \(test_aggregate.py:"):
        _ = made.late
    with pytest.raises(fz.PlanError, match=r"n\.last\(\) depends on the order of rows"):
        windowed.agg(n=col("n").last())


def test_every_aggregate_of_the_engine_is_a_method() -> None:
    for name, least, most, *_ in _engine.aggregates():
        made = getattr(col("x"), name)
        required = [
            parameter
            for parameter in inspect.signature(made).parameters.values()
            if parameter.default is parameter.empty
        ]
        arguments = [col("y") if each.name == "by" else 1 for each in required]
        aggregate = made(*arguments)
        assert aggregate._function == name
        given = 1 + sum(each.name == "by" for each in required)
        assert least <= given <= most
    known = {name for name, *_ in _engine.aggregates()}
    assert known == {name for name in vars(AggregateMethods) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("aggregate", "type_", "ordered"),
    [
        (col("note").max(), "string", False),
        (col("note").any_value(), "string", False),
        ((col("n") > 1).any(), "bool", False),
        (col("x").stddev(ddof=0), "double", False),
        (col("at").first(), "timestamp[us, UTC]", True),
        (col("note").last(ignore_nulls=False), "string", True),
        (col("note").arg_max(col("n")), "string", True),
        (col("note").count_distinct(max_bytes="1MiB"), "int64", False),
        (col("note").approx_count_distinct(bits=10), "int64", False),
        (col("x").quantile(0.5), "double", False),
        (col("x").quantile([0.5, 0.9]), "list<item: double>", False),
        (col("n").top_k(3), "list<item: int64>", False),
        (col("note").top_k(3, by=col("n"), smallest=True), "list<item: string>", True),
        (
            col("note").most_common(2),
            "list<item: struct<value: string not null, count: int64 not null>>",
            False,
        ),
        (col("n").collect_list(), "list<item: int64>", True),
        (col("n").collect_set(), "list<item: int64>", False),
    ],
    ids=repr,
)
def test_types(aggregate: Aggregate, type_: str, ordered: bool) -> None:
    made = by_user().agg(a=aggregate)
    assert type_name(made.schema.field("a").type) == type_
    node = made._port.node
    assert isinstance(node, WindowAggregateNode)
    assert node.partial.ordered is ordered


def test_what_the_engine_does_not_know_is_refused() -> None:
    schema = pa.schema([("x", pa.int64())])
    with pytest.raises(fz.PlanError, match='there is no aggregate function "median"'):
        Aggregate("median", (col("x"),), {})._bound("m", schema, "here")
    with pytest.raises(fz.PlanError, match='option "digits": there is no such option'):
        Aggregate("sum", (col("x"),), {"digits": 3})._bound("m", schema, "here")
    with pytest.raises(fz.PlanError, match="finite numbers"):
        by_user().agg(m=col("n").quantile(float("nan")))
    with pytest.raises(fz.PlanError, match="k"):
        by_user().agg(m=col("n").top_k(0))


def test_explain() -> None:
    made = by_user().agg(orders=fz.count(), revenue=col("amount").sum())
    text = fz.Pipeline("p", made.write_memory(name="a")).explain()
    assert "window_aggregate tumbling 1m by user" in text
    assert "state: 2 accumulators per key and window" in text
    assert "late rows are only counted" in text
    assert "event_time at" in text
    assert "10s out of order" in text
    assert text.splitlines()[0].split()[2] == "exact,"
    late = fz.Pipeline("p", made.write_memory(name="a"), made.late.write_memory(name="b")).explain()
    assert "late rows are written" in late
    assert "late rows of tumbling 1m by user" in late
    hops = orders().group_by().window(fz.hopping("1m", every="10s"), lateness="1m")
    text = fz.Pipeline("p", hops.agg(n=fz.count()).write_memory()).explain()
    assert "state: 1 accumulator per key and piece, 6 pieces a window" in text
    assert "all rows to one worker" in text
    assert "lateness 1m" in text


def table_of(kind: str, name: str | None, aggregates: dict[str, Any], window: fz.Window) -> Any:
    made = orders().group_by("user").window(window).agg(aggregates)
    made = made if name is None else made.named(name)
    return plan_of(fz.Pipeline("p", made.write_memory()).plan.json)


def test_a_checkpoint_says_what_changed() -> None:
    count = {"n": fz.count()}
    before = table_of("p", None, count, MINUTE)
    assert compare(before, table_of("p", None, count, MINUTE)).refusals == []
    (refusal,) = compare(
        before, table_of("p", None, count | {"s": col("n").sum()}, MINUTE)
    ).refusals
    assert "aggregates: was n=count(): int64, is now n=count(): int64, s=n.sum(): int64" in refusal
    (refusal,) = compare(before, table_of("p", None, count, fz.tumbling("5m"))).refusals
    assert "was removed or renamed" in refusal
    assert "window: was tumbling 1m, is now tumbling 5m" in refusal
    named = table_of("p", "totals", count, MINUTE)
    (refusal,) = compare(named, table_of("p", "totals", count, fz.tumbling("5m"))).refusals
    assert "'totals'" in refusal
    assert "keeps other state: window: was tumbling 1m, is now tumbling 5m" in refusal


def test_a_name_keeps_state_when_steps_before_change() -> None:
    def plan(least: int, out_of_order: str = "10s") -> Any:
        stream = fz.read_files("orders.jsonl", format="json", schema=SCHEMA)
        stream = stream.event_time("at", out_of_order=out_of_order).filter(col("n") > least)
        made = stream.group_by("user").window(MINUTE).agg(n=fz.count()).named("totals")
        return plan_of(fz.Pipeline("p", made.write_memory()).plan.json)

    assert compare(plan(1), plan(2)).refusals == []
    (refusal,) = compare(plan(1), plan(1, "20s")).refusals
    assert "event_time" in refusal
    assert "out of order: was 10s, is now 20s" in refusal


def test_two_aggregates_of_the_same_need_names() -> None:
    windowed = by_user()
    one = windowed.agg(n=fz.count())
    two = windowed.agg(s=col("n").sum())
    with pytest.raises(fz.PlanError, match="two aggregates of one stream by the same keys"):
        fz.Pipeline("p", one.write_memory(name="a"), two.write_memory(name="b"))
    fz.Pipeline("p", one.write_memory(name="a"), two.named("sums").write_memory(name="b"))
    again = windowed.agg(n=fz.count())
    plan = fz.Pipeline("p", one.write_memory(name="a"), again.write_memory(name="b")).plan.json
    assert [node["kind"] for node in plan["nodes"]].count("window_aggregate") == 1


def group(*keys: Any, **named: Any) -> fz.Grouped:
    return orders().group_by(*keys, **named)


def changing() -> fz.Stream:
    return group("user").agg(n=fz.count())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: group("usr"), "did you mean 'user'"),
        (lambda: group("user", "user"), "key 'user' is there twice"),
        (lambda: group(user=col("note")), "key 'user' has the name of a column"),
        (lambda: group(col("n") + 1), "which has no name"),
        (lambda: group(l=fz.struct("n")), "is struct"),
        (lambda: group(*(["user"] * 65)), "there twice"),
        (lambda: group(window_end=col("n")).window(MINUTE), "windows add it"),
        (lambda: group("user").window("1m"), "write window(fz.tumbling"),
        (lambda: group("user").window(MINUTE, emit="on_end"), 'one of "on_close", "on_change"'),
        (lambda: group("user").window(MINUTE, emit="on_change", early="1s"), "say one of them"),
        (lambda: group("user").window(MINUTE, lateness="long"), "lateness='long'"),
        (lambda: changing().write_files("x", format="parquet"), "without a window"),
        (lambda: by_user().agg(), "agg got 0 aggregates"),
        (lambda: by_user().agg(user=fz.count()), "column 'user' would be there twice"),
        (lambda: by_user().agg(window_end=fz.count()), "column 'window_end' would be there twice"),
        (lambda: by_user().agg(__fz_n=fz.count()), "are ours"),
        (lambda: by_user().agg(n=3), "which is no aggregate"),
        (lambda: by_user().agg(n=col("n")), "write n=n.sum()"),
        (lambda: by_user().agg(n=col("m").sum()), "no column 'm'"),
        (lambda: by_user().agg(n=col("note").sum()), "in: note.sum()"),
        (lambda: by_user().agg(n=col("n").sum().max()), "an aggregate of the aggregate n.sum()"),
        (lambda: by_user().agg(n=col("n").sum() + col("x")), "in the aggregates of"),
        (lambda: by_user().agg(n=col("n").sum() + "x"), "in: (n.sum() + 'x')"),
        (lambda: by_user().agg(n=fz.count().filter(col("n"))), "which is int64"),
        (lambda: by_user().agg(n=fz.count().filter(True)), "write an expression"),
        (lambda: orders().filter(fz.count() > 1), "count() is an aggregate"),
        (lambda: orders().with_columns(s=col("n").sum()), "n.sum() is an aggregate"),
        (lambda: orders().late, "late rows belong to what agg gave"),
        (lambda: by_user().agg(n=fz.count()).filter(col("n") > 1).late, "late rows belong to"),
        (lambda: by_user().agg(n=fz.count()).late.named("x"), "late rows have no name"),
    ],
)
def test_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(fz.PlanError) as caught:
        make()
    assert message in str(caught.value)
    assert str(caught.value).count("\n") <= 3
    names = []
    trace = caught.tb
    while trace:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert names[-1] == "frazil_call"
    assert names[-2] in ("<lambda>", "group", "call")


def test_nothing_computed_is_late() -> None:
    minutes = by_user().agg(n=fz.count())
    hours = minutes.group_by("user").window(fz.tumbling("1h")).agg(n=col("n").sum())
    with pytest.raises(fz.PlanError, match=r"take \.late of the first step"):
        _ = hours.late


def test_how_aggregates_are_shown() -> None:
    assert repr(col("x").sum()) == "x.sum()"
    assert repr(fz.count().filter(col("n") > 1).filter(col("x") > 2)) == (
        "count().filter(((n > 1) & (x > 2)))"
    )
    assert repr(col("x").arg_max(col("n"))) == "x.arg_max(n)"
    assert repr(col("x").quantile(0.5)) == "x.quantile(q=0.5)"
    assert repr(col("x").count_distinct()) == "x.count_distinct()"
    assert repr(col("x").count_distinct(max_bytes="1MiB")) == "x.count_distinct(max_bytes=1048576)"
    assert (
        repr(col("x").top_k(3, by=col("n"), smallest=True)) == "x.top_k(by=n, k=3, smallest=True)"
    )


def test_rows_of_memory_need_a_zone() -> None:
    naive = fz.read_memory([{"at": datetime(2026, 1, 1)}])
    with pytest.raises(fz.TypeMismatch, match="replace_time_zone"):
        naive.event_time("at", out_of_order="1s")
    assert fz.read_memory([{"at": datetime(2026, 1, 1, tzinfo=UTC)}]).event_time(
        "at", out_of_order="1s"
    )
