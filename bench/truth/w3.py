"""W3: sessions by the definition, with numpy: sorted by user and time, cut where a gap is longer.

A row is refused if it is behind the watermark of its partition before it; in these events none is,
because they are less than 5 s out of order.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.truth.truth import Truth, read, times, watermarks

OUT_OF_ORDER_MS = 5_000
GAP_MS = 30_000


class W3(Truth):
    """Sessions of each user."""

    workload = "w3"
    version = 1

    def columns(self, *, exact: bool) -> str:
        """All; nothing here is a float."""
        return "user::VARCHAR, epoch_us(window_start), epoch_us(window_end), events::BIGINT"

    def rows(self, path: Path, partitions: int) -> Iterable[pa.RecordBatch]:
        """One batch of all sessions, those that are open at the end too."""
        table = pa.Table.from_batches(read(path, ("ts", "user")))
        time = table["ts"].to_numpy()
        kept = time >= watermarks(time, partitions, OUT_OF_ORDER_MS)
        users = table["user"].combine_chunks().dictionary_encode()
        user = users.indices.to_numpy()[kept]
        time = time[kept]
        order = np.lexsort((time, user))
        user, time = user[order], time[order]
        begins = np.ones(len(time), dtype=bool)
        begins[1:] = (user[1:] != user[:-1]) | (time[1:] - time[:-1] > GAP_MS)
        first = np.flatnonzero(begins)
        last = np.append(first[1:], len(time)) - 1
        yield pa.RecordBatch.from_arrays(
            [
                users.dictionary.take(pa.array(user[first])),
                times(pa.array(time[first])),
                times(pa.array(time[last] + GAP_MS)),
                pa.array(last - first + 1),
            ],
            ["user", "window_start", "window_end", "events"],
        )
