"""Python functions in a stream: row by row, whole columns, whole batches."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

import pyarrow as pa
from frazil.array_kinds import array_kinds
from frazil.changes import changes_of
from frazil.errors import PlanError, TypeMismatch, on_user_line
from frazil.expr import Column, Expr, Json, as_expr, bind
from frazil.node import COLUMN_PREFIX, FilterNode, Function, Node, OnError, Port, UdfNode
from frazil.processes import Processes, processes_of
from frazil.schema import arrow_type
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.duration import Duration

P = ParamSpec("P")
R = TypeVar("R")


class Udf(Generic[P, R]):
    """A Python function that makes a column; made by `udf` and `batch_udf`.

    Called with expressions it gives an expression; `function` is what was decorated.
    """

    def __init__(
        self,
        function: Callable[P, R],
        kind: Literal["row", "batch", "async"],
        returns: pa.Field,
        pure: bool,
        on_error: OnError,
        options: Any = None,
        processes: Processes | None = None,
    ) -> None:
        self.function = function
        self._kind = kind
        self._parameters = _parameters(function, kind)
        self._made = make_function(
            function, kind, pa.schema([returns]), pure, on_error, options, processes
        )
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", "function")

    @on_user_line
    def __call__(self, *args: Any) -> Expr:
        """Apply the function to columns.

        Parameters
        ----------
        args
            An expression (or a literal) for each parameter.
        """
        least = len([p for p in self._parameters if p.default is inspect.Parameter.empty])
        if not least <= len(args) <= len(self._parameters):
            wanted = ", ".join(parameter.name for parameter in self._parameters)
            raise PlanError(
                f"{self.__name__}() got {len(args)} columns", f"it takes {self.__name__}({wanted})"
            )
        if not args:
            raise PlanError(f"{self.__name__}() got no column", "a function is of some column")
        types = [_arrow_of(parameter, self.__name__) for parameter in self._parameters]
        return UdfCall(self._made, tuple(map(as_expr, args)), tuple(types[: len(args)]))

    def __repr__(self) -> str:
        return f"<{self._kind} function {self._made.reference}>"


class UdfCall(Expr):
    """A call of a Python function in an expression; the plan turns it into a node."""

    __slots__ = ("_arguments", "_function", "_types")

    def __init__(
        self,
        function: Function,
        arguments: tuple[Expr, ...],
        types: tuple[tuple[pa.DataType, bool] | None, ...],
    ) -> None:
        self._function = function
        self._arguments = arguments
        self._types = types

    @property
    def _args(self) -> tuple[Expr, ...]:
        return self._arguments

    def _with_args(self, args: tuple[Expr, ...]) -> Expr:
        return UdfCall(self._function, args, self._types)

    def __repr__(self) -> str:
        return f"{_short_name(self._function)}({', '.join(map(repr, self._arguments))})"

    def _to_json(self) -> Json:
        raise PlanError(
            f"{self!r}: a Python function cannot stand here",
            "it can in with_columns, select and filter",
        )


@overload
def udf(function: Callable[P, R], /) -> Udf[P, R]: ...


@overload
def udf(
    *,
    pure: bool = True,
    on_error: OnError = "fail",
    workers: int = 0,
    timeout: Duration | None = None,
) -> Callable[[Callable[P, R]], Udf[P, R]]: ...


def udf(
    function: Callable[P, R] | None = None,
    /,
    *,
    pure: bool = True,
    on_error: OnError = "fail",
    workers: int = 0,
    timeout: Duration | None = None,
) -> Udf[P, R] | Callable[[Callable[P, R]], Udf[P, R]]:
    """Make a function of single values usable on columns.

    It is called once a row, so it is the slow way; see `batch_udf`. The types of its parameters and
    of its result are those of its annotations.

    Parameters
    ----------
    function
        The function to decorate.
    pure
        Whether the same values always give the same result. False makes the pipeline "consistent"
        instead of "exact".
    on_error
        "fail" ends the run when the function raises, "null" makes the value null, "drop" leaves the
        row out, "divert" also gives it to `Stream.failed` and to the pipeline's dead letters.
    workers
        How many processes of its own call it, for work that keeps the processor busy; 0: this
        process does. It has to stand at the top of a module, which they import.
    timeout
        How long one call may take; more ends the run. Only with `workers`.

    Returns
    -------
    Udf
        To be called with expressions.

    Examples
    --------
    >>> import frazil as fz
    >>> @fz.udf
    ... def shout(word: str | None) -> str | None:
    ...     return None if word is None else word.upper()
    >>> words = fz.read_memory([{"word": "ice"}])
    >>> words.with_columns(loud=shout(fz.col("word"))).schema.names
    ['word', 'loud']
    """

    @on_user_line
    def decorate(function: Callable[P, R]) -> Udf[P, R]:
        name = getattr(function, "__qualname__", repr(function))
        hints = _hints(function)
        if "return" not in hints:
            raise PlanError(
                f"{name}() does not say what it returns", f"write def {name}(...) -> str | None:"
            )
        type_, nullable = arrow_type(hints["return"], f"{name}() returns")
        check_on_error(on_error)
        returns = pa.field("result", type_, nullable or on_error == "null")
        processes = processes_of(function, workers, timeout)
        return Udf(function, "row", returns, pure, on_error, processes=processes)

    return decorate if function is None else decorate(function)


@on_user_line
def batch_udf(
    *,
    returns: Any,
    nullable: bool = True,
    pure: bool = True,
    on_error: OnError = "fail",
    workers: int = 0,
    timeout: Duration | None = None,
) -> Callable[[Callable[P, R]], Udf[P, R]]:
    """Make a function of whole columns usable on columns.

    It gets a `pyarrow.Array` for each parameter and gives one of the same length; how rows are
    split into arrays must not change what it does to them. A parameter that is annotated with
    `numpy.ndarray`, `polars.Series` or `pandas.Series` is given that, and any of these may be
    returned.

    Parameters
    ----------
    returns
        Type of the result: an Arrow type, a Python type, or one of frazil's.
    nullable
        Whether the result may have nulls.
    pure
        Whether the same values always give the same result. False makes the pipeline "consistent"
        instead of "exact".
    on_error
        "fail" ends the run when the function raises. With "null", "drop" and "divert" (see `udf`)
        it is called again with halves of the batch, down to the rows for which it raises; so it has
        to be pure. With "null" and pure=False all values of the batch are null.
    workers
        How many processes of its own call it, each with a part of the batch, for work that keeps
        the processor busy; 0: this process does. It has to stand at the top of a module, which
        they import.
    timeout
        How long one call may take; more ends the run. Only with `workers`.

    Returns
    -------
    Callable
        The decorator.

    Examples
    --------
    >>> import frazil as fz
    >>> import pyarrow as pa, pyarrow.compute as pc
    >>> @fz.batch_udf(returns=pa.float64())
    ... def root(x: pa.Array) -> pa.Array:
    ...     return pc.sqrt(x)
    >>> numbers = fz.read_memory([{"x": 4.0}])
    >>> numbers.with_columns(y=root(fz.col("x"))).schema.field("y").type
    DataType(double)
    """
    type_, said_nullable = arrow_type(returns, "batch_udf(returns=)")
    check_on_error(on_error, None if pure else "batch_udf")
    field = pa.field("result", type_, nullable or said_nullable or on_error == "null")

    @on_user_line
    def decorate(function: Callable[P, R]) -> Udf[P, R]:
        processes = processes_of(function, workers, timeout)
        return Udf(function, "batch", field, pure, on_error, array_kinds(function), processes)

    return decorate


def make_function(
    function: Callable[..., Any],
    kind: Literal["row", "batch", "map_batches", "async"],
    returns: pa.Schema,
    pure: bool,
    on_error: OnError = "fail",
    options: Any = None,
    processes: Processes | None = None,
) -> Function:
    """Describe a Python function for the plan.

    Raises
    ------
    PlanError
        If it cannot be called, or is a coroutine.
    """
    if not callable(function):
        raise TypeMismatch(f"{function!r} is no function", "give something that can be called")
    if inspect.iscoroutinefunction(function) and kind != "async":
        raise PlanError(f"{function!r} is asynchronous", "decorate it with fz.async_udf(...)")
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    reference = f"{_module_name(named)}:{named.__qualname__}"
    digest = _source_hash(named)
    return Function(reference, function, kind, returns, pure, on_error, digest, options, processes)


def compute_calls(port: Port, expressions: Sequence[Expr], where: str) -> tuple[Port, list[Expr]]:
    """Put the Python functions that expressions call into nodes of their own.

    Returns
    -------
    tuple
        The port with a column for each call behind the others, and the expressions with these
        columns in place of the calls.
    """
    done: dict[int, Expr] = {}

    def replaced(expression: Expr) -> Expr:
        nonlocal port
        if id(expression) in done:
            return done[id(expression)]
        args = tuple(replaced(arg) for arg in expression._args)
        if isinstance(expression, UdfCall):
            port = _udf_port(port, expression, args, where)
            result: Expr = Column(port.schema.names[-1])
        elif any(new is not old for new, old in zip(args, expression._args, strict=True)):
            result = expression._with_args(args)
        else:
            result = expression
        done[id(expression)] = result
        return result

    results = [replaced(expression) for expression in expressions]
    return port, results


def call_texts(node: Node) -> dict[str, str]:
    """Calls whose columns a step can see, as the user wrote them, by the column's name."""
    chain: list[UdfNode] = []
    while isinstance(node, UdfNode | FilterNode):
        if isinstance(node, UdfNode):
            chain.append(node)
        node = node.input.node
    texts: dict[str, str] = {}
    for call in reversed(chain):
        text = f"{_short_name(call.function)}({', '.join(map(repr, call.arguments))})"
        texts[call.column] = as_written(text, texts)
    return texts


