"""Aggregates as methods of expressions: `col("amount").sum()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frazil.expr import Expr, Value
    from frazil.expr_aggregate import Aggregate


class AggregateMethods:
    """What can be computed of all the rows of a group; nulls are left out."""

    __slots__ = ()

    def count(self) -> Aggregate:
        """Rows where the value is not null."""
        return _aggregate("count", self)

    def sum(self) -> Aggregate:
        """Sum; integers and decimals that overflow are an error, sums of floats are exact."""
        return _aggregate("sum", self)

    def mean(self) -> Aggregate:
        """Arithmetic mean."""
        return _aggregate("mean", self)

    def min(self) -> Aggregate:
        """Smallest value; NaN is larger than every number."""
        return _aggregate("min", self)

    def max(self) -> Aggregate:
        """Largest value; NaN is larger than every number."""
        return _aggregate("max", self)

    def variance(self, *, ddof: int = 1) -> Aggregate:
        """Variance; `ddof` is 1 for that of a sample, 0 for that of all there is."""
        return _aggregate("variance", self, ddof=ddof)

    def stddev(self, *, ddof: int = 1) -> Aggregate:
        """Standard deviation; `ddof` is 1 for that of a sample, 0 for that of all there is."""
        return _aggregate("stddev", self, ddof=ddof)

    def first(self) -> Aggregate:
        """Value of the earliest row by event time; among equal times by partition and position."""
        return _aggregate("first", self)

    def last(self) -> Aggregate:
        """Value of the latest row by event time; among equal times by partition and position."""
        return _aggregate("last", self)

    def arg_min(self, by: Value) -> Aggregate:
        """Value of the row where `by` is smallest; of several the earliest."""
        return _aggregate("arg_min", self, by)

    def arg_max(self, by: Value) -> Aggregate:
        """Value of the row where `by` is largest; of several the earliest."""
        return _aggregate("arg_max", self, by)

    def any(self) -> Aggregate:
        """Whether one value is true."""
        return _aggregate("any", self)

    def all(self) -> Aggregate:
        """Whether no value is false."""
        return _aggregate("all", self)

    def count_distinct(self, *, approximate: bool = False) -> Aggregate:
        """Number of different values; approximate counts take a bounded number of bytes a group."""
        return _aggregate("count_distinct", self, approximate=approximate)

    def quantile(self, q: float) -> Aggregate:
        """Value below which a share `q` of the values lies, by a sketch of bounded error."""
        return _aggregate("quantile", self, q=q)

    def top_k(self, k: int) -> Aggregate:
        """Largest `k` values, as a list, the largest first."""
        return _aggregate("top_k", self, k=k)

    def collect_list(self) -> Aggregate:
        """All values, as a list in the order of event time."""
        return _aggregate("collect_list", self)

    def collect_set(self) -> Aggregate:
        """The different values, as a list in their own order."""
        return _aggregate("collect_set", self)


def _aggregate(function: str, first: Any, *others: Value, **options: Any) -> Aggregate:
    from frazil.expr import as_expr
    from frazil.expr_aggregate import Aggregate

    args: tuple[Expr, ...] = (first, *map(as_expr, others))
    return Aggregate(function, args, options)
