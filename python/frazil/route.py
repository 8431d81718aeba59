"""Many tables in one sink: each row says by its columns which table it is for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import TYPE_CHECKING

import pyarrow as pa
from frazil.errors import PlanError, TypeMismatch, on_user_line
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.node import Json

TABLES_MAX = 1_000
"""Tables of one sink, unless the program says another number."""

TABLES_MAX_MAX = 5_000
"""Tables of one sink that a program may ask for: a manifest names each of them."""

TABLE_NAME_CHARS_MAX = 200
"""Characters of the name of a table that is made of a row's values."""

_COLUMNS_MAX = 8
_LITERAL = re.compile(r"[A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Route:
    """A pattern of tables, made by `route`."""

    pattern: str
    tables_max: int = TABLES_MAX
    keep: bool = True
    pieces: tuple[tuple[str, str | None], ...] = field(default=(), repr=False)

    def _columns(self, schema: pa.Schema, what: str) -> tuple[str, ...]:
        """The stream's columns that it names, each once.

        Raises
        ------
        ColumnNotFound, TypeMismatch
            There is no such column, or it is no text.
        """
        return tuple(dict.fromkeys(_column(name, schema, what) for name in self._names()))

    def _to_json(self, schema: pa.Schema, what: str) -> Json:
        """As it stands in a plan."""
        columns = self._columns(schema, what)
        pieces = [
            [text, None if name is None else columns.index(_column(name, schema, what))]
            for text, name in self.pieces
        ]
        return {
            "columns": list(columns),
            "pieces": pieces,
            "tables_max": self.tables_max,
            "keep": self.keep,
        }

    def _names(self) -> list[str]:
        return [name for _, name in self.pieces if name is not None]


@on_user_line
def route(pattern: str, *, tables_max: int = TABLES_MAX, keep: bool = True) -> Route:
    """Name tables after columns of the rows, for the `table` of ``write_iceberg``.

    Parameters
    ----------
    pattern
        "namespace.table" with columns in braces: "crm.{schema}_{table}". Where the stream has no
        column of that name, ``{table}`` is the metadata column ``_source_table`` of change events,
        and ``{topic}`` is ``_topic``.
    tables_max
        Tables that there may be: one more ends the run.
    keep
        Whether the columns of the pattern are written to the tables too.

    Returns
    -------
    Route
        For ``write_iceberg``.

    Examples
    --------
    >>> import frazil as fz
    >>> orders = fz.read_memory([{"id": 1, "country": "DE"}])
    >>> orders.write_iceberg(fz.route("shop.orders_{country}"))
    Sink(iceberg shop.orders_{country})
    """
    pieces = _pieces(pattern)
    named = [name for _, name in pieces if name is not None]
    if not 1 <= len(named) <= _COLUMNS_MAX:
        raise PlanError(
            f"{pattern!r} has {len(named)} columns in braces",
            'name tables after 1 to 8 columns: fz.route("crm.{schema}_{table}")',
        )
    for text, _ in pieces:
        if not _LITERAL.fullmatch(text):
            raise PlanError(
                f"{pattern!r}: {text!r} is in no name of a table", "letters, digits, _ and -"
            )
    levels = "".join(text + ("" if name is None else "x") for text, name in pieces).split(".")
    if len(levels) < 2 or not all(levels) or len(pattern) > TABLE_NAME_CHARS_MAX:
        raise PlanError(
            f"{pattern!r} names no tables",
            f'write "namespace.{{column}}", with up to {TABLE_NAME_CHARS_MAX} characters',
        )
    if not 1 <= tables_max <= TABLES_MAX_MAX:
        raise PlanError(f"tables_max={tables_max}", f"from 1 to {TABLES_MAX_MAX}")
    return Route(pattern, tables_max, keep, pieces)


def table_name(pieces: Sequence[Sequence[object]], values: Sequence[str]) -> str:
    """The table of rows with these values, by a route as it stands in a plan."""
    return "".join(
        str(text) + ("" if number is None else values[int(str(number))]) for text, number in pieces
    )


def written_schema(schema: pa.Schema, spec: Json) -> pa.Schema:
    """Columns of the tables."""
    if spec["keep"]:
        return schema
    return pa.schema([column for column in schema if column.name not in spec["columns"]])


def routed(table: str | Route, schema: pa.Schema) -> tuple[str, Json | None, pa.Schema]:
    """What names the tables, how as it stands in a plan (None: it is one), and their columns."""
    if not isinstance(table, Route):
        return table, None, schema
    spec = table._to_json(schema, f"write_iceberg of {table.pattern}")
    return table.pattern, spec, written_schema(schema, spec)


def check_key(schema: pa.Schema, key: Sequence[str], what: str) -> None:
    """Refuse a key that tables do not have."""
    if missing := [name for name in key if name not in schema.names]:
        raise PlanError(
            f"{what}: key column {missing[0]!r} is not written",
            "say fz.route(..., keep=True), or leave it out of the key",
        )


def _pieces(pattern: str) -> tuple[tuple[str, str | None], ...]:
    try:
        parsed = list(Formatter().parse(pattern))
    except (ValueError, TypeError):
        parsed = []
    if not parsed or any(spec or conversion for _, _, spec, conversion in parsed):
        raise PlanError(
            f"{pattern!r} is no pattern of tables", 'write columns in braces: "crm.{table}"'
        )
    return tuple((text, name) for text, name, _, _ in parsed)


def _column(name: str, schema: pa.Schema, what: str) -> str:
    from frazil.stream import column_not_found

    for known in (name, f"_source_{name}", f"_{name}"):
        if name and known in schema.names:
            type_ = schema.field(known).type
            if not (pa.types.is_string(type_) or pa.types.is_large_string(type_)):
                raise TypeMismatch(
                    f"{what}: column {known!r} is {type_name(type_)}",
                    "tables are named after texts: cast it to str",
                )
            return known
    raise column_not_found(name, schema, what)
