"""Calls functions whose errors do not end a run: finds the rows that fail; the others go on.

What is found does not depend on how rows are split: why a row fails is always what a call with that
row alone says.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from frazil.array_kinds import taken_back
from frazil.errors import UdfError
from frazil.nested_nulls import row_with_null
from frazil.python_values import python_values
from frazil.types import type_name
from frazil.udf_call import (
    BadValues,
    _fits,
    _given,
    _null_inside,
    _short,
    checked_batch,
    checked_column,
)

if TYPE_CHECKING:
    from frazil.node import Function

T = TypeVar("T")

FAILED = pa.schema([("row", pa.int64()), ("reason", pa.string())])
"""What is told of rows that failed."""
REASON_BYTES = 1_000
"""Bytes of a reason, in UTF-8."""

# A value that Arrow does not take.
_UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)


class _Raised(Exception):
    """The user's function raised, or gave values that it did not declare."""


def run_apart(function: Function, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Call a function with ``on_error="drop"`` or ``"divert"``.

    One of batches that raises is called again with halves of the batch, down to single rows.

    Returns
    -------
    pyarrow.RecordBatch
        Of one row. ``rows``, a list of structs: one for each of the batch, null where it failed
        (``map_batches``: what it returned for the others). ``failed``: those rows, as `FAILED`.

    Raises
    ------
    UdfError
        It returned something of another type or length, which is not about a row.
    """
    failed: dict[int, str] = {}
    if function.kind == "map_batches":
        parts = _halves(lambda part: _batch(function, part), batch, 0, failed, [])
        table = pa.Table.from_batches([part for part in parts if part.num_rows], function.returns)
        return _packed(checked_batch(function, table), failed)
    type_ = function.returns.field(0).type
    if function.kind == "row":
        column = _each(function, batch, failed)
    else:
        none = [pa.nulls(1, type_)]
        arrays = _halves(lambda part: _column(function, part), batch, 0, failed, none)
        column = arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
    return _told(function, column, failed)


def column_with_nulls(function: Function, batch: pa.RecordBatch) -> pa.Array:
    """Call a function of batches that has raised for all of it: null in the rows where it does.

    Raises
    ------
    UdfError
        As `run_apart`.
    """
    none = [pa.nulls(1, function.returns.field(0).type)]
    arrays = _halves(lambda part: _column(function, part), batch, 0, {}, none)
    return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)


def apart(function: Function, results: list[Any], failed: dict[int, str]) -> pa.RecordBatch:
    """What `run_apart` gives, of results of single calls, and reasons why some have none."""
    return _told(function, _fitting(function, results, failed), failed)


def _told(function: Function, column: pa.Array, failed: dict[int, str]) -> pa.RecordBatch:
    type_ = function.returns.field(0).type
    if not function.returns.field(0).nullable and column.null_count:
        declared = f"{function.reference} returned None, and declares {type_name(type_)}"
        for row in (i for i, value in enumerate(column) if not value.is_valid):
            failed.setdefault(row, declared)
    if row_with_null(column) is not None:
        for row in range(len(column)):
            if row_with_null(column.slice(row, 1)) is not None:
                failed.setdefault(row, _null_inside(function, type_))
    return _packed(pa.RecordBatch.from_arrays([column], schema=function.returns), failed)


def _packed(rows: pa.RecordBatch, failed: dict[int, str]) -> pa.RecordBatch:
    numbers = sorted(failed)
    reasons = pa.array([_bounded(failed[row]) for row in numbers], pa.string())
    told = pa.RecordBatch.from_arrays([pa.array(numbers, pa.int64()), reasons], schema=FAILED)
    return pa.RecordBatch.from_arrays([_one(rows), _one(told)], ["rows", "failed"])


def _one(rows: pa.RecordBatch) -> pa.Array:
    """A batch as one list of structs; no copy."""
    structs = pa.StructArray.from_arrays(rows.columns, fields=list(rows.schema))
    return pa.ListArray.from_arrays(pa.array([0, rows.num_rows], pa.int32()), structs)


def _bounded(text: str) -> str:
    """A text that can be stored, of so many bytes."""
    data = text.encode("utf-8", "replace")
    if len(data) <= REASON_BYTES:
        return data.decode()
    return data[: REASON_BYTES - 3].decode("utf-8", "ignore") + "..."


def _halves(
    call: Callable[[pa.RecordBatch], T],
    batch: pa.RecordBatch,
    first: int,
    failed: dict[int, str],
    instead: list[T],
) -> list[T]:
    """What the call gives of the batch, or of halves of it where it raises; `instead` of a row."""
    try:
        return [call(batch)]
    except _Raised as raised:
        if not batch.num_rows:
            raise UdfError(str(raised), "on an empty batch") from raised
        if batch.num_rows == 1:
            failed[first] = str(raised)
            return instead
    half = batch.num_rows // 2
    return [
        *_halves(call, batch.slice(0, half), first, failed, instead),
        *_halves(call, batch.slice(half), first + half, failed, instead),
    ]


def _column(function: Function, batch: pa.RecordBatch) -> pa.Array:
    try:
        result = taken_back(function.call(*_given(function, batch)), function.returns.field(0).type)
    except Exception as error:  # the user's own choice: on_error
        raise _Raised(said_of(function, error)) from error
    return checked_column(function, result, batch.num_rows)


def _batch(function: Function, batch: pa.RecordBatch) -> pa.RecordBatch:
    try:
        result = function.call(batch)
    except Exception as error:  # the user's own choice: on_error
        raise _Raised(said_of(function, error)) from error
    try:
        return checked_batch(function, result)
    except BadValues as error:
        raise _Raised(error.what) from error


def _each(function: Function, batch: pa.RecordBatch, failed: dict[int, str]) -> pa.Array:
    results: list[Any] = []
    values = _values(batch)
    for row in range(batch.num_rows):
        try:
            results.append(function.call(*values(row)))
        except Exception as error:  # the user's own choice: on_error
            failed[row] = said_of(function, error)
            results.append(None)
    return _fitting(function, results, failed)


def _fitting(function: Function, results: list[Any], failed: dict[int, str]) -> pa.Array:
    """Results as a column, without those that have another type."""
    type_ = function.returns.field(0).type
    try:
        return pa.array(results, type_)
    except _UNFIT:
        for row, value in enumerate(results):
            if not _fits(value, type_):
                failed[row] = (
                    f"{function.reference} returned {_short(value)}, "
                    f"and is declared to return {type_name(type_)}"
                )
                results[row] = None
        return pa.array(results, type_)


def _values(batch: pa.RecordBatch) -> Callable[[int], tuple[Any, ...]]:
    """The arguments of a row; one that Python has no value for raises in the row's own turn."""
    try:
        rows = list(zip(*map(python_values, batch.columns), strict=True))
    except (ValueError, OverflowError):
        return lambda row: tuple(column[row].as_py() for column in batch.columns)
    return rows.__getitem__


def said_of(function: Function, error: Exception) -> str:
    """The reason of a row for which a function has raised."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # of the exception itself, which is the user's
        said = ""
    text = f"{function.reference} raised {type(error).__name__}"
    return f"{text}: {said}{_line(function, error)}" if said else text + _line(function, error)


def _line(function: Function, error: Exception) -> str:
    """The innermost line in the function's file; without the folder, which is the machine's."""
    code = getattr(function.call, "__code__", None)
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if code and each.filename == code.co_filename
    ]
    return f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
