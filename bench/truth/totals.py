"""Totals: rows of each user numbered and summed up in the order of the file, by numpy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.truth.truth import Truth, read

COLUMNS = ("id", "user", "quantity")


class Totals(Truth):
    """Each event with how many of its user there were up to it, and how much they bought."""

    workload = "totals"
    version = 1

    def columns(self, *, exact: bool) -> str:
        """All; they are whole numbers."""
        return 'id::BIGINT, "user"::VARCHAR, seen::BIGINT, bought::BIGINT'

    def rows(self, path: Path, partitions: int) -> Iterable[pa.RecordBatch]:
        """Number and sum up; users are in partitions in turn only if there is one."""
        if partitions != 1:
            raise ValueError("the order of a user's events over partitions is nobody's")
        events = pa.Table.from_batches(read(path, COLUMNS)).combine_chunks()
        user = pc.dictionary_encode(events["user"]).combine_chunks().indices.to_numpy()
        order = np.argsort(user, kind="stable")
        quantity = events["quantity"].to_numpy()[order]
        begins = np.flatnonzero(np.r_[True, np.diff(user[order]) != 0])
        lengths = np.diff(np.r_[begins, len(order)])
        summed = np.cumsum(quantity)
        before = np.repeat(summed[begins] - quantity[begins], lengths)
        seen = np.arange(len(order)) - np.repeat(begins, lengths) + 1
        columns = [events["id"].take(order), events["user"].take(order)]
        table = pa.table(
            [*columns, pa.array(seen), pa.array(summed - before)], ["id", "user", "seen", "bought"]
        )
        yield from table.to_batches()
