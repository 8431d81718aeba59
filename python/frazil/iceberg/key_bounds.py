"""Which data files may have rows with some keys, by the bounds that manifests have of them.

Only the first column of the key is looked at, if it is an integer or text: that is what tables are
sorted by when they are compacted, if at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pyiceberg.conversions import from_bytes
from pyiceberg.types import IntegerType, LongType, StringType

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

# How the engine encodes a value of a key (version 1): a byte that says that there is one, then an
# integer of 64 bits, or length and bytes of a text.
_TAG, _INTEGER, _LENGTH = 1, 8, 4


class Bounds(NamedTuple):
    """Least and greatest value of a column in a data file, as its manifest has them."""

    lower: bytes
    upper: bytes


def bounds_of(file: DataFile, field_id: int) -> Bounds | None:
    """The bounds of a column; None if the manifest has none."""
    lower = (file.lower_bounds or {}).get(field_id)
    upper = (file.upper_bounds or {}).get(field_id)
    return Bounds(lower, upper) if lower is not None and upper is not None else None


class FirstValues:
    """Values of the first column of some keys.

    Parameters
    ----------
    table
        Whose keys.
    key
        Columns of the key.
    keys
        As the engine encodes them.
    """

    def __init__(self, table: Table, key: Sequence[str], keys: pa.BinaryArray) -> None:
        self._type = table.schema().find_field(key[0]).field_type
        self._values: list[Any] | None = None  # integers, or bytes
        encoded = keys.to_pylist()
        if isinstance(self._type, IntegerType | LongType):
            self._values = sorted(
                int.from_bytes(each[_TAG : _TAG + _INTEGER], "little", signed=True)
                for each in encoded
            )
        elif isinstance(self._type, StringType):
            begin = _TAG + _LENGTH
            self._values = sorted(
                each[begin : begin + int.from_bytes(each[_TAG:begin], "little")] for each in encoded
            )

    def may_be_in(self, bounds: Bounds | None) -> bool:
        """Whether a file with these bounds may have one of the keys."""
        if self._values is None or bounds is None:
            return True
        if isinstance(self._type, StringType):
            return _any_between(self._values, bounds.lower, bounds.upper)
        # A file from before the column was widened has bounds of 32 bits.
        lower, upper = (
            from_bytes(IntegerType() if len(each) == 4 else LongType(), each) for each in bounds
        )
        return _any_between(self._values, lower, upper)


def _any_between(values: Sequence[Any], lower: Any, upper: Any) -> bool:
    at = bisect_left(values, lower)
    return at < len(values) and bool(values[at] <= upper)
