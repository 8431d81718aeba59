"""Deletion vectors: what is written is what the format says, and what PyIceberg reads."""

from __future__ import annotations

import json
import struct
import zlib

import pyarrow as pa
import pytest
from frazil.iceberg.deletion_vectors import decode, encode, puffin, rows_of
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.table.deletion_vector import deletion_vectors_from_puffin_file
from pyiceberg.table.puffin import PuffinFile
from pyroaring import BitMap64

# Dense, sparse and far ones: arrays, bitmaps and runs, in several bitmaps of 32 bits.
ROWS = st.lists(
    st.one_of(
        st.integers(0, 200),
        st.integers(0, 2**20),
        st.integers(2**32 - 3, 2**32 + 3),
        st.integers(0, 2**35),
    ),
    min_size=1,
    max_size=300,
    unique=True,
)


@given(ROWS)
def test_is_read_as_written(rows: list[int]) -> None:
    assert list(decode(encode(BitMap64(rows)), "t")) == sorted(rows)


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_pyiceberg_reads_the_same(vectors: list[list[int]]) -> None:
    data, blobs = puffin((f"file-{i}", BitMap64(rows)) for i, rows in enumerate(vectors))
    found = deletion_vectors_from_puffin_file(PuffinFile(data))
    assert [each.referenced_data_file for each in found] == [
        f"file-{i}" for i in range(len(vectors))
    ]
    for each, rows, blob in zip(found, vectors, blobs, strict=True):
        # Its `to_vector` fails where a file has no deleted row among the first 2^32.
        read = [(high << 32) + low for high, bits in enumerate(each._bitmaps) for low in bits]
        assert read == sorted(rows)
        assert data[blob.offset : blob.offset + len(blob.data)] == blob.data
        assert blob.rows == len(rows)


def test_bytes_are_those_of_the_format() -> None:
    """Written out by hand: one bitmap of 32 bits, with one array of 16."""
    bitmap = bytes.fromhex(
        "0100000000000000"  # one bitmap
        "00000000"  # of the high half 0
        "3a300000" "01000000"  # no runs; one container
        "0000" "0100"  # of the high 16 bits 0, with 2 values
        "10000000"  # its offset
        "0300" "0700"  # the values
    )  # fmt: skip
    body = bytes.fromhex("d1d33964") + bitmap
    expected = struct.pack(">I", len(body)) + body + struct.pack(">I", zlib.crc32(body))
    assert encode(BitMap64([3, 7])) == expected
    data, _ = puffin([("a.parquet", BitMap64([3, 7]))])
    assert data[:4] == data[-4:] == b"PFA1"
    assert data[4 : 4 + len(expected)] == expected
    [size] = struct.unpack("<i", data[-12:-8])
    assert data[-8:-4] == bytes(4)
    assert data[-16 - size : -12 - size] == b"PFA1"
    footer = json.loads(data[-12 - size : -12])
    assert footer["blobs"] == [
        {
            "type": "deletion-vector-v1",
            "fields": [2147483645],
            "snapshot-id": -1,
            "sequence-number": -1,
            "offset": 4,
            "length": len(expected),
            "properties": {"referenced-data-file": "a.parquet", "cardinality": "2"},
        }
    ]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda blob: blob[:-1], "length"),
        (lambda blob: b"", "length"),
        (lambda blob: blob[:4] + b"\0" + blob[5:], "no deletion vector"),
        (lambda blob: blob[:-6] + b"\1" + blob[-5:], "checksum"),
    ],
)
def test_damaged(damage: object, what: str) -> None:
    blob = encode(BitMap64([3, 7, 2**33]))
    with pytest.raises(ValueError, match=rf"reading the deletion vector in here: .*{what}"):
        decode(damage(blob), "here")  # type: ignore[operator]


def test_rows_of_a_slice() -> None:
    numbers = pa.array([1, 5, 9, 12], pa.int64())
    assert list(rows_of(numbers)) == [1, 5, 9, 12]
    assert list(rows_of(numbers.slice(1, 2))) == [5, 9]
    assert list(rows_of(numbers.slice(4))) == []
