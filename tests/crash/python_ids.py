"""A source in Python: rows 0 to ROWS-1, in reads whose sizes are drawn anew in each process."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping

import frazil as fz
import pyarrow as pa

ROWS = 12_000
READ_EVERY_S = 0.005
PARTITIONS = 2


class PythonIds(fz.PartitionedSource):
    """Partitions with every second id."""

    ends = True

    def __init__(self, rate: float | None) -> None:
        self.rate = rate

    def partitions(self) -> Mapping[str, fz.Position]:
        return {f"ids-{number}": {"next": number} for number in range(PARTITIONS)}

    def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
        return IdsReader(self.rate, position["next"])


class IdsReader(fz.PartitionReader):
    """Gives a drawn number of rows, as dicts or as Arrow data."""

    def __init__(self, rate: float | None, at: int) -> None:
        self._at = at
        self._rows_max = (
            500 if rate is None else max(1, round(rate * READ_EVERY_S / PARTITIONS * 2))
        )
        self._tick = None if rate is None else threading.Event()
        self._random = random.Random()

    def read(self) -> fz.Rows | fz.End:
        if self._at >= ROWS:
            return fz.END
        if self._tick is not None:
            self._tick.wait(READ_EVERY_S)
        count = self._random.randint(0, self._rows_max)
        ids = list(range(self._at, ROWS, PARTITIONS))[:count]
        self._at += PARTITIONS * len(ids)
        rows = [{"id": each, "country": "DE"} for each in ids]
        if rows and self._random.random() < 0.5:
            return pa.Table.from_pylist(rows)
        return rows

    @property
    def position(self) -> fz.Position:
        return {"next": self._at}