def as_written(text: str, calls: Mapping[str, str]) -> str:
    """Put the calls into a text in place of their columns' names."""
    return re.sub(rf"{COLUMN_PREFIX}\d+", lambda found: calls.get(found[0], found[0]), text)


def _short_name(function: Function) -> str:
    if function.kind == "embed":
        return "embed"  # models have any name
    return function.reference.rpartition(":")[2].rpartition(".")[2]


def _udf_port(port: Port, call: UdfCall, args: tuple[Expr, ...], where: str) -> Port:
    function = call._function
    for position, (arg, wanted) in enumerate(zip(args, call._types, strict=True)):
        bound = bind(arg, port.schema, where)
        if wanted is not None:
            _check_argument(call, position, bound, *wanted)
    number = sum(name.startswith(COLUMN_PREFIX) for name in port.schema.names)
    column = f"{COLUMN_PREFIX}{number}"
    result = function.returns.field(0).with_name(column)
    changes = changes_of(port)
    if function.apart and changes is not None and not changes.whole:
        result = result.with_nullable(True)  # a delete goes on whether the function raises or not
    step = function.options.step if function.kind == "embed" else None
    return Port(UdfNode(port.schema.append(result), port, function, args, column, name=step))


def _check_argument(
    call: UdfCall, position: int, bound: pa.Field, type_: pa.DataType, nullable: bool
) -> None:
    name = call._function.reference.rpartition(":")[2]
    if _family(bound.type) != _family(type_):
        raise TypeMismatch(
            f"{call!r}: argument {position + 1} is {type_name(bound.type)}",
            f"{name}() is annotated with {type_name(type_)}",
            "cast the argument, or change the annotation",
        )
    if bound.nullable and not nullable:
        raise TypeMismatch(
            f"{call!r}: argument {position + 1} may be null, and {name}() does not take None",
            "annotate it with T | None, or use fill_null",
        )


