"""Reading rows of a database as they come, by asking it now and then."""

from __future__ import annotations

import re
from collections.abc import Sequence

from frazil.duration import Duration, duration_ms, duration_text
from frazil.errors import ConfigError, PlanError, TypeMismatch, on_user_line
from frazil.lookup import _check_url
from frazil.node import Port, SourceNode
from frazil.schema import SchemaLike, checked, resolve
from frazil.secret import Secret
from frazil.sql_source import SqlSource
from frazil.stream import Stream

POLL_ROWS = 5_000
"""Rows of one question, if the program does not say."""
POLL_ROWS_MAX = 1_000_000
"""Rows of one question."""

_TABLE = re.compile(r"(?:(?P<schema>\w+)\.)?(?P<name>\w+)")


@on_user_line
def read_sql(
    query: str,
    *,
    url: str | Secret,
    schema: SchemaLike,
    cursor: str | Sequence[str],
    every: Duration = "10s",
    lag: Duration | None = None,
    max_rows: int = POLL_ROWS,
    name: str | None = None,
) -> Stream:
    """Read new rows of a table or a query, by SQLAlchemy, each exactly once.

    The database is asked for the rows behind the cursor of the last one. What no question can see
    is not read: deletes, and states of a row between two questions. Rows that become visible behind
    the cursor, of transactions that commit late, are seen with `lag`.

    Parameters
    ----------
    query
        A table ("orders", "shop.orders"), or a query.
    url
        SQLAlchemy's URL of the database; one with a password by `secret`.
    schema
        Columns of the rows; others are ignored. Values have to fit.
    cursor
        The column by which new rows come behind old ones, never null, with no value twice: "id"; or
        two or more columns that are so together: ("updated_at", "id").
    every
        How often to ask.
    lag
        How long after it has taken its cursor a row may become visible: rows are read this much
        later. Default None: rows become visible in the order of their cursors.
    max_rows
        Rows of one question; where there are more, the next follows at once.
    name
        Name of the source, under which its cursor is kept; default "sql:" and the table.

    Returns
    -------
    Stream
        The schema's columns.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.read_sql(
    ...     "shop.orders",
    ...     url=fz.secret("SHOP_DB"),
    ...     schema={"id": int, "country": str},
    ...     cursor=("updated_at", "id"),
    ...     lag="30s",
    ... )
    Stream(append) <- sql:shop.orders
      id: int64 not null
      country: string not null
    """
    if not isinstance(query, str) or not query.strip():
        raise PlanError("read_sql got no query", 'write "shop.orders", or "select ..."')
    if isinstance(url, str):
        _check_url(url)
    elif not isinstance(url, Secret):
        raise TypeMismatch(f"url= got a {type(url).__name__}", 'a text, or fz.secret("SHOP_DB")')
    columns = (cursor,) if isinstance(cursor, str) else tuple(cursor)
    if not columns or not all(isinstance(each, str) and each for each in columns):
        raise PlanError(f"cursor={cursor!r}", 'a column, or several: cursor=("updated_at", "id")')
    if len(set(columns)) < len(columns):
        raise PlanError(f"cursor={cursor!r} has a column twice", "name each once")
    if not isinstance(max_rows, int) or not 1 <= max_rows <= POLL_ROWS_MAX:
        raise ConfigError(f"max_rows={max_rows!r}", f"a number of rows, 1 to {POLL_ROWS_MAX:,}")
    declared = checked(resolve(schema).remove_metadata())
    table = _TABLE.fullmatch(query.strip())
    if table is None and name is None:
        raise PlanError(
            "read_sql of a query needs a name, under which its cursor is kept", 'write name="..."'
        )
    every_ms = duration_ms(every, "every")
    lag_ms = 0 if lag is None else duration_ms(lag, "lag")
    source = SqlSource(
        query if table is None else (table["schema"], table["name"]),
        url,
        declared,
        columns,
        every,
        lag_ms / 1000,
        max_rows,
    )
    later = f", {duration_text(lag_ms)} later" if lag_ms else ""
    return Stream(
        Port(
            SourceNode(
                declared,
                "python",
                {"class": f"SqlSource by {', '.join(columns)}"},
                None,
                None,
                detail=f"by {', '.join(columns)}, asked every {duration_text(every_ms)}{later}",
                objects={"source": source},
                name=name or f"sql:{query.strip()}",
            )
        )
    )
