"""Streams joined with streams: `join`, `join_asof` and `late_right`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from frazil.errors import ColumnExists, PlanError, TypeMismatch, on_user_line
from frazil.event_time import EventTime, bounded, require_event_time
from frazil.gate import gated
from frazil.join import (
    HOWS,
    TIME_COLUMN,
    AsofJoinNode,
    IntervalJoinNode,
    JoinColumn,
    JoinHow,
    JoinStep,
    joined_columns,
    key_pairs,
    same_key,
    widened,
    window_of,
)
from frazil.node import WINDOW_COLUMNS, Port
from frazil.schema import checked
from frazil.windowed import is_windowed

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.join import On
    from frazil.stream import Stream


class JoinedMethods:
    """The methods of a stream that join it with another one."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def join(
        self: Any,
        other: Stream,
        *,
        on: On,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        how: JoinHow = "inner",
        suffix: str = "_b",
    ) -> Stream:
        """Join rows of equal keys whose event times are near, or that are in the same window.

        A left and a right row belong together if their keys are equal, and the right one is at most
        `before` before the left one and at most `after` after it, both inclusive. If both streams
        are windowed, `within`, `before` and `after` may be left away: then rows of the same window
        belong together. A null key equals nothing.

        Parameters
        ----------
        other
            The right stream.
        on
            Columns of the key: a name, names, or ``{"left": "right"}``.
        within
            How far apart the times may be: `before` and `after` in one.
        before, after
            How far the right row may be before and after the left one; none is not at all.
        how
            "inner" gives pairs; "left", "right" and "full" also the rows of that side, or of both,
            that have no partner, with nulls in place of one. "semi" gives left rows that have a
            partner and "anti" those without, both without columns of the right stream.
        suffix
            Put behind the name of a right column that the left stream has too.

        Returns
        -------
        Stream
            The left columns, then the right ones without the keys. Its event time is that of the
            left row; of "right" that of the right row; "full" adds a column event_time, which is
            the left row's or where there is none the right row's.

        Raises
        ------
        PlanError
            If there is no bound on how far apart times may be.
        WatermarkMissing
            If a stream has no event time.
        ColumnNotFound, ColumnExists, TypeMismatch
            If a key is not there, or of different types; if a name would be there twice.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        >>> orders = fz.read_memory([{"id": 1, "user": "ada", "at": noon}], name="orders")
        >>> clicks = fz.read_memory([{"user": "ada", "page": "/", "at": noon}], name="clicks")
        >>> orders = orders.event_time("at", out_of_order="10s")
        >>> clicks = clicks.event_time("at", out_of_order="10s")
        >>> orders.join(clicks, on="user", before="30m", how="left")
        Stream(append) <- orders, clicks
          id: int64
          user: string
          at: timestamp[us, UTC]
          page: string
          at_b: timestamp[us, UTC]
          event time: at
        """
        left, right = self, _stream(other, "join")
        if how not in HOWS:
            raise PlanError(f"join: how={how!r} is not offered", " or ".join(map(repr, HOWS)))
        pairs = key_pairs(left, right, on, "join")
        per_window = within is None and before is None and after is None
        if per_window:
            before_ms = after_ms = 0
            pairs = _with_windows(left, right, pairs)
        else:
            before_ms, after_ms = _bounds(within, before, after)
        left, right = widened(left, right, pairs, "join")
        times = (_time_of(left, "join"), _time_of(right, "join"))
        columns, schema = joined_columns(left, right, pairs, how, _suffix(suffix, "join"))
        if how == "full" and not same_key(pairs, times):
            columns, schema = _with_time(columns, schema)
        ports = _behind_gates(left, right, pairs, "join")
        return _made(
            IntervalJoinNode(
                checked(schema),
                ports,
                pairs,
                how,
                times,
                columns,
                before_ms,
                after_ms,
                per_window,
            )
        )

    @on_user_line
    def join_asof(
        self: Any,
        other: Stream,
        *,
        on: On,
        tolerance: Duration | None = None,
        direction: Literal["backward"] = "backward",
        how: Literal["inner", "left"] = "left",
        suffix: str = "_b",
    ) -> Stream:
        """Join each row with the latest row of another stream that is not after it.

        Of the right rows of its key whose time is not after its own, the latest one belongs to a
        left row; one of the same time is that too. Of right rows of one key and time, the last by
        partition and position counts. A null key equals nothing.

        Parameters
        ----------
        other
            The right stream: what was so at a time, as prices or states.
        on
            Columns of the key: a name, names, or ``{"left": "right"}``.
        tolerance
            How long before the left row the right one may be; None is however long. Without it the
            latest right row of each key is kept for ever.
        direction
            "backward", the only one that is offered.
        how
            "left" gives all left rows, with nulls in place of a right one where there is none;
            "inner" only those that have one.
        suffix
            Put behind the name of a right column that the left stream has too.

        Returns
        -------
        Stream
            The left columns, then the right ones without the keys; its event time is that of the
            left row. A row is given when the right stream's watermark is past its time.

        Raises
        ------
        WatermarkMissing
            If a stream has no event time.
        ColumnNotFound, ColumnExists, TypeMismatch
            If a key is not there, or of different types; if a name would be there twice.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        >>> trades = fz.read_memory([{"symbol": "X", "size": 3, "at": noon}], name="trades")
        >>> quotes = fz.read_memory([{"symbol": "X", "price": 1.5, "at": noon}], name="quotes")
        >>> trades = trades.event_time("at", out_of_order="1s")
        >>> quotes = quotes.event_time("at", out_of_order="1s")
        >>> trades.join_asof(quotes, on="symbol", tolerance="5m")
        Stream(append) <- trades, quotes
          symbol: string
          size: int64
          at: timestamp[us, UTC]
          price: double
          at_b: timestamp[us, UTC]
          event time: at
        """
        left, right = self, _stream(other, "join_asof")
        if direction != "backward":
            raise PlanError(
                f"join_asof: direction={direction!r} is not offered",
                "'backward': the latest right row that is not after the left one",
            )
        if how not in ("inner", "left"):
            raise PlanError(f"join_asof: how={how!r} is not offered", "'inner' or 'left'")
        tolerance_ms = None if tolerance is None else bounded(tolerance, "tolerance", least=0)
        pairs = key_pairs(left, right, on, "join_asof")
        left, right = widened(left, right, pairs, "join_asof")
        times = (_time_of(left, "join_asof"), _time_of(right, "join_asof"))
        columns, schema = joined_columns(left, right, pairs, how, _suffix(suffix, "join_asof"))
        ports = _behind_gates(left, right, pairs, "join_asof")
        return _made(AsofJoinNode(checked(schema), ports, pairs, how, times, columns, tolerance_ms))

    @property
    @on_user_line
    def late_right(self: Any) -> Stream:
        """The right rows that came too late for a join, as `late` has the left ones.

        Returns
        -------
        Stream
            Columns of the right stream, then window_start, window_end (null), watermark,
            partition, position.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        >>> orders = fz.read_memory([{"id": 1, "at": noon}], name="orders")
        >>> paid = fz.read_memory([{"id": 1, "at": noon, "by": "card"}], name="paid")
        >>> orders = orders.event_time("at", out_of_order="10s")
        >>> paid = paid.event_time("at", out_of_order="10s")
        >>> orders.join(paid, on="id", within="1h").late_right.schema.names[:3]
        ['id', 'at', 'by']
        """
        from frazil.grouped import late_rows
        from frazil.stream_time import late_gates

        gates = late_gates(self._port)
        if len(gates) != 2:
            raise PlanError(
                f"late right rows belong to what a join of streams gave, and this stream of "
                f"{self._origin()} is not it",
                "write joined.late_right of the stream that .join(...) gave",
            )
        return late_rows(gates[1], self._origin())


