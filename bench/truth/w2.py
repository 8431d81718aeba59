"""W2: windows by the definition, with numpy: who is late, and sums that are exact.

A row is refused if the watermark of its partition before it, the latest time less the disorder
allowed, has reached the end of its minute. Sums are made of whole numbers and rounded once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.truth.truth import Truth, read, times, watermarks

OUT_OF_ORDER_MS = 2_000
MINUTE_MS = 60_000


class W2(Truth):
    """Count and sum of each page and minute."""

    workload = "w2"
    version = 1

    def columns(self, *, exact: bool) -> str:
        """All; sums bit by bit only where they are rounded once."""
        revenue = "revenue::DOUBLE" if exact else "round(revenue * 100)::BIGINT"
        return (
            "page::VARCHAR, epoch_us(window_start), epoch_us(window_end), events::BIGINT, "
            + revenue
        )

    def rows(self, path: Path, partitions: int) -> Iterable[pa.RecordBatch]:
        """One batch of all windows, those that are open at the end too."""
        table = pa.Table.from_batches(read(path, ("ts", "page", "amount")))
        time = table["ts"].to_numpy()
        start = time - time % MINUTE_MS
        kept = start + MINUTE_MS > watermarks(time, partitions, OUT_OF_ORDER_MS)
        pages = table["page"].combine_chunks().dictionary_encode()
        page = pages.indices.to_numpy().astype(np.int64)
        group = (start << 20 | page)[kept]
        order = np.argsort(group, kind="stable")
        groups, first, events = np.unique(group[order], return_index=True, return_counts=True)
        revenue = exact_sums(table["amount"].to_numpy()[kept][order], first)
        starts = groups >> 20
        yield pa.RecordBatch.from_arrays(
            [
                pages.dictionary.take(pa.array(groups & ((1 << 20) - 1))),
                times(pa.array(starts)),
                times(pa.array(starts + MINUTE_MS)),
                pa.array(events),
                pa.array(revenue),
            ],
            ["page", "window_start", "window_end", "events", "revenue"],
        )


def exact_sums(values: np.ndarray, first: np.ndarray) -> list[float]:
    """Sums of stretches that begin at `first`, in units of 2^-60, each rounded once."""
    whole = np.floor(values * (1 << 20)).astype(np.int64)
    rest = (values - whole / (1 << 20)) * float(1 << 60)
    if not (rest == np.floor(rest)).all():
        raise ValueError("an amount is no multiple of 2^-60")
    high = np.add.reduceat(whole, first).tolist()
    low = np.add.reduceat(rest.astype(np.int64), first).tolist()
    return [((h << 40) + each) / (1 << 60) for h, each in zip(high, low, strict=True)]
