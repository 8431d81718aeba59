"""Aggregates that a Python class computes: `aggregate`."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from frazil.errors import PlanError, SchemaError, TypeMismatch, on_user_line
from frazil.expr import Expr, as_expr, bind
from frazil.expr_aggregate import Aggregate
from frazil.node import Function
from frazil.schema import arrow_type
from frazil.types import type_name
from frazil.udf import _arrow_of, _family, _hints, _module_name, _source_hash

ENGINE_NAME = "user_defined"
METHODS = ("create", "add", "merge", "finish")


@dataclass(frozen=True)
class AggregateOptions:
    """What the methods of a class say by their annotations.

    Attributes
    ----------
    state
        Type of what is kept of a group.
    parameters
        Name of each argument, its type if it is said, and whether it may be None.
    """

    state: pa.DataType
    parameters: tuple[tuple[str, pa.DataType | None, bool], ...]


class UserAggregateFunction:
    """An aggregate that a class computes; made by `aggregate`.

    Called with expressions it gives an aggregate.
    """

    def __init__(self, made: Function) -> None:
        self._made = made
        self.__name__ = made.reference.rpartition(":")[2].rpartition(".")[2]

    @on_user_line
    def __call__(self, *args: Any) -> Aggregate:
        """Aggregate columns.

        Parameters
        ----------
        args
            An expression (or a literal) for each parameter of `add`.
        """
        options: AggregateOptions = self._made.options
        if len(args) != len(options.parameters):
            wanted = ", ".join(name for name, _, _ in options.parameters)
            raise PlanError(
                f"{self.__name__}() got {len(args)} columns", f"it takes {self.__name__}({wanted})"
            )
        texts = {
            "function": self._made.reference,
            "state": _schema_text(pa.field("state", options.state)),
            "result": _schema_text(self._made.returns.field(0)),
        }
        return UserAggregate(self._made, tuple(map(as_expr, args)), texts)

    def __repr__(self) -> str:
        return f"<aggregate {self._made.reference}>"


class UserAggregate(Aggregate):
    """An aggregate of a class on columns."""

    __slots__ = ("_made",)

    def __init__(
        self,
        made: Function,
        args: tuple[Expr, ...],
        options: dict[str, Any],
        predicate: Expr | None = None,
    ) -> None:
        super().__init__(ENGINE_NAME, args, options, predicate)
        self._made = made

    def filter(self, predicate: Any) -> Aggregate:
        """Take only rows for which the predicate is true."""
        both = super().filter(predicate)._predicate
        return UserAggregate(self._made, self._columns_taken, dict(self._options), both)

    @property
    def _columns_taken(self) -> tuple[Expr, ...]:
        return self._args if self._predicate is None else self._args[:-1]

    def _with_args(self, args: tuple[Expr, ...]) -> Aggregate:
        options = dict(self._options)
        if self._predicate is None:
            return UserAggregate(self._made, args, options)
        return UserAggregate(self._made, args[:-1], options, args[-1])

    def _bound(self, name: str, schema: pa.Schema, where: str) -> tuple[pa.Field, bool]:
        parameters: tuple[Any, ...] = self._made.options.parameters
        for arg, (parameter, type_, _) in zip(self._columns_taken, parameters, strict=True):
            found = bind(arg, schema, where).type
            if type_ is not None and _family(found) != _family(type_):
                raise TypeMismatch(
                    f"{self!r}: {parameter} is {type_name(found)}",
                    f"add() is annotated with {type_name(type_)}",
                    "cast the argument, or change the annotation",
                )
        return super()._bound(name, schema, where)

    def __repr__(self) -> str:
        name = self._made.reference.rpartition(":")[2].rpartition(".")[2]
        text = f"{name}({', '.join(map(repr, self._columns_taken))})"
        return text if self._predicate is None else f"{text}.filter({self._predicate!r})"


@on_user_line
def aggregate(cls: type | Any) -> UserAggregateFunction:
    """Make an aggregate of a class with `create`, `add`, `merge` and `finish`.

    Rows are aggregated in pieces - batches before they are exchanged, panes of windows - and the
    pieces are merged, in any order. So `merge` has to give the same for the same pieces in whatever
    order they come, and `add` for rows.

    Parameters
    ----------
    cls
        A class, which is called without arguments, or an object. ``create()`` gives the state of a
        group without rows; its annotation is the type of the state, a type as in a schema.
        ``add(state, x, ...)`` and ``merge(state, other)`` give the state then; the one they got may
        be changed in place. ``finish(state)`` gives the result, of the type of its annotation. A
        row with a null is left out, unless the parameter is annotated with ``| None``.

    Returns
    -------
    UserAggregateFunction
        To be called with expressions, in ``agg``.

    Examples
    --------
    >>> import frazil as fz
    >>> class Range:
    ...     def create(self) -> list[float]:
    ...         return []
    ...
    ...     def add(self, state: list[float], x: float) -> list[float]:
    ...         return self.merge(state, [x])
    ...
    ...     def merge(self, state: list[float], other: list[float]) -> list[float]:
    ...         return [min(state + other), max(state + other)]
    ...
    ...     def finish(self, state: list[float]) -> float | None:
    ...         return state[1] - state[0] if state else None
    >>> spread = fz.aggregate(Range)
    >>> rows = fz.read_memory([{"user": "ada", "x": 1.5}, {"user": "ada", "x": 4.0}])
    >>> rows.group_by("user").agg(spread=spread(fz.col("x")))
    Stream(changes by user) <- memory
      user: string
      spread: double
    """
    named = cls if isinstance(cls, type) else type(cls)
    for method in METHODS:
        if not callable(getattr(cls, method, None)):
            raise TypeMismatch(
                f"aggregate got {cls!r}, which has no {method}()",
                f"give a class with {', '.join(METHODS)}",
            )
    state, state_nullable = _returned(named, "create")
    if state_nullable:
        raise PlanError(f"{named.__qualname__}.create() may give None", "a state is there always")
    result, nullable = _returned(named, "finish")
    parameters = _parameters(named)
    if not parameters:
        raise PlanError(f"{named.__qualname__}.add() takes no column", "write add(self, state, x)")
    function = Function(
        f"{_module_name(named)}:{named.__qualname__}",
        cls,
        "aggregate",
        pa.schema([pa.field("result", result, nullable)]),
        True,
        source_hash=_source_hash(named),
        options=AggregateOptions(state, parameters),
    )
    return UserAggregateFunction(function)


def _returned(cls: type, method: str) -> tuple[pa.DataType, bool]:
    hints = _hints(getattr(cls, method))
    where = f"{cls.__qualname__}.{method}()"
    if "return" not in hints:
        raise PlanError(f"{where} does not say what it returns", f"write def {method}(...) -> int:")
    try:
        return arrow_type(hints["return"], f"{where} returns")
    except SchemaError as error:
        raise PlanError(error.what, *error.lines) from None


def _parameters(cls: Any) -> tuple[tuple[str, pa.DataType | None, bool], ...]:
    hints = _hints(cls.add)
    found = []
    for parameter in list(inspect.signature(cls.add).parameters.values())[2:]:
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            raise PlanError(
                f"{cls.__qualname__}.add() has parameter {parameter}",
                "only positional parameters get columns",
            )
        annotation = hints.get(parameter.name, inspect.Parameter.empty)
        said = _arrow_of(parameter.replace(annotation=annotation), f"{cls.__qualname__}.add")
        type_, nullable = (None, False) if said is None else said
        found.append((parameter.name, type_, nullable))
    return tuple(found)


def _schema_text(field: pa.Field) -> str:
    return base64.b64encode(pa.schema([field]).serialize().to_pybytes()).decode()


def in_python(aggregates: Sequence[tuple[str, Aggregate]]) -> str:
    """What `explain` says of those that a class computes, behind what else it says of a step."""
    found = [repr(one) for _, one in aggregates if isinstance(one, UserAggregate)]
    return f"; in Python: {', '.join(found)}" if found else ""
