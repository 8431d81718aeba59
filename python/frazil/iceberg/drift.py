"""Differences between the columns of a stream and of its table, and the commit that ends them.

A table's schema is changed by a commit of its own, before any file is written that needs it: field
ids stand in data files. The commit is conditional on the schema and on the last field id that were
read, so that two processes never give one id to two columns; whoever comes second looks again and
goes by names. Only what is harmless without rows is done: add an optional column, widen, make
optional, rename.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from frazil.errors import CommitRefused, SchemaMismatch, nearest
from frazil.iceberg.schema import fields_to_iceberg, type_to_arrow
from pyiceberg import types as ice
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema, index_by_id
from pyiceberg.table.update import AssertLastAssignedFieldId, AssertTableUUID
from pyiceberg.table.update.schema import UpdateSchema

if TYPE_CHECKING:
    import pyarrow as pa
    from frazil.drift import Drift
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

TRIES_MAX = 10
"""How often a change of the schema is tried while others change it too."""

Path = tuple[str, ...]
Kind = Literal["add", "widen", "optional", "rename", "ignore", "set_aside", "narrow", "require"]

_COMMITTED = ("add", "widen", "optional", "rename")


@dataclass(frozen=True)
class Change:
    """Something that is done about a difference.

    Attributes
    ----------
    kind
        "ignore" leaves the table as it is and the column out of what is written. So do those that
        set rows aside: "set_aside", if they have a value in the column; "narrow", if the table's
        type does not have their value; "require", if they have none.
    path
        The column; of a struct, list or map: the names on the way to it.
    type
        Of a column that is added, widened or narrowed.
    name
        The new name of a column that is renamed.
    """

    kind: Kind
    path: Path
    type: ice.IcebergType | None = None
    name: str = ""

    def __str__(self) -> str:
        column = ".".join(self.path)
        match self.kind:
            case "add":
                return f"add column {column} {self.type}"
            case "widen":
                return f"widen column {column} to {self.type}"
            case "optional":
                return f"make column {column} optional"
            case "rename":
                return f"rename column {column} to {self.name}"
            case "ignore":
                return f"leave out column {column}"
            case "set_aside":
                return f"set aside rows with a value in column {column}"
            case "narrow":
                return f"set aside rows with a value in column {column} that is no {self.type}"
            case "require":
                return f"set aside rows without a value in column {column}"


def changes(
    table: Schema, stream: pa.Schema, name: str, drift: Drift, partitioned: Sequence[int] = ()
) -> list[Change]:
    """What has to be done so that rows of a stream can be written to a table.

    Columns go by name. The table may have optional columns that the stream lacks: they get null.

    Parameters
    ----------
    name
        Of the table, for errors.
    partitioned
        Ids of the fields that the table is partitioned by.

    Raises
    ------
    SchemaMismatch
        A difference about which nothing may be done, with the column and what both sides have.
    """
    wanted = Schema(*fields_to_iceberg(stream, itertools.count(1), ""))
    finder = _Finder(name, drift, frozenset(partitioned), frozenset(table.identifier_field_ids))
    return list(finder.structs(table.as_struct(), wanted.as_struct(), ()))


def evolve(
    catalog: Catalog,
    load: Callable[[], Table],
    stream: pa.Schema,
    drift: Drift,
) -> tuple[Table, list[Change]]:
    """Commit what `changes` asks for, until the table is as the stream needs it.

    Parameters
    ----------
    load
        Gives the table as it is now.

    Returns
    -------
    table, changes
        The table then, and what was done in all.

    Raises
    ------
    SchemaMismatch
        As `changes`.
    CommitRefused
        Others changed the schema each time.
    """

    def needed(table: Table) -> list[Change]:
        found = changes_of(table, stream, drift)
        return [change for change in found if change.kind in _COMMITTED]

    return settle(catalog, load, needed)


def settle(
    catalog: Catalog,
    load: Callable[[], Table],
    needed: Callable[[Table], list[Change]],
    before_commit: Callable[[], None] = lambda: None,
) -> tuple[Table, list[Change]]:
    """Commit changes of a table, each try against the table as it is then, until none is needed.

    Returns
    -------
    table, changes
        The table then, and what was done in all.

    Raises
    ------
    CommitRefused
        Others changed the schema each time.
    """
    done: list[Change] = []
    for _ in range(TRIES_MAX):
        table = load()
        changes = needed(table)
        if not changes:
            return table, done
        before_commit()
        try:
            _commit(catalog, table, changes)
        except CommitFailedException:
            continue
        done += changes
    raise CommitRefused(
        f"table {'.'.join(table.name())}: its schema was changed by others {TRIES_MAX} times while "
        f"this process wanted to {changes[0]}",
        "look who changes it, then start again",
        kind="schema_contended",
    )


def changes_of(table: Table, stream: pa.Schema, drift: Drift) -> list[Change]:
    """`changes` of a loaded table."""
    partitioned = [field.source_id for field in table.spec().fields]
    return changes(table.schema(), stream, ".".join(table.name()), drift, partitioned)


def unreadable(written: Schema, now: Schema) -> str | None:
    """Why rows of data files are not seen as they were written; None if they are.

    Parameters
    ----------
    written
        The schema of the data files.
    now
        The table's.
    """
    before, after = index_by_id(written), index_by_id(now)
    for field_id, field in before.items():
        if field_id not in after:
            name = written.find_column_name(field_id)
            return f"column {name!r} was dropped, or made anew"
        if field.required < after[field_id].required:
            return f"column {now.find_column_name(field_id)!r} is required now"
    for field_id, field in after.items():
        if field_id not in before and field.required and field.initial_default is None:
            return f"column {now.find_column_name(field_id)!r} is there now, and required"
    return None


def _commit(catalog: Catalog, table: Table, needed: Sequence[Change]) -> None:
    update = UpdateSchema(table.transaction(), name_mapping=table.name_mapping())
    for change in needed:
        match change.kind:
            case "add":
                assert change.type is not None
                update.add_column(change.path, change.type)
            case "widen":
                update.update_column(change.path, field_type=change.type)
            case "optional":
                update.make_column_optional(change.path)
            case "rename":
                update.rename_column(change.path, change.name)
    updates, requirements = update._commit()
    metadata = table.metadata
    conditions = (
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertLastAssignedFieldId.model_validate(
            {"last-assigned-field-id": metadata.last_column_id}
        ),
        *requirements,
    )
    catalog.commit_table(table, conditions, updates)


class _Finder:
    """Walks two schemas at once."""

    def __init__(
        self, name: str, drift: Drift, partitioned: frozenset[int], key: frozenset[int]
    ) -> None:
        self._name = name
        self._drift = drift
        self._partitioned = partitioned
        self._key = key

    def structs(
        self, table: ice.StructType, stream: ice.StructType, prefix: Path
    ) -> Iterator[Change]:
        theirs = {field.name: field for field in table.fields}
        ours = {field.name: field for field in stream.fields}
        if not prefix:
            for old, new in self._drift.renamed.items():
                if old in theirs and new not in theirs and new in ours and old not in ours:
                    yield Change("rename", (old,), name=new)
                    theirs[new] = theirs.pop(old)
        for column, field in ours.items():
            path = (*prefix, column)
            if column not in theirs:
                yield self._new(field, path, list(theirs))
            else:
                yield from self._known(theirs[column], field, path)
        for column, field in theirs.items():
            if field.required and column not in ours:
                yield self._missing(field, (*prefix, column), list(ours))

    def _new(self, field: ice.NestedField, path: Path, theirs: list[str]) -> Change:
        match self._policy("on_new_column", path):
            case "evolve":
                return Change("add", path, field.field_type)
            case "ignore":
                return Change("ignore", path)
            case "quarantine":
                return Change("set_aside", path)
        near = nearest(path[-1], theirs)
        raise SchemaMismatch(
            f"table {self._name} has no column {'.'.join(path)!r}",
            f"did you mean {'.'.join((*path[:-1], near))!r}?"
            if near
            else f"it has {_some(theirs)}",
            "add it to the table, leave it out of the stream: .drop(...); or write_iceberg(..., "
            'drift=fz.Drift(on_new_column="evolve"))',
        )

    def _known(
        self, table: ice.NestedField, stream: ice.NestedField, path: Path
    ) -> Iterator[Change]:
        for change in self._types(table.field_type, stream.field_type, path, table.field_id):
            if table.required and change.path == path and change.kind in ("ignore", "set_aside"):
                raise self._conflict(
                    table.field_type,
                    stream.field_type,
                    path,
                    "the table requires a value in it, so without the column it takes no row",
                )
            yield change
        if table.required and not stream.required and table.field_id not in self._key:
            match self._policy("on_missing_column", path):
                case "evolve":
                    yield Change("optional", path)
                case "quarantine":
                    yield Change("require", path)

    def _types(
        self, table: ice.IcebergType, stream: ice.IcebergType, path: Path, field_id: int
    ) -> Iterator[Change]:
        match table, stream:
            case ice.StructType(), ice.StructType():
                yield from self.structs(table, stream, path)
            case ice.ListType(), ice.ListType():
                element = (*path, "element")
                yield from self._types(
                    table.element_type, stream.element_type, element, table.element_id
                )
            case ice.MapType(), ice.MapType():
                yield from self._types(
                    table.key_type, stream.key_type, (*path, "key"), table.key_id
                )
                yield from self._types(
                    table.value_type, stream.value_type, (*path, "value"), table.value_id
                )
            case _ if table != stream:
                yield from self._other(table, stream, path, field_id)

    def _other(
        self, table: ice.IcebergType, stream: ice.IcebergType, path: Path, field_id: int
    ) -> Iterator[Change]:
        wider = widens(table, stream, partitioned=field_id in self._partitioned)
        narrower = _holds(stream, table)
        if wider or narrower:
            policy = self._policy("on_wider_type", path)
            if narrower and policy in ("evolve", "quarantine"):
                return  # values are widened when they are written
            if policy == "evolve":
                yield Change("widen", path, stream)
                return
            if policy == "quarantine" and len(path) == 1:
                yield Change("narrow", path, table)
                return
        elif len(path) == 1:
            policy = self._policy("on_type_conflict", path)
            if policy in ("ignore", "quarantine"):
                yield Change("ignore" if policy == "ignore" else "set_aside", path)
                return
        option = 'or write_iceberg(..., drift=fz.Drift(on_wider_type="evolve"))'
        raise self._conflict(table, stream, path, option if wider or narrower else "")

    def _conflict(
        self, table: ice.IcebergType, stream: ice.IcebergType, path: Path, more: str
    ) -> SchemaMismatch:
        return SchemaMismatch(
            f"column {'.'.join(path)!r} is {stream} in the stream and {table} in table "
            f"{self._name}",
            f"cast it before writing, to {type_to_arrow(table) if table.is_primitive else table}",
            more,
        )

    def _missing(self, field: ice.NestedField, path: Path, ours: list[str]) -> Change:
        if field.field_id not in self._key and self._policy("on_missing_column", path) == "evolve":
            return Change("optional", path)
        shown = _some([".".join((*path[:-1], each)) for each in ours])
        raise SchemaMismatch(
            f"table {self._name} requires column {'.'.join(path)!r} and the stream does not have "
            f"it",
            f"the stream has {shown}",
            "add it to the stream: .with_columns(...), make it optional in the table; or "
            'write_iceberg(..., drift=fz.Drift(on_missing_column="evolve"))',
        )

    def _policy(self, name: str, path: Path) -> str:
        return self._drift._of(name, ".".join(path))


def widens(table: ice.IcebergType, to: ice.IcebergType, *, partitioned: bool) -> bool:
    """Whether a column may be widened to a type; `partitioned`: the table is, by it."""
    if partitioned and isinstance(to, ice.DoubleType):
        return False  # a double has other partition values than the float it was
    return _holds(table, to)


def _holds(narrow: ice.IcebergType, wide: ice.IcebergType) -> bool:
    """Whether a column may be widened from one type to the other, by Iceberg's rules."""
    match narrow, wide:
        case ice.IntegerType(), ice.LongType():
            return True
        case ice.FloatType(), ice.DoubleType():
            return True
        case ice.DecimalType(), ice.DecimalType():
            return narrow.scale == wide.scale and narrow.precision < wide.precision
    return False


def _some(names: list[str], shown: int = 8) -> str:
    rest = len(names) - shown
    text = ", ".join(names[:shown]) or "no columns"
    return f"{text} and {rest} more" if rest > 0 else text
