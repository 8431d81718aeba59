"""Calls Python functions with batches, one call a batch, and checks what they return."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from frazil.array_kinds import given_as, taken_back
from frazil.errors import UdfError
from frazil.nested_nulls import row_with_null
from frazil.python_values import python_values
from frazil.types import field_name, type_name

if TYPE_CHECKING:
    from frazil.node import Function

VALUES_SHOWN = 6
"""Values of an error that are shown."""
VALUE_CHARS = 60
"""Characters of a value that are shown."""


class Part(NamedTuple):
    """Which rows of a batch are at hand, where a process has a part of it."""

    first: int
    rows: int  # of the whole batch


part: Part | None = None


class BadValues(UdfError):
    """A function gave nulls where it declares none: which depends on its rows."""


def run(function: Function, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Call a function with a batch of its arguments.

    Returns
    -------
    pyarrow.RecordBatch
        Columns as in ``function.returns``: one for row and batch functions. If errors do not end
        the run, what `frazil.udf_failed.run_apart` gives.

    Raises
    ------
    UdfError
        If the function raises, or returns what it did not declare. It names the function, the line
        and the first values.
    """
    if function.apart:
        from frazil.udf_failed import run_apart

        return run_apart(function, batch)
    if function.kind == "map_batches":
        try:
            result = function.call(batch)
        except Exception as error:
            raise _raised(function, error, batch, 0) from error
        return checked_batch(function, result)
    if function.kind == "row":
        column = _rows(function, batch)
    else:
        column = _column(function, batch)
    returned = function.returns.field(0)
    if not returned.nullable and column.null_count:
        row = column.is_null().index(pa.scalar(True)).as_py()
        raise UdfError(
            f"{function.reference} returned None, and declares {type_name(returned.type)}",
            _values(batch, row),
            "annotate the result with T | None",
        )
    inside = row_with_null(column)
    if inside is not None:
        raise UdfError(
            f"{_null_inside(function, returned.type)}: {_short(column[inside].as_py())}",
            _values(batch, inside),
            "give every value that is not declared as T | None",
        )
    return pa.RecordBatch.from_arrays([column], schema=function.returns)


def _null_inside(function: Function, type_: pa.DataType) -> str:
    return f"{function.reference} returned None where {type_name(type_)} has none"


