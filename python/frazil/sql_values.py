"""What drivers of databases give, as columns of Arrow; and what they say, without passwords."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
from frazil.errors import DataError
from frazil.types import type_name


def column_of(what: str, field: pa.Field, values: Sequence[Any]) -> pa.Array:
    """Values of a driver as a column; some databases have fewer types than we do.

    Raises
    ------
    DataError
        A value is none of the type; begins with `what`.
    """
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    try:
        return pa.array([_as(field.type, value) for value in values], field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError):
        wrong = next(value for value in values if not _is(field.type, value))
        raise DataError(
            f"{what}: column {field.name!r}: expected {type_name(field.type)}, got {wrong!r}",
            "cast it in the query, or declare it as what it is",
        ) from None


def without_url(text: str, url: str) -> str:
    """A message of a driver without the URL of the database, or the password in it."""
    from sqlalchemy.engine import make_url

    hidden = [url]
    try:
        if password := make_url(url).password:
            hidden += [str(password)]
    except Exception:  # it is no URL: then all of it is hidden
        hidden = [part for part in (url, *url.split("@"), *url.split("/")) if part]
    for secret in sorted(hidden, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _as(type_: pa.DataType, value: Any) -> Any:
    """SQLite's booleans are numbers, its times are texts; decimals come as floats."""
    if value is None:
        return None
    if pa.types.is_boolean(type_) and value in (0, 1):
        return bool(value)
    if pa.types.is_decimal(type_) and isinstance(value, int | float | str):
        return Decimal(str(value))
    if pa.types.is_timestamp(type_) and isinstance(value, str):
        return datetime.fromisoformat(value)
    if pa.types.is_date(type_) and isinstance(value, str):
        return date.fromisoformat(value)
    if pa.types.is_time(type_) and isinstance(value, str):
        return time.fromisoformat(value)
    if pa.types.is_floating(type_) and isinstance(value, Decimal):
        return float(value)
    if pa.types.is_string(type_) and isinstance(value, UUID):
        return str(value)
    if pa.types.is_string(type_) and isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value


def _is(type_: pa.DataType, value: Any) -> bool:
    try:
        pa.array([_as(type_, value)], type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError):
        return False
    return True
