"""Texts in pieces that overlap: ``chunk=`` of `Stream.embed`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from frazil.errors import PlanError
from frazil.node import Function

CHUNK_CHARS_MAX = 1_000_000
"""Characters of a chunk."""


def chunks_of(text: str, size: int, overlap: int) -> list[str]:
    """Cut a text into pieces of up to `size` characters, each with the last ones of that before.

    A piece ends behind a space in its second half, if there is one.

    Examples
    --------
    >>> chunks_of("drift ice and frazil ice", 10, 4)
    ['drift ice ', 'ice and ', 'and frazil', 'azil ice']
    """
    pieces = []
    start = 0
    while len(text) - start > size:
        end = start + size
        least = start + max(overlap, size // 2)
        space = next((i for i in range(end, least, -1) if text[i - 1].isspace()), end)
        pieces.append(text[start:space])
        start = space - overlap
    pieces.append(text[start:])
    return pieces


@functools.cache
def _chunker(size: int, overlap: int, type_: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    def chunks(column: pa.Array) -> pa.Array:
        made = [
            [{"number": 0, "text": None}]
            if text is None
            else [
                {"number": number, "text": piece}
                for number, piece in enumerate(chunks_of(text, size, overlap))
            ]
            for text in column.to_pylist()
        ]
        return pa.array(made, type_)

    return chunks


def _type_of(text: pa.Field) -> pa.DataType:
    fields = [pa.field("number", pa.int64(), nullable=False), text.with_name("text")]
    return pa.list_(pa.field("element", pa.struct(fields), nullable=False))


def make_chunks(chunk: Any, text: pa.Field) -> Function:
    """Check what ``chunk=`` got; the function that gives a list of numbers and pieces."""
    if not isinstance(chunk, tuple) or [type(each) for each in chunk] != [int, int]:
        raise PlanError(f"embed got chunk={chunk!r}", "characters: chunk=(size, overlap)")
    size, overlap = chunk
    if not 2 <= size <= CHUNK_CHARS_MAX or not 0 <= overlap <= size // 2:
        raise PlanError(
            f"embed got chunk={chunk!r}",
            f"2 to {CHUNK_CHARS_MAX:,} characters, which overlap by half of that at most",
        )
    type_ = _type_of(text.remove_metadata())
    returns = pa.schema([pa.field("result", type_, nullable=False)])
    call = _chunker(size, overlap, type_)
    return Function(f"frazil:chunks({size}, {overlap})", call, "batch", returns, pure=True)
