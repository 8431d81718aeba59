"""Rows, random aggregates over minutes of them, and what plain Python makes of these."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import frazil as fz
from frazil import col
from hypothesis import strategies as st

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROWS = [
    {"a": i % 2, "b": i * 3 % 7, "c": i % 3, "at": BEGIN + timedelta(seconds=i * 17 % 130)}
    for i in range(20)
]


def mark(batch: Any) -> Any:
    return batch


def aggregates(draw: Callable) -> tuple[dict[str, Any], Callable[[list[dict]], dict[str, Any]]]:
    """Aggregates, and how plain Python computes them of the rows of a window."""
    x, y = draw(st.sampled_from("abc")), draw(st.sampled_from("abc"))
    least = draw(st.integers(0, 3))
    known: dict[str, tuple[Any, Callable[[list[dict]], Any]]] = {
        "n": (fz.count(), len),
        "s": (col(x).sum(), lambda rows: sum(row[x] for row in rows)),
        "two": ((col(x) + col(y)).max(), lambda rows: max(row[x] + row[y] for row in rows)),
        "some": (
            fz.count().filter(col(y) >= least),
            lambda rows: sum(row[y] >= least for row in rows),
        ),
        "more": (
            col(x).sum() + fz.count() * 2,
            lambda rows: sum(row[x] for row in rows) + 2 * len(rows),
        ),
    }
    names = draw(st.lists(st.sampled_from(list(known)), min_size=1, unique=True))

    def compute(rows: list[dict]) -> dict[str, Any]:
        return {name: known[name][1](rows) for name in names}

    return {name: known[name][0] for name in names}, compute


def grouped(rows: list[dict], keys: list[str], compute: Callable[[list[dict]], Any]) -> list[dict]:
    groups: dict[Any, list[dict]] = {}
    for row in rows:
        start = row["at"].replace(second=0)
        groups.setdefault((*(row[key] for key in keys), start), []).append(row)
    return [
        {
            **dict(zip(keys, by, strict=False)),
            "window_start": by[-1],
            "window_end": by[-1] + MINUTE,
            **compute(members),
        }
        for by, members in groups.items()
    ]


def in_order(rows: list[dict]) -> list[str]:
    return sorted(str([(name, str(value)) for name, value in row.items()]) for row in rows)
