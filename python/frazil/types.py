"""Types a Schema class may use beside Python's own: sized numbers and decimals.

Each is a Python type with the Arrow type attached, so that type checkers see the Python type.
"""

import decimal
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
from frazil.errors import SchemaError

__all__ = [
    "Decimal",
    "Float32",
    "Float64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "field_name",
    "type_name",
]

Int8 = Annotated[int, pa.int8()]
Int16 = Annotated[int, pa.int16()]
Int32 = Annotated[int, pa.int32()]
Int64 = Annotated[int, pa.int64()]
UInt8 = Annotated[int, pa.uint8()]
UInt16 = Annotated[int, pa.uint16()]
UInt32 = Annotated[int, pa.uint32()]
UInt64 = Annotated[int, pa.uint64()]
Float32 = Annotated[float, pa.float32()]
Float64 = Annotated[float, pa.float64()]

DECIMAL_DIGITS_MAX = 38
"""Digits of the widest decimal that Arrow's decimal128 and Iceberg share."""

if TYPE_CHECKING:
    # Decimal[12, 2] has to be a type to checkers, and Literal is the only form that takes numbers.
    # A column of such a type then counts as a number in expressions, which is what it is.
    from typing import Literal as Decimal
else:

    class Decimal:
        """A decimal number of `precision` digits, `scale` of them after the point.

        Examples
        --------
        >>> import frazil as fz
        >>> class Price(fz.Schema):
        ...     amount: fz.Decimal[12, 2]
        >>> Price.to_arrow().field("amount").type
        Decimal128Type(decimal128(12, 2))
        """

        def __class_getitem__(cls, parameters: Any) -> Any:
            match parameters:
                case (int(precision), int(scale)):
                    pass
                case _:
                    raise SchemaError(
                        f"Decimal takes a precision and a scale, got {parameters!r}",
                        "write fz.Decimal[12, 2]",
                    )
            if not 0 <= scale <= precision <= DECIMAL_DIGITS_MAX or precision == 0:
                raise SchemaError(
                    f"no decimal has precision {precision} and scale {scale}",
                    f"precision: 1 to {DECIMAL_DIGITS_MAX}; scale: 0 to the precision",
                )
            return Annotated[decimal.Decimal, pa.decimal128(precision, scale)]


def type_name(type_: pa.DataType) -> str:
    """Name of an Arrow type as shown to people.

    Examples
    --------
    >>> type_name(pa.timestamp("us", "UTC"))
    'timestamp[us, UTC]'
    """
    return str(type_).replace(", tz=", ", ")


def field_name(field: pa.Field) -> str:
    """Column with its type as shown to people: ``amount: decimal128(12, 2) not null``."""
    return f"{field.name}: {type_name(field.type)}" + ("" if field.nullable else " not null")
