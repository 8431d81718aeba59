"""A table of LanceDB as a sink: a row that is there already is not written again."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from frazil.errors import CommitRefused, ConfigError, ConnectError, SinkError
from frazil.python_sink import Commit, TransactionalSink
from frazil.secret import resolve_secrets

SINK = pa.field("frazil_sink", pa.string(), nullable=False)
EPOCH = pa.field("frazil_epoch", pa.int64(), nullable=False)
ROW = pa.field("frazil_row", pa.string(), nullable=False)
"""Columns that are added: of which sink and epoch a row is; and, unless it has a key, which of
them."""
NOTE = "frazil:"
"""How keys begin under which the metadata of `frazil_epoch` has the last epoch of each sink."""
TRIES = 5
"""Times a note is written, if others change the table at the same moment."""


class LanceDbSink(TransactionalSink):
    """One table; made by `Stream.write_lancedb`.

    Parameters
    ----------
    uri, storage_options
        The database, as LanceDB takes it, secrets by reference.
    table
        Its name.
    key
        Column by which rows replace each other; None if they are appended.
    vectors
        Columns of lists that are vectors, and how many numbers each has.
    create
        Whether to make the table if it is not there.
    """

    def __init__(
        self,
        uri: str,
        table: str,
        key: str | None,
        vectors: Mapping[str, int],
        storage_options: Mapping[str, Any],
        create: bool,
    ) -> None:
        self._uri = uri
        self._name = table
        self._key = key
        self._vectors = dict(vectors)
        self._storage_options = dict(storage_options)
        self._create = create
        self._schema = pa.schema([])
        self._database: Any = None

    def start(self, schema: pa.Schema) -> None:
        """Make the table, or see that it can take the rows."""
        self._schema = self._stored(schema)
        try:
            table = self._open(create=self._create)
            self._check(table)
        except _PASSING as error:
            raise ConnectError(f"{self._what}: {_said(error)}") from error
        except (ValueError, RuntimeError) as error:
            raise SinkError(f"{self._what}: {_said(error)}") from error

    def check(self, rows: pa.RecordBatch) -> None:
        """Refuse what the table would refuse: its commit could never be made."""
        if self._key is not None and rows[self._key].null_count:
            raise SinkError(
                f"{self._what}: the key {self._key!r} is null in a row",
                f"filter such rows out: col({self._key!r}).is_not_null()",
            )
        for name, size in self._vectors.items():
            self._check_vectors(name, size, rows[name])

    def commit(self, commit: Commit, rows: Iterator[pa.RecordBatch]) -> None:
        """Merge the rows that are not there, and note the epoch."""
        if not self._schema:
            raise SinkError(f"{self._what}: a commit before the start")
        source = _Source(rows)
        try:
            table = self._open(create=False)
            if not self._landed(table, commit):
                self._merge(table, commit, source)
            self._note(commit)
        except (CommitRefused, SinkError):
            raise
        except _PASSING as error:
            raise ConnectError(f"{self._what}: {_said(error)}") from error
        except (ValueError, RuntimeError) as error:
            if source.failed is not None:
                raise source.failed from error
            raise SinkError(f"{self._what}: {_said(error)}") from error

    def close(self) -> None:
        """Let go of the database."""
        self._database = None

    # -- the table -------------------------------------------------------------------------------

    @property
    def _what(self) -> str:
        return f"table {self._name} of LanceDB at {self._uri}"

    @property
    def _on(self) -> str:
        return self._key or ROW.name

    def _open(self, *, create: bool) -> Any:
        """The table as it is now; what another process has written is seen."""
        if self._database is None:
            self._database = _library().connect(
                self._uri, storage_options=resolve_secrets(self._storage_options) or None
            )
        try:
            return self._database.open_table(self._name)
        except ValueError as error:
            if not create or "not found" not in str(error):
                raise
        return self._database.create_table(self._name, schema=self._schema, exist_ok=True)

    def _check(self, table: Any) -> None:
        """Two processes that commit the same at once are told apart by the primary key only."""
        found = table.schema
        for field in self._schema:
            if field.name not in found.names:
                raise SinkError(
                    f"{self._what} has no column {field.name!r}",
                    "write to a new table, or add it with table.add_columns()",
                )
            stored = found.field(field.name).type
            if not _same(stored, field.type):
                raise SinkError(
                    f"{self._what}: column {field.name!r} is {stored}, and its rows {field.type}",
                    "cast it in the pipeline; vectors= makes vectors of lists",
                )
        types = [found.field(name).type for name in self._schema.names]
        self._schema = pa.schema(map(pa.Field.with_type, self._schema, types))
        if _primary_key(found) is None:
            try:
                table.set_unenforced_primary_key(self._on)
            except ValueError:  # another process was faster
                found = self._open(create=False).schema
                if _primary_key(found) is None:
                    raise
        if _primary_key(found) not in (None, self._on):
            raise SinkError(
                f"{self._what} has the primary key {_primary_key(found)!r}, and is written by "
                f"{self._on!r}",
                "write to another table, or in the mode and by the key it was made for",
            )

    def _stored(self, schema: pa.Schema) -> pa.Schema:
        fields = []
        for field in schema.remove_metadata():
            size = self._vectors.get(field.name)
            if size is not None:
                field = field.with_type(pa.list_(field.type.value_type, size))
            if field.name == self._key:
                field = field.with_nullable(False)  # as LanceDB wants it; a null ends the run
            fields.append(field.remove_metadata())
        return pa.schema([*fields, SINK, EPOCH, *([] if self._key else [ROW])])

    # -- commits ---------------------------------------------------------------------------------

    def _landed(self, table: Any, commit: Commit) -> bool:
        """Whether the epoch is there: its note, or its rows, if the note was not written."""
        epoch, digest = _noted(table.schema, commit.sink)
        if epoch == commit.epoch and digest != commit.digest:
            raise CommitRefused(
                f"{self._what} has epoch {epoch} of {commit.sink} ({digest[:12]}), and the "
                f"checkpoint log another epoch {epoch} ({commit.digest[:12]})",
                "one of the two was put back to an older state; start anew under another name",
                kind="diverged",
            )
        if epoch >= commit.epoch or _count(table, commit.sink, commit.epoch):
            return True
        if epoch < commit.landed and not _count(table, commit.sink, commit.landed):
            raise CommitRefused(
                f"{self._what} has epoch {epoch} of {commit.sink}, and the checkpoint log says "
                f"that epoch {commit.landed} was committed",
                "the table was put back to an older version, or made anew",
                "restore it, or start anew under another name",
                kind="diverged",
            )
        return False

    def _merge(self, table: Any, commit: Commit, source: _Source) -> None:
        """One version of the table. If another process is faster with the same, it is done anew on
        what that one has written, and finds it there.
        """
        if self._key is None:
            reader = pa.RecordBatchReader.from_batches(self._schema, self._appended(commit, source))
            table.merge_insert(ROW.name).when_not_matched_insert_all().execute(reader)
            return
        merge = table.merge_insert(self._key).when_matched_update_all(
            where=f"target.{SINK.name} <> source.{SINK.name} "
            f"OR target.{EPOCH.name} < source.{EPOCH.name}"
        )
        merge.when_not_matched_insert_all().execute(self._last(commit, source))

    def _appended(self, commit: Commit, source: _Source) -> Iterator[pa.RecordBatch]:
        first = 0
        for batch in source:
            last = first + batch.num_rows
            names = [f"{commit.sink}/{commit.epoch}/{number}" for number in range(first, last)]
            yield self._batch(commit, batch, [pa.array(names, ROW.type)])
            first = last

    def _last(self, commit: Commit, source: _Source) -> pa.Table:
        """The last row of each key."""
        batches = [self._batch(commit, batch, []) for batch in source]
        table = pa.Table.from_batches(batches, self._schema)
        key = table[self._on]
        numbers = pa.array(range(table.num_rows), pa.int64())
        last = pa.table({"key": key, "number": numbers}).group_by("key", use_threads=False)
        return table.take(last.aggregate([("number", "max")])["number_max"])

    def _batch(
        self, commit: Commit, rows: pa.RecordBatch, more: Sequence[pa.Array]
    ) -> pa.RecordBatch:
        columns = []
        for field, column in zip(self._schema, rows.columns, strict=False):
            columns.append(column.cast(field.type))
        count = rows.num_rows
        sink = pa.array([commit.sink] * count, SINK.type)
        epoch = pa.array([commit.epoch] * count, EPOCH.type)
        return pa.RecordBatch.from_arrays([*columns, sink, epoch, *more], schema=self._schema)

    def _check_vectors(self, name: str, size: int, column: pa.Array) -> None:
        if column.null_count or column.flatten().null_count:
            raise SinkError(
                f"{self._what}: a vector in {name!r} is null, or a number in it",
                f"filter such rows out: col({name!r}).is_not_null()",
            )
        lengths = pc.list_value_length(column)
        wrong = pc.not_equal(lengths, size)
        at = pc.index(wrong, True).as_py()
        if at >= 0:
            raise SinkError(
                f"{self._what}: a vector in {name!r} has {lengths[at].as_py()} numbers, and "
                f"declared are {size}",
                "filter such rows out: col(...).list_length()",
            )

    def _note(self, commit: Commit) -> None:
        """For starts to come; that the rows are there does not hang on it."""
        for tries_left in reversed(range(TRIES)):
            table = self._open(create=False)
            if _noted(table.schema, commit.sink)[0] >= commit.epoch:
                return
            text = f"{commit.epoch} {commit.digest}"
            try:
                table.update_field_metadata(
                    {"path": EPOCH.name, "metadata": {NOTE + commit.sink: text}}
                )
            except (ValueError, RuntimeError):
                if not tries_left:
                    raise


class _Source:
    """Rows of an epoch; what is raised when they are read is kept, as the library does not."""

    def __init__(self, rows: Iterator[pa.RecordBatch]) -> None:
        self._rows = rows
        self.failed: Exception | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._rows
        except Exception as error:
            self.failed = error
            raise


_PASSING = (OSError, TimeoutError)
_PRIMARY_KEY = b"lance-schema:unenforced-primary-key:position"


def _primary_key(schema: pa.Schema) -> str | None:
    for field in schema:
        if _PRIMARY_KEY in (field.metadata or {}):
            return str(field.name)
    return None


def _same(stored: pa.DataType, type_: pa.DataType) -> bool:
    """But for what elements of lists are called, and whether they may be null."""
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        alike = stored.id == type_.id and _same(stored.value_type, type_.value_type)
        return alike and getattr(stored, "list_size", 0) == getattr(type_, "list_size", 0)
    return bool(stored == type_)


def _noted(schema: pa.Schema, sink: str) -> tuple[int, str]:
    metadata = schema.field(EPOCH.name).metadata or {}
    text = metadata.get((NOTE + sink).encode(), b"-1 ").decode()
    epoch, _, digest = text.partition(" ")
    return int(epoch), digest


def _count(table: Any, sink: str, epoch: int) -> int:
    """Rows of a sink of an epoch or later ones."""
    quoted = sink.replace("'", "''")
    return int(table.count_rows(f"{SINK.name} = '{quoted}' AND {EPOCH.name} >= {epoch}"))


def _library() -> Any:
    try:
        return importlib.import_module("lancedb")
    except ImportError:
        raise ConfigError(
            "write_lancedb needs lancedb, which is not installed", 'pip install "frazil[lancedb]"'
        ) from None


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]
