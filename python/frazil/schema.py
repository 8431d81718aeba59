"""Schemas: what the rows of a stream look like, declared once and known from then on.

Everything that takes a schema takes a `Schema` class, a `pyarrow.Schema` or a dict of names and
types; `resolve` turns each into a `pyarrow.Schema`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import inspect
import json
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import pyarrow as pa
from frazil.errors import SchemaError, nearest
from frazil.expr import Expr, col
from frazil.types import field_name, type_name

RESERVED_PREFIXES = ("__fz_", "__udf_", "__agg_")
"""Names of columns that the engine adds begin so."""

SOURCE = b"fz:source"
TIME_UNIT = b"fz:time_unit"
DEFAULT = b"fz:default"
REST = b"fz:rest"

TimeUnit = Literal["s", "ms", "us", "ns"]
_UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MISSING: Any = object()
_PYTHON_TYPES: dict[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    dt.datetime: pa.timestamp("us", "UTC"),
    dt.date: pa.date32(),
    dt.time: pa.time64("us"),
    dt.timedelta: pa.duration("us"),
}


@dataclass(frozen=True)
class FieldOptions:
    """What `field` was told."""

    source: tuple[str, ...] | None
    default: Any
    time_unit: TimeUnit | None
    rest: bool = False


def field(
    *,
    source: str | Sequence[str] | None = None,
    default: Any = _MISSING,
    time_unit: TimeUnit | None = None,
    rest: bool = False,
) -> Any:
    """Say where the data differs from the program.

    Parameters
    ----------
    source
        Name of the field in the data; dots go into nested objects. A list of names, outermost
        first, if names have dots themselves.
    default
        Value for rows in which the field is missing.
    time_unit
        Unit of times that the data holds as numbers since 1970 ("s", "ms", "us" or "ns").
        Without it, times are ISO 8601 texts.
    rest
        Of JSON: the column has the fields of the object that no column reads as a whole, as one
        JSON object; null if there are none. Its type is `str | None`.

    Returns
    -------
    Any
        To be assigned to an annotated name of a `Schema` class.

    Examples
    --------
    >>> import frazil as fz
    >>> class Visit(fz.Schema):
    ...     ip: str = fz.field(source="client.ip")
    ...     pages: int = fz.field(default=1)
    >>> print(Visit)
    Visit
      ip: string not null
      pages: int64 not null
    """
    if time_unit is not None and time_unit not in _UNITS_PER_SECOND:
        raise SchemaError(f"time_unit={time_unit!r} is no unit", 'one of "s", "ms", "us", "ns"')
    if rest and (source is not None or default is not _MISSING or time_unit is not None):
        raise SchemaError("rest=True with another option", "the rest of an object has none")
    if source is None:
        return FieldOptions(None, default, time_unit, rest)
    keys = source.split(".") if isinstance(source, str) else list(source)
    if not keys or not all(isinstance(key, str) and key for key in keys):
        raise SchemaError(
            f"source={source!r} is no name",
            'write source="name", "outer.inner", or ["outer", "a.name"]',
        )
    return FieldOptions(tuple(keys), default, time_unit)


def has_rest(field: pa.Field) -> bool:
    """Whether a column, or one inside it, has the rest of an object."""
    if REST in (field.metadata or {}):
        return True
    kind = field.type
    return any(has_rest(kind.field(i)) for i in range(kind.num_fields))


class _SchemaMeta(type):
    """Resolves annotations when the class is made, and gives columns for `Order.amount`."""

    __fz_schema__: pa.Schema | None

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> _SchemaMeta:
        cls = super().__new__(mcs, name, bases, namespace, **kwargs)
        cls.__fz_schema__ = None
        if bases:
            frame = sys._getframe(1)
            try:
                cls.__fz_schema__ = _resolve_class(cls, frame.f_globals, frame.f_locals)
            except SchemaError as error:
                raise error.with_traceback(None)  # noqa: B904  (the same error, without our frames)
            for column in cls.__fz_schema__.names:
                if column in cls.__dict__:
                    type.__delattr__(cls, column)
        return cls

    if not typing.TYPE_CHECKING:  # a checker knows the names, and would take any other one too

        def __getattr__(cls, name: str) -> Expr:
            schema = cls.__fz_schema__
            if schema is None or name.startswith("__"):
                raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
            if name in schema.names:
                return col(name)
            like = nearest(name, schema.names)
            hint = f"; did you mean {like!r}?" if like else f"; it has {', '.join(schema.names)}"
            raise AttributeError(f"schema {cls.__name__} has no column {name!r}{hint}")

    def __repr__(cls) -> str:
        if cls.__fz_schema__ is None:
            return super().__repr__()
        return "\n  ".join([cls.__name__, *map(field_name, cls.__fz_schema__)])


class Schema(metaclass=_SchemaMeta):
    """The base of declared schemas: one annotated name a column.

    `int` is int64, `float` float64, `datetime` timestamp[us, UTC], ``T | None`` may be null,
    another Schema class is a struct, ``list[T]`` a list, ``dict[str, T]`` a map; `fz.Int32`,
    ``fz.Decimal[12, 2]`` and ``Annotated[T, pyarrow_type]`` give any other type. The columns are
    attributes of the class, for use in expressions.

    Examples
    --------
    >>> from datetime import datetime
    >>> import frazil as fz
    >>> class Order(fz.Schema):
    ...     order_id: int
    ...     amount: fz.Decimal[12, 2]
    ...     created_at: datetime
    ...     note: str | None
    >>> Order
    Order
      order_id: int64 not null
      amount: decimal128(12, 2) not null
      created_at: timestamp[us, UTC] not null
      note: string
    """

    @classmethod
    def to_arrow(cls) -> pa.Schema:
        """Give the schema as a `pyarrow.Schema`.

        Examples
        --------
        >>> import frazil as fz
        >>> class Tag(fz.Schema):
        ...     name: str
        >>> Tag.to_arrow().names
        ['name']
        """
        if cls.__fz_schema__ is None:
            raise SchemaError(
                "fz.Schema itself has no columns", "derive a class: class Order(fz.Schema): ..."
            )
        return cls.__fz_schema__


SchemaLike: TypeAlias = type[Schema] | pa.Schema | Mapping[str, Any]
"""A `Schema` class, a `pyarrow.Schema`, or a dict of names and Arrow types."""


def resolve(schema: SchemaLike) -> pa.Schema:
    """Turn whatever declares a schema into a `pyarrow.Schema`.

    Parameters
    ----------
    schema
        A `Schema` class, a `pyarrow.Schema`, or a dict of names and Arrow or Python types.

    Raises
    ------
    SchemaError
        If it is none of them, or if names are doubled, reserved or empty.

    Examples
    --------
    >>> resolve({"id": pa.int64(), "name": str}).names
    ['id', 'name']
    """
    if isinstance(schema, _SchemaMeta):
        return schema.to_arrow()  # type: ignore[attr-defined]
    if isinstance(schema, pa.Schema):
        fields = list(schema)
    elif isinstance(schema, Mapping):
        fields = [
            pa.field(name, type_)
            if isinstance(type_, pa.DataType)
            else _field_of(name, type_, None, "the schema")
            for name, type_ in schema.items()
        ]
    else:
        raise SchemaError(
            f"{schema!r} is no schema",
            'give a fz.Schema class, a pyarrow.Schema or a dict like {"id": pa.int64()}',
        )
    return checked(pa.schema(fields))


def checked(schema: pa.Schema) -> pa.Schema:
    """Return the schema if its names can be used.

    Raises
    ------
    SchemaError
        If there is no column, or names are doubled, reserved or empty.
    """
    if not len(schema):
        raise SchemaError("a schema without columns", "declare at least one")
    seen: set[str] = set()
    for name in schema.names:
        if not name:
            raise SchemaError("a column has an empty name", "give it one, and source= for the data")
        if name.startswith(RESERVED_PREFIXES):
            raise SchemaError(
                f"column {name!r}: names that begin with {', '.join(RESERVED_PREFIXES)} are ours",
                "give it another name, and source= for the data",
            )
        if name in seen:
            raise SchemaError(f"column {name!r} is there twice", "give one of them another name")
        seen.add(name)
    return schema


def _resolve_class(
    cls: type, module_names: dict[str, Any], local_names: Mapping[str, Any]
) -> pa.Schema:
    own = inspect.get_annotations(cls)
    fields: dict[str, pa.Field] = {}
    for base in reversed(cls.__mro__[1:]):
        inherited = base.__dict__.get("__fz_schema__")
        if inherited is not None:
            fields |= {inherited_field.name: inherited_field for inherited_field in inherited}
    for name, annotation in own.items():
        where = f"{cls.__name__}.{name}"
        options = cls.__dict__.get(name, _MISSING)
        if options is not _MISSING and not isinstance(options, FieldOptions):
            raise SchemaError(
                f"{where} = {options!r} is no field", f"write fz.field(default={options!r})"
            )
        if isinstance(annotation, str):
            annotation = _evaluated(annotation, where, module_names, local_names)
        fields[name] = _field_of(
            name, annotation, options if isinstance(options, FieldOptions) else None, where
        )
    if not fields:
        raise SchemaError(f"schema {cls.__name__} has no columns", "annotate names: id: int")
    return checked(pa.schema(list(fields.values())))


def _evaluated(
    text: str, where: str, module_names: dict[str, Any], local_names: Mapping[str, Any]
) -> Any:
    """Value of an annotation that is a text (`from __future__ import annotations`)."""
    try:
        return eval(text, module_names, local_names)
    except FrazilTypeErrors as error:
        raise SchemaError(
            f"{where}: {text!r} cannot be evaluated: {error}",
            "import the type, or define it above the schema",
        ) from None


FrazilTypeErrors = (NameError, AttributeError, TypeError, SyntaxError)


def _field_of(name: str, annotation: Any, options: FieldOptions | None, where: str) -> pa.Field:
    type_, nullable = arrow_type(annotation, where)
    metadata: dict[bytes, bytes] = {}
    if options is not None:
        if options.source is not None:
            metadata[SOURCE] = _source_text(options.source).encode()
        if options.time_unit is not None:
            if not pa.types.is_temporal(type_):
                raise SchemaError(
                    f"{where}: time_unit={options.time_unit!r} on {type_name(type_)}",
                    "only times have a unit",
                )
            metadata[TIME_UNIT] = options.time_unit.encode()
        if options.rest:
            if type_ != pa.string() or not nullable:
                raise SchemaError(f"{where}: rest=True on {type_name(type_)}", "write str | None")
            metadata[REST] = b"true"
        if options.default is not _MISSING:
            metadata[DEFAULT] = _default_json(options, type_, nullable, where).encode()
    return pa.field(name, type_, nullable, metadata or None)


def arrow_type(annotation: Any, where: str) -> tuple[pa.DataType, bool]:
    """Arrow type of an annotation, and whether it may be null."""
    if isinstance(annotation, pa.DataType):
        return annotation, False
    if annotation in (decimal.Decimal, Any, object):
        raise SchemaError(
            f"{where}: {getattr(annotation, '__name__', annotation)} says too little",
            "a decimal is fz.Decimal[precision, scale]; any other type Annotated[T, pyarrow_type]",
        )
    if isinstance(annotation, type) and annotation in _PYTHON_TYPES:
        return _PYTHON_TYPES[annotation], False
    if isinstance(annotation, _SchemaMeta):
        return pa.struct([_nested(field, where) for field in resolve(annotation)]), False
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        for extra in arguments[1:]:
            if isinstance(extra, pa.DataType):
                return extra, _arrow_nullable(arguments[0])
        return arrow_type(arguments[0], where)
    if origin in (typing.Union, types.UnionType):
        others = [argument for argument in arguments if argument is not type(None)]
        if len(others) == 1:
            return arrow_type(others[0], where)[0], True
    if origin is list and len(arguments) == 1:
        item, nullable = arrow_type(arguments[0], where)
        return pa.list_(pa.field("element", item, nullable)), False
    if origin is dict and len(arguments) == 2:
        key, _ = arrow_type(arguments[0], where)
        item, nullable = arrow_type(arguments[1], where)
        return pa.map_(pa.field("key", key, False), pa.field("value", item, nullable)), False
    raise SchemaError(
        f"{where}: {annotation!r} is no column type",
        "int, float, str, bytes, bool, datetime, date, time, timedelta, list[T], dict[str, T],",
        "a Schema class, T | None, fz.Int32, fz.Decimal[p, s], Annotated[T, pyarrow_type]",
    )


def _source_text(keys: Sequence[str]) -> str:
    """Keys as the decoder reads them: one plain key, or a JSON list."""
    if len(keys) == 1 and not keys[0].startswith(("/", "[")) and "." not in keys[0]:
        return keys[0]
    return json.dumps(list(keys), ensure_ascii=False)


def _nested(field: pa.Field, where: str) -> pa.Field:
    """A field of a struct, whose source can only be one key of that struct."""
    source = (field.metadata or {}).get(SOURCE, b"").decode()
    if not source.startswith("["):
        return field
    keys = json.loads(source)
    if len(keys) > 1:
        raise SchemaError(
            f"{where}: field {field.name!r} has source {'.'.join(keys)}",
            "inside a nested schema a source is one name; move the field to the outer schema",
        )
    return field.with_metadata({**field.metadata, SOURCE: keys[0].encode()})


def _arrow_nullable(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


def _default_json(options: FieldOptions, type_: pa.DataType, nullable: bool, where: str) -> str:
    """The default as JSON text, as it would stand in the data: the decoder reads both alike."""
    default = options.default
    if default is None:
        if not nullable:
            raise SchemaError(f"{where}: default=None, and it may not be null", "write T | None")
        return "null"
    try:
        value = pa.scalar(default, type_).as_py()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise SchemaError(
            f"{where}: default={default!r} does not fit {type_name(type_)}",
            "give a value of the column's type",
        ) from None
    if options.time_unit is not None:
        per_second = _UNITS_PER_SECOND[options.time_unit]
        seconds = pa.scalar(default, type_).cast(pa.timestamp("us")).value
        return str(seconds * per_second // 1_000_000)
    return json.dumps(_jsonable(value))


def _jsonable(value: Any) -> Any:
    match value:
        case decimal.Decimal():
            return str(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dict():
            return {key: _jsonable(item) for key, item in value.items()}
        case list():
            return [_jsonable(item) for item in value]
        case bytes() | dt.timedelta():
            raise SchemaError(f"a default of type {type(value).__name__} is not offered")
    return value
