"""A query to a database as a source: asked now and then for the rows behind a cursor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
from frazil.errors import ConfigError, ConnectError, DataError, FrazilError, SourceError
from frazil.python_source import PollingSource, Position
from frazil.secret import Secret, resolve_secrets
from frazil.sql_values import column_of, without_url

if TYPE_CHECKING:
    from frazil.duration import Duration

SEEN_MAX = 20
"""Newest cursors that are kept, with the time at which each was seen, for `lag`."""
SHOWN_CHARS = 500
"""Characters of a driver's message that are shown."""

_KINDS: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
}


class SqlSource(PollingSource):
    """One query or table; made by `read_sql`. The position has `after`, the cursor of the last row,
    and `seen`: pairs of a time and the newest cursor there was then.

    Parameters
    ----------
    query
        A query, or (schema and) name of a table.
    url
        SQLAlchemy's URL.
    schema
        Columns of the rows.
    cursor
        Columns by which rows are in order, none twice.
    every
        How often to ask.
    lag_s
        How long a transaction may take to be visible (seconds).
    max_rows
        Rows that are asked for at once.
    """

    def __init__(
        self,
        query: str | tuple[str | None, str],
        url: str | Secret,
        schema: pa.Schema,
        cursor: Sequence[str],
        every: Duration,
        lag_s: float,
        max_rows: int,
    ) -> None:
        self._query = query
        self._url = url
        self._schema = schema
        self._cursor = tuple(cursor)
        self._lag_s = lag_s
        self._max_rows = max_rows
        self._engine: Any = None
        self._worked = False
        self.__dict__["every"] = every

    def poll(self, cursor: Position) -> tuple[pa.RecordBatch, Position]:
        """Give the rows behind a cursor."""
        position = cursor or {}
        after, seen = position.get("after"), list(position.get("seen", []))
        now = time.time()
        upto = [each for each in seen if each[0] <= now - self._lag_s]
        rows: list[Any] = []
        try:
            with self._connect() as connection:
                if not self._lag_s or upto:
                    query = self._next(after, upto[-1][1] if upto else None)
                    rows = list(connection.execute(query))
                if self._lag_s:
                    newest = connection.execute(self._newest()).first()
                    seen = self._noted(seen[max(0, len(upto) - 1) :], now, newest)
        except FrazilError:
            raise
        except Exception as error:  # SQLAlchemy's, or the driver's own
            raise self._failed(error) from None
        self._worked = True
        full = len(rows) > self._max_rows
        self._check(after, rows)
        rows = rows[: self._max_rows]
        self.__dict__["drain"] = full  # there is more: ask again at once
        if rows:
            after = self._key(rows[-1])
        left = {"seen": seen} if self._lag_s else {}
        return self._batch(rows), None if after is None and not seen else {"after": after, **left}

    def close(self) -> None:
        """Close the connections."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    # -- inside ----------------------------------------------------------------------------------

    def _connect(self) -> Any:
        if self._engine is None:
            url = self._url_text()
            try:
                import sqlalchemy

                self._engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
            except Exception as error:  # drivers that are missing raise what they like
                raise ConfigError(
                    f"read_sql: {without_url(_first_line(error), url)}",
                    "a URL as SQLAlchemy has them, and its driver installed",
                ) from None
        return self._engine.connect()

    def _url_text(self) -> str:
        return (
            str(resolve_secrets(self._url.to_json()))
            if isinstance(self._url, Secret)
            else self._url
        )

    def _table(self) -> Any:
        import sqlalchemy

        names = dict.fromkeys((*self._cursor, *self._schema.names))
        columns: list[Any] = [sqlalchemy.column(name) for name in names]
        if isinstance(self._query, tuple):
            schema, name = self._query
            return sqlalchemy.table(name, *columns, schema=schema)
        # A colon is a parameter to SQLAlchemy; the query has none.
        text = sqlalchemy.text(self._query.replace(":", r"\:"))
        return text.columns(*columns).subquery("frazil")

    def _next(self, after: Any, upto: Any) -> Any:
        """One row more than are given: whether it has the cursor of the last one is to be seen."""
        import sqlalchemy

        table = self._table()
        query = sqlalchemy.select(*(table.c[n] for n in (*self._cursor, *self._schema.names)))
        if after is not None:
            query = query.where(_beyond([table.c[n] for n in self._cursor], after))
        if upto is not None:
            query = query.where(sqlalchemy.not_(_beyond([table.c[n] for n in self._cursor], upto)))
        return query.order_by(*(table.c[n] for n in self._cursor)).limit(self._max_rows + 1)

    def _newest(self) -> Any:
        import sqlalchemy

        table = self._table()
        columns: list[Any] = [table.c[name] for name in self._cursor]
        query = sqlalchemy.select(*columns).where(*(each.is_not(None) for each in columns))
        return query.order_by(*(each.desc() for each in columns)).limit(1)

    def _noted(self, seen: list[Any], now: float, newest: Any) -> list[Any]:
        """With the newest cursor of now, unless that was noted before, or one just now."""
        if newest is None:
            return seen
        key = self._key(newest)
        if seen and (seen[-1][1] == key or now - seen[-1][0] < self._lag_s / (SEEN_MAX - 2)):
            return seen
        return [*seen, [now, key]][-SEEN_MAX:]

    def _check(self, after: Any, rows: Sequence[Any]) -> None:
        before = after
        for row in rows:
            key = self._key(row)
            if key == before:
                names = ", ".join(self._cursor)
                raise SourceError(
                    f"read_sql: two rows have the cursor {names} = {_shown(row, self._cursor)}: "
                    "one of them could be left out",
                    f'add a column that tells them apart: cursor=("{self._cursor[0]}", "id")',
                )
            before = key

    def _key(self, row: Sequence[Any]) -> list[Any]:
        return [_to_json(name, value) for name, value in zip(self._cursor, row, strict=False)]

    def _batch(self, rows: Sequence[Any]) -> pa.RecordBatch:
        first = len(self._cursor)
        values = list(zip(*rows, strict=True))[first:] if rows else [()] * len(self._schema)
        arrays = []
        for field, column in zip(self._schema, values, strict=True):
            array = column_of("read_sql", field, column)
            if array.null_count and not field.nullable:
                row = rows[array.is_null().index(pa.scalar(True)).as_py()]
                raise DataError(
                    f"read_sql: column {field.name!r} is null in the row with "
                    f"{', '.join(self._cursor)} = {_shown(row, self._cursor)}",
                    "say so in schema=: T | None",
                )
            arrays.append(array)
        return pa.record_batch(arrays, schema=self._schema)

    def _failed(self, error: Exception) -> FrazilError:
        """A connection that breaks may come back; what is wrong with the query does not pass."""
        import sqlalchemy.exc

        text = without_url(_first_line(error), self._url_text())
        broken = isinstance(error, sqlalchemy.exc.DBAPIError) and (
            error.connection_invalidated or error.statement is None
        )
        passing = isinstance(
            error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError
        ) and (broken or self._worked)
        kind = ConnectError if broken or passing else SourceError
        return kind(f"read_sql: {text}")


def _beyond(columns: Sequence[Any], key: Sequence[Any]) -> Any:
    """That a row stands behind a cursor."""
    import sqlalchemy

    column, value = columns[0], _bound(_of_json(key[0]))
    if len(columns) == 1:
        return column > value
    return sqlalchemy.or_(
        column > value, sqlalchemy.and_(column == value, _beyond(columns[1:], key[1:]))
    )


def _bound(value: Any) -> Any:
    """With its type: what is guessed is too narrow for large numbers, and has no zone."""
    import sqlalchemy

    kinds: dict[type, Any] = {
        int: sqlalchemy.BigInteger(),
        str: sqlalchemy.String(),
        Decimal: sqlalchemy.Numeric(),
        date: sqlalchemy.Date(),
        UUID: sqlalchemy.Uuid(),
    }
    if isinstance(value, datetime):
        kind: Any = sqlalchemy.DateTime(timezone=value.tzinfo is not None)
    else:
        kind = kinds[type(value)]
    return sqlalchemy.bindparam(None, value, type_=kind, unique=True)


def _to_json(name: str, value: Any) -> Any:
    match value:
        case None:
            raise SourceError(
                f"read_sql: the cursor {name!r} is null in a row, which would never be read",
                "take a column that is not null, or leave such rows out in the query",
            )
        case bool() | float():
            pass
        case int() | str():
            return value
        case datetime():
            return {"datetime": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case Decimal():
            return {"decimal": str(value)}
        case UUID():
            return {"uuid": str(value)}
    raise SourceError(
        f"read_sql: the cursor {name!r} is {value!r}, a {type(value).__name__}",
        "take a column of whole numbers, times, dates, texts, decimals or UUIDs",
    )


def _of_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, text)] = value.items()
    return _KINDS[kind](text)


def _shown(row: Sequence[Any], cursor: Sequence[str]) -> str:
    return ", ".join(str(value) for value in row[: len(cursor)])


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text[:SHOWN_CHARS]