def _family(type_: pa.DataType) -> str:
    """What Python makes of values of a type."""
    for family, test in (
        ("int", pa.types.is_integer),
        ("float", pa.types.is_floating),
        ("bool", pa.types.is_boolean),
        ("str", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)),
        ("bytes", lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t)),
        ("decimal", pa.types.is_decimal),
        ("datetime", pa.types.is_timestamp),
        ("date", pa.types.is_date),
        ("time", pa.types.is_time),
        ("timedelta", pa.types.is_duration),
    ):
        if test(type_):
            return family
    return str(type_)


def check_on_error(
    on_error: str, impure: str | None = None, known: Sequence[str] = typing.get_args(OnError)
) -> None:
    """Refuse a policy that is none, or one that calls an `impure` function of batches again."""
    if on_error not in known:
        raise PlanError(
            f"on_error={on_error!r} is not offered", ", ".join(f'"{each}"' for each in known)
        )
    if impure is not None and on_error in ("drop", "divert"):
        raise PlanError(
            f"{impure}: on_error={on_error!r} and pure=False",
            "to find the rows for which it raises, a function of batches is called again with "
            "parts of them, which has to give the same",
            'say on_error="fail", or make it a @fz.udf, which is called for each row once',
        )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise PlanError(
            f"annotations of {function!r} cannot be evaluated: {error}",
            "use types that are known where the function stands",
        ) from None


def _parameters(function: Callable[..., Any], kind: str) -> list[inspect.Parameter]:
    found = []
    hints = _hints(function) if kind != "batch" else {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise PlanError(
                f"{function!r} has parameter {parameter}", "only positional parameters get columns"
            )
        annotation = hints.get(parameter.name, inspect.Parameter.empty)
        found.append(parameter.replace(annotation=annotation))
    return found


def _arrow_of(parameter: inspect.Parameter, name: str) -> tuple[pa.DataType, bool] | None:
    if parameter.annotation in (inspect.Parameter.empty, Any, object):
        return None
    return arrow_type(parameter.annotation, f"{name}({parameter.name})")


def _module_name(function: Any) -> str:
    """Name to import the function's module by; a script is known by its file's name."""
    module = str(getattr(function, "__module__", None) or "builtins")
    if module != "__main__":
        return module
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).stem if file else module


def _source_hash(function: Any) -> str:
    """Digest of the function's source, to tell people that it was edited."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = repr((code.co_code, code.co_names)) if code is not None else repr(function)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
