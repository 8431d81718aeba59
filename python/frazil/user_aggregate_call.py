"""Calls the class of a user's aggregate for many groups; what the engine calls."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.errors import UdfError
from frazil.python_values import python_values
from frazil.types import type_name
from frazil.udf_call import _cut, _short
from frazil.user_aggregate import ENGINE_NAME, AggregateOptions

if TYPE_CHECKING:
    from frazil import _engine
    from frazil.node import Function, Json

# What a call is: engine/aggregate/user_aggregate.h.
ADD, MERGE, FINISH = 0, 1, 2

_numbers = itertools.count()


def with_aggregates(
    plan: Json, functions: Mapping[str, Function]
) -> tuple[Json, dict[str, AggregateCall]]:
    """Give the aggregates of a plan names that are one run's alone, and their calls by these.

    The engine finds them by name wherever it makes accumulators, and several runs may have
    different classes of one name.
    """
    named: dict[str, str] = {}
    calls: dict[str, AggregateCall] = {}
    for reference, function in functions.items():
        if function.kind == "aggregate":
            named[reference] = f"aggregate {reference} {next(_numbers)}"
            calls[named[reference]] = AggregateCall(function)
    if not named:
        return plan, calls
    nodes = []
    for node in plan["nodes"]:
        if "aggregates" in node:
            made = [_renamed(one, named) for one in node["aggregates"]]
            node = {**node, "aggregates": made}
        nodes.append(node)
    return {**plan, "nodes": nodes}, calls


def _renamed(one: Json, named: Mapping[str, str]) -> Json:
    if one["fn"] != ENGINE_NAME:
        return one
    return {**one, "options": {**one["options"], "function": named[one["options"]["function"]]}}


class AggregateCall:
    """A class as a run has it. One object for all workers: it keeps nothing between calls."""

    def __init__(self, function: Function) -> None:
        given: Any = function.call
        self._reference = function.reference
        self._options: AggregateOptions = function.options
        self._result = function.returns.field(0)
        self._cls = given if isinstance(given, type) else type(given)
        self._given = given
        self._object: Any = None
        self._method = "create"

    def __call__(self, batch: _engine.ArrowBatch) -> pa.RecordBatch:
        """Make one call of the engine."""
        asked = pa.record_batch(batch)
        what = asked.column("what")[0].as_py()
        given = _values(asked.column("states").flatten().field(0))
        made: list[Any] = []
        at: tuple[Any, ...] = ()
        method = "create"
        try:
            if self._object is None:
                self._object = self._given() if isinstance(self._given, type) else self._given
            if what == FINISH:
                for state in given:
                    method = "create"
                    at = (self._object.create() if state is None else state,)
                    method = "finish"
                    made.append(self._object.finish(*at))
            else:
                method = "add" if what == ADD else "merge"
                offsets = asked.column("offsets").flatten().to_pylist()
                rows = self._others(asked) if what == MERGE else self._rows(asked)
                for number, state in enumerate(given):
                    for at in rows[offsets[number] : offsets[number + 1]]:
                        if at is None:
                            continue
                        if state is None and what == ADD:
                            method = "create"
                            state = self._object.create()
                            method = "add"
                        state = self._changed(what, state, at)
                    made.append(state)
        except BaseException as error:  # sys.exit() too: it would end a thread without a word
            raise self._raised(method, error, at) from error
        if what == FINISH:
            results = self._array(made, self._result.type, self._result.nullable, "finish")
            return pa.RecordBatch.from_arrays([_one_list(results)], names=["results"])
        column = self._array(made, self._options.state, True, method)  # none: no row was taken
        field = pa.field("state", self._options.state)
        struct = pa.StructArray.from_arrays([column], fields=[field])
        return pa.RecordBatch.from_arrays([_one_list(struct)], names=["states"])

    def _changed(self, what: int, state: Any, at: tuple[Any, ...]) -> Any:
        """A state that rows or another state were added to."""
        user = self._object
        if what == MERGE and state is None:
            return at[0]
        if what == MERGE:
            made = user.merge(state, *at)
        else:
            made = user.add(state, *at)
        if made is None:
            raise UdfError("it returned None", "it has to return the state")
        return made

    def _others(self, asked: pa.RecordBatch) -> list[Any]:
        """The states that are merged; None for those of no row."""
        states = _values(asked.column("others").flatten().field(0))
        return [None if state is None else (state,) for state in states]

    def _rows(self, asked: pa.RecordBatch) -> list[Any]:
        """The arguments of each row; None for one that is left out."""
        rows = asked.column("rows").flatten()
        columns = [rows.field(i) for i in range(rows.type.num_fields)]
        made = list(zip(*map(_values, columns), strict=True))
        strict = [
            number
            for number, (_, _, nullable) in enumerate(self._options.parameters)
            if not nullable and columns[number].null_count
        ]
        if not strict:
            return made
        return [None if any(row[number] is None for number in strict) else row for row in made]

    def _array(
        self, values: list[Any], type_: pa.DataType, nullable: bool, method: str
    ) -> pa.Array:
        column = _arrow(values, type_)
        if column is None or (column.null_count and not nullable):
            for value in values:
                if (value is None and not nullable) or _arrow([value], type_) is None:
                    raise UdfError(
                        f"{self._reference}.{method} returned {_short(value)}",
                        f"it is declared to return {type_name(type_)}",
                        "return a value of the type, or change the annotation",
                    )
        return column

    def _raised(self, method: str, error: BaseException, at: tuple[Any, ...]) -> UdfError:
        said = " ".join(str(error).split())
        text = f"{type(error).__name__}: {_cut(said, 200)}" if said else type(error).__name__
        file = getattr(getattr(self._cls, method), "__code__", None)
        frames = [
            each
            for each in traceback.extract_tb(error.__traceback__)
            if file is not None and each.filename == file.co_filename
        ]
        line = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        values = f"on {', '.join(map(_short, at))}" if at else "on an empty group"
        return UdfError(f"{self._reference}.{method} raised {text}{line}", values)


def _values(column: pa.Array) -> list[Any]:
    return python_values(column, dicts=True)


def _arrow(values: list[Any], type_: pa.DataType) -> pa.Array | None:
    try:
        if pa.types.is_map(type_):
            values = [None if value is None else list(value.items()) for value in values]
        return pa.array(values, type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        return None


def _one_list(values: pa.Array) -> pa.Array:
    type_ = pa.list_(pa.field("element", values.type))
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values, type=type_)
