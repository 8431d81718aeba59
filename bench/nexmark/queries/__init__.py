"""The queries that are written, by name; bench/nexmark/README.md says which are not, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.nexmark.queries import q0, q1, q2, q10, q11, q12, q13, q14, q15, q16, q17, q21, q22

if TYPE_CHECKING:
    from bench.nexmark.query import Query

QUERIES: dict[str, Query] = {
    module.__name__.rpartition(".")[2]: module.QUERY
    for module in (q0, q1, q2, q10, q11, q12, q13, q14, q15, q16, q17, q21, q22)
}
