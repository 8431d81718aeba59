"""Aggregates as methods of expressions: `col("amount").sum()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frazil.duration import Size, size_bytes

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

    def any_value(self) -> Aggregate:
        """Some value, the same one in every run: for what is equal in all rows of a group."""
        return _aggregate("any_value", self)

    def variance(self, *, ddof: int = 1) -> Aggregate:
        """Variance; `ddof` is 1 for that of a sample, 0 for that of all there is."""
        return _aggregate("variance", self, ddof=ddof)

    def stddev(self, *, ddof: int = 1) -> Aggregate:
        """Standard deviation; `ddof` is 1 for that of a sample, 0 for that of all there is."""
        return _aggregate("stddev", self, ddof=ddof)

    def first(self, *, ignore_nulls: bool = True) -> Aggregate:
        """Value of the earliest row by event time; among equal times by partition and position."""
        return _aggregate("first", self, ignore_nulls=ignore_nulls)

    def last(self, *, ignore_nulls: bool = True) -> Aggregate:
        """Value of the latest row by event time; among equal times by partition and position."""
        return _aggregate("last", self, ignore_nulls=ignore_nulls)

    def arg_min(self, by: Value, *, ignore_nulls: bool = True) -> Aggregate:
        """Value of the row where `by` is smallest; of several rows of the first."""
        return _aggregate("arg_min", self, by, ignore_nulls=ignore_nulls)

    def arg_max(self, by: Value, *, ignore_nulls: bool = True) -> Aggregate:
        """Value of the row where `by` is largest; of several rows of the last."""
        return _aggregate("arg_max", self, by, ignore_nulls=ignore_nulls)

    def any(self) -> Aggregate:
        """Whether one value is true."""
        return _aggregate("any", self)

    def all(self) -> Aggregate:
        """Whether no value is false."""
        return _aggregate("all", self)

    def count_distinct(self, *, max_bytes: Size = "16MiB") -> Aggregate:
        """Exact number of different values, which take up to `max_bytes` a group."""
        return _aggregate("count_distinct", self, max_bytes=size_bytes(max_bytes, "max_bytes"))

    def approx_count_distinct(self, *, bits: int = 12) -> Aggregate:
        """Number of different values within a standard error of 1.04 / 2^(bits / 2)."""
        return _aggregate("approx_count_distinct", self, bits=bits)

    def quantile(
        self, q: float | Sequence[float], *, accuracy: float = 0.01, max_bins: int = 2048
    ) -> Aggregate:
        """Value below which a share `q` of the values lies, within a relative accuracy.

        Several `q` give a list.
        """
        shares = q if isinstance(q, int | float) else [*q]
        return _aggregate("quantile", self, q=shares, accuracy=accuracy, max_bins=max_bins)

    def top_k(self, k: int = 10, *, by: Value = None, smallest: bool = False) -> Aggregate:
        """Largest (or smallest) `k` values, best first; or the values where `by` is largest."""
        others = () if by is None else (by,)
        return _aggregate("top_k", self, *others, k=k, smallest=smallest)

    def most_common(self, k: int = 10, *, max_bytes: Size = "16MiB") -> Aggregate:
        """The `k` values that occur most often, and how often."""
        bound = size_bytes(max_bytes, "max_bytes")
        return _aggregate("most_common", self, k=k, max_bytes=bound)

    def collect_list(self, *, ignore_nulls: bool = True, max_bytes: Size = "16MiB") -> Aggregate:
        """All values, as a list in the order of event time, partition and position."""
        bound = size_bytes(max_bytes, "max_bytes")
        return _aggregate("collect_list", self, ignore_nulls=ignore_nulls, max_bytes=bound)

    def collect_set(self, *, max_bytes: Size = "16MiB") -> Aggregate:
        """The different values, as a list in their own order."""
        return _aggregate("collect_set", self, max_bytes=size_bytes(max_bytes, "max_bytes"))


def _aggregate(function: str, first: Any, *others: Value, **options: Any) -> Aggregate:
    from frazil.expr import as_expr
    from frazil.expr_aggregate import Aggregate

    args: tuple[Expr, ...] = (first, *map(as_expr, others))
    return Aggregate(function, args, options)
