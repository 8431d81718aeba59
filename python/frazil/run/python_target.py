"""A sink that is written in Python: its threads, one for each worker, and its commits.

What a worker writes goes through a bounded queue of the engine to a thread, which calls the user's
code and answers with the token of each epoch. No worker waits for user code; a sink that is slow
holds up what is read, by its queue being full.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import structlog
from frazil import _engine
from frazil.checkpoint.orphan import file_scope
from frazil.connectors.file_commit import file_prefix, read_token
from frazil.errors import CommitError, FrazilError, SinkError
from frazil.python_sink import (
    Commit,
    PythonSink,
    SimpleSink,
    SinkWriter,
    TransactionalSink,
    TwoPhaseSink,
)
from frazil.run.commit_loop import Committed
from frazil.run.staged_rows import StagedRows, read_staged, staged_files
from frazil.run.user_code import Caller, answer, error_text

if TYPE_CHECKING:
    from frazil.checkpoint import CheckpointLog, Entry, LogView, Pending, Store
    from frazil.run.runnable import TablePlace
    from frazil.run.targets import SinkSpec

TOKEN_BYTES_MAX = 64 << 10
"""Bytes of what a worker has prepared for an epoch, as JSON: it stands in the manifest."""
JOIN_S = 10.0
"""How long the end of a run waits for the threads of a sink (seconds)."""

log_ = structlog.get_logger("frazil")


class PythonTarget:
    """One sink."""

    missing = False

    def __init__(self, spec: SinkSpec) -> None:
        self.name = spec.name
        self._spec = spec
        self._sink: PythonSink = spec.objects["sink"]
        self._store: Store | None = None
        self._id = ""
        self._head = ""
        self._flushing = threading.Lock()
        self._lock = threading.Lock()
        self._threads: list[tuple[threading.Thread, _engine.WriteQueue]] = []
        self._started = False
        self._committed: list[tuple[int, list[str]]] = []  # staged files by slot
        self._number = _engine.add_writers(Gate(self))
        weakref.finalize(self, _engine.remove_writers, self._number)

    def stage_in(self, store: Store) -> None:
        """Say where rows wait."""
        self._store = store

    def make(self, log: Sequence[Entry]) -> None:
        """Nothing."""

    def options(self, log: CheckpointLog) -> Mapping[str, Any]:
        """By which number the engine finds this."""
        return {"handle": self._number}

    def recover(self, log: CheckpointLog) -> None:
        """Have the sink look at what it writes to, and remove what dead attempts left."""
        scope = file_scope(log.incarnation, self._spec.id)
        self._id = f"{self._spec.pipeline}.{self.name}.{scope}"
        prefix = file_prefix(self.name, scope)
        self._head = f"{prefix}-{log.attempt}"
        self._started = True
        schema = self._spec.schema.remove_metadata()
        self._caller("").call("start", lambda: self._sink.start(schema))
        tokens = [each for pending in log.pending(self._spec.id) for each in _tokens(pending)]
        sink = self._sink
        if isinstance(sink, TwoPhaseSink):
            self._caller("").call("recover", lambda: sink.recover(self._id, log.attempt, tokens))
        elif isinstance(sink, TransactionalSink):
            needed = set(staged_files(tokens))
            log.remove_staged(
                name
                for name in log.staged()
                if name.startswith(f"{prefix}-") and name not in needed
            )

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Commit all tokens, in order."""
        rows = 0
        landed = -1 if log.landed is None else log.landed.slot
        for token in pending:
            self._spec.hook("before_commit")
            self._commit(token, landed)
            landed = token.slot
            self._spec.hook("after_commit")
            rows += sum(read_token(part)["rows"] for part in token.parts)
        self._forget(log)
        return Committed(pending[-1].slot, pending[-1].digest, rows=rows)

    def verify(self, log: LogView) -> int | None:
        """Nothing that this could look at."""
        return None

    def maintain(self) -> None:
        """Nothing to tidy up."""

    def place(self) -> TablePlace | None:
        """Not a table."""
        return None

    def close(self) -> None:
        """End the threads, and close the sink if it was started."""
        with self._lock:
            threads, self._threads = self._threads, []
        for _, queue in threads:
            queue.close()
        for thread, _ in threads:
            thread.join(JOIN_S)
            if thread.is_alive():
                log_.warning("sink", sink=self.name, waits_in=thread.name)
        if self._started:
            self._started = False
            try:
                self._caller("").call("close", self._sink.close)
            except FrazilError as error:  # what is to be committed is, or is said not to be
                log_.warning("sink", closing=error.what)

    def open(self, worker: int, queue: _engine.WriteQueue) -> None:
        """Begin to take what a worker writes in a thread of its own."""
        writing = _Writing(self._writer(worker), queue)
        thread = threading.Thread(
            target=writing.run, name=f"frazil-write-{self.name}-{worker}", daemon=True
        )
        with self._lock:
            self._threads.append((thread, queue))
        thread.start()

    # -- inside ----------------------------------------------------------------------------------

    def _writer(self, worker: int) -> _Writer:
        match self._sink:
            case SimpleSink() as simple:
                return _Flushed(simple, self._caller(""), self._flushing)
            case TwoPhaseSink() as sink:
                attempt = int(self._head.rpartition("-")[2])
                return _Prepared(sink, self._caller(""), (self._id, attempt, worker), self.name)
            case TransactionalSink() as sink:
                assert self._store is not None
                rows = StagedRows(self._store, f"{self._head}-{worker}")
                return _Staged(sink, self._caller(""), rows)
        raise AssertionError(self._sink)

    def _commit(self, token: Pending, landed: int) -> None:
        caller = self._caller(f" of epoch {token.slot}", CommitError)
        sink = self._sink
        commit = Commit(
            sink=self._id,
            epoch=token.slot,
            digest=token.digest,
            landed=landed,
            tokens=tuple(_tokens(token)) if isinstance(sink, TwoPhaseSink) else (),
        )
        if isinstance(sink, TwoPhaseSink):
            caller.call("commit", lambda: sink.commit(commit))
        elif isinstance(sink, TransactionalSink):
            files = staged_files(_tokens(token))
            caller.call("commit", lambda: sink.commit(commit, self._rows(files)))
            self._committed.append((token.slot, files))

    def _rows(self, files: Sequence[str]) -> Iterator[pa.RecordBatch]:
        assert self._store is not None
        return read_staged(self._store, files)

    def _forget(self, log: LogView) -> None:
        """Remove files of epochs that no start asks for any more."""
        done = [each for each in self._committed if each[0] < log.floor]
        self._committed = [each for each in self._committed if each[0] >= log.floor]
        try:
            log.remove_staged(name for _, names in done for name in names)
        except FrazilError as error:  # they cost space only; the next start removes them
            log_.warning("staged", sink=self.name, error=str(error))

    def _caller(self, at: str, error: type[FrazilError] = SinkError) -> Caller:
        return Caller(self._sink, error, where=f"sink {self.name}: ", at=at)


