"""Memory that a child process and its parent share: Arrow's IPC in it, and how far a call is."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

SHARED_BYTES = 64 << 20
"""Bytes of rows that are given to a child at a time, and of its answer."""
KEPT_BYTES = 4 << 20
"""Bytes of them that stay allocated between calls."""

# What goes over the socket; everything else is in shared memory.
REQUEST = struct.Struct("<qqq")
"""Bytes of the rows, number of the first of them in the batch, rows of the batch."""
REPLY = struct.Struct("<qqq")
"""What it is (`DONE`, ...), its bytes, resident memory of the child."""
DONE, RAISED, TOO_LARGE = 0, 1, 2

STACK_SIGNAL = signal.SIGRTMAX - 1
"""Has a child write its Python stack."""

# The progress of a call: where it began, by the steady clock, 0 between calls; the row it
# is at; whether the child takes `STACK_SIGNAL`.
PROGRESS_BYTES = 64
_NONE = -1


class TooLarge(Exception):
    """A batch does not fit into the shared memory."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


class Shared:
    """A piece of memory, by its file descriptor."""

    def __init__(self, fd: int, size: int = SHARED_BYTES) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, size)
        self.size = size

    @classmethod
    def make(cls, name: str, size: int = SHARED_BYTES) -> Shared:
        """Make a piece; nothing is allocated before it is written."""
        fd = os.memfd_create(name)
        os.ftruncate(fd, size)
        return cls(fd, size)

    def close(self) -> None:
        """Give it back."""
        self._map.close()
        os.close(self.fd)

    def write(self, batch: pa.RecordBatch) -> int:
        """Write a batch; the bytes it takes.

        Raises
        ------
        TooLarge
            It takes more than there are.
        """
        size = self._written(batch)
        if not self._sound(size):
            # Arrow writes sizes below zero for arrays without values that do not begin at 0.
            size = self._written(batch.take(pa.array(range(batch.num_rows), pa.int64())))
        return size

    def _written(self, batch: pa.RecordBatch) -> int:
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(self._map))
        try:
            _write(sink, batch)
        except OSError:
            measured = pa.MockOutputStream()
            _write(measured, batch)
            if measured.size() <= self.size:
                raise
            raise TooLarge(int(measured.size())) from None
        return int(sink.tell())

    def _sound(self, size: int) -> bool:
        try:
            pa.ipc.open_stream(pa.py_buffer(self._map).slice(0, size)).read_next_batch()
        except (OSError, pa.ArrowException):
            return False
        return True

    def read(self, size: int) -> pa.RecordBatch:
        """Read a batch, as a copy of its own: what is kept of it stays as it is."""
        return pa.ipc.open_stream(pa.py_buffer(self._map[:size])).read_next_batch()

    def write_bytes(self, data: bytes) -> int:
        """Write bytes; how many."""
        self._map[: len(data)] = data
        return len(data)

    def read_bytes(self, size: int) -> bytes:
        """Read bytes."""
        return self._map[:size]

    def trim(self, size: int) -> None:
        """Give memory back to the system after `size` bytes were used, if that is much."""
        if size > KEPT_BYTES:
            self._map.madvise(mmap.MADV_REMOVE)

    def words(self) -> memoryview:
        """The memory as signed numbers of 64 bits."""
        return memoryview(self._map).cast("q")


class Progress:
    """How far a call is: written by the child, read by the parent."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def set_ready(self) -> None:
        """Say that the child can be asked for its stack."""
        self._words[2] = 1

    @property
    def ready(self) -> bool:
        """Whether it can."""
        return bool(self._words[2])

    def begin(self, row: int) -> None:
        """Say that the function is called with a row, or with all of them (-1)."""
        self._words[1] = row
        self._words[0] = time.monotonic_ns()

    def end(self) -> None:
        """Say that it has returned."""
        self._words[0] = 0

    def last_row(self) -> int | None:
        """The row that was called last."""
        return None if self._words[1] == _NONE else self._words[1]

    def detach(self) -> None:
        """Say nothing any more: of a process that the function has forked."""
        self._words = memoryview(bytearray(PROGRESS_BYTES)).cast("q")

    def release(self) -> None:
        """Let go of the memory."""
        self._words.release()

    def now(self) -> tuple[int, int | None]:
        """When the call at hand began, 0 if there is none, and its row."""
        while True:
            since, row = self._words[0], self._words[1]
            if since == self._words[0]:
                return since, None if row == _NONE else row


class Noted:
    """A function of single values that says at which row it is."""

    def __init__(self, function: Callable[..., Any], progress: Progress) -> None:
        self._function = function
        self._progress = progress
        self._row = 0
        self.dicts = getattr(function, "dicts", False)
        self.__code__ = getattr(function, "__code__", None)

    def __call__(self, *values: Any) -> Any:
        """Call it with the next row."""
        self._progress.begin(self._row)
        self._row += 1
        try:
            return self._function(*values)
        finally:
            self._progress.end()


class NotedWhole(Noted):
    """A function of columns or batches."""

    def __call__(self, *values: Any) -> Any:
        """Call it."""
        self._progress.begin(_NONE)
        try:
            return self._function(*values)
        finally:
            self._progress.end()


def _write(sink: Any, batch: pa.RecordBatch) -> None:
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
