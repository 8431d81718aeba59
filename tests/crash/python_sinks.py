"""Sinks in Python that are crashed."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import frazil as fz

if TYPE_CHECKING:
    import pyarrow as pa


class PythonFiles(fz.TwoPhaseSink):
    """Files that get their final name by the commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, schema: pa.Schema) -> None:
        self.folder.mkdir(exist_ok=True)

    def open(self, sink: str, attempt: int, worker: int) -> fz.SinkWriter:
        return FilesWriter(self.folder, f"{attempt:06}-{worker}")

    def commit(self, commit: fz.Commit) -> None:
        for name in commit.tokens:
            new = self.folder / name
            if new.exists():
                new.rename(new.with_suffix(".json"))

    def recover(self, sink: str, attempt: int, tokens: Sequence[fz.Token]) -> None:
        for new in self.folder.glob("*.new"):
            if new.name not in tokens and int(new.name[:6]) < attempt:
                new.unlink()


class FilesWriter(fz.SinkWriter):
    def __init__(self, folder: Path, head: str) -> None:
        self.folder, self.head = folder, head
        self.ids: list[int] = []

    def write(self, rows: pa.RecordBatch) -> None:
        self.ids += rows.column("id").to_pylist()

    def prepare(self) -> fz.Token:
        name = f"{self.head}-{uuid.uuid4()}.new"
        with (self.folder / name).open("w") as file:
            json.dump(self.ids, file)
            file.flush()
            os.fsync(file.fileno())
        self.ids = []
        return name


class Ledger(fz.TransactionalSink):
    """A table of SQLite."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, schema: pa.Schema) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER)")
            db.execute("CREATE TABLE IF NOT EXISTS epochs (sink TEXT PRIMARY KEY, epoch INTEGER)")

    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("INSERT OR IGNORE INTO epochs VALUES (?, -1)", [commit.sink])
            raised = db.execute(
                "UPDATE epochs SET epoch = ? WHERE sink = ? AND epoch < ?",
                [commit.epoch, commit.sink, commit.epoch],
            )
            if raised.rowcount:
                for batch in rows:
                    ids = [(each,) for each in batch.column("id").to_pylist()]
                    db.executemany("INSERT INTO rows VALUES (?)", ids)


def ids_of(place: Path) -> list[int]:
    """The ids that are visible in either."""
    if place.is_dir():
        return [each for file in place.glob("*.json") for each in json.loads(file.read_text())]
    with closing(sqlite3.connect(place)) as db:
        return [each for (each,) in db.execute("SELECT id FROM rows")]
