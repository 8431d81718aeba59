"""Expressions: computations on the columns of a stream, described now and done by the engine.

An `Expr` is an immutable tree. Its type is known to the engine alone, which is asked by `bind`.
"""

from __future__ import annotations

import builtins
import datetime
import decimal
import functools
import json as json_text
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import pyarrow as pa
from frazil import _engine
from frazil.errors import ConfigError, NoTruthValue, TypeMismatch, on_user_line
from frazil.expr_group import AggregateMethods
from frazil.expr_literal import encoded, literal_text, option_text, scalar_of, type_option

if TYPE_CHECKING:
    from frazil.expr_binary import BinaryMethods
    from frazil.expr_json import JsonMethods
    from frazil.expr_list import ListMethods
    from frazil.expr_string import StringMethods
    from frazil.expr_struct import StructMethods
    from frazil.expr_time import TimeMethods

Json = dict[str, Any]
Unit = typing.Literal["s", "ms", "us", "ns"]
Literal: TypeAlias = (
    bool
    | int
    | float
    | decimal.Decimal
    | str
    | bytes
    | datetime.date
    | datetime.time
    | datetime.timedelta
    | pa.Scalar
    | Sequence[Any]
    | Mapping[str, Any]
    | None
)
"""A value that becomes a literal; a string is never the name of a column."""

Value: TypeAlias = "Expr | Literal"
"""What may stand beside an expression: another one, or a literal."""


