"""The states of many keys as columns, for `KeyedFunction.on_groups`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from frazil.errors import UdfError
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.keyed import DeclaredState


class GroupStates:
    """The declared states of the keys at hand: each is an attribute, an array with a value a key.

    To change one, assign an array of the same length and type; null is what it began as. `keys`
    has the key columns.
    """

    __slots__ = ("_arrays", "_assigned", "_declared", "keys")

    keys: pa.RecordBatch

    def __init__(
        self,
        declared: Sequence[DeclaredState],
        keys: pa.RecordBatch,
        columns: Sequence[pa.Array],
    ) -> None:
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "_declared", {each.name: each for each in declared})
        arrays = {
            each.name: column if each.first is None else _filled(column, each)
            for each, column in zip(declared, columns, strict=True)
        }
        object.__setattr__(self, "_arrays", arrays)
        object.__setattr__(self, "_assigned", False)

    def __getattr__(self, name: str) -> pa.Array:
        try:
            array: pa.Array = self._arrays[name]
        except KeyError:
            raise AttributeError(
                f"no state {name!r}; there are {', '.join(self._arrays)}"
            ) from None
        return array

    def __setattr__(self, name: str, values: Any) -> None:
        declared: DeclaredState | None = self._declared.get(name)
        if declared is None:
            raise UdfError(
                f"state.{name} is not declared", f"declared are {', '.join(self._declared)}"
            )
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        try:
            array = values if isinstance(values, pa.Array) else pa.array(values, declared.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise UdfError(f"state.{name} got what is no array: {error}") from None
        if array.type != declared.type:
            raise UdfError(
                f"state.{name} got {type_name(array.type)}",
                f"declared is {type_name(declared.type)}; cast it",
            )
        if len(array) != self.keys.num_rows:
            raise UdfError(
                f"state.{name} got {len(array)} values for {self.keys.num_rows} keys",
                "give one value for each key",
            )
        if declared.first is not None and array.null_count:
            array = _filled(array, declared)
        self._arrays[name] = array
        object.__setattr__(self, "_assigned", True)

    def _firsts(self) -> list[bool]:
        """Whether nothing would be lost of a key without its states."""
        first: pa.Array | None = None
        for name, declared in self._declared.items():
            array = self._arrays[name]
            if declared.first is None:
                same = array.is_null()
            elif pa.types.is_nested(declared.type):
                same = pa.array([value == declared.first for value in array.to_pylist()])
            else:
                same = pc.equal(array, pa.scalar(declared.first, declared.type))
            first = same if first is None else pc.and_(first, same)
        firsts: list[bool] = [True] * self.keys.num_rows if first is None else first.to_pylist()
        return firsts


def _filled(column: pa.Array, declared: DeclaredState) -> pa.Array:
    if not column.null_count:
        return column
    if pa.types.is_nested(declared.type):
        values = [declared.first if value is None else value for value in column.to_pylist()]
        return pa.array(values, declared.type)
    return column.fill_null(pa.scalar(declared.first, declared.type))
