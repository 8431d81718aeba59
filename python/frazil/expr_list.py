"""`Expr.list`: functions of lists and maps."""

from __future__ import annotations

from frazil.expr import Expr, Value, call


class ListMethods:
    """What can be done with lists, and with maps."""

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def len(self) -> Expr:
        """Number of elements."""
        return call("list_length", self._expr)

    def get(self, index: int) -> Expr:
        """Element at a position, from 0, or from the end with -1; null where there is none."""
        return call("list_get", self._expr, options={"index": index})

    def first(self) -> Expr:
        """First element; null where there is none."""
        return self.get(0)

    def last(self) -> Expr:
        """Last element; null where there is none."""
        return self.get(-1)

    def contains(self, value: Value) -> Expr:
        """True where one of the elements equals `value`."""
        return call("list_contains", self._expr, value)

    def join(self, separator: str) -> Expr:
        """Join the strings of the list; null where one of them is null."""
        return call("list_join", self._expr, separator)

    def lookup(self, key: Value) -> Expr:
        """Value of a map at a key; null where there is none."""
        return call("map_get", self._expr, key)
