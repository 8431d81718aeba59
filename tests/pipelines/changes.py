"""What has to hold of every stream of changes, whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def fold(log: Sequence[dict[str, Any]], key: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that are left after a log, each step of which is checked.

    A new key is inserted; an update says what was there before, and comes right behind that; and a
    delete takes away what is there.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    updated: tuple[Any, ...] | None = None
    for change in log:
        row = {name: value for name, value in change.items() if name != "_kind"}
        place = tuple(row[name] for name in key)
        kind = change["_kind"]
        assert (kind == "update_after") == (updated is not None)
        if kind == "insert":
            assert place not in rows, change
        elif kind == "update_after":
            assert place == updated, change
            assert repr(rows[place]) != repr(row), change
        else:
            assert repr(rows[place]) == repr(row), change
        updated = place if kind == "update_before" else None
        if kind == "delete":
            del rows[place]
        elif kind != "update_before":
            rows[place] = row
    assert updated is None
    return list(rows.values())
