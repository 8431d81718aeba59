"""Sinks in Python: what they are asked, what they may give, and what a run makes of it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.checkpoint.memory_store import MemoryStore
from frazil.run.staged_rows import StagedRows, read_staged, staged_files

ROWS = [{"id": n, "name": f"n{n}"} for n in range(5_000)]


class Simple(fz.SimpleSink):
    """Notes what it is asked; never by two threads at once."""

    def __init__(self) -> None:
        self.buffer: list[dict[str, Any]] = []
        self.flushed: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.busy = threading.Lock()

    def start(self, schema: pa.Schema) -> None:
        assert schema.names == ["id", "name"]
        self.calls.append("start")

    def write(self, rows: pa.RecordBatch) -> None:
        assert self.busy.acquire(blocking=False)
        self.buffer += rows.to_pylist()
        self.busy.release()

    def flush(self) -> None:
        assert self.busy.acquire(blocking=False)
        self.flushed, self.buffer = self.flushed + self.buffer, []
        self.busy.release()

    def close(self) -> None:
        self.calls.append("close")


def pipeline(sink: Any, folder: Path, rows: Any = ROWS, **options: Any) -> fz.Pipeline:
    stream = fz.read_memory(rows, partitions=4)
    written = stream.write_python(sink, name="out")
    return fz.Pipeline("out", written, checkpoint=str(folder), checkpoint_every="10ms", **options)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_simple_sink_is_flushed_before_each_checkpoint(tmp_path: Path, workers: int) -> None:
    sink = Simple()
    report = pipeline(sink, tmp_path, workers=workers).run(quiet=True)
    assert sorted(row["id"] for row in sink.flushed) == list(range(5_000))
    assert sink.buffer == []
    assert sink.calls == ["start", "close"]
    assert report.sinks["out"].rows == 5_000
    assert not [each for each in threading.enumerate() if each.name.startswith("frazil-write")]
    pipeline(sink, tmp_path, workers=workers).run(quiet=True)
    assert len(sink.flushed) == 5_000


class Files(fz.TwoPhaseSink):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recovered: list[Any] = []
        self.opened: list[tuple[int, int]] = []
        self.commits: list[fz.Commit] = []
        self.fail: list[Exception] = []

    def open(self, sink: str, attempt: int, worker: int) -> fz.SinkWriter:
        self.opened.append((attempt, worker))
        return FilesWriter(self.folder / f"{sink}-{attempt}-{worker}")

    def recover(self, sink: str, attempt: int, tokens: Sequence[fz.Token]) -> None:
        self.recovered.append((attempt, list(tokens)))

    def commit(self, commit: fz.Commit) -> None:
        if self.fail:
            raise self.fail.pop()
        self.commits.append(commit)
        for token in commit.tokens:
            staged = Path(token["file"])
            if staged.exists():
                staged.rename(staged.with_suffix(".json"))

    def rows(self) -> list[int]:
        found = [json.loads(path.read_text()) for path in self.folder.glob("*.json")]
        return sorted(row["id"] for rows in found for row in rows)


class FilesWriter(fz.SinkWriter):
    def __init__(self, head: Path) -> None:
        self.head = head
        self.number = 0
        self.buffer: list[dict[str, Any]] = []

    def write(self, rows: pa.RecordBatch) -> None:
        self.buffer += rows.to_pylist()

    def prepare(self) -> fz.Token:
        self.number += 1
        file = Path(f"{self.head}-{self.number}.new")
        file.write_text(json.dumps(self.buffer))
        self.buffer = []
        return {"file": str(file)}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "out").mkdir()
    return Files(tmp_path / "out")


def test_two_phases(files: Files, tmp_path: Path) -> None:
    pipeline(files, tmp_path / "log", workers=2).run(quiet=True)
    assert files.rows() == list(range(5_000))
    assert files.recovered == [(1, [])]
    assert sorted({worker for _, worker in files.opened}) == [0, 1]
    assert [each.epoch for each in files.commits] == sorted({e.epoch for e in files.commits})
    assert len({each.sink for each in files.commits}) == 1
    assert files.commits[0].sink.startswith("out.out.")


def test_commits_that_may_pass_are_tried_again(files: Files, tmp_path: Path) -> None:
    files.fail = [TimeoutError("no answer"), fz.ConnectError("away")]
    pipeline(files, tmp_path / "log").run(quiet=True)
    assert files.rows() == list(range(5_000))


def test_a_commit_that_fails_is_asked_for_again_by_the_next_run(
    files: Files, tmp_path: Path
) -> None:
    files.fail = [ValueError("no such bucket")]
    with pytest.raises(fz.CommitError) as caught:
        pipeline(files, tmp_path / "log").run(quiet=True)
    assert "sink out: Files.commit of epoch " in str(caught.value)
    assert "raised ValueError: no such bucket (" in str(caught.value)
    pipeline(files, tmp_path / "log").run(quiet=True)
    assert files.rows() == list(range(5_000))
    attempt, tokens = files.recovered[-1]
    assert attempt == 2
    assert [each["file"][-4:] for each in tokens][:1] == [".new"]


class Ledger(fz.TransactionalSink):
    def __init__(self) -> None:
        self.ids: list[int] = []
        self.epochs: dict[str, int] = {}
        self.batches = 0

    def commit(self, commit: fz.Commit, rows: Iterator[pa.RecordBatch]) -> None:
        assert commit.tokens == ()
        if self.epochs.get(commit.sink, -1) < commit.epoch:
            for batch in rows:
                self.batches += 1
                self.ids += batch["id"].to_pylist()
            self.epochs[commit.sink] = commit.epoch


def test_rows_wait_beside_the_log(tmp_path: Path) -> None:
    ledger = Ledger()
    pipeline(ledger, tmp_path, workers=2).run(quiet=True)
    assert sorted(ledger.ids) == list(range(5_000))
    staged = tmp_path / "out" / "staged"
    pipeline(ledger, tmp_path).run(quiet=True)
    assert sorted(ledger.ids) == list(range(5_000))
    assert list(staged.iterdir()) == []


def test_staged_rows_are_files_of_some_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil.run.staged_rows.FILE_BYTES", 300)
    store = MemoryStore("staged")
    rows = StagedRows(store, "head")
    batch = pa.RecordBatch.from_pylist(ROWS[:40])
    for begin in range(0, 40, 10):
        rows.write(batch.slice(begin, 10))
    token = rows.end()
    files = staged_files([token])
    assert len(files) > 1
    found = [row for each in read_staged(store, files) for row in each.to_pylist()]
    assert found == ROWS[:40]
    assert rows.end() == {"files": []}
    store.delete(f"staged/{files[0]}")
    with pytest.raises(fz.CommitError, match="is gone, and not committed"):
        list(read_staged(store, files))


class Broken(Simple):
    def __init__(self, how: Callable[[], Any]) -> None:
        super().__init__()
        self.how = how

    def start(self, schema: pa.Schema) -> None: ...


class BrokenWrite(Broken):
    def write(self, rows: pa.RecordBatch) -> None:
        self.how()


class BrokenFlush(Broken):
    def flush(self) -> None:
        self.how()


class BrokenStart(Broken):
    def start(self, schema: pa.Schema) -> None:
        self.how()


class BrokenToken(Files):
    token: Any = object()

    def open(self, sink: str, attempt: int, worker: int) -> fz.SinkWriter:
        return BrokenWriter(self.token)


class BrokenWriter(fz.SinkWriter):
    def __init__(self, token: Any) -> None:
        self.token = token

    def write(self, rows: pa.RecordBatch) -> None: ...

    def prepare(self) -> fz.Token:
        return self.token


class BigToken(BrokenToken):
    token = "x" * 100_000


class NoWriter(Files):
    def open(self, sink: str, attempt: int, worker: int) -> Any:
        return 7


def leave() -> None:
    sys.exit("enough")


def boom() -> None:
    raise KeyError("boom")


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (BrokenWrite(boom), "sink out: BrokenWrite.write raised KeyError: 'boom' ("),
        (BrokenFlush(boom), "sink out: BrokenFlush.flush raised KeyError"),
        (BrokenFlush(leave), "sink out: BrokenFlush.flush raised SystemExit: enough ("),
        (BrokenStart(boom), "sink out: BrokenStart.start raised KeyError"),
        (BrokenToken(Path()), "sink out: BrokenWriter.prepare gave a token that is no JSON"),
        (BigToken(Path()), "gave a token of 100002 bytes, up to 65536 are kept"),
        (NoWriter(Path()), "NoWriter.open gave a int, no fz.SinkWriter"),
    ],
)
def test_what_is_wrong_is_named(sink: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(fz.SinkError) as caught:
        pipeline(sink, tmp_path).run(quiet=True)
    assert message in str(caught.value)


def test_a_sink_that_is_slow_holds_up_what_is_read(tmp_path: Path) -> None:
    """A few MiB wait for it, and one batch more; the rest is not read."""
    go = threading.Event()
    wide = pa.table({"id": range(3_000), "text": ["x" * 10_000] * 3_000})

    class Slow(Simple):
        def start(self, schema: pa.Schema) -> None: ...

        def write(self, rows: pa.RecordBatch) -> None:
            go.wait(60)
            self.buffer += rows.select(["id"]).to_pylist()

    sink = Slow()
    read = fz.read_python(Wide(wide), schema=wide.schema, name="wide")
    made = fz.Pipeline("slow", read.write_python(sink, name="out"), checkpoint=str(tmp_path))
    handle = made.start(quiet=True)
    source = read._port.node.objects["source"]  # type: ignore[attr-defined]
    tick = threading.Event()
    before = -1
    while source.at != before or source.at == 0:  # until nothing moves
        before = source.at
        tick.wait(0.5)
    assert source.at < 1_000
    go.set()
    handle.wait()
    assert sorted(row["id"] for row in sink.flushed) == list(range(3_000))


class Wide(fz.PartitionedSource):
    ends = True

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.at = 0

    def partitions(self) -> list[str]:
        return ["all"]

    def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
        return WideReader(self)


class WideReader(fz.PartitionReader):
    def __init__(self, source: Wide) -> None:
        self.source = source

    def read(self) -> fz.Rows | fz.End:
        if self.source.at == self.source.table.num_rows:
            return fz.END
        self.source.at += 50
        return self.source.table.slice(self.source.at - 50, 50)

    @property
    def position(self) -> fz.Position:
        return self.source.at


def test_changes_and_what_is_no_sink_are_refused() -> None:
    rows = fz.read_memory(ROWS[:3])
    with pytest.raises(fz.TypeMismatch, match="write_python got a list"):
        rows.write_python([])  # type: ignore[arg-type]
    totals = rows.group_by("name").agg(n=fz.count())
    with pytest.raises(fz.ModeMismatch, match="as_log"):
        totals.write_python(Ledger())
    assert "write_python" in fz.Pipeline("log", totals.as_log().write_python(Ledger())).explain()


def test_what_it_delivers_is_explained(files: Files) -> None:
    rows = fz.read_memory(ROWS[:3])
    simple = fz.Pipeline("s", rows.write_python(Simple(), name="x")).explain()
    assert "at least once (flushed before each checkpoint)" in simple
    assert "exactly once" in fz.Pipeline("t", rows.write_python(files, name="x")).explain()
