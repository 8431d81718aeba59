"""Types of expressions, which the engine knows."""

from __future__ import annotations

import pyarrow as pa

from frazil import _engine
from frazil.expr import Column, Expr, to_json


def bind(expression: Expr, schema: pa.Schema) -> pa.Field:
    """Give the type of an expression on columns, and whether it may be null.

    Raises
    ------
    ColumnNotFound, TypeMismatch
        If it does not fit the columns.
    """
    if isinstance(expression, Column) and expression._name in schema.names:
        return schema.field(expression._name).remove_metadata()
    bound = _engine.bind_expr(to_json(expression), schema.serialize().to_pybytes())
    return pa.ipc.read_schema(pa.py_buffer(bound)).field(0)