class Gate:
    """What the engine calls: answers in JSON, raises nothing, keeps nothing alive."""

    def __init__(self, target: PythonTarget) -> None:
        self._target = weakref.ref(target)

    def open(self, worker: int, queue: _engine.WriteQueue) -> str:
        """``{}`` or ``{"error": ...}``."""

        def begin() -> dict[str, Any]:
            target = self._target()
            if target is None:
                raise SinkError("the run of this sink is over")
            target.open(worker, queue)
            return {}

        return answer(begin, SinkError)


def _tokens(pending: Pending) -> list[Any]:
    return [read_token(part)["token"] for part in pending.parts]


class _Writer(Protocol):
    """Writes the rows of one worker."""

    def write(self, rows: pa.RecordBatch) -> None: ...

    def end(self) -> Any:
        """End an epoch that had rows; its token."""

    def close(self) -> None: ...


class _Flushed:
    def __init__(self, sink: SimpleSink, caller: Caller, flushing: threading.Lock) -> None:
        self._sink, self._caller, self._flushing = sink, caller, flushing

    def write(self, rows: pa.RecordBatch) -> None:
        with self._flushing:
            self._caller.call("write", lambda: self._sink.write(rows))

    def end(self) -> Any:
        with self._flushing:
            self._caller.call("flush", self._sink.flush)

    def close(self) -> None: ...


class _Prepared:
    def __init__(
        self, sink: TwoPhaseSink, caller: Caller, of: tuple[str, int, int], name: str
    ) -> None:
        self._sink, self._of_sink, self._of, self._name = sink, caller, of, name
        self._writer: SinkWriter | None = None
        self._caller = caller

    def write(self, rows: pa.RecordBatch) -> None:
        writer = self._writer
        if writer is None:
            writer = self._of_sink.call("open", lambda: self._sink.open(*self._of))
            if not isinstance(writer, SinkWriter):
                self._of_sink.refuse("open", f"gave a {type(writer).__name__}, no fz.SinkWriter")
            self._writer = writer
            self._caller = Caller(writer, SinkError, where=f"sink {self._name}: ")
        self._caller.call("write", lambda: writer.write(rows))

    def end(self) -> Any:
        assert self._writer is not None
        token = self._caller.call("prepare", self._writer.prepare)
        return json.loads(self._caller.encode("prepare", "token", token, TOKEN_BYTES_MAX))

    def close(self) -> None:
        if self._writer is not None:
            self._caller.call("close", self._writer.close)


class _Staged:
    def __init__(self, sink: TransactionalSink, caller: Caller, rows: StagedRows) -> None:
        self._sink, self._caller, self._rows = sink, caller, rows

    def write(self, rows: pa.RecordBatch) -> None:
        self._caller.call("check", lambda: self._sink.check(rows))
        self._rows.write(rows)

    def end(self) -> Any:
        return self._rows.end()

    def close(self) -> None: ...


class _Writing:
    """Takes what one worker writes until its queue is closed."""

    def __init__(self, writer: _Writer, queue: _engine.WriteQueue) -> None:
        self._writer = writer
        self._queue = queue
        self._rows = 0  # of the epoch

    def run(self) -> None:
        """The thread's own."""
        try:
            while (item := self._queue.take()) is not None:
                self._take(item[0])
        except FrazilError as error:
            self._queue.fail(type(error).__name__, error_text(error))
        except BaseException as error:  # or the epoch would wait for ever
            self._queue.fail("SinkError", f"{type(error).__name__}: {error}")
        try:
            self._writer.close()
        except FrazilError as error:  # what it has prepared is durable, the rest is read again
            log_.warning("sink", closing=error.what)

    def _take(self, rows: _engine.ArrowBatch | None) -> None:
        if rows is not None:
            self._rows += rows.num_rows
            self._writer.write(pa.record_batch(rows))
            return
        if not self._rows:
            self._queue.answer("")
            return
        token = self._writer.end()
        self._queue.answer(json.dumps({"v": 1, "rows": self._rows, "token": token}))
        self._rows = 0
