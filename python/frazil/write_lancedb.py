"""Writing to a table of LanceDB: the method of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from frazil.changes import refuse_changes
from frazil.errors import ConfigError, PlanError, TypeMismatch, on_user_line
from frazil.lancedb_sink import EPOCH, ROW, SINK, LanceDbSink
from frazil.secret import Secret, references
from frazil.upsert import by_key, upsert_key
from frazil.write import Sink
from frazil.write_python import python_sink_node

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.node import Port

VECTOR_MAX = 65_536
"""Numbers of a vector."""


class LanceDbWriters:
    """The writer of a stream to LanceDB."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def write_lancedb(
        self,
        uri: str,
        table: str,
        *,
        mode: Literal["append", "upsert"] = "append",
        key: str | None = None,
        vectors: Mapping[str, int] | None = None,
        create: bool = True,
        storage_options: Mapping[str, str | Secret] | None = None,
        commit_every: Duration | None = None,
        name: str | None = None,
    ) -> Sink:
        """Write the rows to a table of LanceDB, each exactly once.

        A commit is one version of the table. Needs the extra "lancedb".

        Parameters
        ----------
        uri
            The database: a folder, or "s3://bucket/prefix".
        table
            Name of the table.
        mode
            "append" adds rows. "upsert" has one row for each key: a row takes the place of the one
            before it.
        key
            With mode="upsert": the column that tells which row is replaced.
        vectors
            Columns of lists that are vectors, and how many numbers each has: ``{"vector": 384}``.
        create
            Whether to make the table if it is not there.
        storage_options
            How to reach an object store, as LanceDB has them; secrets by `secret`.
        commit_every
            A multiple of the pipeline's `checkpoint_every`; default each checkpoint.
        name
            Name of the sink; default from the table.

        Returns
        -------
        Sink
            For a `Pipeline`.

        Examples
        --------
        >>> import frazil as fz
        >>> documents = fz.read_memory([{"id": 1, "vector": [0.5, 0.25]}])
        >>> documents.write_lancedb(
        ...     "search", "documents", mode="upsert", key="id", vectors={"vector": 2}
        ... )
        Sink(python lancedb:documents)
        """
        if not isinstance(uri, str) or not uri or uri.startswith("db://"):
            raise PlanError(f"uri={uri!r}", 'a folder, or "s3://bucket/prefix"')
        if not isinstance(table, str) or not table:
            raise PlanError(f"table={table!r}", "the name of a table")
        what = f"write_lancedb of {table}"
        if mode not in ("append", "upsert"):
            raise ConfigError(f"mode={mode!r} is not offered", '"append" or "upsert"')
        refuse_changes(self._port, what, ".as_log() keeps every change as a row of its own")
        port = self._port
        if mode == "append" and key is not None:
            raise PlanError(f"{what}: key={key!r} is of another mode", 'write mode="upsert" too')
        if mode == "upsert":
            if not isinstance(key, str):
                raise PlanError(
                    f"{what}: key={key!r}", "one column; make one of several with concat_str"
                )
            port = by_key(port, upsert_key(port, key, what))
        _check_columns(port.schema, what, vectors or {})
        sink = LanceDbSink(
            uri,
            table,
            key,
            vectors or {},
            references(storage_options or {}, "storage_options"),
            create,
        )
        how = "LanceDB, append" if key is None else f"LanceDB, upsert by {key}"
        return Sink(
            python_sink_node(
                port,
                sink,
                {"table": table, "mode": mode},
                commit_every,
                name or f"lancedb:{table}",
                detail=how,
            )
        )


def _check_columns(schema: pa.Schema, what: str, vectors: Mapping[str, int]) -> None:
    for field in (SINK, EPOCH, ROW):
        if field.name in schema.names:
            raise PlanError(f"{what}: column {field.name!r}", "give it another name: rename")
    for column, size in vectors.items():
        if column not in schema.names:
            raise PlanError(f"{what}: vectors= names {column!r}, which is no column")
        kind = schema.field(column).type
        if not pa.types.is_list(kind) or not pa.types.is_floating(kind.value_type):
            raise TypeMismatch(
                f"{what}: column {column!r} is {kind}, and vectors are lists of floats",
                "leave it out of vectors=, or cast it",
            )
        if not isinstance(size, int) or not 1 <= size <= VECTOR_MAX:
            raise ConfigError(f"{what}: vectors= has {column!r}: {size!r}", f"1 to {VECTOR_MAX:,}")
