"""Rows that wait in the checkpoint store until their epoch is accepted."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.checkpoint import CheckpointLog
from frazil.checkpoint.store import PutOutcome
from frazil.errors import CommitError, StoreUnavailable

if TYPE_CHECKING:
    from frazil.checkpoint import Store

FILE_BYTES = 8 << 20
"""Bytes of rows in one file, before compression, and one batch more."""
PUT_TRIES = 5
"""Puts of a file, each under a name of its own, before a store that gives no answer is an error."""


class StagedRows:
    """Writes the rows of one worker; each file holds rows of one epoch.

    Parameters
    ----------
    store
        Of the checkpoints.
    head
        What names of files begin with: whose they are, attempt and worker.
    """

    def __init__(self, store: Store, head: str) -> None:
        self._store = store
        self._head = head
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._files: list[str] = []

    def write(self, rows: pa.RecordBatch) -> None:
        """Take rows of the epoch."""
        self._batches.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= FILE_BYTES:
            self._put()

    def end(self) -> dict[str, Any]:
        """End the epoch; names of its files, which are durable."""
        if self._batches:
            self._put()
        files, self._files = self._files, []
        return {"files": files}

    def _put(self) -> None:
        out = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(out, self._batches[0].schema, options=options) as writer:
            for batch in self._batches:
                writer.write_batch(batch)
        data = out.getvalue().to_pybytes()
        self._batches, self._bytes = [], 0
        for _ in range(PUT_TRIES):
            name = f"{self._head}-{uuid.uuid4()}.arrow"
            if self._store.put_new(f"{CheckpointLog.STAGED}/{name}", data) is PutOutcome.CREATED:
                self._files.append(name)
                return
        raise StoreUnavailable(f"{self._store.url}: staging rows: the store gives no answer")


def staged_files(tokens: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the files that tokens need."""
    return [name for token in tokens for name in token["files"]]


def read_staged(store: Store, files: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """The rows of files, one file in memory at a time."""
    for name in files:
        data = store.get(f"{CheckpointLog.STAGED}/{name}")
        if data is None:
            raise CommitError(
                f"{store.url}: {CheckpointLog.STAGED}/{name} is gone, and not committed",
                "restore the folder; the rows are in no other place",
            )
        with pa.ipc.open_stream(data) as reader:
            yield from reader
