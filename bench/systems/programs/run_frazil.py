"""The workloads in Frazil."""

from __future__ import annotations

import argparse
from datetime import datetime

import frazil as fz
import pyarrow as pa
import pyarrow.compute as pc


class Event(fz.Schema):
    """The columns that W1 reads."""

    id: int
    ts: datetime = fz.field(time_unit="ms")
    user: str
    page: str
    country: str
    amount: float
    quantity: int


class View(fz.Schema):
    """The columns that W2 reads."""

    ts: datetime = fz.field(time_unit="ms")
    page: str
    amount: float


class Visit(fz.Schema):
    """The columns that W3 reads."""

    ts: datetime = fz.field(time_unit="ms")
    user: str


def w1(events: fz.Stream) -> fz.Stream:
    """Filter and project."""
    return events.filter(Event.amount > 10).with_columns(total=Event.amount * Event.quantity)


@fz.udf
def total_of_row(amount: float, quantity: int) -> float:
    """Compute what W1 computes, a call a row."""
    return amount * quantity


@fz.batch_udf(returns=pa.float64(), nullable=False)
def total_of_batch(amount: pa.Array, quantity: pa.Array) -> pa.Array:
    """Compute it a call a batch."""
    return pc.multiply(amount, pc.cast(quantity, pa.float64()))


def w1_udf(events: fz.Stream) -> fz.Stream:
    """W1 with a Python function of each row."""
    large = events.filter(Event.amount > 10)
    return large.with_columns(total=total_of_row(Event.amount, Event.quantity))


def w1_batch_udf(events: fz.Stream) -> fz.Stream:
    """W1 with a Python function of columns."""
    large = events.filter(Event.amount > 10)
    return large.with_columns(total=total_of_batch(Event.amount, Event.quantity))


def w2(events: fz.Stream) -> fz.Stream:
    """Count and sum of each page and minute."""
    return (
        events.event_time("ts", out_of_order="2s")
        .group_by("page")
        .window(fz.tumbling("1m"))
        .agg(events=fz.count(), revenue=View.amount.sum())
    )


def w3(events: fz.Stream) -> fz.Stream:
    """Sessions of each user."""
    return (
        events.event_time("ts", out_of_order="5s")
        .group_by("user")
        .window(fz.session(gap="30s"))
        .agg(events=fz.count())
    )


WORKLOADS = {"w1": (Event, w1), "w2": (View, w2), "w3": (Visit, w3)}
WRITTEN = {"udf": w1_udf, "batch_udf": w1_batch_udf}
"""W1 in other ways."""


def main() -> None:
    """Read what is there, write a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", choices=WORKLOADS, required=True)
    parser.add_argument("--written", choices=WRITTEN)
    parser.add_argument("--path")
    parser.add_argument("--servers")
    parser.add_argument("--topic")
    parser.add_argument("--out", required=True)
    parser.add_argument("--forever", action="store_true", help="run until SIGTERM")
    given = parser.parse_args()
    schema, compute = WORKLOADS[given.workload]
    compute = WRITTEN.get(given.written, compute)
    if given.path:
        events = fz.read_files(given.path, format="json", schema=schema)
    else:
        events = fz.read_kafka(given.topic, servers=given.servers, schema=schema)
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{given.out}/catalog.db",
        "warehouse": f"file://{given.out}",
    }
    pipeline = fz.Pipeline(
        given.workload,
        compute(events).write_iceberg(f"bench.{given.workload}", catalog=catalog),
        checkpoint=f"{given.out}/checkpoint",
        checkpoint_every="1s",
    )
    if given.forever:
        report = pipeline.run(quiet=True)
    else:
        report = pipeline.run(until="now", close_windows=given.workload != "w1", quiet=True)
    print(report)


if __name__ == "__main__":
    main()
