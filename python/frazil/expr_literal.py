"""Literals and types in expressions: from Python values to what the engine reads."""

from __future__ import annotations

import base64
import datetime
import decimal
import typing
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from frazil.errors import TypeMismatch
from frazil.types import type_name

_INT64_MAX = 2**63 - 1
_PYTHON_TYPES: Mapping[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    datetime.datetime: pa.timestamp("us", "UTC"),
    datetime.date: pa.date32(),
    datetime.time: pa.time64("us"),
    datetime.timedelta: pa.duration("us"),
}


def scalar_of(value: Any) -> pa.Scalar:
    """Give a Python value as an Arrow scalar, exactly.

    Raises
    ------
    TypeMismatch
        If no type of Arrow holds it.
    """
    if isinstance(value, pa.Scalar):
        return value
    if isinstance(value, int) and not -_INT64_MAX - 1 <= value <= _INT64_MAX:
        value = decimal.Decimal(value)
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return pa.scalar(value.astimezone(datetime.UTC), pa.timestamp("us", "UTC"))
    try:
        return pa.scalar(value)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise TypeMismatch(
            f"{value!r} cannot be a literal",
            "give a bool, number, string, bytes, date, datetime, timedelta, list, dict or None",
        ) from None


def literal_text(scalar: pa.Scalar) -> str:
    """Write a literal as in Python."""
    value = scalar.as_py()
    return str(value) if isinstance(value, decimal.Decimal) else repr(value)


def encoded(scalar: pa.Scalar) -> str:
    """Give a scalar as base64 of an IPC stream of one row."""
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([pa.array([scalar], scalar.type)], [""])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return base64.b64encode(sink.getvalue()).decode()


def encoded_type(dtype: pa.DataType) -> str:
    """Give a type as base64 of the IPC schema of one field."""
    return base64.b64encode(pa.schema([pa.field("", dtype)]).serialize()).decode()


def type_of(dtype: Any) -> pa.DataType:
    """Give the Arrow type that a pyarrow type, a type of frazil or a Python type stands for.

    Raises
    ------
    TypeMismatch
        If it stands for none.
    """
    if isinstance(dtype, pa.DataType):
        return dtype
    for annotation in typing.get_args(dtype):
        if isinstance(annotation, pa.DataType):
            return annotation
    try:
        return _PYTHON_TYPES[dtype]
    except (KeyError, TypeError):
        raise TypeMismatch(
            f"{dtype!r} is not a type of column",
            "give int, float, str, bytes, bool, datetime, date, timedelta, fz.Int32, ...,",
            "fz.Decimal[precision, scale] or a pyarrow type",
        ) from None


def type_option(dtype: Any) -> dict[str, str]:
    """Give the option `type` of a call."""
    return {"type": encoded_type(type_of(dtype))}


def option_text(name: str, value: Any) -> str:
    """Write an option of a call as in Python."""
    if name == "type":
        return type_name(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value))).field(0).type)
    return repr(value)
