"""What a `batch_udf` is given in place of Arrow arrays: NumPy, polars or pandas, by annotation."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any, Literal

import pyarrow as pa
from frazil.errors import PlanError, UdfError
from frazil.types import type_name

ArrayKind = Literal["arrow", "numpy", "polars", "pandas"]

# Annotations as texts, where they cannot be evaluated: imported for type checkers only.
_WRITTEN: tuple[tuple[ArrayKind, re.Pattern[str]], ...] = (
    ("numpy", re.compile(r"^(np|numpy)\.ndarray\b|\bNDArray\b")),
    ("polars", re.compile(r"^(pl|polars)\.Series\b")),
    ("pandas", re.compile(r"^(pd|pandas)\.Series\b")),
)


def array_kinds(function: Callable[..., Any]) -> tuple[ArrayKind, ...]:
    """Kind of each parameter's array; Arrow unless its annotation says another.

    Raises
    ------
    PlanError
        If the library that an annotation names is not installed.
    """
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        hints = dict(getattr(function, "__annotations__", {}))
    kinds: list[ArrayKind] = []
    for parameter in inspect.signature(function).parameters:
        kind = _kind(hints.get(parameter))
        if kind != "arrow":
            try:
                importlib.import_module(kind)
            except ImportError:
                raise PlanError(
                    f"{parameter} of {function.__qualname__}() is for {kind}, which is not there",
                    f"pip install {kind}",
                ) from None
        kinds.append(kind)
    return tuple(kinds)


def _kind(annotation: Any) -> ArrayKind:
    if isinstance(annotation, str):
        return next((kind for kind, how in _WRITTEN if how.search(annotation)), "arrow")
    named = typing.get_origin(annotation) or annotation
    module = str(getattr(named, "__module__", "")).partition(".")[0]
    wanted = {"numpy": "ndarray", "polars": "Series", "pandas": "Series"}
    if module in wanted and getattr(named, "__name__", "") == wanted[module]:
        return module  # type: ignore[return-value]
    return "arrow"


def given_as(column: pa.Array, kind: ArrayKind, name: str) -> Any:
    """A column as a function wants it; without a copy where the library can.

    Parameters
    ----------
    column
        The values.
    kind
        NumPy has no nulls: those of floats are NaN, of times NaT, and others are an error. polars
        has its own; pandas is given Arrow's types.
    name
        What it is called in errors.
    """
    if kind == "numpy":
        holds = pa.types.is_floating(column.type) or pa.types.is_temporal(column.type)
        if column.null_count and not holds:
            raise UdfError(
                f"{name} has nulls, and NumPy's arrays of {type_name(column.type)} have none",
                "use fill_null before the call, or annotate it with pyarrow.Array",
            )
        return column.to_numpy(zero_copy_only=False)
    if kind == "polars":
        return importlib.import_module("polars").from_arrow(column)
    if kind == "pandas":
        pandas = importlib.import_module("pandas")
        return pandas.Series(column, dtype=pandas.ArrowDtype(column.type))
    return column


def taken_back(result: Any, type_: pa.DataType) -> Any:
    """What a function returned, as Arrow; as it is if it is none of these arrays.

    Only what is the same in Arrow becomes the declared type: texts and binaries of other offsets,
    times of another unit or without a zone.
    """
    kind = _kind(type(result))
    if kind == "arrow":
        return result
    if kind == "polars":
        array = result.to_arrow()
    elif kind == "pandas":
        array = pa.Array.from_pandas(result)
    else:
        array = pa.array(result)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(type_) if array.type != type_ and _same(array.type, type_) else array


def _same(made: pa.DataType, wanted: pa.DataType) -> bool:
    for family in (
        (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
        (pa.types.is_timestamp,),
        (pa.types.is_duration,),
        (pa.types.is_time,),
        (pa.types.is_date,),
    ):
        if any(test(made) for test in family) and any(test(wanted) for test in family):
            return True
    return False
