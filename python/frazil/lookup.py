"""Lookup tables: what `Stream.join_lookup` looks into. Declared here, loaded by runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pyarrow as pa
from frazil.duration import Duration, Size, duration_ms, duration_text, size_bytes
from frazil.errors import ConfigError, PlanError, TypeMismatch, on_user_line
from frazil.node import Dimension, Json
from frazil.plan import schema_text
from frazil.schema import SchemaLike, checked, resolve
from frazil.secret import Secret
from frazil.types import field_name
from frazil.write import catalog_options

if TYPE_CHECKING:
    from frazil.security import S3
    from pyiceberg.catalog import Catalog as IcebergCatalog

    Catalog = str | Mapping[str, str | Secret] | IcebergCatalog

OnChange = Literal["fail", "take"]

LOOKUP_BYTES = "256MiB"
"""Memory of a lookup table with its index, unless `max_bytes` says other."""
SQL_ROWS = 1_000_000
"""Rows of the result of a query, unless `max_rows` says other."""
_QUERY_CHARS = 40  # of a query, in a name


class Lookup:
    """A table that streams are joined with. Made by `lookup_parquet` and the like."""

    __slots__ = ("_dimension",)

    def __init__(self, dimension: Dimension) -> None:
        self._dimension = dimension

    @property
    def schema(self) -> pa.Schema:
        """The columns, as a `pyarrow.Schema`."""
        return self._dimension.schema

    @property
    def name(self) -> str:
        """The name under which a checkpoint knows its version."""
        return self._dimension.name

    def __repr__(self) -> str:
        every = self._dimension.refresh_ms
        how = "read once" if every is None else f"refreshed every {duration_text(every)}"
        lines = [f"Lookup({self._dimension.name}), {how}"]
        return "\n  ".join([*lines, *map(field_name, self._dimension.schema)])


@on_user_line
def lookup_parquet(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    refresh: Duration | None = None,
    on_change: OnChange = "fail",
    max_bytes: Size = LOOKUP_BYTES,
    s3: S3 | None = None,
    name: str | None = None,
) -> Lookup:
    """Take a lookup table from Parquet files.

    Parameters
    ----------
    path
        A file, a folder or a pattern (``users/*.parquet``), local or ``s3://bucket/...``.
    columns
        Those that are wanted; default all.
    refresh
        How often to look for other content; it is used from the next checkpoint on. Default never.
    on_change
        What a later start does if the content is another and there is no `refresh`: "fail", or
        "take" it from there on.
    max_bytes
        Bytes of memory for one version and its index.
    s3
        How to reach the object store.
    name
        Under which checkpoints keep the version; default from the path.

    Returns
    -------
    Lookup
        For `Stream.join_lookup`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import frazil as fz, pyarrow as pa, pyarrow.parquet
    >>> path = pathlib.Path(tempfile.mkdtemp(), "users.parquet")
    >>> pyarrow.parquet.write_table(pa.table({"id": [1, 2], "city": ["Rome", "Oslo"]}), path)
    >>> fz.lookup_parquet(path, refresh="10m", name="users")
    Lookup(users), refreshed every 10m
      id: int64
      city: string
    """
    from frazil.infer import parquet_schema

    text = os.fspath(path)
    if not text:
        raise PlanError("lookup_parquet got no path", "a file, a folder or a pattern")
    _one_of("on_change", on_change, ("fail", "take"))
    place = text if "://" in text else os.path.abspath(os.path.expanduser(text))
    options: Json = {"path": place}
    if s3 is not None:
        options["s3"] = s3.to_json()
    return Lookup(
        Dimension(
            name=name or f"parquet:{text}",
            kind="parquet",
            schema=_chosen(_plain(parquet_schema(text, s3)), columns, name or text),
            options=options,
            refresh_ms=_refresh(refresh),
            on_change=on_change,
            max_bytes=size_bytes(max_bytes, "max_bytes"),
        )
    )


@on_user_line
def lookup_iceberg(
    table: str,
    *,
    catalog: Catalog | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    snapshot: int | None = None,
    refresh: Duration | None = None,
    max_bytes: Size = LOOKUP_BYTES,
    name: str | None = None,
) -> Lookup:
    """Take a lookup table from an Iceberg table, as it is in one snapshot.

    Parameters
    ----------
    table
        "namespace.table".
    catalog
        As in `Stream.write_iceberg`.
    columns
        Those that are wanted; default all.
    where
        Rows that are wanted, in PyIceberg's language: ``"active = true and age > 30"``.
    snapshot
        Id of the snapshot. Default: the current one at the first start, and that one ever after,
        unless there is a `refresh`.
    refresh
        How often to look for a newer snapshot; it is used from the next checkpoint on.
    max_bytes
        Bytes of memory for one version and its index.
    name
        Under which checkpoints keep the version; default from the table.

    Returns
    -------
    Lookup
        For `Stream.join_lookup`.

    Examples
    --------
    >>> import tempfile
    >>> import frazil as fz, pyarrow as pa
    >>> from pyiceberg.catalog import load_catalog
    >>> folder = tempfile.mkdtemp()
    >>> catalog = {"type": "sql", "uri": f"sqlite:///{folder}/c.db", "warehouse": f"file://{folder}"}
    >>> opened = load_catalog("default", **catalog)
    >>> opened.create_namespace("crm")
    >>> _ = opened.create_table("crm.users", pa.schema([("id", pa.int64()), ("city", pa.string())]))
    >>> fz.lookup_iceberg("crm.users", catalog=catalog, refresh="1m")
    Lookup(iceberg:crm.users), refreshed every 1m
      id: int64
      city: string
    """
    parts = table.split(".") if isinstance(table, str) else []
    if len(parts) < 2 or not all(parts):
        raise PlanError(f"{table!r} is no table", 'write "namespace.table"')
    if snapshot is not None and (not isinstance(snapshot, int) or isinstance(snapshot, bool)):
        raise TypeMismatch(f"snapshot={snapshot!r}", "the id of a snapshot is a whole number")
    if snapshot is not None and refresh is not None:
        raise PlanError("snapshot= and refresh= contradict each other", "give one of them")
    options: Json = {"table": table}
    objects: dict[str, Any] = {}
    catalog_options(catalog, options, objects)
    if where is not None:
        options["where"] = where
    if snapshot is not None:
        options["snapshot"] = snapshot
    from frazil.run.iceberg_lookup import schema_of  # imports PyIceberg

    schema = checked(schema_of(options, objects))
    return Lookup(
        Dimension(
            name=name or f"iceberg:{table}",
            kind="iceberg",
            schema=_chosen(schema, columns, table),
            options=options,
            objects=objects,
            refresh_ms=_refresh(refresh),
            max_bytes=size_bytes(max_bytes, "max_bytes"),
        )
    )


@on_user_line
def lookup_sql(
    query: str,
    *,
    url: str | Secret,
    schema: SchemaLike,
    refresh: Duration | None = None,
    on_change: OnChange = "fail",
    max_rows: int = SQL_ROWS,
    max_bytes: Size = LOOKUP_BYTES,
    name: str | None = None,
) -> Lookup:
    """Take a lookup table from a query to a database, by SQLAlchemy.

    Parameters
    ----------
    query
        Gives the rows; it is run as it stands, and what it changes is rolled back.
    url
        SQLAlchemy's URL of the database; one with a password by `secret`.
    schema
        Columns of the result; others are ignored. Values have to fit.
    refresh
        How often to run the query again; other rows are used from the next checkpoint on. Default
        never.
    on_change
        What a later start does if the rows are others and there is no `refresh`: "fail", or "take"
        them from there on.
    max_rows
        Rows of the result at most; more are an error.
    max_bytes
        Bytes of memory for one version and its index.
    name
        Under which checkpoints keep the version; default from the query.

    Returns
    -------
    Lookup
        For `Stream.join_lookup`.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.lookup_sql(
    ...     "select id, city from users where active",
    ...     url=fz.secret("USERS_DB"),
    ...     schema={"id": int, "city": str},
    ...     refresh="10m",
    ...     name="users",
    ... )
    Lookup(users), refreshed every 10m
      id: int64 not null
      city: string not null
    """
    if not isinstance(query, str) or not query.strip():
        raise PlanError("lookup_sql got no query", 'write "select id, city from users"')
    if isinstance(url, str):
        _check_url(url)
    elif not isinstance(url, Secret):
        raise TypeMismatch(f"url= got a {type(url).__name__}", 'a text, or fz.secret("USERS_DB")')
    _one_of("on_change", on_change, ("fail", "take"))
    if not isinstance(max_rows, int) or max_rows < 1:
        raise ConfigError(f"max_rows={max_rows!r}", "a number of rows, 1 or more")
    declared = checked(resolve(schema).remove_metadata())
    words = " ".join(query.split())
    short = words if len(words) <= _QUERY_CHARS else words[: _QUERY_CHARS - 3] + "..."
    return Lookup(
        Dimension(
            name=name or f"sql:{short}",
            kind="sql",
            schema=declared,
            options={
                "query": query,
                "url": url.to_json() if isinstance(url, Secret) else url,
                "max_rows": max_rows,
                "schema": schema_text(declared),
            },
            refresh_ms=_refresh(refresh),
            on_change=on_change,
            max_bytes=size_bytes(max_bytes, "max_bytes"),
        )
    )


def _check_url(url: str) -> None:
    """Refuse what has no scheme, and passwords; the text of the error has neither."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        parts, password = urlsplit(""), None
    if not parts.scheme:
        raise PlanError("url= is no URL of a database", 'write "sqlite:///users.db"')
    if password is not None:
        raise PlanError(
            "url= has a password, and secrets are not written into programs",
            'put the URL into an environment variable and write url=fz.secret("USERS_DB")',
        )


def _refresh(refresh: Duration | None) -> int | None:
    return None if refresh is None else duration_ms(refresh, "refresh")


def _one_of(option: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{option}={value!r} is not offered", " or ".join(map(repr, allowed)))


def _chosen(schema: pa.Schema, columns: Sequence[str] | None, origin: str) -> pa.Schema:
    from frazil.stream import column_not_found

    if columns is None:
        return checked(schema)
    if isinstance(columns, str) or not columns:
        raise PlanError(f"columns={columns!r}", 'a list of names: columns=["id", "city"]')
    for column in columns:
        if column not in schema.names:
            raise column_not_found(column, schema, origin)
    return checked(pa.schema([schema.field(column) for column in dict.fromkeys(columns)]))


def _plain(schema: pa.Schema) -> pa.Schema:
    """Types without the encodings of files: dictionaries, views, texts of 64-bit lengths."""

    def plain(type_: pa.DataType) -> pa.DataType:
        if pa.types.is_dictionary(type_):
            return plain(type_.value_type)
        if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
            return pa.string()
        if pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_):
            return pa.binary()
        return type_

    fields = [pa.field(each.name, plain(each.type), each.nullable) for each in schema]
    return pa.schema(fields)
