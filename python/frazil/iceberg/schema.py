"""Arrow schemas and Iceberg schemas: one from the other, and whether they agree.

The types both share are written as they are: bool, int (also of 8 and 16 bits), long, float,
double, decimal, date, time and timestamps in microseconds, string, binary, fixed, uuid, struct,
list, map. For anything else the error names the column and what to cast it to.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from frazil.errors import SchemaError
from pyiceberg import types as ice
from pyiceberg.schema import Schema

if TYPE_CHECKING:
    from pyiceberg.types import IcebergType, NestedField

FIELD_ID = b"PARQUET:field_id"

# Names that the engine uses for itself.
HIDDEN_PREFIX = "__fz_"

_PRIMITIVES: dict[pa.DataType, IcebergType] = {
    pa.bool_(): ice.BooleanType(),
    pa.int8(): ice.IntegerType(),
    pa.int16(): ice.IntegerType(),
    pa.int32(): ice.IntegerType(),
    pa.int64(): ice.LongType(),
    pa.uint8(): ice.IntegerType(),
    pa.uint16(): ice.IntegerType(),
    pa.uint32(): ice.LongType(),
    pa.float32(): ice.FloatType(),
    pa.float64(): ice.DoubleType(),
    pa.date32(): ice.DateType(),
    pa.time64("us"): ice.TimeType(),
    pa.time32("s"): ice.TimeType(),
    pa.time32("ms"): ice.TimeType(),
    pa.string(): ice.StringType(),
    pa.large_string(): ice.StringType(),
    pa.string_view(): ice.StringType(),
    pa.binary(): ice.BinaryType(),
    pa.large_binary(): ice.BinaryType(),
    pa.binary_view(): ice.BinaryType(),
    pa.uuid(): ice.UUIDType(),
}

# The Arrow type in which a primitive is written.
_WRITTEN: dict[IcebergType, pa.DataType] = {
    ice.BooleanType(): pa.bool_(),
    ice.IntegerType(): pa.int32(),
    ice.LongType(): pa.int64(),
    ice.FloatType(): pa.float32(),
    ice.DoubleType(): pa.float64(),
    ice.DateType(): pa.date32(),
    ice.TimeType(): pa.time64("us"),
    ice.StringType(): pa.string(),
    ice.BinaryType(): pa.binary(),
    ice.UUIDType(): pa.uuid(),
}

# What to cast a type to that Iceberg does not have.
_CASTS: tuple[tuple[object, str], ...] = (
    (pa.types.is_uint64, "decimal128(20, 0)"),
    (pa.types.is_float16, "float32"),
    (pa.types.is_date64, "date32"),
    (pa.types.is_time, "time64('us')"),
    (pa.types.is_timestamp, "timestamp('us')"),
    (pa.types.is_duration, "int64 (microseconds)"),
    (pa.types.is_interval, "int64 (microseconds)"),
    (pa.types.is_decimal256, "decimal128(38, s)"),
    (pa.types.is_null, "the type it is meant to have"),
)


def to_iceberg(schema: pa.Schema, key: Sequence[str] = ()) -> Schema:
    """Make the Iceberg schema of a table that is to hold these columns.

    Parameters
    ----------
    schema
        Columns.
    key
        Columns that tell rows apart: they are required, and the table's identifier fields.

    Raises
    ------
    SchemaError
        A column has a type that Iceberg's format 2 does not have, or two have one name.
    """
    ids = itertools.count(1)
    if not len(schema):
        raise SchemaError("a table needs at least one column, the stream has none")
    required = [field.with_nullable(field.nullable and field.name not in key) for field in schema]
    fields = fields_to_iceberg(pa.schema(required), ids, "")
    own = [field.field_id for field in fields if field.name in key]
    return Schema(*fields, identifier_field_ids=own)


def fields_to_iceberg(
    fields: pa.Schema | list[pa.Field], ids: Iterator[int], prefix: str
) -> list[NestedField]:
    """Make the Iceberg fields of columns, or of the members of the struct that `prefix` ends in."""
    seen: dict[str, str] = {}
    for field in fields:
        path = prefix + field.name
        if not field.name:
            raise SchemaError(f"a column of {prefix[:-1] or 'the stream'} has no name")
        if field.name.startswith(HIDDEN_PREFIX):
            raise SchemaError(f"column {path!r}: names with {HIDDEN_PREFIX!r} are Frazil's own")
        # Engines that ignore case could not tell the two apart.
        if (other := seen.setdefault(field.name.lower(), path)) != path or (
            sum(each.name == field.name for each in fields) > 1
        ):
            raise SchemaError(
                f"columns {other!r} and {path!r} have the same name for readers that ignore case",
                "rename one of them: .rename(...)",
            )
    return [_field_to_iceberg(field, ids, prefix + field.name) for field in fields]


def _field_to_iceberg(field: pa.Field, ids: Iterator[int], path: str) -> NestedField:
    own = next(ids)
    kind = _type_to_iceberg(field.type, ids, path)
    return ice.NestedField(own, field.name, kind, required=not field.nullable)


def _type_to_iceberg(kind: pa.DataType, ids: Iterator[int], path: str) -> IcebergType:
    if (primitive := _PRIMITIVES.get(kind)) is not None:
        return primitive
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return ice.TimestamptzType() if kind.tz else ice.TimestampType()
    if pa.types.is_decimal128(kind) and kind.scale >= 0:
        return ice.DecimalType(kind.precision, kind.scale)
    if pa.types.is_fixed_size_binary(kind):
        return ice.FixedType(kind.byte_width)
    if pa.types.is_dictionary(kind):
        return _type_to_iceberg(kind.value_type, ids, path)
    if pa.types.is_struct(kind) and kind.num_fields:
        members = [kind.field(i) for i in range(kind.num_fields)]
        return ice.StructType(*fields_to_iceberg(members, ids, path + "."))
    if is_list(kind):
        own = next(ids)
        element = _type_to_iceberg(kind.value_type, ids, path + ".element")
        return ice.ListType(own, element, element_required=not kind.value_field.nullable)
    if pa.types.is_map(kind):
        key_id, value_id = next(ids), next(ids)
        key = _type_to_iceberg(kind.key_type, ids, path + ".key")
        value = _type_to_iceberg(kind.item_type, ids, path + ".value")
        required = not kind.item_field.nullable
        return ice.MapType(key_id, key, value_id, value, value_required=required)
    raise SchemaError(
        f"column {path!r}: an Iceberg table cannot hold {kind}",
        f"cast it to {_cast_for(kind)} before writing" if _cast_for(kind) else "leave it out",
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether a table has it as a list; Iceberg's have no size."""
    t = pa.types
    return bool(t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind))


