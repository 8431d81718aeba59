"""What streams do row by row that changes how many there are: `unnest`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frazil.errors import on_user_line
from frazil.unnest import make_unnest

if TYPE_CHECKING:
    from frazil.node import Port
    from frazil.stream import Stream


class RowMethods:
    """The methods of a stream on single rows."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def unnest(
        self: Any, column: str, *, into: str | None = None, keep_empty: bool = False
    ) -> Stream:
        """Give a row for each element of a list.

        All other columns are repeated, and rows keep their event time. A list that is null or empty
        gives no row.

        Parameters
        ----------
        column
            A column of lists. Fields of elements that are objects are taken by `Expr.struct`.
        into
            Name of the column with the element; default that of the list.
        keep_empty
            A list that is null or empty gives one row, with null as the element.

        Returns
        -------
        Stream
            The same columns, with the element in the list's place.

        Raises
        ------
        TypeMismatch
            If the column has no lists.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"id": 1, "skus": ["a", "b"]}, {"id": 2, "skus": []}])
        >>> orders.unnest("skus", into="sku").head(10).to_pylist()
        [{'id': 1, 'sku': 'a'}, {'id': 1, 'sku': 'b'}]
        """
        from frazil.stream import Stream

        return Stream(make_unnest(self, column, into, keep_empty))
