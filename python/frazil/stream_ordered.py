"""What streams do with the rows of a key one after the other; mixed into `Stream`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from frazil.errors import on_user_line
from frazil.node import Port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from frazil.duration import Duration
    from frazil.stream import Stream
    from frazil.window import Window


class OrderedMethods:
    """The methods of a stream on rows with equal keys."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def deduplicate(
        self: Any,
        *columns: Any,
        within: Duration | None = None,
        keep: Literal["any", "first", "last"] = "any",
    ) -> Stream:
        """Keep one of the rows with equal keys that are near each other in event time.

        Parameters
        ----------
        columns
            Names of the key's columns, or ``col("x")``.
        within
            How near: a row is kept unless one of the same key is kept that is less than this apart.
            It has to be said, because it is how long keys are remembered.
        keep
            "any": rows go on at once, and the first that arrives is kept. "first": that with the
            earliest time, after `out_of_order`. "last": the last of those that "first" would leave
            out for one row, and of that row; after `within` and `out_of_order`.

        Returns
        -------
        Stream
            The same columns. Late rows are set aside, in `late`.

        Raises
        ------
        WatermarkMissing
            If the stream has no event time; says what took it away.
        PlanError
            If `within` is missing.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"id": 1, "at": datetime(2026, 1, 1, tzinfo=UTC)}] * 2
        >>> events = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> events.deduplicate("id", within="1h").head().num_rows
        1
        """
        from frazil.deduplicate import make_deduplicate
        from frazil.grouped import group
        from frazil.stream import Stream

        keys = group(self, columns, {})._keys
        return Stream(Port(make_deduplicate(self._port, self._origin(), keys, within, keep)))

    @on_user_line
    def assign_window(self: Any, window: Window) -> Stream:
        """Give each row once for each window that it is in, with the bounds of the window.

        Then the stream is windowed: `top_n`, and aggregates of `group_by` without `window`, are
        per window.

        Parameters
        ----------
        window
            How time is cut: `tumbling`, `hopping` or `cumulating`, also of a calendar.

        Returns
        -------
        Stream
            The columns, then window_start and window_end; its event time is window_end - 1us.
            Rows that are late for a window are set aside, in `late`.

        Raises
        ------
        WatermarkMissing
            If the stream has no event time; says what took it away.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> orders = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> orders.assign_window(fz.tumbling("1m"))
        Stream(append) <- memory
          user: string
          at: timestamp[us, UTC]
          window_start: timestamp[us, UTC] not null
          window_end: timestamp[us, UTC] not null
          event time: window_end - 1us
        """
        from frazil.stream import Stream
        from frazil.windowed import make_assign_window

        return Stream(Port(make_assign_window(self._port, self._origin(), window)))

    @on_user_line
    def fill_gaps(
        self: Any,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        lasting: Duration | None = None,
        how: Literal["null", "zero", "previous"] = "null",
        **named: Any,
    ) -> Stream:
        """Give a row for each window in which a key has none, from its first window on.

        The stream has to be the result of an aggregate of tumbling windows, also of a calendar.
        Rows are made when the watermark has passed the end of their window.

        Parameters
        ----------
        values
            What columns have in these rows, by name, for names that are no identifiers.
        lasting
            How long after its last window with a row a key is given rows, in whole windows. It has
            to be said, because it is how long keys are remembered. For windows of a calendar in
            its units: "7 days", "1 year".
        how
            What the other columns have: "null", "zero", or what they had "previous"-ly, in the last
            window with a row.
        named
            The same as `values`: a value of the column's type, None, or `fz.previous()`.

        Returns
        -------
        Stream
            The same columns; those that are filled with null may be null.

        Raises
        ------
        PlanError
            If the stream has other rows than those of an aggregate of tumbling windows, its keys
            were left out, or `lasting` is missing.
        TypeMismatch
            If a value does not fit its column.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"shop": "a", "price": 12, "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> sales = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> minutes = sales.group_by("shop").window(fz.tumbling("1m"))
        >>> minutes = minutes.agg(sales=fz.count(), price=fz.col("price").last())
        >>> minutes.fill_gaps(sales=0, price=fz.previous(), lasting="1h").schema.names
        ['shop', 'window_start', 'window_end', 'sales', 'price']
        """
        from frazil.fill_gaps import make_fill_gaps

        return make_fill_gaps(self, {**(values or {}), **named}, how, lasting)

    @property
    @on_user_line
    def limited(self: Any) -> Stream:
        """The rows that were too many for a `rate_limit`; only what that gave has them.

        They are in the same checkpoint as those that were kept, and have no event time any more.

        Returns
        -------
        Stream
            The columns of the stream.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> clicks = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> clicks.group_by("user").rate_limit(100, per="1m").limited.schema.names
        ['user', 'at']
        """
        from frazil.rate_limit import limited_rows
        from frazil.stream import Stream

        return Stream(limited_rows(self._port, self._origin()))