def _cast_for(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind) and kind.tz:
        return f"timestamp('us', tz={kind.tz!r})"
    for matches, target in _CASTS:
        if callable(matches) and matches(kind):
            return target
    return ""


def to_arrow(schema: Schema) -> pa.Schema:
    """The Arrow schema in which data files of a table are written, with every field's id."""
    return pa.schema([_field_to_arrow(field) for field in schema.fields])


def _field_to_arrow(field: NestedField) -> pa.Field:
    kind = type_to_arrow(field.field_type)
    return _with_id(field.name, kind, not field.required, field.field_id)


def _with_id(name: str, kind: pa.DataType, nullable: bool, field_id: int) -> pa.Field:
    return pa.field(name, kind, nullable, {FIELD_ID: str(field_id).encode()})


def type_to_arrow(kind: IcebergType) -> pa.DataType:
    """The Arrow type of an Iceberg type, with field ids inside."""
    match kind:
        case ice.DecimalType():
            return pa.decimal128(kind.precision, kind.scale)
        case ice.FixedType():
            return pa.binary(len(kind))
        case ice.TimestampType():
            return pa.timestamp("us")
        case ice.TimestamptzType():
            return pa.timestamp("us", tz="UTC")
        case ice.StructType():
            return pa.struct([_field_to_arrow(field) for field in kind.fields])
        case ice.ListType():
            element = type_to_arrow(kind.element_type)
            return pa.list_(
                _with_id("element", element, not kind.element_required, kind.element_id)
            )
        case ice.MapType():
            return pa.map_(
                _with_id("key", type_to_arrow(kind.key_type), False, kind.key_id),
                _with_id(
                    "value", type_to_arrow(kind.value_type), not kind.value_required, kind.value_id
                ),
            )
    if (arrow := _WRITTEN.get(kind)) is not None:
        return arrow
    raise SchemaError(f"Frazil cannot write the Iceberg type {kind}")
