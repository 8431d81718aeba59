"""Partitions with different amounts of rows for the same time are read in step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import frazil as fz
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 100_000  # of each partition
DENSE_MS, SPARSE_MS = 10, 1_000  # between two rows


def test_the_partition_that_is_ahead_waits(tmp_path: Path) -> None:
    steps = {0: DENSE_MS, 1: SPARSE_MS}
    rows = pa.table(
        {
            "partition": [number % 2 for number in range(2 * ROWS)],
            "at": pa.array(
                [
                    START + timedelta(milliseconds=(number // 2) * steps[number % 2])
                    for number in range(2 * ROWS)
                ],
                pa.timestamp("us", "UTC"),
            ),
        }
    )
    front = {0: START, 1: START}
    ahead: list[float] = []

    def watch(batch: pa.RecordBatch) -> pa.RecordBatch:
        front[batch["partition"][0].as_py()] = pc.max(batch["at"]).as_py()
        if front[0] < START + timedelta(milliseconds=(ROWS - 1) * DENSE_MS):
            ahead.append((front[1] - front[0]).total_seconds())
        return batch

    schema = {"partition": pa.int64(), "at": pa.timestamp("us", "UTC")}
    read = fz.read_memory(rows, partitions=2).map_batches(watch, schema=schema)
    timed = read.event_time("at", out_of_order="10s")
    windows = timed.group_by("partition").window(fz.tumbling("1m")).agg(n=fz.count())
    sink = windows.write_memory(name="windows")
    pipeline = fz.Pipeline("aligned", sink, checkpoint=str(tmp_path))
    pipeline.run(until="now", quiet=True, close_windows=True)

    # The dense partition ends after 1,000 s, the sparse one has 100,000 s. A chunk of the sparse
    # one covers 16,384 s; without alignment it would be read in turn, and end as far ahead.
    assert max(ahead) < 20_000
    assert len([gap for gap in ahead if gap > 0]) > 3
    counted = sink.table().group_by("partition").aggregate([("n", "sum")]).to_pylist()
    assert sorted((row["partition"], row["n_sum"]) for row in counted) == [(0, ROWS), (1, ROWS)]
