"""`Expr.json`: values out of strings of JSON."""

from __future__ import annotations

from typing import Any

from frazil.expr import Expr, call
from frazil.expr_literal import type_option


class JsonMethods:
    """What can be done with strings of JSON."""

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def get(self, path: str, dtype: Any = str, *, strict: bool = True) -> Expr:
        """Take a value out of each document.

        Parameters
        ----------
        path
            Names and positions: ``"user.address.city"``, ``"items[0].id"``, ``'["odd name"].x'``;
            a ``$`` in front may stand or not.
        dtype
            Type of the result. ``str`` gives strings as they are and other values as JSON text;
            decimals are exact.
        strict
            End the run at a text that is no JSON or a value of another type; else it becomes null.

        Returns
        -------
        Expr
            Null where the path leads nowhere or to null.
        """
        options = {**type_option(dtype), "path": path, "strict": strict}
        return call("json_get", self._expr, options=options)
