"""Aggregates: one value of all the rows of a group and window."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from frazil import _engine
from frazil.errors import PlanError, TypeMismatch, on_user_line
from frazil.expr import Column, Expr, Json, bind
from frazil.types import type_name

COLUMN_PREFIX = "__agg_"
"""Names of aggregates that are only part of an expression."""

_DEFAULTS = {
    "accuracy": 0.01,
    "bits": 12,
    "ddof": 1,
    "ignore_nulls": True,
    "max_bins": 2048,
    "max_bytes": 16 << 20,
    "smallest": False,
}
"""Options that are not shown if they are so."""


class Aggregate(Expr):
    """A function of all the rows of a group; made by `count` and the methods of expressions.

    Only `Windowed.agg` understands it. Arithmetic on it is an expression, which `agg` computes of
    the results.
    """

    __slots__ = ("__args", "_function", "_options", "_predicate")

    def __init__(
        self,
        function: str,
        args: tuple[Expr, ...],
        options: Mapping[str, Any],
        predicate: Expr | None = None,
    ) -> None:
        self._function = function
        self.__args = args
        self._options = options
        self._predicate = predicate

    @on_user_line
    def filter(self, predicate: Any) -> Aggregate:
        """Count only rows for which the predicate is true.

        Parameters
        ----------
        predicate
            A boolean expression. A second `filter` adds to the first.
        """
        if not isinstance(predicate, Expr):
            raise TypeMismatch(
                f"filter of {self!r} got {predicate!r}, a {type(predicate).__name__}",
                'write an expression: .filter(col("kind") == "sale")',
            )
        both = predicate if self._predicate is None else self._predicate & predicate
        return Aggregate(self._function, self.__args, self._options, both)

    @property
    def _args(self) -> tuple[Expr, ...]:
        return self.__args if self._predicate is None else (*self.__args, self._predicate)

    def _with_args(self, args: tuple[Expr, ...]) -> Aggregate:
        if self._predicate is None:
            return Aggregate(self._function, args, self._options)
        return Aggregate(self._function, args[:-1], self._options, args[-1])

    def __repr__(self) -> str:
        by = "by=" if self._function == "top_k" else ""
        said = [f"{by}{arg!r}" for arg in self.__args[1:]]
        said += [
            f"{name}={value!r}"
            for name, value in self._options.items()
            if value != _DEFAULTS.get(name)
        ]
        text = f"{self._function}({', '.join(said)})"
        if self.__args:
            text = f"{self.__args[0]!r}.{text}"
        return text if self._predicate is None else f"{text}.filter({self._predicate!r})"

    def _to_json(self) -> Json:
        raise PlanError(
            f"{self!r} is an aggregate, and here is one row at a time",
            "write .group_by(...).window(...).agg(name=...)",
        )

    def _spec(self, name: str) -> Json:
        """Give the AGG of the plan."""
        return {
            "name": name,
            "fn": self._function,
            "args": [arg._to_json() for arg in self.__args],
            "filter": None if self._predicate is None else self._predicate._to_json(),
            "options": dict(self._options),
        }

    def _bound(self, name: str, schema: pa.Schema, where: str) -> tuple[pa.Field, bool]:
        """Give the column that it makes of a stream's, and whether the order of rows matters."""
        fields = [bind(arg, schema, where) for arg in self.__args]
        if self._predicate is not None:
            bound = bind(self._predicate, schema, where)
            if not pa.types.is_boolean(bound.type):
                raise TypeMismatch(
                    f"filter got {self._predicate!r}, which is {type_name(bound.type)}",
                    "a predicate is boolean: compare it with something",
                )
        try:
            made, ordered = aggregate_type(self._function, fields, self._options)
        except PlanError as error:
            raise type(error)(error.what, f"in: {self!r}", *error.lines) from None
        return made.with_name(name), ordered


def count() -> Aggregate:
    """Count rows.

    Returns
    -------
    Aggregate
        For `Windowed.agg`.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.count().filter(fz.col("amount") > 100)
    count().filter((amount > 100))
    """
    return Aggregate("count", (), {})


def aggregates_in(expression: Expr) -> Iterator[Aggregate]:
    """The aggregates an expression is made of."""
    return (node for node in expression._walk() if isinstance(node, Aggregate))


def retracting() -> list[str]:
    """The functions that can take a row back, and so be had of a stream of changes."""
    return [name for name, *_, retracts in _engine.aggregates() if retracts]


def split(
    named: Mapping[str, Expr], computed: Mapping[int, Aggregate]
) -> tuple[dict[str, Aggregate], dict[str, Expr]]:
    """Take expressions of aggregates apart.

    Parameters
    ----------
    named
        What is asked for.
    computed
        What to put in place of each aggregate, by its identity: the calls of Python functions in it
        are columns there.

    Returns
    -------
    tuple
        The aggregates by name, each once; and what is computed of them, by the names asked for.
    """
    made: dict[str, Aggregate] = {}
    known: dict[str, str] = {}
    for name, expression in named.items():
        if isinstance(expression, Aggregate):
            made[name] = computed[id(expression)]
            known.setdefault(_key(made[name]), name)

    def replaced(expression: Expr) -> Expr:
        if isinstance(expression, Aggregate):
            aggregate = computed[id(expression)]
            key = _key(aggregate)
            if key not in known:
                known[key] = f"{COLUMN_PREFIX}{len(made)}"
                made[known[key]] = aggregate
            return Column(known[key])
        args = expression._args
        new = tuple(map(replaced, args))
        same = all(after is before for after, before in zip(new, args, strict=True))
        return expression if same else expression._with_args(new)

    results: dict[str, Expr] = {}
    for name, expression in named.items():
        if isinstance(expression, Aggregate):
            results[name] = Column(name)
            continue
        results[name] = replaced(expression)
    return made, results


def aggregate_type(
    function: str, arguments: Sequence[pa.Field], options: Mapping[str, Any]
) -> tuple[pa.Field, bool]:
    """Ask for the type of an aggregate, as a field without a name, and whether order matters.

    Raises
    ------
    PlanError
        If there is no such function, or types or options do not fit.
    """
    types = pa.schema([(str(number), field.type) for number, field in enumerate(arguments)])
    try:
        text = json.dumps(dict(options), allow_nan=False)
    except (TypeError, ValueError):
        said = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise PlanError(f"{function}: {said}", "options are whole or finite numbers") from None
    made, ordered = _engine.aggregate_type(function, types, text)
    return pa.schema(made).field(0), ordered


def _key(aggregate: Aggregate) -> str:
    return repr(aggregate._spec(""))