class Expr(AggregateMethods):
    """A computation on columns; made by `col`, `lit`, `when` and the methods of expressions."""

    __slots__ = ()

    # A tree: what `Stream` and the plan need of it. Methods begin with "_" so that they are not
    # mistaken for something to do with the values.

    @property
    def _args(self) -> tuple[Expr, ...]:
        return ()

    def _with_args(self, args: tuple[Expr, ...]) -> Expr:
        """Give the same call on other arguments."""
        raise NotImplementedError

    def _to_json(self) -> Json:
        """Give the EXPR of the plan."""
        raise NotImplementedError

    def _walk(self) -> Iterator[Expr]:
        yield self
        for arg in self._args:
            yield from arg._walk()

    def _columns(self) -> builtins.list[builtins.str]:
        """Names of the columns that are read, each once, in order of appearance."""
        return builtins.list(
            dict.fromkeys(node._name for node in self._walk() if isinstance(node, Column))
        )

    # Never a truth value: `a and b` would silently be `b`.

    def __bool__(self) -> NoReturn:
        raise NoTruthValue(
            "an expression has no truth value while the plan is built",
            "write (a) & (b), (a) | (b), ~a  instead of  a and b, a or b, not a",
        ).with_traceback(None)

    def __iter__(self) -> NoReturn:
        raise TypeError(f"expression {self!r} cannot be iterated; it stands for a column of values")

    __hash__ = object.__hash__

    # Comparison.

    def __eq__(self, other: Value) -> Expr:  # type: ignore[override]
        """True where both are equal; null where one is null."""
        return call("equal", self, other)

    def __ne__(self, other: Value) -> Expr:  # type: ignore[override]
        """True where both differ; null where one is null."""
        return call("not_equal", self, other)

    def __lt__(self, other: Value) -> Expr:
        return call("less", self, other)

    def __le__(self, other: Value) -> Expr:
        return call("less_equal", self, other)

    def __gt__(self, other: Value) -> Expr:
        return call("greater", self, other)

    def __ge__(self, other: Value) -> Expr:
        return call("greater_equal", self, other)

    def is_between(self, lower: Value, upper: Value) -> Expr:
        """True where the value is at least `lower` and at most `upper`."""
        return call("between", self, lower, upper)

    def is_in(self, values: Iterable[Any]) -> Expr:
        """True where the value is one of `values`; null where it is null.

        A null among `values` matches nothing, and makes null of what does not match.
        """
        return call("is_in", self, lit(builtins.list(values)))

    # Logic: Kleene's, so that `null & false` is false and `null | true` is true.

    def __and__(self, other: Value) -> Expr:
        return call("and", self, other)

    def __rand__(self, other: Value) -> Expr:
        return call("and", other, self)

    def __or__(self, other: Value) -> Expr:
        return call("or", self, other)

    def __ror__(self, other: Value) -> Expr:
        return call("or", other, self)

    def __xor__(self, other: Value) -> Expr:
        return call("xor", self, other)

    def __rxor__(self, other: Value) -> Expr:
        return call("xor", other, self)

    def __invert__(self) -> Expr:
        return call("not", self)

    # Arithmetic.

    def __add__(self, other: Value) -> Expr:
        return call("add", self, other)

    def __radd__(self, other: Value) -> Expr:
        return call("add", other, self)

    def __sub__(self, other: Value) -> Expr:
        return call("subtract", self, other)

    def __rsub__(self, other: Value) -> Expr:
        return call("subtract", other, self)

    def __mul__(self, other: Value) -> Expr:
        return call("multiply", self, other)

    def __rmul__(self, other: Value) -> Expr:
        return call("multiply", other, self)

    def __truediv__(self, other: Value) -> Expr:
        return call("divide", self, other)

    def __rtruediv__(self, other: Value) -> Expr:
        return call("divide", other, self)

    def __floordiv__(self, other: Value) -> Expr:
        return call("floor_divide", self, other)

    def __rfloordiv__(self, other: Value) -> Expr:
        return call("floor_divide", other, self)

    def __mod__(self, other: Value) -> Expr:
        return call("modulo", self, other)

    def __rmod__(self, other: Value) -> Expr:
        return call("modulo", other, self)

    def __pow__(self, other: Value) -> Expr:
        return call("power", self, other)

    def __rpow__(self, other: Value) -> Expr:
        return call("power", other, self)

    def __neg__(self) -> Expr:
        return call("negate", self)

    def __pos__(self) -> Expr:
        return self

    def __abs__(self) -> Expr:
        return call("abs", self)

    def abs(self) -> Expr:
        """Value without its sign."""
        return call("abs", self)

    def sign(self) -> Expr:
        """-1, 0 or 1."""
        return call("sign", self)

    def round(self, decimals: int = 0) -> Expr:
        """Round to so many digits after the point; a half goes to the even neighbour."""
        return call("round", self, options={"digits": decimals})

    def floor(self) -> Expr:
        """Largest whole number that is not above the value; its type stays."""
        return call("floor", self)

    def ceil(self) -> Expr:
        """Smallest whole number that is not below the value; its type stays."""
        return call("ceil", self)

    def sqrt(self) -> Expr:
        """Square root, as float64; NaN of a negative value."""
        return call("sqrt", self)

    def exp(self) -> Expr:
        """Give e to the power of the value, as float64."""
        return call("exp", self)

    def log(self) -> Expr:
        """Natural logarithm, as float64."""
        return call("ln", self)

    def log10(self) -> Expr:
        """Logarithm to the base 10, as float64."""
        return call("log10", self)

    def is_nan(self) -> Expr:
        """True where the value is not a number."""
        return call("is_nan", self)

    def is_finite(self) -> Expr:
        """True where the value is neither infinite nor NaN."""
        return call("is_finite", self)

    # Nulls.

    def is_null(self) -> Expr:
        """True where the value is null."""
        return call("is_null", self)

    def is_not_null(self) -> Expr:
        """True where the value is not null."""
        return call("is_not_null", self)

    def fill_null(self, value: Value) -> Expr:
        """Put `value` where there is null."""
        return call("fill_null", self, value)

    def null_if(self, value: Value) -> Expr:
        """Put null where the value equals `value`."""
        return call("null_if", self, value)

    # Types.

    @on_user_line
    def cast(self, dtype: Any) -> Expr:
        """Convert to another type; a value that does not fit ends the run with an error.

        Parameters
        ----------
        dtype
            A pyarrow type, a type of frazil (``fz.Int32``, ``fz.Decimal[12, 2]``) or a Python type.
        """
        return call("cast", self, options=type_option(dtype))

    @on_user_line
    def try_cast(self, dtype: Any) -> Expr:
        """Convert to another type; null where a value does not fit."""
        return call("try_cast", self, options=type_option(dtype))

    def hash(self, *others: Value) -> Expr:
        """Hash of the value (and of others), an int64 that is the same in every run and version."""
        return call("hash", self, *others)

    # Namespaces.

    @property
    def str(self) -> StringMethods:
        """What can be done with strings."""
        from frazil.expr_string import StringMethods

        return StringMethods(self)

    @property
    def dt(self) -> TimeMethods:
        """What can be done with timestamps, dates and durations."""
        from frazil.expr_time import TimeMethods

        return TimeMethods(self)

    @property
    def struct(self) -> StructMethods:
        """What can be done with structs."""
        from frazil.expr_struct import StructMethods

        return StructMethods(self)

    @property
    def list(self) -> ListMethods:
        """What can be done with lists."""
        from frazil.expr_list import ListMethods

        return ListMethods(self)

    @property
    def json(self) -> JsonMethods:
        """What can be done with strings of JSON."""
        from frazil.expr_json import JsonMethods

        return JsonMethods(self)

    @property
    def bin(self) -> BinaryMethods:
        """What can be done with binary values."""
        from frazil.expr_binary import BinaryMethods

        return BinaryMethods(self)


