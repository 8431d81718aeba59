"""`Stream.embed`: a column of vectors of a column of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.changes import changes_of, refuse_changes
from frazil.chunk import make_chunks
from frazil.duration import Size, size_bytes
from frazil.embed import make_embedding
from frazil.errors import ColumnExists, TypeMismatch, on_user_line
from frazil.expr import col
from frazil.types import type_name
from frazil.udf import UdfCall

if TYPE_CHECKING:
    from frazil.node import Port
    from frazil.stream import Stream


class EmbedMethods:
    """The method of a stream that calls models."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def embed(
        self: Any,
        column: str,
        *,
        into: str,
        model: Any,
        model_name: str | None = None,
        dimension: int | None = None,
        chunk: tuple[int, int] | None = None,
        chunk_into: str = "chunk",
        batch_rows: int = 64,
        batch_chars: int = 65_536,
        cache: int = 100_000,
        cache_bytes: Size = "256MB",
        pure: bool = False,
        name: str | None = None,
    ) -> Stream:
        """Add a column of vectors that a model makes of texts.

        Texts that are the same have one vector, which is kept in checkpoints: a row that comes
        again, or an update that does not touch its text, costs no call. A null has a null.

        Parameters
        ----------
        column
            A column of texts.
        into
            Name of the new column; its type is a list of so many float32 as the model has.
        model
            A function of a list of texts that gives a vector for each (an array of two dimensions,
            or lists), or an object with such an ``encode``: of sentence-transformers, model2vec.
        model_name
            What the model is called, if it does not say so itself. A table keeps it.
        dimension
            Numbers of a vector. Without it the model is asked: its attribute, or one call at once.
        chunk
            Size and overlap in characters: each text is cut into pieces, and each piece is a row.
            They end behind a space, if there is one in the second half.
        chunk_into
            Name of the column with the number of the piece, from 0.
        batch_rows
            Texts of one call of the model, at most; those of similar length are together.
        batch_chars
            And their characters: texts by the longest of them. A longer text has a call of its own.
        cache
            Vectors that are kept.
        cache_bytes
            And their bytes, in each process; those used least recently go.
        pure
            Whether the same text always gives the same numbers to the last digit, whatever is
            beside it in a call. False makes the pipeline "consistent" instead of "exact".
        name
            Of the step, unique in the pipeline: under it a checkpoint knows its vectors, also when
            steps before it were changed.

        Returns
        -------
        Stream
            The columns there were, with `chunk` then the number of the piece, then the vector.

        Raises
        ------
        TypeMismatch
            If the column has no texts.
        PlanError
            If the model does not say its name or dimension.

        Examples
        --------
        >>> import frazil as fz
        >>> def lengths(texts: list[str]) -> list[list[float]]:
        ...     return [[len(text), text.count(" ")] for text in texts]
        >>> pages = fz.read_memory([{"id": 1, "text": "drift ice"}])
        >>> pages.embed("text", into="vector", model=lengths, dimension=2).head(1).to_pylist()
        [{'id': 1, 'text': 'drift ice', 'vector': [9.0, 1.0]}]
        """
        stream: Stream = self
        text = stream._port.schema.field(stream._require(column))
        if not pa.types.is_string(text.type) and not pa.types.is_large_string(text.type):
            raise TypeMismatch(
                f"embed of column {column!r}, which is {type_name(text.type)}",
                "a model is given texts: cast it, or put columns into one text",
            )
        for made in (into, *([chunk_into] if chunk is not None else [])):
            if made in stream._port.schema.names:
                raise ColumnExists(f"embed into {made!r}, which is there already", "choose another")
        if chunk is not None:
            refuse_changes(stream._port, "embed with chunk=")
            pieces = UdfCall(make_chunks(chunk, text), (col(column),), (None,))
            stream = stream.with_columns({column: pieces}).unnest(column)
            of_piece = {
                column: col(column).struct.field("text"),
                chunk_into: col(column).struct.field("number"),
            }
            stream = stream.with_columns(of_piece)
        changes = changes_of(stream._port)
        whole = changes is None or changes.whole
        function = make_embedding(
            model,
            nullable=text.nullable or not whole,
            model_name=model_name,
            dimension=dimension,
            batch_rows=batch_rows,
            batch_chars=batch_chars,
            cache=cache,
            cache_bytes=size_bytes(cache_bytes, "cache_bytes"),
            pure=pure,
            whole=whole,
            step=name,
        )
        return stream.with_columns({into: UdfCall(function, (col(column),), (None,))})
