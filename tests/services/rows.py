"""One form for rows, whichever reader they come from, so that they can be compared."""

import datetime
import decimal
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa


def arrow_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of an Arrow table in the form JavaReader describes.

    Nanosecond timestamps are refused: Arrow has no Python value for them.
    """
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def sorted_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the rows as sorted JSON lines: equal multisets of rows give equal lists."""
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case decimal.Decimal():
            return format(value, "f")
        case bytes():
            return value.hex()
        case uuid.UUID():
            return str(value)
        case datetime.datetime():
            if value.tzinfo is not None:
                value = value.astimezone(datetime.UTC)
            return value.isoformat(timespec="microseconds")
        case datetime.time():
            return value.isoformat(timespec="microseconds")
        case datetime.date():
            return value.isoformat()
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list() | tuple():  # a map comes as a list of pairs
            return [_plain(item) for item in value]
    raise TypeError(f"writing a value of {type(value)}: no form for it")