def _stream(other: object, what: str) -> Stream:
    from frazil.stream import Stream

    if not isinstance(other, Stream):
        raise TypeMismatch(
            f"{what} got a {type(other).__name__}",
            "give a stream; a table is joined by join_lookup",
        )
    return other


def _made(node: JoinStep) -> Stream:
    from frazil.stream import Stream

    return Stream(Port(node))


def _suffix(suffix: object, what: str) -> str:
    if not isinstance(suffix, str):
        raise TypeMismatch(f"{what}: suffix={suffix!r}", 'a text: suffix="_b"')
    return suffix


def _time_of(stream: Stream, what: str) -> EventTime:
    return require_event_time(stream._port, stream._origin(), what)


def _behind_gates(
    left: Stream, right: Stream, pairs: tuple[tuple[str, str], ...], what: str
) -> tuple[Port, Port]:
    """Rows of both, those of equal keys in the same worker."""
    lefts, rights = ([pair[side] for pair in pairs] for side in (0, 1))
    return (
        gated(left._port, left._origin(), lefts, what),
        gated(right._port, right._origin(), rights, what),
    )


def _bounds(
    within: Duration | None, before: Duration | None, after: Duration | None
) -> tuple[int, int]:
    if within is not None:
        if before is not None or after is not None:
            raise PlanError(
                "join: within is before and after in one, and both are there",
                'write within="10m", or before="10m", after="1m"',
            )
        ms = bounded(within, "within", least=0)
        return ms, ms
    return (
        0 if before is None else bounded(before, "before", least=0),
        0 if after is None else bounded(after, "after", least=0),
    )


def _with_windows(
    left: Stream, right: Stream, pairs: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """The keys, and behind them the bounds of the windows that both streams are in."""
    windowed = [is_windowed(stream._port, stream._origin()) for stream in (left, right)]
    if not all(windowed):
        raise PlanError(
            "join without a bound in time would keep for ever: every row of "
            f"{left._origin()} and every row of {right._origin()}",
            'say how far apart times may be: within="10m", or before="10m", after="1m"',
            'or put both streams into the same windows before: .assign_window(fz.tumbling("1h"))',
            "a table that fits into memory is joined by join_lookup",
        )
    windows = [window_of(stream._port) for stream in (left, right)]
    if None not in windows and windows[0] != windows[1]:
        raise PlanError(
            f"join per window of {left._origin()}, which is in windows {windows[0]}, and "
            f"{right._origin()}, which is in windows {windows[1]}",
            'use the same windows, or say how far apart their ends may be: within="1m"',
        )
    bounds = [column.name for column in WINDOW_COLUMNS]
    rest = [pair for pair in pairs if pair[0] not in bounds and pair[1] not in bounds]
    if not rest:
        raise PlanError(
            "join per window on no other column: it would give all pairs of a window",
            "name a key in on=; one that is the same everywhere gives all pairs",
        )
    return (*rest, *((name, name) for name in bounds))


def _with_time(
    columns: tuple[JoinColumn, ...], schema: pa.Schema
) -> tuple[tuple[JoinColumn, ...], pa.Schema]:
    if TIME_COLUMN in schema.names:
        raise ColumnExists(
            f"column {TIME_COLUMN!r} would be there twice: a full join adds it",
            "rename it before the join",
        )
    field = pa.field(TIME_COLUMN, pa.timestamp("us", "UTC"), nullable=False)
    return (*columns, JoinColumn(TIME_COLUMN, "time", TIME_COLUMN)), schema.append(field)
