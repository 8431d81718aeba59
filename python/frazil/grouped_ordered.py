"""What groups do with their rows one after the other; mixed into `Grouped`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from frazil.errors import on_user_line

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.keyed import KeyedFunction
    from frazil.pattern import PatternStep, Without
    from frazil.schema import SchemaLike
    from frazil.stream import Stream


class OrderedGroups:
    """The methods of groups that go by the order of rows."""

    __slots__ = ()

    _stream: Stream
    _keys: tuple[str, ...]

    @on_user_line
    def running(
        self,
        aggregates: Mapping[str, Any] | None = None,
        /,
        *,
        ttl: Duration | None = None,
        **named: Any,
    ) -> Stream:
        """Give every row on with the aggregates of all rows of its key up to and with it.

        Rows of a key are taken in event-time order, each when the watermark has passed it.

        Parameters
        ----------
        aggregates
            Names and aggregates, for names that are no identifiers.
        ttl
            A row does not see what came before if the last row of the key is longer ago. Without it
            every key is kept for ever.
        named
            Aggregates by name: ``fz.count()``, ``col("x").sum()``, or arithmetic on them.

        Returns
        -------
        Stream
            The columns of the stream, then the aggregates. Late rows are set aside, in `late`.

        Raises
        ------
        WatermarkMissing
            If the stream has no event time; says what took it away.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "amount": 12, "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> orders = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> orders.group_by("user").running(total=fz.col("amount").sum(), ttl="30d")
        Stream(append) <- memory
          user: string
          amount: int64
          at: timestamp[us, UTC]
          total: int64
          event time: at, 10s out of order
        """
        from frazil.running import make_running

        return make_running(self._stream, self._keys, {**(aggregates or {}), **named}, ttl)

    @on_user_line
    def rate_limit(self, limit: int, *, per: Duration) -> Stream:
        """Keep no more than so many rows of each key in any stretch of time.

        Rows are taken in event-time order. One is kept if fewer than `limit` of its key were kept
        in the time `per` before it; the others are in `limited` of the result.

        Parameters
        ----------
        limit
            How many.
        per
            The time; a row that is just that long before does not count.

        Returns
        -------
        Stream
            The same columns. Late rows are set aside, in `late`.

        Raises
        ------
        WatermarkMissing
            If the stream has no event time; says what took it away.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> clicks = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> kept = clicks.group_by("user").rate_limit(100, per="1m")
        >>> kept.limited.schema.names
        ['user', 'at']
        """
        from frazil.rate_limit import make_rate_limit

        return make_rate_limit(self._stream, self._keys, limit, per)

    @on_user_line
    def pattern(self, steps: Sequence[PatternStep | Without], *, within: Duration) -> Stream:
        """Find rows of a key that follow one another as the steps say, within a time.

        Rows are taken in event-time order. Each row that is the first step begins a match of its
        own, which takes the next row that is the second step, and so on; rows between that are
        neither a step nor refused do not matter. A row is one step of a match, and may be a step of
        several matches.

        Parameters
        ----------
        steps
            `fz.step` for each row of a match, the first of them first. `fz.without` between two:
            no such row comes between their rows. `fz.without` behind the last: no such row comes
            behind it before the time is over.
        within
            How far the last row, or the last that is refused, may be behind the first; inclusive.

        Returns
        -------
        Stream
            The keys; `match_start`, the time of the first row; `match_end`, that of the last one,
            or `within` behind the first if the pattern ends with `fz.without`; and the columns of
            each step's row, as ``step_column``. The event time is `match_end`. Late rows are set
            aside, in `late`.

        Raises
        ------
        WatermarkMissing
            If the stream has no event time; says what took it away.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "kind": "cart", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> events = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> cart, paid = (
        ...     fz.step(kind, fz.col("kind") == kind, columns=["at"]) for kind in ("cart", "paid")
        ... )
        >>> events.group_by("user").pattern([cart, paid], within="10m").schema.names
        ['user', 'match_start', 'match_end', 'cart_at', 'paid_at']
        """
        from frazil.pattern import make_pattern

        return make_pattern(self._stream, self._keys, steps, within)

    @on_user_line
    def top_n(
        self,
        n: int,
        *,
        by: str | Sequence[str],
        descending: bool = True,
        rank: str | None = None,
    ) -> Stream:
        """Keep the first n rows of each key and window, by the value of a column.

        The stream has to be windowed: the result of a windowed aggregate, or of `assign_window`.

        Parameters
        ----------
        n
            How many.
        by
            The column, or several of which later ones decide where earlier ones are equal.
        descending
            Whether the largest come first. Null comes last in any case, and NaN before it.
        rank
            Name of a column with the place of each row, from 1.

        Returns
        -------
        Stream
            The columns of the stream, and `rank`; given when the window closes.

        Raises
        ------
        PlanError
            If the stream is not windowed.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "amount": 12, "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> orders = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> minutes = orders.group_by("user").window(fz.tumbling("1m")).agg(n=fz.count())
        >>> minutes.group_by().top_n(3, by="n", rank="place").schema.names
        ['user', 'window_start', 'window_end', 'n', 'place']
        """
        from frazil.top_n import make_top_n

        return make_top_n(self._stream, self._keys, n, by, descending, rank)

    @on_user_line
    def process(
        self,
        function: type[KeyedFunction] | KeyedFunction,
        *,
        schema: SchemaLike,
        order: Literal["event_time", "arrival"] | None = None,
        event_time: str | None = None,
        pure: bool = True,
    ) -> Stream:
        """Give the rows of each key to a Python function with state and timers.

        Parameters
        ----------
        function
            A class derived from `KeyedFunction`, or an object of it, of which each worker has a
            shallow copy.
        schema
            Columns of the rows it gives: a `Schema` class, a `pyarrow.Schema` or a dict.
        order
            "event_time": rows of a key are taken in their order, each when the watermark has passed
            it; late rows are set aside, in `late`. "arrival": as they come, which makes the
            pipeline "consistent" instead of "exact". By default the first, if the stream has event
            time.
        event_time
            Column of `schema` that is the event time of what it gives: never before the rows, or
            the timer, at hand.
        pure
            Whether the same rows always give the same result. False makes the pipeline "consistent"
            instead of "exact".

        Returns
        -------
        Stream
            The columns of `schema`.

        Raises
        ------
        PlanError
            If the class does not fit: states, methods, or what needs event time.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> class Visits(fz.KeyedFunction):
        ...     seen: fz.State[int]
        ...
        ...     def on_rows(self, key, rows, out):
        ...         self.seen.value += len(rows)
        ...         out.emit(user=key, seen=self.seen.value)
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> clicks = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> clicks.group_by("user").process(Visits, schema={"user": str, "seen": int})
        Stream(append) <- memory
          user: string not null
          seen: int64 not null
        """
        from frazil.keyed_process import make_process

        return make_process(self._stream, self._keys, function, schema, order, event_time, pure)
