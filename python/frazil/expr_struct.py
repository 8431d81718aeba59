"""`Expr.struct`: fields of structs."""

from __future__ import annotations

from frazil.expr import Expr, call


class StructMethods:
    """What can be done with structs."""

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def field(self, name: str) -> Expr:
        """Value of a field; null where the struct is null."""
        return call("struct_field", self._expr, options={"name": name})

    def __getitem__(self, name: str) -> Expr:
        return self.field(name)
