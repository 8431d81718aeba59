"""Columns that a table is given while it is written: asked for by workers, which have seen fields.

There is one owner of the schema, the coordinator: it adds what all workers ask for in one commit
(`frazil.iceberg.drift`), and says which fields get no column, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frazil.iceberg.drift import Change, settle, widens
from pyiceberg import types as ice

if TYPE_CHECKING:
    from frazil.drift import Drift
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

Wanted = Mapping[str, Iterable[str]]
"""Types that values of a field were seen to need, by its name; the first one was seen first."""

_TYPES: Mapping[str, ice.IcebergType] = {
    "boolean": ice.BooleanType(),
    "long": ice.LongType(),
    "double": ice.DoubleType(),
    "string": ice.StringType(),
}

_HIDDEN = "__fz_"

# Of Iceberg itself: readers make columns of these names.
_RESERVED = frozenset(
    {
        "_file",
        "_pos",
        "_deleted",
        "_spec_id",
        "_partition",
        "_row_id",
        "_last_updated_sequence_number",
        "_change_type",
        "_change_ordinal",
        "_commit_snapshot_id",
    }
)


@dataclass
class Further:
    """What is done about fields.

    Attributes
    ----------
    changes
        Of the table.
    refused
        Fields that get no column, and why.
    full
        Why there can be no further column at all; "" if there can.
    """

    changes: list[Change] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    full: str = ""

    def answer(self, wanted: Wanted) -> dict[str, Any]:
        """As it is told to the workers."""
        return {
            "answered": [[name, type_] for name, types in wanted.items() for type_ in types],
            "refused": self.refused,
            "full": self.full,
        }


def further_columns(table: Table, wanted: Wanted, drift: Drift) -> Further:
    """Find what a table has to be given so that it has a place for these fields."""
    found = Further()
    columns = {column.name: column for column in table.schema().fields}
    lower = {name.lower(): name for name in columns}
    partitioned = {each.source_id for each in table.spec().fields}
    count = len(columns)
    for name, types in wanted.items():
        if (column := columns.get(name)) is not None:
            if drift._of("on_wider_type", name) == "evolve":
                found.changes += _widened(column, types, column.field_id in partitioned)
            continue
        if (why := _refusal(name, lower)) is not None:
            found.refused[name] = why
        elif count < drift.columns_max:
            count += 1
            lower[name.lower()] = name
            found.changes.append(Change("add", (name,), _TYPES[_widest(list(types))]))
    if count >= drift.columns_max:
        found.full = f"the table has {count} columns, and columns_max={drift.columns_max}"
    return found


def add_columns(
    catalog: Catalog,
    load: Callable[[], Table],
    wanted: Wanted,
    drift: Drift,
    *,
    before_commit: Callable[[], None],
) -> tuple[Table, Further, list[Change]]:
    """Give a table columns for fields, in a commit of its own.

    Parameters
    ----------
    load
        Gives the table as it is now.
    before_commit
        Called before each try of it; what it raises ends that.

    Returns
    -------
    table, further, changes
        The table then; what was said of it last; and what was done in all.

    Raises
    ------
    CommitRefused
        Others changed the schema each time.
    """
    found = Further()

    def needed(table: Table) -> list[Change]:
        nonlocal found
        found = further_columns(table, wanted, drift)
        return found.changes

    table, done = settle(catalog, load, needed, before_commit)
    return table, found, done


def _widened(column: ice.NestedField, types: Iterable[str], partitioned: bool) -> list[Change]:
    for name in types:
        type_ = _TYPES[name]
        if widens(column.field_type, type_, partitioned=partitioned):
            return [Change("widen", (column.name,), type_)]
    return []


def _widest(types: list[str]) -> str:
    """Of types with none in common, the one that was seen first."""
    return "double" if types[0] == "long" and "double" in types else types[0]


def _refusal(name: str, lower: Mapping[str, str]) -> str | None:
    """Why there can be no column of this name."""
    if (other := lower.get(name.lower())) is not None:
        return f"column {other!r} differs from it in case only"
    if not name or name.lower() in _RESERVED or name.startswith(_HIDDEN):
        return "no column can have that name"
    if "." in name or not name.isprintable():
        return "names of columns have no dots, and no characters that cannot be printed"
    return None
