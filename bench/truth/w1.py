"""W1: decoded by pyarrow.json, filtered and multiplied by numpy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.truth.truth import Truth, read, times

THRESHOLD = 10.0
COLUMNS = ("id", "ts", "user", "page", "country", "amount", "quantity")


class W1(Truth):
    """Events above the threshold, with their total."""

    workload = "w1"
    version = 1

    def columns(self, *, exact: bool) -> str:
        """All, bit by bit: products are the same everywhere."""
        return (
            'id::BIGINT, epoch_us(ts), "user"::VARCHAR, page::VARCHAR, country::VARCHAR, '
            "amount::DOUBLE, quantity::BIGINT, total::DOUBLE"
        )

    def rows(self, path: Path, partitions: int) -> Iterable[pa.RecordBatch]:
        """Filter and project; partitions do not matter."""
        for batch in read(path, COLUMNS):
            amount = batch["amount"].to_numpy()
            keep = amount > THRESHOLD
            columns = [batch[name].filter(pa.array(keep)) for name in COLUMNS]
            columns[1] = times(columns[1])
            columns.append(
                pa.array(amount[keep] * batch["quantity"].to_numpy()[keep].astype(np.float64))
            )
            yield pa.RecordBatch.from_arrays(columns, [*COLUMNS, "total"])
