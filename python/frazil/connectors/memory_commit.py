"""Brings the rows of a memory sink to Python when their checkpoint is made."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable

import pyarrow as pa
from frazil.connectors.file_commit import read_token


def commit(parts: Iterable[str], add: Callable[[pa.RecordBatch], None]) -> int:
    """Give the batches of a token to `add`.

    Parameters
    ----------
    parts
        A token: what the workers prepared.
    add
        Takes a batch.

    Returns
    -------
    int
        Rows in the token.
    """
    rows = 0
    for part in parts:
        token = read_token(part)
        with pa.ipc.open_stream(base64.b64decode(token["ipc"])) as reader:
            for batch in reader:
                add(batch)
        rows += token["rows"]
    return rows
