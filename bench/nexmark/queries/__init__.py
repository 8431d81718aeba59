"""The queries that are written, by name; bench/nexmark/README.md says which are not, and why."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.nexmark.query import Query

_NUMBERS = range(23)

QUERIES: dict[str, Query] = {
    f"q{number}": import_module(f"{__name__}.q{number}").QUERY for number in _NUMBERS
}
