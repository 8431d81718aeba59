"""A table of PostgreSQL as a sink: rows and the number of their epoch in one transaction."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from frazil.changes import KIND_COLUMN
from frazil.errors import CommitRefused, ConfigError, ConnectError, SinkError
from frazil.postgres_text import column_type, copy_text
from frazil.python_sink import Commit, TransactionalSink
from frazil.secret import Secret, resolve_secrets

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

CONNECT_S = 10
"""How long a server may take to accept a connection (seconds)."""
EPOCHS = "frazil_epochs"
"""Table with the last epoch of each sink, in the schema of the table that is written."""
INCOMING = "frazil_incoming"
"""Temporary table of the rows of one transaction."""
GONE = ("delete", "update_before")


class PostgresSink(TransactionalSink):
    """One table; made by `Stream.write_postgres`.

    Parameters
    ----------
    table
        Schema and name.
    dsn
        How the server is reached.
    key
        Columns by which rows replace each other; none if they are appended.
    create
        Whether to make the table if it is not there.
    """

    def __init__(
        self, table: tuple[str, str], dsn: str | Secret, key: Sequence[str], create: bool
    ) -> None:
        self._table = table
        self._dsn = dsn
        self._key = tuple(key)
        self._create = create
        self._columns: tuple[str, ...] = ()
        self._connection: psycopg.Connection[Any] | None = None

    def start(self, schema: pa.Schema) -> None:
        """Make the tables, or see that they can take the rows."""
        self._columns = tuple(name for name in schema.names if name != KIND_COLUMN.name)
        self._in_transaction(lambda cursor: self._prepare(cursor, schema))

    def commit(self, commit: Commit, rows: Iterator[pa.RecordBatch]) -> None:
        """Write the rows and raise the epoch, unless it is there."""
        self._in_transaction(lambda cursor: self._write(cursor, commit, rows))

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- inside ----------------------------------------------------------------------------------

    def _in_transaction(self, work: Callable[[psycopg.Cursor[Any]], None]) -> None:
        """One transaction; an error that a server or a network may get over is a ConnectError."""
        driver = _driver()
        try:
            if self._connection is None or self._connection.closed:
                self._connection = driver.connect(
                    resolve_secrets(self._dsn.to_json())
                    if isinstance(self._dsn, Secret)
                    else self._dsn,
                    connect_timeout=CONNECT_S,
                    application_name="frazil",
                )
            with self._connection.transaction(), self._connection.cursor() as cursor:
                work(cursor)
        except (driver.OperationalError, driver.InterfaceError) as error:
            self.close()
            raise ConnectError(f"{self._named}: {_said(error)}") from error
        except driver.Error as error:
            raise SinkError(f"{self._named}: {_said(error)}") from error

    def _prepare(self, cursor: psycopg.Cursor[Any], schema: pa.Schema) -> None:
        if self._create:
            columns = [_column(field) for field in schema if field.name != KIND_COLUMN.name]
            if self._key:
                columns.append(f"PRIMARY KEY ({_names(self._key)})")
            cursor.execute(_sql(f"CREATE TABLE IF NOT EXISTS {self._named} ({', '.join(columns)})"))
        cursor.execute(
            _sql(
                f"CREATE TABLE IF NOT EXISTS {self._epochs} "
                "(sink text PRIMARY KEY, epoch bigint NOT NULL, digest text NOT NULL)"
            )
        )
        # That the columns are there, and for a key a unique index: the server's own words say it.
        if self._key:
            self._make_incoming(cursor)
            cursor.execute(_sql(self._merge()))
            cursor.execute(_sql(f"DROP TABLE {INCOMING}"))
        else:
            names = _names(self._columns)
            cursor.execute(_sql(f"SELECT {names} FROM {self._named} LIMIT 0"))

    def _write(
        self, cursor: psycopg.Cursor[Any], commit: Commit, rows: Iterator[pa.RecordBatch]
    ) -> None:
        # A server may be set up to answer before a transaction is on its disk.
        cursor.execute(_sql("SET LOCAL synchronous_commit = on"))
        # Two processes may ask for one epoch at once: the row of the sink is what they wait for.
        cursor.execute(
            _sql(f"INSERT INTO {self._epochs} VALUES (%s, -1, '') ON CONFLICT DO NOTHING"),
            (commit.sink,),
        )
        cursor.execute(
            _sql(f"SELECT epoch, digest FROM {self._epochs} WHERE sink = %s FOR UPDATE"),
            (commit.sink,),
        )
        found = cursor.fetchone()
        assert found is not None
        epoch, digest = found
        if epoch < commit.landed:
            raise CommitRefused(
                f"{self._named} has epoch {epoch} of {commit.sink}, and the checkpoint log says "
                f"that epoch {commit.landed} was committed",
                "the database was put back to an older state, or has lost transactions",
                "restore it, or start anew under another name",
                kind="diverged",
            )
        if epoch == commit.epoch and digest != commit.digest:
            raise CommitRefused(
                f"{self._named} has epoch {epoch} of {commit.sink} ({digest[:12]}), and the "
                f"checkpoint log another epoch {epoch} ({commit.digest[:12]})",
                "one of the two was put back to an older state; start anew under another name",
                kind="diverged",
            )
        if epoch >= commit.epoch:
            return
        if self._key:
            self._make_incoming(cursor)
            self._copy(cursor, INCOMING, rows)
            cursor.execute(_sql(self._remove()))
            cursor.execute(_sql(self._merge()))
            cursor.execute(_sql(f"DROP TABLE {INCOMING}"))
        else:
            self._copy(cursor, self._named, rows)
        cursor.execute(
            _sql(f"UPDATE {self._epochs} SET epoch = %s, digest = %s WHERE sink = %s"),
            (commit.epoch, commit.digest, commit.sink),
        )

    def _copy(self, cursor: psycopg.Cursor[Any], into: str, rows: Iterator[pa.RecordBatch]) -> None:
        first = next(rows, None)
        if first is None:
            return
        with cursor.copy(_sql(f"COPY {into} ({_names(first.schema.names)}) FROM STDIN")) as copy:
            copy.write(copy_text(first))
            for batch in rows:
                copy.write(copy_text(batch))

    def _make_incoming(self, cursor: psycopg.Cursor[Any]) -> None:
        """A temporary table of the same columns, with the order of rows and the kind of each."""
        cursor.execute(
            _sql(
                f"CREATE TEMPORARY TABLE {INCOMING} ON COMMIT DROP AS "
                f"SELECT {_names(self._columns)} FROM {self._named} WITH NO DATA"
            )
        )
        keys = ", ".join(f"ALTER {quoted(name)} SET NOT NULL" for name in self._key)
        cursor.execute(
            _sql(
                f"ALTER TABLE {INCOMING} {keys}, "
                "ADD frazil_number bigint GENERATED ALWAYS AS IDENTITY, "
                f"ADD {quoted(KIND_COLUMN.name)} text NOT NULL DEFAULT 'insert'"
            )
        )

    def _last(self, columns: Sequence[str]) -> str:
        """The last row of each key."""
        keys = _names(self._key)
        return (
            f"SELECT DISTINCT ON ({keys}) {_names((*columns, KIND_COLUMN.name))} "
            f"FROM {INCOMING} ORDER BY {keys}, frazil_number DESC"
        )

    def _remove(self) -> str:
        same = " AND ".join(f"t.{quoted(name)} = l.{quoted(name)}" for name in self._key)
        return (
            f"DELETE FROM {self._named} t USING ({self._last(self._key)}) l "
            f"WHERE l.{quoted(KIND_COLUMN.name)} IN {GONE} AND {same}"
        )

    def _merge(self) -> str:
        names = _names(self._columns)
        others = [name for name in self._columns if name not in self._key]
        sets = ", ".join(f"{quoted(name)} = EXCLUDED.{quoted(name)}" for name in others)
        return (
            f"INSERT INTO {self._named} ({names}) "
            f"SELECT {names} FROM ({self._last(self._columns)}) l "
            f"WHERE {quoted(KIND_COLUMN.name)} NOT IN {GONE} "
            f"ON CONFLICT ({_names(self._key)}) DO {f'UPDATE SET {sets}' if sets else 'NOTHING'}"
        )

    @property
    def _named(self) -> str:
        return ".".join(map(quoted, self._table))

    @property
    def _epochs(self) -> str:
        return f"{quoted(self._table[0])}.{EPOCHS}"


def quoted(name: str) -> str:
    """An identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _column(field: pa.Field) -> str:
    may_be_null = "" if field.nullable else " NOT NULL"
    return f"{quoted(field.name)} {column_type(field.type)}{may_be_null}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def _sql(text: str) -> Any:
    """Bytes, as the driver wants texts to be literals of the program."""
    return text.encode()


def _said(error: Exception) -> str:
    return " ".join(str(error).split())


def _driver() -> Any:
    try:
        return importlib.import_module("psycopg")
    except ImportError:
        raise ConfigError(
            "write_postgres needs the driver psycopg, which is not installed",
            'pip install "frazil[postgres]"',
        ) from None