class Column(Expr):
    """A column by its name."""

    __slots__ = ("_name",)

    def __init__(self, name: builtins.str) -> None:
        self._name = name

    def __repr__(self) -> builtins.str:
        return self._name

    def _to_json(self) -> Json:
        return {"col": self._name}


class LiteralValue(Expr):
    """The same value in every row."""

    __slots__ = ("_scalar",)

    def __init__(self, scalar: pa.Scalar) -> None:
        self._scalar = scalar

    def __repr__(self) -> builtins.str:
        return literal_text(self._scalar)

    def _to_json(self) -> Json:
        return {"lit": encoded(self._scalar)}


class Call(Expr):
    """A function of the engine's table on arguments."""

    __slots__ = ("__args", "_function", "_options")

    def __init__(
        self, function: builtins.str, args: tuple[Expr, ...], options: Mapping[builtins.str, Any]
    ) -> None:
        self._function = function
        self.__args = args
        self._options = options

    @property
    def _args(self) -> tuple[Expr, ...]:
        return self.__args

    def _with_args(self, args: tuple[Expr, ...]) -> Expr:
        return Call(self._function, args, self._options)

    def __repr__(self) -> builtins.str:
        return spelled(self._function, [repr(arg) for arg in self.__args], self._options)

    def _to_json(self) -> Json:
        json: Json = {"fn": self._function, "args": [arg._to_json() for arg in self.__args]}
        if self._options:
            json["options"] = dict(self._options)
        return json


def call(function: str, *args: Value, options: Mapping[str, Any] | None = None) -> Expr:
    """Call a function of the engine's table; what is no expression becomes a literal."""
    return Call(function, tuple(as_expr(arg) for arg in args), options or {})


def as_expr(value: Value) -> Expr:
    """Give an expression as it is, and anything else as a literal."""
    return value if isinstance(value, Expr) else lit(value)


@on_user_line
def col(name: str) -> Expr:
    """Name a column.

    Examples
    --------
    >>> from frazil import col
    >>> col("amount") * 2 > 10
    ((amount * 2) > 10)
    """
    if not isinstance(name, str) or not name:
        raise TypeMismatch(f"col({name!r}): a column has a name", 'write col("name")')
    return Column(name)


@on_user_line
def lit(value: Value, dtype: Any = None) -> Expr:
    """Make a literal.

    Parameters
    ----------
    value
        A Python value or a pyarrow scalar.
    dtype
        Its type. Without one, a number takes the type of what it meets: ``col("int32") + 1`` stays
        int32, and beside a decimal 0.1 is the decimal 0.1.
    """
    if isinstance(value, Expr):
        return value
    literal = LiteralValue(scalar_of(value))
    return literal if dtype is None else literal.cast(dtype)


