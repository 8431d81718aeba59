"""W1 in Bytewax: json.loads per message, a dict per row, Parquet files of 50,000 rows."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pyarrow as pa
import pyarrow.parquet as pq
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

COLUMNS = ("id", "ts", "user", "page", "country", "amount", "quantity")
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("ts", pa.timestamp("us", "UTC")),
        ("user", pa.string()),
        ("page", pa.string()),
        ("country", pa.string()),
        ("amount", pa.float64()),
        ("quantity", pa.int64()),
        ("total", pa.float64()),
    ]
)
FILE_ROWS = 50_000


class ParquetPartition(StatelessSinkPartition[dict[str, Any]]):
    """Collects rows and writes a file when there are enough."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._files = 0

    def write_batch(self, items: list[dict[str, Any]]) -> None:
        self._rows.extend(items)
        if len(self._rows) >= FILE_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, SCHEMA)
            path = self._folder / f"{self._files:06d}.parquet"
            pq.write_table(table, path, compression="zstd", compression_level=1)
            self._files += 1
            self._rows.clear()


class ParquetSink(DynamicSink[dict[str, Any]]):
    """Files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, step_id: str, worker_index: int, worker_count: int) -> ParquetPartition:
        return ParquetPartition(self._folder)


def project(event: dict[str, Any]) -> dict[str, Any]:
    """The row that is written."""
    row = {name: event[name] for name in COLUMNS}
    row["ts"] = datetime.fromtimestamp(event["ts"] // 1000, UTC) + timedelta(
        milliseconds=event["ts"] % 1000
    )
    row["total"] = event["amount"] * event["quantity"]
    return row


def main() -> None:
    """Run the dataflow to the end of its input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--path")
    parser.add_argument("--servers")
    parser.add_argument("--topic")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    flow = Dataflow("w1")
    if given.path:
        lines = op.input("in", flow, FileSource(given.path))
        events = op.map("decode", lines, json.loads)
    else:
        from bytewax.connectors.kafka import KafkaSource

        source = KafkaSource(given.servers.split(","), [given.topic], tail=False, batch_size=1000)
        messages = op.input("in", flow, source)
        events = op.map("decode", messages, lambda message: json.loads(message.value))
    kept = op.filter("keep", events, lambda event: event["amount"] > 10)
    op.output("out", op.map("project", kept, project), ParquetSink(given.out))
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
