"""W1, W3 and Totals in Bytewax: a dict per row by json.loads, Parquet files of 50,000 rows."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import pyarrow as pa
import pyarrow.parquet as pq
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

if TYPE_CHECKING:
    from bytewax.operators import Stream

TIME = pa.timestamp("us", "UTC")
COLUMNS = ("id", "ts", "user", "page", "country", "amount", "quantity")
W1_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("ts", TIME),
        ("user", pa.string()),
        ("page", pa.string()),
        ("country", pa.string()),
        ("amount", pa.float64()),
        ("quantity", pa.int64()),
        ("total", pa.float64()),
    ]
)
W3_SCHEMA = pa.schema(
    [("user", pa.string()), ("window_start", TIME), ("window_end", TIME), ("events", pa.int64())]
)
TOTALS_SCHEMA = pa.schema(
    [("id", pa.int64()), ("user", pa.string()), ("seen", pa.int64()), ("bought", pa.int64())]
)
FILE_ROWS = 50_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GAP = timedelta(seconds=30)
OUT_OF_ORDER = timedelta(seconds=5)

Row = dict[str, Any]
Session = tuple[datetime, datetime, int]  # first, last, events


class ParquetPartition(StatelessSinkPartition[Row]):
    """Collects rows and writes a file when there are enough."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._rows: list[Row] = []
        self._files = 0

    def write_batch(self, items: list[Row]) -> None:
        self._rows.extend(items)
        if len(self._rows) >= FILE_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, self._schema)
            path = self._folder / f"{self._files:06d}.parquet"
            pq.write_table(table, path, compression="zstd", compression_level=1)
            self._files += 1
            self._rows.clear()


class ParquetSink(DynamicSink[Row]):
    """Files in a folder."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema

    def build(self, step_id: str, worker_index: int, worker_count: int) -> ParquetPartition:
        return ParquetPartition(self._folder, self._schema)


def time_of(event: Row) -> datetime:
    """The time that its milliseconds say."""
    return datetime.fromtimestamp(event["ts"] // 1000, UTC) + timedelta(
        milliseconds=event["ts"] % 1000
    )


def project(event: Row) -> Row:
    """The row of W1."""
    row = {name: event[name] for name in COLUMNS}
    row["ts"] = time_of(event)
    row["total"] = event["amount"] * event["quantity"]
    return row


def w1(events: Stream[Row]) -> Stream[Row]:
    """Filter and project."""
    return op.map("project", op.filter("keep", events, lambda event: event["amount"] > 10), project)


def add(session: Session, event: Row) -> Session:
    """One more event of a session."""
    at = time_of(event)
    return min(session[0], at), max(session[1], at), session[2] + 1


def merge(one: Session, other: Session) -> Session:
    """Two sessions that have met."""
    return min(one[0], other[0]), max(one[1], other[1]), one[2] + other[2]


def w3(events: Stream[Row]) -> Stream[Row]:
    """Sessions of each user.

    The clock stands still and wakes nobody: with the system's, which is its default, the rows that
    are late depend on the speed of the replay, and as all event times are past, every key with an
    open session is looked at all the time, which costs ten times as much.
    """
    clock = win.EventClock(
        ts_getter=time_of,
        wait_for_system_duration=OUT_OF_ORDER,
        now_getter=lambda: EPOCH,
        to_system_utc=lambda _: None,
    )
    windows = win.fold_window(
        "sessions",
        op.key_on("by_user", events, lambda event: event["user"]),
        clock,
        win.SessionWindower(gap=GAP),
        builder=lambda: (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), 0),
        folder=add,
        merger=merge,
        ordered=False,
    )
    return op.map("row", windows.down, session_row)


def session_row(item: tuple[str, tuple[int, Session]]) -> Row:
    """The row of W3."""
    user, (_, (first, last, events)) = item
    return {"user": user, "window_start": first, "window_end": last + GAP, "events": events}


def total(kept: tuple[int, int] | None, event: Row) -> tuple[tuple[int, int], Row]:
    """One more event of a user."""
    seen, bought = kept or (0, 0)
    seen, bought = seen + 1, bought + event["quantity"]
    return (seen, bought), {"id": event["id"], "seen": seen, "bought": bought}


def totals(events: Stream[Row]) -> Stream[Row]:
    """Each event with its number and the sum up to it."""
    keyed = op.key_on("by_user", events, lambda event: event["user"])
    counted = op.stateful_map("total", keyed, total)
    return op.map("row", counted, lambda item: {"user": item[0], **item[1]})


WORKLOADS = {"w1": (w1, W1_SCHEMA), "w3": (w3, W3_SCHEMA), "totals": (totals, TOTALS_SCHEMA)}


def main() -> None:
    """Run the dataflow to the end of its input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", choices=WORKLOADS, required=True)
    parser.add_argument("--path")
    parser.add_argument("--servers")
    parser.add_argument("--topic")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    flow = Dataflow(given.workload)
    if given.path:
        lines = op.input("in", flow, FileSource(given.path))
        events = op.map("decode", lines, json.loads)
    else:
        from bytewax.connectors.kafka import KafkaSource

        source = KafkaSource(given.servers.split(","), [given.topic], tail=False, batch_size=1000)
        messages = op.input("in", flow, source)
        events = op.map("decode", messages, lambda message: json.loads(message.value))
    compute, schema = WORKLOADS[given.workload]
    op.output("out", compute(events), ParquetSink(given.out, schema))
    recovery = given.out / "recovery"
    recovery.mkdir()
    init_db_dir(recovery, 1)
    run_main(
        flow,
        epoch_interval=timedelta(seconds=1),
        recovery_config=RecoveryConfig(str(recovery)),
    )


if __name__ == "__main__":
    main()
