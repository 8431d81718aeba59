"""A log of changes of a table of orders, as Debezium writes it: JSON without schemas, seeded.

First come inserts, one for each id from 0 on; then changes: half of them updates, a fifth deletes,
the rest inserts of new ids. The row that an update or a delete is about is drawn evenly from those
that are there. Updates and deletes have the whole row before them, as MySQL sends it and PostgreSQL
with REPLICA IDENTITY FULL: Flink needs it. There are no tombstones. A row follows from its id and
version, so that the rows that are left follow from the versions at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.cache import cache_dir

SEED = 11
CHUNK = 100_000
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
UPDATES, DELETES = 0.5, 0.2
"""Shares of the changes."""

STATUS = ("new", "paid", "packed", "sent", "returned")

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("customer", pa.string()),
        pa.field("product", pa.string()),
        pa.field("status", pa.string()),
        pa.field("amount", pa.float64()),
        pa.field("quantity", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Size:
    """How much a log has."""

    inserts: int
    changes: int

    @property
    def events(self) -> int:
        """Of both kinds."""
        return self.inserts + self.changes


def rows_of(ids: np.ndarray, versions: np.ndarray) -> pa.RecordBatch:
    """Rows by id and version."""
    mixed = ids * 2_654_435_761 + versions * 40_503
    customer = [f"customer-{n:08d}" for n in (ids * 7919 % 1_000_003).tolist()]
    product = [f"/shop/product-{n:06d}.html" for n in (mixed % 99_991).tolist()]
    status = [STATUS[n] for n in (versions % len(STATUS)).tolist()]
    amount = (mixed % 1_000_000) / 100.0
    columns = [pa.array(each) for each in (ids, customer, product, status, amount, mixed % 20 + 1)]
    return pa.record_batch(columns, schema=SCHEMA)


def row_texts(ids: np.ndarray, versions: np.ndarray) -> list[str]:
    """The same rows as JSON."""
    columns = [column.to_pylist() for column in rows_of(ids, versions)]
    return [
        f'{{"id":{id_},"customer":"{customer}","product":"{product}","status":"{status}",'
        f'"amount":{amount},"quantity":{quantity}}}'
        for id_, customer, product, status, amount, quantity in zip(*columns, strict=True)
    ]


class Drawn:
    """The operations of a log and the versions of its rows at the end.

    Attributes
    ----------
    kinds, ids, versions
        Of each event: "c", "u" or "d"; its row; the version that it makes (of a delete: ends).
    alive
        Ids of the rows that are left, and in `last` their versions.
    """

    def __init__(self, size: Size) -> None:
        random = np.random.default_rng((SEED, size.inserts))
        shares = random.random(size.changes)
        places = random.random(size.changes).tolist()
        change = np.where(shares < UPDATES, "u", np.where(shares < UPDATES + DELETES, "d", "c"))
        self.kinds = ["c"] * size.inserts + change.tolist()
        self.ids = list(range(size.inserts))
        self.versions = [0] * size.inserts
        alive, last = list(range(size.inserts)), [0] * size.inserts
        for kind, place in zip(self.kinds[size.inserts :], places, strict=True):
            if kind == "c":
                alive.append(len(last))
                last.append(0)
                id_ = alive[-1]
            else:
                at = int(place * len(alive))
                id_ = alive[at]
                if kind == "u":
                    last[id_] += 1
                else:
                    alive[at] = alive[-1]
                    alive.pop()
            self.ids.append(id_)
            self.versions.append(last[id_])
        self.alive = np.array(alive, dtype=np.int64)
        self.last = np.array(last, dtype=np.int64)[self.alive]


def _lines(drawn: Drawn, first: int, end: int) -> Iterator[str]:
    ids = np.array(drawn.ids[first:end], dtype=np.int64)
    versions = np.array(drawn.versions[first:end], dtype=np.int64)
    now = row_texts(ids, versions)
    old = row_texts(ids, np.maximum(versions - 1, 0))
    for at, kind in enumerate(drawn.kinds[first:end]):
        # A delete ends the version that is there; an update the one before its own.
        before = {"c": "null", "u": old[at], "d": now[at]}[kind]
        after = "null" if kind == "d" else now[at]
        source = _source(first + at)
        yield (
            f'{{"before":{before},"after":{after},"source":{source},"op":"{kind}",'
            f'"ts_ms":{START_MS + first + at + 5}}}\n'
        )


def _source(position: int) -> str:
    """Where an event comes from, as a connector for PostgreSQL says it."""
    return (
        f'{{"version":"3.0.0","connector":"postgresql","name":"shop",'
        f'"ts_ms":{START_MS + position},"snapshot":"false","db":"shop","schema":"public",'
        f'"table":"orders","txId":{position // 10},"lsn":{position * 64}}}'
    )


def log_file(size: Size) -> Path:
    """The log in the cache folder, one event a line; complete or not at all."""
    path = cache_dir() / "cdc" / f"{SEED}-{size.inserts}-{size.changes}.jsonl"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    drawn = Drawn(size)
    with partial.open("w", encoding="ascii") as out:
        for first in range(0, size.events, CHUNK):
            out.writelines(_lines(drawn, first, min(first + CHUNK, size.events)))
    partial.rename(path)
    return path


def rows_left(size: Size) -> Iterator[pa.RecordBatch]:
    """The rows that the table has to have in the end."""
    drawn = Drawn(size)
    for first in range(0, len(drawn.alive), CHUNK):
        chosen = slice(first, first + CHUNK)
        yield rows_of(drawn.alive[chosen], drawn.last[chosen])


def partition_of(line: bytes, partitions: int) -> int:
    """The partition of an event: its key's, as Debezium's keys have it."""
    start = line.index(b'"id":') + 5
    return int(line[start : line.index(b",", start)]) % partitions
