"""What a sink does when its stream and its table no longer have the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa
from frazil.errors import ConfigError, TypeMismatch
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.node import Json

Policy = Literal["evolve", "ignore", "quarantine", "stop"]

COLUMNS_MAX = 1_000
"""Columns up to which a table is given further ones while it is written."""

COLUMNS_MAX_MAX = 10_000
"""Columns that a program may ask for: each data file names all of them."""

EVERY = "*"
"""Stands for all columns that a mapping does not name."""

_OFFERED = {
    "on_new_column": ("evolve", "ignore", "quarantine", "stop"),
    "on_wider_type": ("evolve", "quarantine", "stop"),
    "on_missing_column": ("evolve", "quarantine", "stop"),
    "on_type_conflict": ("ignore", "quarantine", "stop"),
}


# That are also about fields of a column that is expanded.
_OF_FIELDS = ("on_new_column", "on_wider_type", "on_type_conflict")


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What is done about columns that differ between a stream and its Iceberg table.

    Each policy is a word, or a mapping from columns (of a struct: with dots) to words, in which "*"
    stands for all others. The table's schema is changed by a commit of its own before rows are
    written that need it. Without a policy such a difference refuses the start. With "quarantine"
    the table stays as it is, and rows whose values it has no place for are dead letters: the
    pipeline needs ``dead_letters=``.

    Parameters
    ----------
    on_new_column
        The stream has a column that the table lacks: "evolve" adds it to the table, null in the
        rows that are there; "ignore" does not write it; "quarantine" sets rows with a value in it
        aside.
    on_wider_type
        The stream has a type that holds more: "evolve" widens the column (int to long, float to
        double, a decimal to more digits); "quarantine" sets rows aside whose value the table's type
        does not have. If it is the table that holds more, values are widened.
    on_missing_column
        The table requires a column that the stream lacks, or in which it may have nulls: "evolve"
        makes it optional; "quarantine" sets rows with a null in it aside.
    on_type_conflict
        Types that have nothing to do with each other: "ignore" does not write the column;
        "quarantine" sets rows with a value in it aside.
    renamed
        New names of columns by their old ones: a column of the table that has an old name is given
        the new one; it keeps its rows.
    expand
        A column with the rest of an object (`field` with ``rest=True``): while the pipeline runs,
        fields in it go into columns of their own, which are added to the table as `on_new_column`
        says; with `on_wider_type` columns are widened too. A value that does not fit its column is
        a type conflict: "ignore" leaves it in the rest. What gets no column stays there.
    columns_max
        Columns of the table up to which further ones are added while the pipeline runs. A field
        beyond that is a type conflict.

    Examples
    --------
    >>> import frazil as fz
    >>> orders = fz.read_memory([{"id": 1, "note": "new"}])
    >>> orders.write_iceberg("shop.orders", drift=fz.Drift(on_new_column="evolve"))
    Sink(iceberg shop.orders)
    """

    on_new_column: Policy | Mapping[str, Policy] = "stop"
    on_wider_type: Policy | Mapping[str, Policy] = "stop"
    on_missing_column: Policy | Mapping[str, Policy] = "stop"
    on_type_conflict: Policy | Mapping[str, Policy] = "stop"
    renamed: Mapping[str, str] = field(default_factory=dict)
    expand: str | None = None
    columns_max: int = COLUMNS_MAX

    def __post_init__(self) -> None:
        """Check the policies.

        Raises
        ------
        ConfigError
            One is not offered.
        """
        for name, offered in _OFFERED.items():
            for column, policy in _by_column(getattr(self, name)).items():
                if policy not in offered:
                    where = "" if column == EVERY else f" of {column!r}"
                    raise ConfigError(
                        f"{name}={policy!r}{where} is not offered",
                        "one of " + ", ".join(map(repr, offered)),
                    )
        new = list(self.renamed.values())
        for name in new:
            if new.count(name) > 1 or name in self.renamed:
                raise ConfigError(f"renamed: {name!r} is named twice", "one new name for each old")
        if not 1 <= self.columns_max <= COLUMNS_MAX_MAX:
            raise ConfigError(f"columns_max={self.columns_max}", f"from 1 to {COLUMNS_MAX_MAX}")
        if self.expand is not None and (names := self._quarantining(_OF_FIELDS)):
            raise ConfigError(
                f'{names[0]}="quarantine" with expand={self.expand!r}',
                "which column a field of the rest has is known where it is written, behind the "
                'check for dead letters: "ignore" leaves it in the rest, so that nothing is lost',
            )

    def _quarantining(self, names: Sequence[str] = tuple(_OFFERED)) -> list[str]:
        """Those of some policies that set rows aside."""
        return [n for n in names if "quarantine" in _by_column(getattr(self, n)).values()]

    def _of(self, name: str, column: str) -> Policy:
        """The policy of a kind of difference for a column."""
        policies = _by_column(getattr(self, name))
        return policies.get(column, policies.get(EVERY, "stop"))

    def to_json(self) -> Json:
        """As it stands in a plan."""
        named = {name: _by_column(getattr(self, name)) for name in _OFFERED}
        made: Json = {**named, "renamed": dict(self.renamed)}
        if self.expand is not None:
            made |= {"expand": self.expand, "columns_max": self.columns_max}
        return made

    @classmethod
    def _from_json(cls, plan: Mapping[str, Any] | None) -> Drift:
        """Out of a plan; None is no policy."""
        return cls(**(plan or {}))


