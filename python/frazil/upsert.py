"""Writing by key: what a stream and its key have to be for rows to replace each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from frazil.changes import changes_of
from frazil.errors import ModeMismatch, PlanError, TypeMismatch
from frazil.node import ExchangeNode, Port
from frazil.types import type_name

UPSERT_KEYS_MAX = 64
"""Columns of a key."""

DELETED_COLUMN = "_deleted"
"""What `deletes="soft"` adds: whether a row is gone."""


def upsert_key(port: Port, key: str | Sequence[str], what: str) -> tuple[str, ...]:
    """Check the key by which a stream's rows replace those of a table.

    Parameters
    ----------
    port
        The stream.
    key
        Columns.
    what
        The writer, for messages.

    Raises
    ------
    PlanError
        The key is none, or not one of the stream.
    """
    from frazil.stream import column_not_found

    names = (key,) if isinstance(key, str) else tuple(key)
    if not 1 <= len(names) <= UPSERT_KEYS_MAX:
        raise PlanError(
            f'{what}: mode="upsert" with a key of {len(names)} columns',
            'say what tells rows apart: key=["id"]',
        )
    for name in names:
        if not isinstance(name, str):
            raise TypeMismatch(f"{what}: key={name!r}", "names of columns are texts")
        if name not in port.schema.names:
            raise column_not_found(name, port.schema, what)
        if names.count(name) > 1:
            raise PlanError(f"{what}: key= names column {name!r} twice", "once is enough")
        _require_key_type(name, port.schema.field(name).type, what)
    _check_changes(port, names, what)
    return names


def by_key(port: Port, key: tuple[str, ...]) -> Port:
    """Bring rows with one key to one worker."""
    return Port(ExchangeNode(port.schema, port, key, (("identity", 0),) * len(key)))


def check_order(port: Port, order_by: str, what: str) -> None:
    """Check the column by which rows of a key are older and newer.

    Raises
    ------
    PlanError
        The stream has no such column, or its values cannot be ordered as a number.
    """
    from frazil.stream import column_not_found

    if order_by not in port.schema.names:
        raise column_not_found(order_by, port.schema, what)
    type_ = port.schema.field(order_by).type
    t = pa.types
    if t.is_uint64(type_) or not (
        t.is_integer(type_) or t.is_timestamp(type_) or t.is_date32(type_)
    ):
        raise TypeMismatch(
            f"{what}: order_by={order_by!r} is {type_name(type_)}",
            "name a column of integers, timestamps or dates, that grows with each change of a row",
        )
    found = changes_of(port)
    if found is not None and found.filled and not port.schema.field(order_by).nullable:
        raise PlanError(
            f"{what}: order_by={order_by!r}: a delete may bring only its key ({found.why}), and "
            "this column is zero then: it would be taken for an old one",
            'order by a column of the events themselves, like metadata=["source.ts_ms"]',
            "or declare the column as one that may be null: such a delete is an error then",
        )


def check_soft(port: Port, what: str) -> None:
    """Check that rows of a stream may go, and that there is room for the column that says so.

    Raises
    ------
    PlanError
        None of its rows ever goes; or it has a column of that name.
    """
    if changes_of(port) is None:
        raise PlanError(
            f'{what}: deletes="soft" of a stream without deletes',
            "leave it out: rows only replace each other",
        )
    if DELETED_COLUMN in port.schema.names:
        raise PlanError(
            f'{what}: deletes="soft" adds the column {DELETED_COLUMN!r}, which the stream has',
            "give that column another name",
        )


def table_schema(schema: pa.Schema, options: Mapping[str, Any]) -> pa.Schema:
    """Columns of the table of a sink: the stream's, and the one that marks rows that are gone.

    Of a row that is gone only the key may be known.

    Parameters
    ----------
    schema
        Of the stream.
    options
        Of the sink.
    """
    deleted = options.get("deleted")
    if deleted is None:
        return schema
    key = options["key"]
    fields = [field if field.name in key else field.with_nullable(True) for field in schema]
    return pa.schema([*fields, pa.field(deleted, pa.bool_(), nullable=False)])


def upsert_state(
    schema: pa.Schema, key: tuple[str, ...], order_by: str | None, *, soft: bool
) -> dict[str, str]:
    """What the sink keeps, in words: a checkpoint fits only a sink that says the same."""
    said = {"key": ", ".join(f"{name}: {_kept(schema.field(name).type)}" for name in key)}
    if order_by is not None:
        said["order_by"] = f"{order_by}: {_kept(schema.field(order_by).type)}"
    if soft:
        said["deletes"] = "soft"
    return said


def _kept(type_: pa.DataType) -> str:
    """The name of a type; integers of all widths are the same key."""
    return "integer" if pa.types.is_integer(type_) else type_name(type_)


def _require_key_type(name: str, type_: pa.DataType, what: str) -> None:
    t = pa.types
    if t.is_floating(type_):
        raise TypeMismatch(
            f"{what}: key column {name!r} is {type_name(type_)}",
            "numbers with fractions are no keys in Iceberg: cast it to a decimal, or to text",
        )
    if t.is_nested(type_) or t.is_null(type_) or isinstance(type_, pa.BaseExtensionType):
        raise TypeMismatch(
            f"{what}: key column {name!r} is {type_name(type_)}",
            "a key is an integer, a decimal, text, bytes, a time or a boolean",
        )


def _check_changes(port: Port, key: tuple[str, ...], what: str) -> None:
    """Rows that the stream says are one have to be one for the table too."""
    found = changes_of(port)
    if found is None:
        return
    if found.key is None:
        raise ModeMismatch(
            f"{what}: the stream's changes have no key any more ({found.why})",
            "keep the key's columns",
        )
    missing = [name for name in found.key if name not in key]
    if missing:
        raise PlanError(
            f"{what}: key={list(key)} lacks {', '.join(map(repr, missing))}: the stream has "
            f"{found} ({found.why})",
            f"write key={list(found.key)}: with fewer columns several rows would be one",
        )
