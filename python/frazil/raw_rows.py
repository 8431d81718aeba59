"""Rows of bytes that a source in Python leaves to the decoder of the engine."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from frazil.python_source import PartitionedSource

_PLACE = b"frazil.place"
_BASE = b"frazil.base"


class BytesSource(PartitionedSource, ABC):
    """A source whose readers may give `raw_rows`; its node has a format."""


def raw_rows(
    rows: Sequence[bytes],
    at: Sequence[int],
    *,
    place: str,
    base: int,
    reason: str | None = None,
    metadata: Mapping[str, pa.Array] | None = None,
) -> pa.RecordBatch:
    """Make what a reader gives in the place of decoded rows.

    Parameters
    ----------
    rows, at
        The rows, and where each stands in its place.
    place
        Where they are, for people: it is shown in errors and `.rejected`.
    base
        What makes `at` rise over the partition, whatever place rows are in.
    reason
        Why they are bad, if they are known to be; then they are not decoded.
    metadata
        Columns beside those that are decoded.
    """
    columns = {
        "raw": pa.array(rows, pa.binary()),
        "at": pa.array(at, pa.int64()),
        "reason": pa.array([reason] * len(rows), pa.string()),
        **(metadata or {}),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    return batch.replace_schema_metadata({_PLACE: place.encode(), _BASE: str(base).encode()})


def is_raw(rows: Any) -> bool:
    """Whether a reader has given `raw_rows`."""
    return isinstance(rows, pa.RecordBatch) and _PLACE in (rows.schema.metadata or {})
