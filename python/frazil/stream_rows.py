"""What streams do with single rows: `unnest`, and `rows`, which makes Python objects of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frazil.errors import on_user_line
from frazil.unnest import make_unnest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frazil.node import Port
    from frazil.rows.row_stream import RowStream
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

    @on_user_line
    def rows(self: Any, *, classes: Sequence[type] = (), pure: bool = True) -> RowStream:
        """Go on with Python objects, one at a time; each row is a dict at first.

        For what is easier written in Python, and for programs that come from elsewhere. A function
        costs some microseconds an object; what can be said in columns is many times cheaper.

        Parameters
        ----------
        classes
            Classes of the objects that are moved between workers or kept by key, beside plain ones:
            dataclasses, named tuples, enums. Bytes in a checkpoint can make objects of these only.
        pure
            Whether the functions give the same for the same objects. False makes the pipeline
            "consistent" instead of "exact".

        Returns
        -------
        RowStream
            Of dicts, with the event time of the stream.

        Examples
        --------
        >>> import frazil as fz
        >>> def shout(row: dict) -> dict:
        ...     return {"word": row["word"].upper()}
        >>> fz.read_memory([{"word": "ice"}]).rows().map(shout).columns({"word": str}).head(1)
        pyarrow.Table
        word: string not null
        ----
        word: [["ICE"]]
        """
        from frazil.rows.row_stream import make_rows

        made: RowStream = make_rows(self, classes, pure)
        return made