def _rows(function: Function, batch: pa.RecordBatch) -> pa.Array:
    results: list[Any] = []
    try:
        dicts = getattr(function.call, "dicts", False)
        columns = [python_values(column, dicts=dicts) for column in batch.columns]
        for values in zip(*columns, strict=True):
            if function.on_error == "fail":
                results.append(function.call(*values))
            else:
                results.append(_or_null(function, values))
    except Exception as error:
        raise _raised(function, error, batch, len(results)) from error
    type_ = function.returns.field(0).type
    try:
        return pa.array(results, type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        row = next(row for row, value in enumerate(results) if not _fits(value, type_))
        raise UdfError(
            f"{function.reference} returned {_short(results[row])}, "
            f"and is declared to return {type_name(type_)}",
            _values(batch, row),
            "return a value of the type, or change the annotation",
        ) from None


def _or_null(function: Function, values: tuple[Any, ...]) -> Any:
    try:
        return function.call(*values)
    except Exception:  # the user's own choice: on_error="null"
        return None


def _given(function: Function, batch: pa.RecordBatch) -> list[Any]:
    kinds = (function.options or ())[: batch.num_columns]
    if all(kind == "arrow" for kind in kinds):
        return list(batch.columns)
    return [
        given_as(column, kind, f"argument {number}")
        for number, (column, kind) in enumerate(zip(batch.columns, kinds, strict=True), 1)
    ]


def _column(function: Function, batch: pa.RecordBatch) -> pa.Array:
    type_ = function.returns.field(0).type
    try:
        result = taken_back(function.call(*_given(function, batch)), type_)
    except Exception as error:
        if function.on_error == "null" and not function.pure:
            return pa.nulls(batch.num_rows, type_)
        if function.on_error == "null":
            from frazil.udf_failed import column_with_nulls

            return column_with_nulls(function, batch)
        raise _raised(function, error, batch, 0) from error
    return checked_column(function, result, batch.num_rows)


def checked_column(function: Function, result: Any, rows: int) -> pa.Array:
    """What a function of columns returned for so many rows, as it declares it."""
    type_ = function.returns.field(0).type
    if isinstance(result, pa.ChunkedArray):
        result = result.combine_chunks()
    if not isinstance(result, pa.Array):
        raise UdfError(
            f"{function.reference} returned a {type(result).__name__}", "return a pyarrow.Array"
        )
    if result.type != type_:
        raise UdfError(
            f"{function.reference} returned {type_name(result.type)}, "
            f"and is declared to return {type_name(type_)}",
            "cast the result, or change returns=",
        )
    if len(result) != rows:
        raise UdfError(
            f"{function.reference} returned {len(result)} values for {rows} rows",
            "return one value for each row; map_batches may change their number",
        )
    return result


def checked_batch(function: Function, result: Any) -> pa.RecordBatch:
    """What a function of batches returned, with the columns it declares."""
    if isinstance(result, pa.Table):
        batches = result.combine_chunks().to_batches()
        if len(batches) > 1:  # texts of more than 2 GiB cannot be one array
            raise UdfError(
                f"{function.reference} returned a table of {result.nbytes} bytes, too many for one "
                "batch",
                "return fewer rows for a batch",
            )
        result = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=result.schema)
    if not isinstance(result, pa.RecordBatch):
        raise UdfError(
            f"{function.reference} returned a {type(result).__name__}",
            "return a pyarrow.RecordBatch",
        )
    for field in function.returns:
        if result.schema.get_field_index(field.name) < 0:
            raise UdfError(
                f"{function.reference} returned no column {field.name!r}",
                f"it returned {', '.join(result.schema.names)}; declared is {field_name(field)}",
            )
        column = result.column(field.name)
        if column.type != field.type:
            raise UdfError(
                f"{function.reference} returned column {field.name!r} as {type_name(column.type)}",
                f"declared is {field_name(field)}",
                "cast the column, or change schema=",
            )
        if column.null_count and not field.nullable:
            raise BadValues(
                f"{function.reference} returned nulls in column {field.name!r}",
                f"declared is {field_name(field)}",
            )
        if row_with_null(column) is not None:
            raise BadValues(f"{_null_inside(function, field.type)}, in column {field.name!r}")
    if result.num_columns > len(function.returns):
        extra = [name for name in result.schema.names if name not in function.returns.names]
        raise UdfError(
            f"{function.reference} returned columns that are not declared: {', '.join(extra)}",
            f"declared are {', '.join(function.returns.names)}",
        )
    columns = [result.column(field.name) for field in function.returns]
    return pa.RecordBatch.from_arrays(columns, schema=function.returns)


def _raised(function: Function, error: BaseException, batch: pa.RecordBatch, row: int) -> UdfError:
    said = " ".join(str(error).split())
    text = f"{type(error).__name__}: {_cut(said, 200)}" if said else type(error).__name__
    return UdfError(
        f"{function.reference} raised {text}{_line(function, error.__traceback__)}",
        _values(batch, row),
    )


def _line(function: Function, trace: TracebackType | None) -> str:
    """The innermost line in the file of the function: what it calls may be deep in a library."""
    code = getattr(function.call, "__code__", None)
    frames = [
        each for each in traceback.extract_tb(trace) if code and each.filename == code.co_filename
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _values(batch: pa.RecordBatch, row: int) -> str:
    if batch.num_rows <= row:
        return "on an empty batch"
    shown = [
        f"{name}={_short(column[row].as_py())}"
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    more = ", ..." if len(shown) > VALUES_SHOWN else ""
    first, rows = part or (0, batch.num_rows)
    return f"row {first + row + 1} of {rows}: {', '.join(shown[:VALUES_SHOWN])}{more}"


def _short(value: Any) -> str:
    return _cut(repr(value), VALUE_CHARS)


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 3] + "..."


def _fits(value: Any, type_: pa.DataType) -> bool:
    try:
        pa.scalar(value, type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True
