"""A local log of what was received: durable before it is acknowledged, read by position.

Segments are files named after the position of their first byte. A frame is the length of its text,
its CRC-32 (both 4 bytes, little endian) and the text: messages of one request, one a line. What is
at the end and is no whole frame was never acknowledged; a start cuts it off.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from frazil.connectors.file_commit import sync_folder
from frazil.errors import ConfigError, DataError

SEGMENT_BYTES = 16 << 20
"""Bytes after which the next segment begins."""
READ_BYTES = 1 << 20
"""Bytes that one read gives, and one frame more."""

_HEAD = struct.Struct("<II")
_NAME = "{:020}.log"


class RequestLog:
    """The log in one folder, of one process at a time.

    Parameters
    ----------
    folder
        Made if it is not there.

    Raises
    ------
    ConfigError
        Another process has it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock_file = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock_file.close()
            raise ConfigError(
                f"{folder} is in use by another process",
                "one process receives into a folder; end it, or give this one another folder",
            ) from None
        self._condition = threading.Condition()
        self._waiting: deque[tuple[bytes, Callable[[OSError | None], None]]] = deque()
        self._waiting_bytes = 0
        self._passed = 0
        self._closing = False
        self._segments = self._recover()
        self._end = self._segments[-1] + self._path(self._segments[-1]).stat().st_size
        self._file = self._path(self._segments[-1]).open("ab")
        self._thread = threading.Thread(target=self._write, name="frazil-request-log", daemon=True)
        self._thread.start()

    @property
    def begin(self) -> int:
        """The first position it has."""
        with self._condition:
            return self._segments[0]

    @property
    def backlog(self) -> int:
        """Bytes that nobody has done with: in the log, or waiting to be."""
        with self._condition:
            return self._end - max(self._passed, self._segments[0]) + self._waiting_bytes

    @property
    def waiting(self) -> int:
        """Bytes in memory that are to be written."""
        with self._condition:
            return self._waiting_bytes

    def append(self, messages: Sequence[bytes], done: Callable[[OSError | None], None]) -> None:
        """Write messages; `done` is called by another thread when they are durable, or with why
        they are not.
        """
        text = b"\n".join(messages)
        frame = _HEAD.pack(len(text), zlib.crc32(text)) + text
        with self._condition:
            self._waiting.append((frame, done))
            self._waiting_bytes += len(frame)
            self._condition.notify_all()

    def read(self, position: int, wait_s: float) -> tuple[list[bytes], int]:
        """Messages from a position on, and the position behind them; waits for some for so long.

        Raises
        ------
        DataError
            The log does not have them any more, or a frame is broken.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._end > position or self._closing, wait_s)
            end, segments = self._end, list(self._segments)
        first = max((each for each in segments if each <= position), default=None)
        if first is None or position > end:
            raise DataError(
                f"{self._folder}: the log has the positions {segments[0]} to {end}, and {position} "
                "is asked for",
                "the folder was removed or put back; restore it, or start under another name",
            )
        later = [each for each in segments if each > first]
        stop = min(end, later[0]) if later else end
        messages: list[bytes] = []
        with self._path(first).open("rb") as file:
            file.seek(position - first)
            begin = position
            while position < stop and position - begin < READ_BYTES:
                text = _frame(file.read(_HEAD.size), file.read)
                if text is None:
                    raise DataError(
                        f"{self._path(first)}: no whole frame at byte {position - first}",
                        "the disk has changed what was written; restore the file",
                    )
                messages += text.split(b"\n")
                position += _HEAD.size + len(text)
        return messages, position

    def passed(self, position: int) -> None:
        """Note that what is before a position is no backlog any more."""
        with self._condition:
            self._passed = max(self._passed, position)

    def forget(self, position: int) -> None:
        """Remove segments that are wholly before a position."""
        self.passed(position)
        with self._condition:
            keep = max((i for i, each in enumerate(self._segments) if each <= position), default=0)
            gone, self._segments = self._segments[:keep], self._segments[keep:]
        for each in gone:
            self._path(each).unlink(missing_ok=True)

    def close(self) -> None:
        """Write what waits, and let others have the folder."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join()
        self._file.close()
        self._lock_file.close()

    # -- inside ----------------------------------------------------------------------------------

    def _path(self, segment: int) -> Path:
        return self._folder / _NAME.format(segment)

    def _recover(self) -> list[int]:
        """The segments there are, the last one cut behind its last whole frame."""
        segments = sorted(int(path.stem) for path in self._folder.glob("*.log"))
        if not segments:
            self._path(0).touch()
            sync_folder(self._folder)
            return [0]
        last = self._path(segments[-1])
        whole = 0
        with last.open("rb") as file:
            while (text := _frame(file.read(_HEAD.size), file.read)) is not None:
                whole += _HEAD.size + len(text)
        # What was written and not synced is read from now on: it must not go any more.
        with last.open("rb+") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
        return segments

    def _write(self) -> None:
        """The writing thread's own: all that waits, one sync, then the answers."""
        failed: OSError | None = None
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                batch = list(self._waiting)
                self._waiting.clear()
            data = b"".join(frame for frame, _ in batch)
            if failed is None:
                try:
                    self._put(data)
                except OSError as error:
                    failed = error  # what is in the file now is not known: only a start may go on
            with self._condition:
                self._waiting_bytes -= len(data)
                if failed is None:
                    self._end += len(data)
                self._condition.notify_all()
            for _, done in batch:
                done(failed)

    def _put(self, data: bytes) -> None:
        if self._end - self._segments[-1] >= SEGMENT_BYTES:
            self._file.close()
            self._file = self._path(self._end).open("ab")
            sync_folder(self._folder)
            with self._condition:
                self._segments.append(self._end)
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())


def _frame(head: bytes, read: Callable[[int], bytes]) -> bytes | None:
    """The text of a frame; None if it is not whole."""
    if len(head) < _HEAD.size:
        return None
    length, crc = _HEAD.unpack(head)
    text = read(length)
    return text if len(text) == length and zlib.crc32(text) == crc else None
