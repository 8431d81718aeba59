"""What streams have to do with joins: `join_lookup`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from frazil import _engine
from frazil.changes import refuse_changes, require_whole
from frazil.errors import ColumnExists, PlanError, TypeMismatch, on_user_line
from frazil.lookup import Lookup
from frazil.node import LookupNode, Port
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.stream import Stream

How = Literal["inner", "left", "semi", "anti"]

LOOKUP_KEYS_MAX = 64
"""Columns of the key of one join."""


class JoinMethods:
    """The methods of a stream that join it with something."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def join_lookup(
        self: Any,
        dim: Lookup,
        on: str | Sequence[str] | Mapping[str, str],
        *,
        how: How = "inner",
        suffix: str = "_b",
        duplicates: Literal["fail", "all"] = "fail",
    ) -> Stream:
        """Look each row up in a table that fits into memory.

        Rows keep their event time. Null equals nothing, so such a row has no partner.

        Parameters
        ----------
        dim
            What `lookup_parquet`, `lookup_iceberg` or `lookup_sql` gave.
        on
            Columns of the key: a name, names, or ``{"column of the stream": "column of dim"}``.
        how
            "inner" keeps rows with a partner, "left" all, with nulls where there is none; "semi"
            keeps rows with a partner and "anti" those without, both without columns of `dim`.
        suffix
            Put behind the name of a column of `dim` that the stream has too.
        duplicates
            What to do if several rows of `dim` have the same key: "fail", or "all" gives a row for
            each of them. It makes no difference to "semi" and "anti".

        Returns
        -------
        Stream
            The stream's columns, then those of `dim` but its key.

        Raises
        ------
        ColumnNotFound, ColumnExists, TypeMismatch
            If a key is not there, or not the same type on both sides; if a name would be there
            twice.

        Examples
        --------
        >>> import frazil as fz
        >>> users = fz.lookup_sql(
        ...     "select id, city from users",
        ...     url=fz.secret("USERS_DB"),
        ...     schema={"id": int, "city": str},
        ...     name="users",
        ... )
        >>> orders = fz.read_memory([{"user_id": 1, "amount": 12.5}])
        >>> orders.join_lookup(users, on={"user_id": "id"}, how="left")
        Stream(append) <- memory
          user_id: int64
          amount: double
          city: string
        """
        from frazil.stream import Stream

        if not isinstance(dim, Lookup):
            raise TypeMismatch(
                f"join_lookup got a {type(dim).__name__}",
                'give fz.lookup_parquet("users.parquet"), lookup_iceberg or lookup_sql',
            )
        _one_of("how", how, ("inner", "left", "semi", "anti"))
        if how != "left":
            require_whole(self._port, f"join_lookup with how={how!r}", 'take how="left"')
        _one_of("duplicates", duplicates, ("fail", "all"))
        if not isinstance(suffix, str):
            raise TypeMismatch(f"suffix={suffix!r}", 'a text: suffix="_b"')
        if duplicates == "all":
            refuse_changes(self._port, 'join_lookup with duplicates="all"')
        keys, theirs = _keys(self, dim, on)
        take = () if how in ("semi", "anti") else _taken(self, dim, theirs, suffix)
        table = dim.schema
        fields = list(self._port.schema.remove_metadata())
        for column, name in take:
            field = table.field(column)
            fields.append(pa.field(name, field.type, field.nullable or how == "left"))
        return Stream(
            Port(
                LookupNode(
                    pa.schema(fields),
                    self._port,
                    dim._dimension,
                    how,
                    keys,
                    theirs,
                    take,
                    duplicates,
                )
            )
        )


def _keys(stream: Any, dim: Lookup, on: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns of the key, of the stream and of the table."""
    from frazil.stream import column_not_found

    if isinstance(on, str):
        pairs = [(on, on)]
    elif isinstance(on, Mapping):
        pairs = list(on.items())
    elif isinstance(on, Sequence):
        pairs = [(name, name) for name in on]
    else:
        raise TypeMismatch(
            f"on={on!r}", 'a name, names, or {"column of the stream": "column of the table"}'
        )
    if not 1 <= len(pairs) <= LOOKUP_KEYS_MAX:
        raise PlanError(f"join_lookup on {len(pairs)} columns", f"1 to {LOOKUP_KEYS_MAX}")
    for name, column in pairs:
        stream._require(name)
        if not isinstance(column, str):
            raise TypeMismatch(f"{column!r} is no name of a column of {dim.name}", "give a text")
        if column not in dim.schema.names:
            raise column_not_found(column, dim.schema, dim.name)
        _require_same(stream, dim, name, column)
    names = [name for name, _ in pairs]
    columns = [column for _, column in pairs]
    for listed, where in ((names, stream._origin()), (columns, dim.name)):
        for name in listed:
            if listed.count(name) > 1:
                raise PlanError(f"on= names column {name!r} of {where} twice", "once is enough")
    return tuple(names), tuple(columns)


def _require_same(stream: Any, dim: Lookup, name: str, column: str) -> None:
    ours, theirs = stream._port.schema.field(name).type, dim.schema.field(column).type
    pair = pa.schema([pa.field("a", ours), pa.field("b", theirs)])
    can, they_can, same = _engine.lookup_key(pair)
    for able, type_, what in (
        (can, ours, f"{name!r} of {stream._origin()}"),
        (they_can, theirs, f"{column!r} of {dim.name}"),
    ):
        if not able:
            raise TypeMismatch(
                f"join_lookup on column {what}, which is {type_name(type_)}",
                "keys are numbers, texts, bytes, times or booleans: cast it",
            )
    if not same:
        raise TypeMismatch(
            f"join_lookup on {name!r}, which is {type_name(ours)} in {stream._origin()} and "
            f"{type_name(theirs)} in {dim.name}",
            f"cast the stream's: with_columns({name}=col({name!r}).cast({_spelled(theirs)}))",
        )


def _spelled(type_: pa.DataType) -> str:
    if pa.types.is_timestamp(type_):
        zone = f", {type_.tz!r}" if type_.tz else ""
        return f"pa.timestamp({type_.unit!r}{zone})"
    if pa.types.is_decimal(type_):
        return f"pa.decimal128({type_.precision}, {type_.scale})"
    return f"pa.{type_name(type_)}()".replace("pa.double()", "pa.float64()")


def _taken(
    stream: Any, dim: Lookup, keys: tuple[str, ...], suffix: str
) -> tuple[tuple[str, str], ...]:
    """The table's other columns, and their names in the result."""
    names = list(stream._port.schema.names)
    take = []
    for column in dim.schema.names:
        if column in keys:
            continue
        name = column + suffix if column in names else column
        if name in names:
            raise ColumnExists(
                f"column {column!r} of {dim.name} would be {name!r}, which is there already",
                "give another suffix=, or choose columns= of the lookup table",
            )
        names.append(name)
        take.append((column, name))
    return tuple(take)


def _one_of(option: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise PlanError(f"{option}={value!r} is not offered", " or ".join(map(repr, allowed)))
