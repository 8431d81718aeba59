"""Streams: schemas are known at once, and mistakes end on the user's line."""

import traceback

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col


class Order(fz.Schema):
    order_id: int
    user_id: str
    amount: fz.Decimal[12, 2]
    note: str | None


@pytest.fixture
def orders() -> fz.Stream:
    return fz.read_kafka("orders", servers="localhost:9092", schema=Order)


def test_repr(orders: fz.Stream) -> None:
    assert repr(orders) == (
        "Stream(append) <- kafka:orders\n"
        "  order_id: int64 not null\n"
        "  user_id: string not null\n"
        "  amount: decimal128(12, 2) not null\n"
        "  note: string"
    )


def test_select(orders: fz.Stream) -> None:
    made = orders.select("user_id", Order.note, {"a b": col("order_id")}, one=1, text="amount")
    assert made.schema == pa.schema(
        [
            pa.field("user_id", pa.string(), False),
            pa.field("note", pa.string()),
            pa.field("a b", pa.int64(), False),
            pa.field("one", pa.int64(), False),
            pa.field("text", pa.string(), False),
        ]
    )


def test_with_columns_replaces_in_place_and_adds_at_the_end(orders: fz.Stream) -> None:
    made = orders.with_columns(order_id=col("user_id"), double=col("order_id") * 2)
    assert made.schema.names == ["order_id", "user_id", "amount", "note", "double"]
    assert made.schema.field("order_id").type == pa.string()
    assert made.schema.field("double").type == pa.int64()


def test_drop_rename_filter(orders: fz.Stream) -> None:
    assert orders.drop("note", "amount").schema.names == ["order_id", "user_id"]
    assert orders.rename(note="remark").rename({"remark": "a b"}).schema.names[-1] == "a b"
    assert orders.filter(col("order_id") > 3, ~col("note").is_null()).schema == orders.schema
    assert orders.filter(Order.order_id > 3).schema == orders.schema


def test_union(orders: fz.Stream) -> None:
    old = fz.read_memory(pa.table({"order_id": pa.array([1], pa.int64())}), name="old")
    both = orders.select("order_id").union(old)
    assert both.schema == pa.schema([pa.field("order_id", pa.int64(), True)])
    assert repr(both).startswith("Stream(append) <- kafka:orders, old")


def test_rejected(orders: fz.Stream) -> None:
    assert orders.rejected.schema.names == [
        "source",
        "partition",
        "position",
        "reason",
        "column",
        "raw",
        "raw_bytes",
        "kind",
        "epoch",
        "pipeline",
        "log",
    ]
    assert "kafka:orders.rejected" in repr(orders.rejected)


MISTAKES = [
    (lambda s: s.filter(col("amout") > 10), fz.ColumnNotFound, "did you mean 'amount'?"),
    (lambda s: s.select("usr_id"), fz.ColumnNotFound, "did you mean 'user_id'?"),
    (lambda s: s.drop("nothing"), fz.ColumnNotFound, "have: order_id: int64"),
    (lambda s: s.rename(nothing="x"), fz.ColumnNotFound, "no column 'nothing' in kafka:orders"),
    (lambda s: s.filter(True), fz.TypeMismatch, "filter got True"),
    (lambda s: s.filter("amount > 10"), fz.TypeMismatch, "filter got 'amount > 10'"),
    (lambda s: s.filter(col("amount")), fz.TypeMismatch, "a predicate is boolean"),
    (lambda s: s.filter(), fz.PlanError, "no predicate"),
    (lambda s: s.select(), fz.PlanError, "no column"),
    (lambda s: s.select(col("amount") * 2), fz.PlanError, "name it: select("),
    (lambda s: s.select("note", note=1), fz.ColumnExists, "'note' would be there twice"),
    (lambda s: s.rename(note="amount"), fz.ColumnExists, "'amount' would be there twice"),
    (lambda s: s.with_columns(__fz_x=1), fz.SchemaError, "are ours"),
    (lambda s: s.with_columns(), fz.PlanError, "got no column"),
    (lambda s: s.drop(*s.schema.names), fz.PlanError, "leaves no column"),
    (lambda s: s.union(s.drop("note")), fz.SchemaMismatch, "column 4: note: string and none"),
    (lambda s: s.union(), fz.PlanError, "union of 1 streams"),
    (lambda s: s.filter(col("order_id") > 1).rejected, fz.PlanError, "this stream is computed"),
    (lambda s: s.rejected.rejected, fz.PlanError, "this stream is computed"),
    (lambda s: s.map_batches(3, schema=Order), fz.TypeMismatch, "is no function"),
    (lambda s: s.named(""), fz.PlanError, "named"),
    (lambda s: s.select(3), fz.TypeMismatch, "select got 3"),
]


@pytest.mark.parametrize(("make", "error", "text"), MISTAKES)
def test_mistakes(orders: fz.Stream, make, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        make(orders)
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 4
    frames = traceback.extract_tb(caught.value.__traceback__)
    own = [i for i, frame in enumerate(frames) if frame.filename == __file__]
    assert len(frames) - 1 - own[-1] <= 2


def test_no_truth_value(orders: fz.Stream) -> None:
    with pytest.raises(TypeError, match="no truth value"):
        orders.filter(col("order_id") > 1 and col("order_id") < 3)


def test_streams_do_not_change(orders: fz.Stream) -> None:
    before = repr(orders)
    orders.filter(col("order_id") > 1).drop("note")
    assert repr(orders) == before
    with pytest.raises(AttributeError):
        orders.extra = 1  # type: ignore[attr-defined]
