"""Compares rows and says how they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from frazil.errors import on_user_line

if TYPE_CHECKING:
    from frazil.secret import Secret
    from pyiceberg.catalog import Catalog as IcebergCatalog

SHOWN_MAX = 10
"""Rows of each kind in a message."""


@on_user_line
def assert_rows(
    found: Sequence[Mapping[str, Any]],
    expected: Sequence[Mapping[str, Any]],
    *,
    ordered: bool = False,
) -> None:
    """Require that rows are the expected ones.

    Parameters
    ----------
    found, expected
        Rows as dicts. Of an expected row only the columns it names are compared. A time without
        zone is one of UTC.
    ordered
        Whether their order has to be the same; how often a row comes counts in any case.

    Raises
    ------
    AssertionError
        It names the rows that are missing, and those that are too many.

    Examples
    --------
    >>> from frazil import testing
    >>> testing.assert_rows([{"id": 2, "n": 1}, {"id": 1, "n": 1}], [{"id": 1}, {"id": 2}])
    >>> testing.assert_rows([{"id": 1}], [{"id": 1}, {"id": 2}])
    Traceback (most recent call last):
        ...
    AssertionError: 1 row found, 2 expected
      missing: {'id': 2}
    """
    names = list(dict.fromkeys(name for row in expected for name in row))
    for row in expected:
        if list(row) != names and set(row) != set(names):
            raise AssertionError(f"expected rows name other columns: {sorted(row)}, {names}")
    for name in names:
        if found and name not in found[0]:
            raise AssertionError(f"rows have no column {name!r}; they have {', '.join(found[0])}")
    seen = [{name: row[name] for name in names} for row in found] if names else list(found)
    unlike = difference(seen, expected)
    if unlike:
        raise AssertionError(unlike)
    if ordered and [_key(row) for row in seen] != [_key(row) for row in expected]:
        at = next(
            number
            for number, (one, other) in enumerate(zip(seen, expected, strict=True))
            if _key(one) != _key(other)
        )
        raise AssertionError(
            f"the rows are in another order, from row {at} on: {dict(seen[at])} found, "
            f"{dict(expected[at])} expected"
        )


@on_user_line
def assert_table(
    table: str,
    expected: Sequence[Mapping[str, Any]],
    *,
    catalog: str | Mapping[str, str | Secret] | IcebergCatalog | None = None,
) -> None:
    """Require that an Iceberg table has the expected rows, as its readers see it.

    Parameters
    ----------
    table
        "namespace.table".
    expected
        As for `assert_rows`.
    catalog
        As in `Stream.write_iceberg`.

    Raises
    ------
    AssertionError
        It names the rows that are missing, and those that are too many.

    Examples
    --------
    >>> import frazil as fz
    >>> from frazil import testing
    >>> sink = fz.read_memory([{"id": 1}]).write_iceberg("shop.asserted")
    >>> report = fz.Pipeline("doc_assert", sink).run(until="now", quiet=True)
    >>> testing.assert_table("shop.asserted", [{"id": 1}])
    """
    from frazil.iceberg.catalog import open_catalog
    from frazil.secret import resolve_secrets
    from frazil.write import catalog_options

    options: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    catalog_options(catalog, options, objects)
    named = resolve_secrets({"catalog": options.get("catalog")})["catalog"]
    opened = open_catalog(objects.get("catalog") or named)
    assert_rows(opened.load_table(table).scan().to_arrow().to_pylist(), expected)


def difference(found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]) -> str:
    """How two multisets of rows differ; "" if they do not."""
    have, want = Counter(map(_key, found)), Counter(map(_key, expected))
    if have == want:
        return ""
    plain = {_key(row): dict(row) for row in (*found, *expected)}
    lines = [f"{_rows(len(found))} found, {len(expected)} expected"]
    for word, left in (("missing", want - have), ("too many", have - want)):
        rows = sorted(left.items())
        for key, times in rows[:SHOWN_MAX]:
            lines.append(f"  {word}: {plain[key]}" + (f" ({times} times)" if times > 1 else ""))
        if len(rows) > SHOWN_MAX:
            lines.append(f"  {word}: {len(rows) - SHOWN_MAX} more")
    return "\n".join(lines)


def _rows(number: int) -> str:
    return f"{number} row" if number == 1 else f"{number} rows"


def _key(row: Mapping[str, Any]) -> str:
    return repr(sorted((name, _value(value)) for name, value in row.items()))


def _value(value: Any) -> str:
    """A value as text that is the same for equal values; NaN is like NaN."""
    match value:
        case bool() | None:
            return repr(value)
        case datetime():
            return repr((value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC))
        case int() | float() | Decimal():
            return _number(value)
        case Mapping():
            return _key(value)
        case list() | tuple():
            return repr([_value(each) for each in value])
    return repr(value)


def _number(value: int | float | Decimal) -> str:
    if value != value or abs(value) == float("inf"):
        return repr(float(value))
    return str(Fraction(value))
