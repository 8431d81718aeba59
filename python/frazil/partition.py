"""Partition fields of a table, as people write them: "day(created_at)", "bucket(16, user_id)"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from frazil.errors import PlanError, TypeMismatch, nearest
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.node import Json

FIELDS_MAX = 16
"""Partition fields of a table."""

_CALL = re.compile(r"(\w+)\s*\(\s*(?:(\d+)\s*,\s*)?([^()]+?)\s*\)")
_TIMES = ("year", "month", "day", "hour")


def partition_fields(texts: Sequence[str], schema: pa.Schema) -> list[Json]:
    """Parse and check partition fields.

    Parameters
    ----------
    texts
        A column, or a transform of one.
    schema
        Columns of the rows.

    Returns
    -------
    list of dict
        "source" (column), "transform", "param" (buckets or width, else 0), "name" (of the field).

    Examples
    --------
    >>> partition_fields(["bucket(16, id)"], pa.schema({"id": pa.int64()}))
    [{'source': 'id', 'transform': 'bucket', 'param': 16, 'name': 'id_bucket'}]
    """
    if len(texts) > FIELDS_MAX:
        raise PlanError(f"partition_by has {len(texts)} fields", f"at most {FIELDS_MAX}")
    fields = [_field(text, schema) for text in texts]
    names = [field["name"] for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise PlanError(f"partition_by has {name!r} twice", "give each column once")
    return fields


def _field(text: str, schema: pa.Schema) -> Json:
    match = _CALL.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        transform, width, column = "identity", None, text
    else:
        transform, width, column = match[1].lower(), match[2], match[3]
    if column not in schema.names:
        like = nearest(str(column), schema.names)
        raise PlanError(
            f"partition_by={text!r}: no column {column!r}",
            f"did you mean {like!r}?" if like else f"have: {', '.join(schema.names)}",
        )
    type_ = schema.field(column).type
    if transform not in ("identity", "bucket", "truncate", *_TIMES):
        raise PlanError(
            f"partition_by={text!r}: no transform {transform!r}",
            "a column, or bucket(16, x), truncate(4, x), year(x), month(x), day(x), hour(x)",
        )
    if (transform in ("bucket", "truncate")) != (width is not None) or width == "0":
        raise PlanError(
            f"partition_by={text!r}: {transform} takes "
            + ("a number and a column" if transform in ("bucket", "truncate") else "a column only"),
            f"write {transform}(16, {column})" if width is None else f"write {transform}({column})",
        )
    if not _takes(transform, type_):
        raise TypeMismatch(f"partition_by={text!r}: {column} is {type_name(type_)}")
    suffix = {"identity": "", "truncate": "_trunc"}.get(transform, f"_{transform}")
    param = 0 if width is None else int(width)
    return {"source": column, "transform": transform, "param": param, "name": f"{column}{suffix}"}


def _takes(transform: str, type_: pa.DataType) -> bool:
    t = pa.types
    text = t.is_string(type_) or t.is_large_string(type_)
    binary = t.is_binary(type_) or t.is_large_binary(type_)
    whole = t.is_integer(type_) or t.is_decimal(type_)
    moment = t.is_timestamp(type_) or t.is_date(type_)
    if transform == "identity":
        return not t.is_nested(type_) and not t.is_floating(type_)
    if transform == "bucket":
        fixed = t.is_fixed_size_binary(type_)
        return bool(whole or text or binary or moment or t.is_time(type_) or fixed)
    if transform == "truncate":
        return bool(whole or text or binary)
    if transform == "hour":
        return bool(t.is_timestamp(type_))
    return bool(moment)
