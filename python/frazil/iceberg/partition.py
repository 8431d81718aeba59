"""Partition specs as users write them: "day(ts)", "bucket(16, user)", "country"."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from frazil.errors import ColumnNotFound, PlanError, nearest
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    Transform,
    TruncateTransform,
    YearTransform,
)

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

# Fields of one spec.
FIELDS_MAX = 32

_CALL = re.compile(r"\s*(\w+)\s*\(\s*(?:(\d+)\s*,\s*)?(.+?)\s*\)\s*", re.DOTALL)
_PLAIN: dict[str, Callable[[], Transform[Any, Any]]] = {
    "identity": lambda: IdentityTransform(),
    "year": lambda: YearTransform(),
    "month": lambda: MonthTransform(),
    "day": lambda: DayTransform(),
    "hour": lambda: HourTransform(),
}
_SIZED: dict[str, tuple[Callable[[int], Transform[Any, Any]], str]] = {
    "bucket": (lambda count: BucketTransform(count), "bucket"),
    "truncate": (lambda width: TruncateTransform(width), "trunc"),
}
_HOW = (
    "write a column, or year(c), month(c), day(c), hour(c), bucket(n, c), truncate(width, c), "
    "identity(c)"
)


def to_spec(partition_by: Sequence[str], schema: Schema) -> PartitionSpec:
    """Make a partition spec.

    Parameters
    ----------
    partition_by
        Transforms of columns.
    schema
        Has the columns.

    Raises
    ------
    PlanError
        A text is not a transform, or does not work for the column's type.
    ColumnNotFound
        The column is not there.
    """
    if len(partition_by) > FIELDS_MAX:
        raise PlanError(
            f"partition_by has {len(partition_by)} fields, at most {FIELDS_MAX} make sense"
        )
    fields: list[PartitionField] = []
    for text in partition_by:
        column, transform, suffix = _parse(text)
        name = f"{column}_{suffix}" if suffix else column
        source = _source(column, text, schema)
        kind = schema.find_type(source)
        if not transform.can_transform(kind):
            raise PlanError(f"partition_by {text!r}: {transform} does not work for {kind}")
        if name in (field.name for field in fields):
            raise PlanError(f"partition_by {text!r}: a partition field {name!r} is there already")
        if suffix and name in (field.name for field in schema.fields):
            raise PlanError(
                f"partition_by {text!r}: its field {name!r} would have the name of a column"
            )
        field_id = PARTITION_FIELD_ID_START + len(fields)
        fields.append(PartitionField(source, field_id, transform, name))
    return PartitionSpec(*fields)


def spec_text(spec: PartitionSpec, schema: Schema) -> list[str]:
    """Write a spec as `partition_by` takes it."""
    texts = []
    for field in spec.fields:
        column = schema.find_column_name(field.source_id) or f"field {field.source_id}"
        name, param = transform_parts(field)
        texts.append(f"{name}({param}, {column})" if param else f"{name}({column})")
    return texts


def transform_parts(field: PartitionField) -> tuple[str, int]:
    """Name of a field's transform, and its number of buckets or its width, else 0."""
    match = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", str(field.transform))
    if match is None:
        return str(field.transform), 0
    return match[1], int(match[2] or 0)


def _parse(text: str) -> tuple[str, Transform[Any, Any], str]:
    if not isinstance(text, str) or not text.strip():
        raise PlanError(f"partition_by: {text!r} is not a transform of a column", _HOW)
    call = _CALL.fullmatch(text)
    if call is None:
        return text.strip(), IdentityTransform(), ""
    name, number, column = call[1].lower(), call[2], call[3]
    if name in _PLAIN and number is None:
        return column, _PLAIN[name](), "" if name == "identity" else name
    if name in _SIZED and number is not None and 0 < int(number) < 2**31:
        make, suffix = _SIZED[name]
        return column, make(int(number)), suffix
    if name in _SIZED:
        raise PlanError(
            f"partition_by {text!r}: {name} needs a number from 1 to {2**31 - 1} and a column",
            f"for example {name}(16, {column.split(',')[-1].strip()})",
        )
    near = nearest(name, (*_PLAIN, *_SIZED))
    raise PlanError(
        f"partition_by {text!r}: no transform {name!r}",
        f"did you mean {near!r}?" if near else _HOW,
    )


def _source(column: str, text: str, schema: Schema) -> int:
    for field in schema.fields:
        if field.name == column:
            return field.field_id
    if "." in column and column in schema.column_names:
        raise PlanError(
            f"partition_by {text!r}: {column!r} is inside a struct; only whole columns work",
            "make a column of it: .with_columns(...)",
        )
    near = nearest(column, (field.name for field in schema.fields))
    raise ColumnNotFound(
        f"partition_by {text!r}: no column {column!r}",
        f"did you mean {near!r}?"
        if near
        else f"columns: {', '.join(field.name for field in schema.fields)}",
    )
