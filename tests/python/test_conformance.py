"""The suites for connectors in Python pass good ones and catch those that are broken in one way."""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.testing import NotConforming, sink_conformance, source_conformance

SCHEMA = pa.schema([pa.field("id", pa.int64(), False), pa.field("text", pa.string())])


class Good(fz.PartitionedSource):
    """Two partitions of ten rows, divided into reads by chance."""

    def partitions(self) -> Sequence[str] | Mapping[str, fz.Position]:
        return ["a", "b"]

    def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
        return GoodReader(position or 0)


class GoodReader(fz.PartitionReader):
    def __init__(self, at: int) -> None:
        self.at = at
        self.opened = at

    def read(self) -> fz.Rows | fz.End:
        count = random.randint(1, 3)
        rows = [{"id": n, "text": str(n)} for n in range(self.at, min(10, self.at + count))]
        self.at += len(rows)
        return rows

    @property
    def position(self) -> fz.Position:
        return self.at


def source_of(reader: type[GoodReader]) -> Callable[[], Good]:
    class Source(Good):
        def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
            return reader(position or 0)

    return Source


class Stuck(GoodReader):
    """Its position is that of the rows that were just given."""

    @property
    def position(self) -> fz.Position:
        return self.opened


class Behind(GoodReader):
    """Its position leaves a row out."""

    @property
    def position(self) -> fz.Position:
        return self.at + 1


class Before(GoodReader):
    """Its position counts one row less."""

    @property
    def position(self) -> fz.Position:
        return max(0, self.at - 1)


class Changing(GoodReader):
    """Rows are others when they are read again."""

    def read(self) -> fz.Rows | fz.End:
        rows = super().read()
        assert isinstance(rows, list)
        return [{**row, "text": f"{row['text']} of {self.opened}"} for row in rows]


class FromTheStart(GoodReader):
    """Does not look at the position."""

    def __init__(self, at: int) -> None:
        super().__init__(0)


class FromTheEnd(GoodReader):
    """Goes on with what is new."""

    def __init__(self, at: int) -> None:
        super().__init__(10 if at else 0)


class Wandering(GoodReader):
    """Its position is another each time."""

    @property
    def position(self) -> fz.Position:
        self.at += 1
        return self.at


class Unwritten(GoodReader):
    @property
    def position(self) -> fz.Position:
        return {self.at}


class Wrong(GoodReader):
    def read(self) -> fz.Rows | fz.End:
        return [{"id": "x", "text": "y"}]


class Renamed(Good):
    def partitions(self) -> Sequence[str]:
        return [f"p-{uuid.uuid4()}"]


class Nothing(Good):
    def partitions(self) -> Sequence[str]:
        return []