def drift_of(given: Drift | Policy | None, routed: bool, soft: bool) -> Drift | None:
    """The policies of a writer: a word stands for all that offer it.

    Parameters
    ----------
    routed
        There are many tables.
    soft
        Deleted rows stay, so what a delete brings is written.

    Raises
    ------
    ConfigError
        It is neither; or it sets rows aside where the check for dead letters cannot know them.
    """
    if given is None:
        return None
    if not isinstance(given, Drift):
        if given not in get_args(Policy):
            words = ", ".join(f'"{word}"' for word in get_args(Policy))
            raise ConfigError(f"drift={given!r} is not offered", f"{words} or Drift")
        chosen = {name: given for name, offered in _OFFERED.items() if given in offered}
        given = Drift(**chosen)  # type: ignore[arg-type]
    if routed and (names := given._quarantining()):
        raise ConfigError(
            f'{names[0]}="quarantine" with fz.route',
            "what one of many tables lacks is not known before its first row is written: "
            '"evolve" or "ignore", or a sink for each table',
        )
    if soft and given._quarantining(["on_wider_type"]):
        raise ConfigError(
            'on_wider_type="quarantine" with deletes="soft"',
            "a delete may bring a value that the table's type does not have, and is no letter: "
            'on_wider_type="evolve"',
        )
    return given


def expanded_state(
    drift: Drift, schema: pa.Schema, key: Sequence[str], what: str
) -> dict[str, str]:
    """What a sink keeps, in words, as the fields of a column become columns: it is checked.

    Raises
    ------
    ColumnNotFound, TypeMismatch
        The stream has no such column, or it cannot have the rest of an object.
    """
    from frazil.stream import column_not_found

    name = drift.expand
    if name is None:
        return {}
    if name not in schema.names:
        raise column_not_found(name, schema, what)
    column = schema.field(name)
    if column.type != pa.string() or not column.nullable or name in key:
        raise TypeMismatch(
            f"{what}: expand={name!r} is {type_name(column.type)}"
            + (", of the key" if name in key else "" if column.nullable else ", never null"),
            "declare a column for the rest of an object: rest: str | None = fz.field(rest=True)",
        )
    return {"rows for new columns": f"of {name}"}


def _by_column(policy: Policy | Mapping[str, Policy]) -> dict[str, Policy]:
    return dict(policy) if isinstance(policy, Mapping) else {EVERY: policy}
