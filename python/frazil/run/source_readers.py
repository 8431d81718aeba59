"""Reads sources that are written in Python: a thread for each partition, beside the workers.

A thread puts what it has read, with the position behind it, into a queue of the engine, from which
a worker takes it. No worker waits for user code, and user code holds up only its own partition.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from frazil import _engine
from frazil.duration import duration_ms
from frazil.errors import ConnectError, FrazilError, SourceError
from frazil.python_source import (
    END,
    PartitionedSource,
    PartitionReader,
    PollingSource,
    Position,
    Rows,
)
from frazil.raw_rows import BytesSource, is_raw
from frazil.row_batch import RowsDoNotFit, batch_of
from frazil.run.user_code import Caller, answer, error_text

if TYPE_CHECKING:
    import pyarrow as pa

PARTITIONS_MAX = 256
"""Partitions of one source, each of which has a thread."""
NAME_CHARS_MAX = 1_000
"""Characters of the name of a partition."""
POSITION_BYTES_MAX = 16 << 10
"""Bytes of a position as JSON."""
POSITION_CHARS = 80
"""Characters of a position that are shown."""
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 30.0
IDLE_FIRST_S = 0.01
IDLE_MAX_S = 0.5
JOIN_S = 10.0
"""How long the end of a run waits for the threads of a source (seconds)."""

_POLL = "poll"

log_ = structlog.get_logger("frazil")


class SourceReaders:
    """The readers of one source.

    Parameters
    ----------
    source
        The user's object.
    schema
        Columns that it has declared.
    name
        Of the source in its pipeline.
    """

    def __init__(
        self, source: PartitionedSource | PollingSource, schema: pa.Schema, name: str
    ) -> None:
        self._source = source
        self._schema = schema
        self._name = name
        self._acknowledging = True
        self._lock = threading.Lock()
        self._threads: list[tuple[threading.Thread, _engine.ReadQueue]] = []
        self.number = _engine.add_readers(Gate(self))
        _known[self.number] = self
        weakref.finalize(self, _engine.remove_readers, self.number)

    def only_look(self) -> None:
        """Never tell the source that its rows may be forgotten."""
        self._acknowledging = False

    def partitions(self) -> list[dict[str, Any]]:
        """Partitions there are now, each with the position at which it begins."""
        if isinstance(self._source, PollingSource):
            return [{"name": _POLL, "start": "null", "ends": False}]
        caller = self._caller()
        listed = caller.call("partitions", self._source.partitions)
        if isinstance(listed, str) or not isinstance(listed, Mapping | Sequence):
            caller.refuse("partitions", f"gave a {type(listed).__name__}, not a list of names")
        named = listed if isinstance(listed, Mapping) else dict.fromkeys(listed)
        if len(named) > PARTITIONS_MAX:
            caller.refuse(
                "partitions", f"gave {len(named)} partitions, up to {PARTITIONS_MAX} are read"
            )
        if len(named) < len(listed):
            caller.refuse("partitions", "gave a partition twice")
        for partition in named:
            if not isinstance(partition, str) or not 0 < len(partition) <= NAME_CHARS_MAX:
                caller.refuse("partitions", f"gave {partition!r} as the name of a partition")
        return [
            {
                "name": partition,
                "start": caller.encode("partitions", "position", position, POSITION_BYTES_MAX),
                "ends": self._source.ends,
            }
            for partition, position in named.items()
        ]

    def open(
        self, partition: str, position: str, until_now: bool, queue: _engine.ReadQueue
    ) -> None:
        """Begin to read a partition in a thread of its own."""
        reading = _Reading(self._source, self._schema, partition, position, until_now, queue)
        reading.acknowledging = self._acknowledging
        thread = threading.Thread(
            target=reading.run, name=f"frazil-read-{self._name}-{partition}", daemon=True
        )
        with self._lock:
            self._threads.append((thread, queue))
        thread.start()

    def stop(self) -> None:
        """End all threads, and close the source if there were any."""
        with self._lock:
            threads, self._threads = self._threads, []
        for _, queue in threads:
            queue.close()
        for thread, _ in threads:
            thread.join(JOIN_S)
            if thread.is_alive():
                log_.warning("source", source=self._name, waits_in=thread.name)
        if threads:
            try:
                self._caller().call("close", self._source.close)
            except FrazilError as error:  # every row is read: the last commits go on
                log_.warning("source", closing=error.what)

    def _caller(self) -> Caller:
        return Caller(self._source, SourceError, where=f"{self._name}: ")


_known: weakref.WeakValueDictionary[int, SourceReaders] = weakref.WeakValueDictionary()


def stop_readers(plan: Mapping[str, Any]) -> None:
    """End the threads of all sources of a plan."""
    for node in plan["nodes"]:
        if node["kind"] == "source" and node["connector"] == "python":
            readers = _known.get(node["options"].get("handle", 0))
            if readers is not None:
                readers.stop()


class Gate:
    """What the engine calls: answers in JSON, raises nothing, keeps nothing alive."""

    def __init__(self, readers: SourceReaders) -> None:
        self._readers = weakref.ref(readers)

    def partitions(self) -> str:
        """``{"partitions": [...]}`` or ``{"error": ...}``."""
        return answer(lambda: {"partitions": self._live().partitions()}, SourceError)

    def open(self, partition: str, position: str, until_now: bool, queue: _engine.ReadQueue) -> str:
        """``{}`` or ``{"error": ...}``."""

        def begin() -> dict[str, Any]:
            self._live().open(partition, position, until_now, queue)
            return {}

        return answer(begin, SourceError)

    def _live(self) -> SourceReaders:
        readers = self._readers()
        if readers is None:
            raise SourceError("the run of this source is over")
        return readers


class _Polling(PartitionReader):
    """A polling source as the reader of its one partition."""

    def __init__(self, source: PollingSource, cursor: Position) -> None:
        self._source = source
        self._cursor = cursor

    def read(self) -> Rows:
        given = self._source.poll(self._cursor)
        if not isinstance(given, tuple) or len(given) != 2:
            raise RowsDoNotFit("gave no pair of rows and a cursor")
        rows, self._cursor = given
        return rows

    @property
    def position(self) -> Position:
        return self._cursor


class _Reading:
    """Reads one partition until its end, or until nobody takes what is read."""

    def __init__(
        self,
        source: PartitionedSource | PollingSource,
        schema: pa.Schema,
        partition: str,
        position: str,
        until_now: bool,
        queue: _engine.ReadQueue,
    ) -> None:
        self._source = source
        self._schema = schema
        self._partition = partition
        self._position = position
        self._until_now = until_now
        self._queue = queue
        self._method = "poll" if isinstance(source, PollingSource) else "read"
        self.acknowledging = True
        self._failures = 0
        self._idle_s = 0.0

    def run(self) -> None:
        """The thread's own."""
        try:
            while self._read_on():
                pass
        except FrazilError as error:
            self._queue.fail(type(error).__name__, error_text(error))
        except BaseException as error:  # or the worker would wait for ever
            self._queue.fail("SourceError", f"{type(error).__name__}: {error}")

    def _read_on(self) -> bool:
        """Open the partition and read; True if that is to be done again."""
        reader: PartitionReader | None = None
        try:
            reader = self._open()
            while self._read(reader):
                pass
            return False
        except ConnectError as error:
            if not error.retryable:
                raise
            self._queue.note(error.what)
            pause = min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** min(self._failures, 16))
            self._failures += 1
        finally:
            if reader is not None:
                self._close(reader)
        return self._queue.pause(pause)

    def _close(self, reader: PartitionReader) -> None:
        try:
            self._at(reader).call("close", reader.close)
        except ConnectError as error:  # of a connection that is broken already
            log_.warning("source", closing=error.what)

    def _open(self) -> PartitionReader:
        position = json.loads(self._position)
        if isinstance(self._source, PollingSource):
            return _Polling(self._source, position)
        source = self._source
        at = self._at(source)
        reader = at.call("open", lambda: source.open(self._partition, position))
        if not isinstance(reader, PartitionReader):
            at.refuse("open", f"gave a {type(reader).__name__}, not an fz.PartitionReader")
        return reader

    def _read(self, reader: PartitionReader) -> bool:
        """One read; False at the end."""
        at = self._at(reader)
        committed = self._queue.take_committed()
        if committed is not None and self.acknowledging:
            at.call("committed", lambda: reader.committed(json.loads(committed)))
        rows = at.call(self._method, reader.read)
        position = at.encode(
            "position",
            "position",
            at.call("position", lambda: reader.position),
            POSITION_BYTES_MAX,
        )
        count = 0
        if rows is not END:
            try:
                batch = self._batch(rows)
            except RowsDoNotFit as error:
                at.refuse(self._method, str(error))
            count = batch.num_rows
            if (count or position != self._position) and not self._queue.put(batch, position):
                return False
            self._position = position
        if self._failures:
            self._failures = 0
            self._queue.note("")
        if rows is END:
            self._queue.end()
            return False
        return self._rest(count)

    def _batch(self, rows: Any) -> pa.RecordBatch:
        if isinstance(self._source, BytesSource) and is_raw(rows):
            return rows
        return batch_of(rows, self._schema)

    def _rest(self, count: int) -> bool:
        """Wait where nothing is to be read now; False at the end."""
        pause = self._pause(count)
        if not pause:
            return True
        if self._until_now:
            self._queue.end()
            return False
        self._queue.catch_up()
        return self._queue.pause(pause)

    def _pause(self, count: int) -> float:
        source = self._source
        if isinstance(source, PollingSource):
            return 0.0 if count and source.drain else duration_ms(source.every, "every") / 1000
        longer = max(IDLE_FIRST_S, min(IDLE_MAX_S, 2 * self._idle_s))
        self._idle_s = 0.0 if count else longer
        return self._idle_s

    def _at(self, of: object) -> Caller:
        user = self._source if isinstance(of, _Polling) else of
        shown = self._position
        if len(shown) > POSITION_CHARS:
            shown = shown[: POSITION_CHARS - 3] + "..."
        return Caller(user, SourceError, at=f' of partition "{self._partition}" at {shown}')