class LatePoll(fz.PollingSource):
    """The cursor is the last id, and two rows share one."""

    def poll(self, cursor: fz.Position) -> tuple[fz.Rows, fz.Position]:
        rows = [{"id": n // 2, "text": str(n)} for n in range(10) if n // 2 > (cursor or -1)][:3]
        return rows, rows[-1]["id"] if rows else cursor


def test_good_sources_pass() -> None:
    assert source_conformance(Good, schema=SCHEMA) == 20

    class Ends(GoodReader):
        def read(self) -> fz.Rows | fz.End:
            return super().read() or fz.END

    assert source_conformance(source_of(Ends), schema=SCHEMA) == 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (source_of(Stuck), "they would be read again after a crash"),
        (source_of(Behind), "opened at"),
        (source_of(Before), "a crash"),
        (source_of(Changing), "rows would be lost, or be there twice"),
        (source_of(FromTheStart), "a crash"),
        (source_of(FromTheEnd), "the others would be lost"),
        (source_of(Wandering), "another when read twice"),
        (source_of(Unwritten), "no JSON"),
        (source_of(Wrong), "gave 'x' in field \"id\""),
        (Renamed, "for the next process"),
        (Nothing, "there is no partition"),
    ],
)
def test_broken_sources_are_caught(make: Callable[[], Good], message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        source_conformance(make, schema=SCHEMA)


def test_a_cursor_within_equal_ids_is_not_told_by_replay() -> None:
    """What a poll leaves out always it leaves out again: the suite says how many rows it saw."""
    assert source_conformance(LatePoll, schema=SCHEMA) < 10


# -- sinks --------------------------------------------------------------------------------------


class Files(fz.TwoPhaseSink):
    """Files that get their name by the commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, sink: str, attempt: int, worker: int) -> fz.SinkWriter:
        return FilesWriter(self, f"{sink}-{attempt}-{worker}")

    def commit(self, commit: fz.Commit) -> None:
        for name in commit.tokens:
            self.publish(name, commit)

    def publish(self, name: str, commit: fz.Commit) -> None:
        staged = self.folder / name
        if staged.exists():
            staged.rename(staged.with_suffix(".json"))

    def recover(self, sink: str, attempt: int, tokens: Sequence[fz.Token]) -> None:
        for staged in self.folder.glob(f"{sink}-*.new"):
            if staged.name not in tokens:
                staged.unlink()


class FilesWriter(fz.SinkWriter):
    def __init__(self, sink: Files, head: str) -> None:
        self.sink, self.head = sink, head
        self.rows: list[dict[str, Any]] = []

    def write(self, rows: pa.RecordBatch) -> None:
        self.rows += rows.to_pylist()

    def prepare(self) -> fz.Token:
        name = f"{self.head}-{uuid.uuid4()}.new"
        with (self.sink.folder / name).open("w") as file:
            file.write(json.dumps(self.rows))
            file.flush()
            os.fsync(file.fileno())
        self.rows = []
        return name


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in folder.glob("*.json") for row in json.loads(path.read_text())]


class Copies(Files):
    """A commit that is repeated copies once more."""

    def publish(self, name: str, commit: fz.Commit) -> None:
        (self.folder / f"{uuid.uuid4()}.json").write_bytes((self.folder / name).read_bytes())


class Eager(Files):
    """Rows are visible before their commit."""

    def open(self, sink: str, attempt: int, worker: int) -> fz.SinkWriter:
        return EagerWriter(self, f"{sink}-{attempt}-{worker}")


class EagerWriter(FilesWriter):
    def prepare(self) -> fz.Token:
        name = super().prepare()
        self.sink.publish(name, fz.Commit(sink="", epoch=0, digest=""))
        return name


class InMemory(Files):
    """What is prepared is in the memory of the process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.prepared: dict[str, list[dict[str, Any]]] = {}

    def open(self, sink: str, attempt: int, worker: int) -> fz.SinkWriter:
        return MemoryWriter(self, f"{sink}-{attempt}-{worker}")

    def publish(self, name: str, commit: fz.Commit) -> None:
        rows = self.prepared.pop(name, None)
        if rows is not None:
            (self.folder / name).with_suffix(".json").write_text(json.dumps(rows))


class MemoryWriter(FilesWriter):
    sink: InMemory

    def prepare(self) -> fz.Token:
        name = f"{self.head}-{uuid.uuid4()}.new"
        self.sink.prepared[name], self.rows = self.rows, []
        return name


class Forgetful(Files):
    """Rows of the epoch before come again."""

    def open(self, sink: str, attempt: int, worker: int) -> fz.SinkWriter:
        return ForgetfulWriter(self, f"{sink}-{attempt}-{worker}")


class ForgetfulWriter(FilesWriter):
    def prepare(self) -> fz.Token:
        rows = list(self.rows)
        name = super().prepare()
        self.rows = rows
        return name


class Cleaner(Files):
    """A start removes all that is prepared."""

    def recover(self, sink: str, attempt: int, tokens: Sequence[fz.Token]) -> None:
        super().recover(sink, attempt, [])


class Half(Files):
    """The token of the first worker only."""

    def commit(self, commit: fz.Commit) -> None:
        self.publish(commit.tokens[0], commit)


class Everything(Files):
    """A commit publishes all that is there."""

    def commit(self, commit: fz.Commit) -> None:
        for staged in self.folder.glob("*.new"):
            self.publish(staged.name, commit)


def test_a_good_sink_passes(tmp_path: Path) -> None:
    assert sink_conformance(lambda: Files(tmp_path), lambda: rows_of(tmp_path)) == 12
    assert list(tmp_path.glob("*.new")) == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Copies, "after the same commit again: 3 rows are there that must not be"),
        (Eager, "after prepare, before commit: 3 rows are there"),
        (
            InMemory,
            "after a crash behind prepare, and the commit by the next process: 3 rows are m",
        ),
        (
            Forgetful,
            "after a crash behind prepare, and the commit by the next process: 3 rows are t",
        ),
        (Cleaner, "after a crash behind prepare, and the commit by the next process: 3 rows are m"),
        (Half, "after the commit of the first of two epochs: 1 rows are missing"),
        (Everything, "after the commit of the first of two epochs: 2 rows are there"),
    ],
)
def test_broken_sinks_are_caught(tmp_path: Path, broken: type[Files], message: str) -> None:
    with pytest.raises(NotConforming) as caught:
        sink_conformance(lambda: broken(tmp_path), lambda: rows_of(tmp_path))
    assert str(caught.value).startswith(message)