def coalesce(*values: Value) -> Expr:
    """Give the first of the values that is not null."""
    return call("coalesce", *values)


def min_of(*values: Value) -> Expr:
    """Give the smallest of the values of the row; nulls count only if all are null."""
    return call("min_of", *values)


def max_of(*values: Value) -> Expr:
    """Give the largest of the values of the row; nulls count only if all are null."""
    return call("max_of", *values)


def concat_str(*values: Value, separator: str = "") -> Expr:
    """Join strings; null where one of them is null."""
    return call("concat", *values, options={"separator": separator})


def from_epoch(value: Value, unit: Unit = "s") -> Expr:
    """Give the timestamp[us, UTC] that is so many units after 1970-01-01 UTC."""
    return call("from_epoch", value, options={"unit": unit})


@on_user_line
def struct(*columns: str | Expr, **fields: Value) -> Expr:
    """Put values into a struct.

    Parameters
    ----------
    columns
        Names of columns, each a field of its name.
    fields
        Further fields by name.
    """
    named: dict[str, Value] = {}
    for column in columns:
        expr = col(column) if isinstance(column, str) else column
        if not isinstance(expr, Column):
            raise TypeMismatch(f"struct: {expr!r} has no name", f"write struct(name={expr!r})")
        named[expr._name] = expr
    named |= fields
    if not named:
        raise ConfigError("a struct needs at least one field", "write struct(name=col(...))")
    return call("struct", *named.values(), options={"names": [*named]})


class When:
    """A condition that waits for its `then`."""

    def __init__(self, branches: tuple[Expr, ...], condition: Value) -> None:
        self._branches = branches
        self._condition = as_expr(condition)

    def then(self, value: Value) -> Then:
        """Give `value` where the condition is true."""
        return Then((*self._branches, self._condition, as_expr(value)))


class Then(Call):
    """Branches so far; null where none is true."""

    __slots__ = ()

    def __init__(self, branches: tuple[Expr, ...]) -> None:
        super().__init__("when", branches, {})

    def when(self, condition: Value) -> When:
        """Add a branch for rows in which no condition was true so far."""
        return When(self._args, condition)

    def otherwise(self, value: Value) -> Expr:
        """Give `value` where no condition was true."""
        return call("when", *self._args, value)


def when(condition: Value) -> When:
    """Choose by conditions; each value is computed only for the rows that take it.

    Examples
    --------
    >>> import frazil as fz
    >>> from frazil import col
    >>> fz.when(col("n") > 0).then(col("sum") // col("n")).otherwise(0)
    when((n > 0), (sum // n), 0)
    """
    return When((), condition)


@functools.cache
def _spellings() -> dict[str, str]:
    return {name: spelling for name, _, spelling, *_ in _engine.functions()}


def spelled(function: str, args: Sequence[str], options: Mapping[str, Any]) -> str:
    """Write a call as the user would: by the spelling in the engine's table."""

    def fill(hole: re.Match[str]) -> str:
        match hole[1], hole[2], hole[3]:
            case "=", name, _:
                return option_text(name, options.get(name))
            case _, start, "*":
                return ", ".join(args[int(start or 0) :])
        return args[int(hole[2])]

    return re.sub(r"\{(=?)(\w*)(\*?)\}", fill, _spellings()[function])


def to_json(expr: Expr) -> str:
    """Give the EXPR of the plan as text."""
    return json_text.dumps(expr._to_json(), separators=(",", ":"))


def bind(expr: Expr, schema: pa.Schema, where: str) -> pa.Field:
    """Give the type of an expression on a schema, as a field without a name.

    Parameters
    ----------
    expr
        The expression.
    schema
        Columns of the stream.
    where
        Its name in errors: "kafka:orders".

    Raises
    ------
    PlanError
        If a column is not there, or if types do not fit.
    """
    bound = _engine.bind_expr(to_json(expr), schema.serialize().to_pybytes(), where)
    return pa.ipc.read_schema(pa.py_buffer(bound)).field(0)
