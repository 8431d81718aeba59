"""The workloads in Frazil."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

import frazil as fz
import numpy as np
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


class Bought(fz.Schema):
    """The columns that Totals reads."""

    id: int
    user: str
    quantity: int


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


def _is_large(row: dict[str, Any]) -> bool:
    return bool(row["amount"] > 10)


def _with_total(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "total": row["amount"] * row["quantity"]}


def w1_rows(events: fz.Stream) -> fz.Stream:
    """W1 with Python objects."""
    schema = pa.schema([*events.schema, pa.field("total", pa.float64(), nullable=False)])
    return events.rows().filter(_is_large).map(_with_total).columns(schema)


def _page(row: dict[str, Any]) -> str:
    return str(row["page"])


def _added(found: tuple[int, float], row: dict[str, Any]) -> tuple[int, float]:
    return found[0] + 1, found[1] + row["amount"]


def _nothing() -> tuple[int, float]:
    return 0, 0.0


def _views(found: Any) -> dict[str, Any]:
    events, revenue = found.value
    return {
        "window_start": found.start,
        "window_end": found.end,
        "events": events,
        "revenue": revenue,
    }


def w2_rows(events: fz.Stream) -> fz.Stream:
    """W2 with Python objects."""
    keyed = events.event_time("ts", out_of_order="2s").rows().key_by(_page)
    made = keyed.window(fz.tumbling("1m")).fold(_nothing, _added).map(_views)
    schema = {"window_start": datetime, "window_end": datetime, "events": int, "revenue": float}
    return made.columns(schema, key="page")


def _user(row: dict[str, Any]) -> str:
    return str(row["user"])


def _session(found: Any) -> dict[str, Any]:
    return {"window_start": found.start, "window_end": found.end, "events": found.value}


def w3_rows(events: fz.Stream) -> fz.Stream:
    """W3 with Python objects."""
    keyed = events.event_time("ts", out_of_order="5s").rows().key_by(_user)
    made = keyed.window(fz.session(gap="30s")).count().map(_session)
    schema = {"window_start": datetime, "window_end": datetime, "events": int}
    return made.columns(schema, key="user")


class Numbered(fz.KeyedFunction):
    """Totals, a call a key."""

    seen: fz.State[int]
    bought: fz.State[int]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        """Take the rows of a user."""
        seen, bought = self.seen.value, self.bought.value
        for row in rows:
            seen, bought = seen + 1, bought + row.quantity
            out.emit(id=row.id, user=key, seen=seen, bought=bought)
        self.seen.value, self.bought.value = seen, bought


class NumberedGroups(fz.KeyedFunction):
    """Totals, a call a batch."""

    seen: fz.State[int]
    bought: fz.State[int]

    def on_groups(
        self, batch: pa.RecordBatch, offsets: pa.Int32Array, state: fz.GroupStates, out: fz.Out
    ) -> None:
        """Take the rows of many users."""
        at = offsets.to_numpy()
        counts = np.diff(at)
        quantity = batch.column("quantity").to_numpy()
        summed = np.cumsum(quantity)
        before = np.repeat(state.bought.to_numpy() - (summed[at[:-1]] - quantity[at[:-1]]), counts)
        seen = np.repeat(state.seen.to_numpy() - at[:-1], counts) + np.arange(1, len(quantity) + 1)
        bought = before + summed
        state.seen, state.bought = pa.array(seen[at[1:] - 1]), pa.array(bought[at[1:] - 1])
        columns = [batch["id"], batch["user"], pa.array(seen), pa.array(bought)]
        out.batch(pa.RecordBatch.from_arrays(columns, schema=TOTALS))


TOTALS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("user", pa.string(), nullable=False),
        pa.field("seen", pa.int64(), nullable=False),
        pa.field("bought", pa.int64(), nullable=False),
    ]
)


def totals_keyed(events: fz.Stream) -> fz.Stream:
    """Totals with rows as objects."""
    return events.group_by("user").process(Numbered, schema=TOTALS, order="arrival")


def totals_groups(events: fz.Stream) -> fz.Stream:
    """Totals with columns."""
    return events.group_by("user").process(NumberedGroups, schema=TOTALS, order="arrival")


def _number(kept: tuple[int, int] | None, row: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    seen, bought = kept or (0, 0)
    seen, bought = seen + 1, bought + row["quantity"]
    return (seen, bought), {"id": row["id"], "seen": seen, "bought": bought}


def totals_rows(events: fz.Stream) -> fz.Stream:
    """Totals with Python objects."""
    counted = events.rows().key_by(_user).stateful_map(_number)
    return counted.columns({"id": int, "seen": int, "bought": int}, key="user")


WORKLOADS = {
    "w1": (Event, w1),
    "w2": (View, w2),
    "w3": (Visit, w3),
    "totals": (Bought, totals_keyed),
}
WRITTEN = {
    ("w1", "udf"): w1_udf,
    ("w1", "batch_udf"): w1_batch_udf,
    ("w1", "rows"): w1_rows,
    ("w2", "rows"): w2_rows,
    ("w3", "rows"): w3_rows,
    ("totals", "rows"): totals_rows,
    ("totals", "keyed"): totals_keyed,
    ("totals", "groups"): totals_groups,
}
"""The workloads in other ways."""


def main() -> None:
    """Read what is there, write a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", choices=WORKLOADS, required=True)
    parser.add_argument("--written", choices=sorted({how for _, how in WRITTEN}))
    parser.add_argument("--path")
    parser.add_argument("--servers")
    parser.add_argument("--topic")
    parser.add_argument("--out", required=True)
    parser.add_argument("--forever", action="store_true", help="run until SIGTERM")
    given = parser.parse_args()
    schema, compute = WORKLOADS[given.workload]
    compute = WRITTEN.get((given.workload, given.written), compute)
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
        report = pipeline.run(until="now", close_windows=given.workload in ("w2", "w3"), quiet=True)
    print(report)


if __name__ == "__main__":
    main()