class Database:
    """Rows, and the last epoch of each sink."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.epochs: dict[str, int] = {}


class Ledger(fz.TransactionalSink):
    def __init__(self, database: Database) -> None:
        self.database = database

    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        if self.database.epochs.get(commit.sink, -1) >= commit.epoch:
            return
        new = [row for batch in rows for row in batch.to_pylist()]
        self.database.rows += new
        self.database.epochs[commit.sink] = commit.epoch


class AppendsAgain(Ledger):
    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        self.database.rows += [row for batch in rows for row in batch.to_pylist()]


class NotAtomic(Ledger):
    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        if self.database.epochs.get(commit.sink, -1) >= commit.epoch:
            return
        for batch in rows:
            self.database.rows += batch.to_pylist()
        self.database.epochs[commit.sink] = commit.epoch


class LastOnly(Ledger):
    """Knows whether an epoch is the last one, not whether it is older."""

    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        if self.database.epochs.get(commit.sink) != commit.epoch:
            self.database.rows += [row for batch in rows for row in batch.to_pylist()]
            self.database.epochs[commit.sink] = commit.epoch


class OneForAll(Ledger):
    """Has one epoch for all sinks."""

    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        super().commit(fz.Commit(sink="", epoch=commit.epoch, digest=""), rows)


class EpochFirst(Ledger):
    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        if self.database.epochs.get(commit.sink, -1) < commit.epoch:
            self.database.epochs[commit.sink] = commit.epoch
            self.database.rows += [row for batch in rows for row in batch.to_pylist()]


class Swallows(Ledger):
    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        try:
            super().commit(commit, rows)
        except ConnectionError:
            return


class OwnMemory(Ledger):
    """What was committed is known to the object only."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        database.epochs = {}


def test_a_good_transactional_sink_passes() -> None:
    database = Database()
    assert sink_conformance(lambda: Ledger(database), lambda: database.rows) == 18


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (AppendsAgain, "after the same commit again: 6 rows are there"),
        (NotAtomic, "after a commit that was broken off: 3 rows are there"),
        (
            LastOnly,
            "after an older process has committed an older epoch once more: 6 rows are there",
        ),
        (
            OneForAll,
            "after an epoch of another sink, whose numbers are its own: 3 rows are missing",
        ),
        (EpochFirst, "after a commit that was broken off, and once more: 6 rows are missing"),
        (Swallows, "reading rows raised in commit, and it returned"),
        (OwnMemory, "after the same commit again, by another process: 6 rows are there"),
    ],
)
def test_broken_transactional_sinks_are_caught(broken: type[Ledger], message: str) -> None:
    database = Database()
    with pytest.raises(NotConforming) as caught:
        sink_conformance(lambda: broken(database), lambda: database.rows)
    assert str(caught.value).startswith(message)


class Buffered(fz.SimpleSink):
    def __init__(self, there: list[dict[str, Any]]) -> None:
        self.there = there
        self.buffer: list[dict[str, Any]] = []

    def write(self, rows: pa.RecordBatch) -> None:
        self.buffer += rows.to_pylist()

    def flush(self) -> None:
        self.there += self.buffer
        self.buffer = []


class NoFlush(Buffered):
    def flush(self) -> None:
        if len(self.buffer) > 10:
            super().flush()


class KeepsBuffer(Buffered):
    def flush(self) -> None:
        self.there += self.buffer


def test_simple_sinks() -> None:
    there: list[dict[str, Any]] = []
    assert sink_conformance(lambda: Buffered(there), lambda: there) == 9
    for broken, message in (
        (NoFlush, "after a flush, by another process: 6 rows are missing"),
        (KeepsBuffer, "after a flush without rows: 6 rows are there that must not be"),
    ):
        lost: list[dict[str, Any]] = []
        with pytest.raises(NotConforming) as caught:
            sink_conformance(lambda made=broken, rows=lost: made(rows), lambda rows=lost: rows)
        assert str(caught.value).startswith(message)


def test_rows_of_its_own() -> None:
    there: list[dict[str, Any]] = []
    sink_conformance(
        lambda: Buffered(there),
        lambda: there,
        schema={"key": str},
        row=lambda number: {"key": f"k{number}"},
    )
    assert there[0] == {"key": "k0"}
    with pytest.raises(NotConforming, match="at first"):
        sink_conformance(lambda: Buffered(there), lambda: there)
