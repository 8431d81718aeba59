"""Read by a type checker only, in test_typing.py: a line with "# E:" has to be an error, no other.

What follows "# E:" has to be in the message.
"""

from datetime import datetime, timedelta
from typing import Annotated

import frazil as fz
import pyarrow as pa
from frazil import col


class Address(fz.Schema):
    city: str


class Order(fz.Schema):
    order_id: int
    user_id: str
    amount: fz.Decimal[12, 2]
    small: fz.Int8 | None
    created_at: datetime
    address: Address
    tags: list[str]
    odd: Annotated[bytes, pa.binary(16)]
    note: str | None
    ip: str = fz.field(source="@source.ip")


@fz.udf
def shout(word: str) -> str:
    return word.upper()


@fz.batch_udf(returns=pa.int64())
def double(x: pa.Array) -> pa.Array:
    return x


def enrich(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


orders = fz.read_kafka(
    "orders",
    servers="localhost:9092",
    schema=Order,
    start=datetime(2026, 1, 1),
    metadata=["key", "offset"],
    security=fz.Sasl(username="me", password=fz.secret("PASSWORD"), tls=fz.Tls()),
)
big = orders.filter(col("amount") > 10, Order.order_id > 3, Order.user_id == "ada")
made = big.with_columns(loud=shout(col("user_id")), n=double(Order.order_id), kind="x", one=1)
plain: fz.Stream = made.select("loud", Order.amount, total=Order.amount * 2).map_batches(
    enrich, schema={"id": pa.int64()}
)
sink: fz.Sink = plain.write_iceberg("a.b", mode="append", commit_every=timedelta(seconds=20))
kept: fz.MemorySink = plain.write_memory()
pipeline = fz.Pipeline("p", sink, kept, checkpoint_every="10s", workers=2)
timed: fz.Stream = orders.event_time("created_at", out_of_order="10s", idle_after=None)
windowed: fz.Windowed = timed.group_by("user_id", day=col("created_at").dt.date()).window(
    fz.tumbling(timedelta(minutes=1)), lateness="5m"
)
totals: fz.Stream = windowed.agg(
    n=fz.count().filter(col("amount") > 10), mean=col("amount").sum() / fz.count()
)
late: fz.Stream = totals.late

orders.event_time("created_at")  # E: Missing named argument "out_of_order"
timed.group_by("user_id").window("1m")  # E: incompatible type "str"
timed.group_by("user_id").window(fz.session(gap="1m"), emit="on_end")  # E: on_end
fz.hopping("1m")  # E: Missing named argument "every"
fz.session("5m")  # E: Too many positional arguments
col("amount").sum().fitler(col("amount") > 1)  # E: has no attribute "fitler"
orders.filtr(col("amount") > 10)  # E: "Stream" has no attribute "filtr"
orders.filter(Order.amout > 10)  # E: has no attribute "amout"
orders.write_iceberg("a.b", mode="apend")  # E: incompatible type "Literal['apend']"
orders.write_iceberg("a.b", "lake")  # E: Too many positional arguments
orders.write_files("out")  # E: Missing named argument "format"
orders.map_batches(enrich)  # E: Missing named argument "schema"
orders.union(3)  # E: incompatible type "int"
orders.schema = pa.schema([])  # E: read-only
fz.read_kafka("orders", schema=Order)  # E: Missing named argument "servers"
fz.read_kafka("orders", servers="a", schema=Order, start="first")  # E: "start"
fz.read_kafka("orders", servers="a", schema=Order, metadata=["offsets"])  # E: List item 0
fz.read_kafka("orders", servers="a", schema=Order, topic="x")  # E: Unexpected keyword
fz.read_files("a", format="csv", schema=Order)  # E: incompatible type "Literal['csv']"
fz.Sasl(username="me", password="secret")  # E: incompatible type "str"
fz.Pipeline("p", orders)  # E: incompatible type "Stream"
fz.Pipeline("p", sink, every="10s")  # E: Unexpected keyword argument "every"
fz.field(time_unit="minutes")  # E: incompatible type "Literal['minutes']"
fz.udf(on_error="skip")  # E: No overload variant
