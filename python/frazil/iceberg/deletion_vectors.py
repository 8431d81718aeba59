"""Deletion vectors (format version 3): which rows of a data file are deleted, as a bitmap.

A vector is a blob of type `deletion-vector-v1` in a Puffin file: length, magic, a roaring bitmap of
64 bits in its portable form, and a CRC-32 of magic and bitmap. Length and CRC are big-endian, all
else is little-endian. One Puffin file holds the vectors of many data files, so a commit writes one.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroaring import BitMap64

if TYPE_CHECKING:
    import pyarrow as pa

_VECTOR_MAGIC = bytes.fromhex("d1d33964")
_FILE_MAGIC = b"PFA1"
# The field id that the format reserves for the number of a row in its file.
_ROW_ID = 2147483645
# Neither is known when a vector is written: the format wants -1.
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Blob:
    """A vector, and where it stands in its Puffin file."""

    data_file: str
    offset: int
    data: bytes
    rows: int


def rows_of(numbers: pa.Int64Array) -> BitMap64:
    """A bitmap of numbers of rows."""
    found = array("Q")
    if len(numbers):
        begin = numbers.offset * found.itemsize
        data = memoryview(numbers.buffers()[1]).cast("B")
        found.frombytes(data[begin : begin + len(numbers) * found.itemsize])
    return BitMap64(found)


def encode(rows: BitMap64) -> bytes:
    """The blob of a vector."""
    rows.run_optimize()
    body = _VECTOR_MAGIC + rows.serialize()
    return struct.pack(">I", len(body)) + body + struct.pack(">I", zlib.crc32(body))


def decode(blob: bytes, where: str) -> BitMap64:
    """The rows of a vector.

    Parameters
    ----------
    blob
        As it stands in its file.
    where
        For the error.

    Raises
    ------
    ValueError
        It is damaged, or not a deletion vector.
    """
    if len(blob) < 12 or struct.unpack(">I", blob[:4])[0] != len(blob) - 8:
        raise ValueError(f"reading the deletion vector in {where}: its length is wrong")
    body = blob[4:-4]
    if body[:4] != _VECTOR_MAGIC:
        raise ValueError(f"reading the deletion vector in {where}: no deletion vector is there")
    if struct.unpack(">I", blob[-4:])[0] != zlib.crc32(body):
        raise ValueError(f"reading the deletion vector in {where}: its checksum is wrong")
    return BitMap64.deserialize(body[4:])


def puffin(vectors: Iterable[tuple[str, BitMap64]]) -> tuple[bytes, list[Blob]]:
    """A Puffin file of vectors of data files, and where they stand in it."""
    parts, blobs, at = [_FILE_MAGIC], [], len(_FILE_MAGIC)
    for data_file, rows in vectors:
        blob = encode(rows)
        parts.append(blob)
        blobs.append(Blob(data_file, at, blob, len(rows)))
        at += len(blob)
    footer = {
        "blobs": [
            {
                "type": "deletion-vector-v1",
                "fields": [_ROW_ID],
                "snapshot-id": _UNKNOWN,
                "sequence-number": _UNKNOWN,
                "offset": blob.offset,
                "length": len(blob.data),
                "properties": {
                    "referenced-data-file": blob.data_file,
                    "cardinality": str(blob.rows),
                },
            }
            for blob in blobs
        ],
        "properties": {"created-by": "Frazil"},
    }
    payload = json.dumps(footer, separators=(",", ":")).encode()
    flags = bytes(4)
    end = struct.pack("<i", len(payload)) + flags + _FILE_MAGIC
    return b"".join((*parts, _FILE_MAGIC, payload, end)), blobs
