"""Groups, windows and aggregates: `stream.group_by(...).window(...).agg(...)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from frazil.errors import ColumnExists, PlanError, TypeMismatch, on_user_line
from frazil.event_time import bounded, require_event_time
from frazil.expr import Column, Expr, as_expr, col
from frazil.expr_aggregate import COLUMN_PREFIX, Aggregate, aggregates_in, split
from frazil.grouped_ordered import OrderedGroups
from frazil.node import (
    WINDOW_COLUMNS,
    ExchangeNode,
    MapBatchesNode,
    Node,
    Port,
    SourceNode,
    Step,
    WindowAggregateNode,
    WindowPartialNode,
    late_schema,
)
from frazil.schema import checked
from frazil.types import type_name
from frazil.udf import as_written, call_texts, compute_calls
from frazil.window import Window

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.group_aggregate import Emit
    from frazil.stream import Stream

KEYS_MAX = 64
"""Keys of one group_by."""
AGGREGATES_MAX = 256
"""Aggregates of one agg."""


class Grouped(OrderedGroups):
    """Rows by key; made by `Stream.group_by`."""

    __slots__ = ("_keys", "_stream")

    def __init__(self, stream: Stream, keys: tuple[str, ...]) -> None:
        self._stream = stream
        self._keys = keys

    @on_user_line
    def window(
        self,
        window: Window,
        *,
        lateness: Duration | None = None,
        emit: Literal["on_close", "on_change"] = "on_close",
        early: Duration | None = None,
    ) -> Windowed:
        """Put the rows of each key into windows of event time.

        Parameters
        ----------
        window
            How time is cut: `tumbling`, `hopping`, `cumulating` or `session`.
        lateness
            How much longer to wait for rows that are later than `out_of_order` says.
        emit
            "on_close": each key and window once, when nothing for it can come any more.
            "on_change": with every batch that changes a result: a stream of changes.
        early
            Results before the window closes, each time event time has come that much further, and
            what changes them later: a stream of changes.

        Returns
        -------
        Windowed
            With `agg`.

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
        >>> orders.group_by("user").window(fz.tumbling("1m"), lateness="5m")
        Windowed(tumbling 1m by user) of memory
        """
        if not isinstance(window, Window):
            raise TypeMismatch(
                f"window got {window!r}, a {type(window).__name__}",
                'write window(fz.tumbling("1m")), or hopping, cumulating, session',
            )
        lateness_ms = 0 if lateness is None else bounded(lateness, "lateness", least=0)
        origin = self._stream._origin()
        require_event_time(self._stream._port, origin, f"a window ({window})")
        for name in self._keys:
            if name in ("window_start", "window_end"):
                raise ColumnExists(
                    f"key {name!r} would be there twice: windows add it",
                    f"give the key another name: group_by(of_{name}=col({name!r}))",
                )
        how = _emit(window, lateness_ms, emit, early)
        return Windowed(self._stream, self._keys, window, lateness_ms, how)

    @on_user_line
    def agg(self, aggregates: Mapping[str, Any] | None = None, /, **named: Any) -> Stream:
        """Compute aggregates of each key, as rows come; or per window of a stream that is windowed.

        What is computed of all rows of a key there ever were changes with every row: the stream
        that is given is one of changes, with one row for each key after all of them. State is kept
        for every key, for ever.

        Windowed streams are the results of windowed aggregates and of `assign_window`: there each
        key has one row in each window, and the stream is of rows that stay as they are.

        Parameters
        ----------
        aggregates, named
            As for `Windowed.agg`.

        Returns
        -------
        Stream
            The keys, window_start and window_end if the stream is windowed, then the aggregates.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> orders = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> minutes = orders.group_by("user").window(fz.tumbling("1m")).agg(n=fz.count())
        >>> minutes.group_by().agg(users=fz.count(), most=fz.col("n").max()).schema.names
        ['window_start', 'window_end', 'users', 'most']
        >>> orders.group_by("user").agg(n=fz.count())
        Stream(changes by user) <- memory
          user: string
          n: int64 not null
        """
        from frazil.group_aggregate import make_group_aggregate
        from frazil.windowed import aggregate_windows, is_windowed

        asked = {**(aggregates or {}), **named}
        if not is_windowed(self._stream._port, self._stream._origin()):
            return make_group_aggregate(self._stream, self._keys, asked, None)
        return aggregate_windows(self._stream, self._keys, asked)

    def __repr__(self) -> str:
        return f"Grouped({', '.join(self._keys)}) of {self._stream._origin()}"


class Windowed:
    """Rows by key and window; made by `Grouped.window`."""

    __slots__ = ("_emit", "_keys", "_lateness_ms", "_stream", "_window")

    def __init__(
        self,
        stream: Stream,
        keys: tuple[str, ...],
        window: Window,
        lateness_ms: int,
        emit: Emit | None = None,
    ) -> None:
        self._stream = stream
        self._keys = keys
        self._window = window
        self._lateness_ms = lateness_ms
        self._emit = emit

    @on_user_line
    def agg(self, aggregates: Mapping[str, Any] | None = None, /, **named: Any) -> Stream:
        """Compute aggregates of each key and window.

        Parameters
        ----------
        aggregates
            Names and aggregates, for names that are no identifiers.
        named
            Aggregates by name: ``fz.count()``, ``col("x").sum()``, or arithmetic on them.

        Returns
        -------
        Stream
            The keys, window_start, window_end, then the aggregates; its event time is
            window_end - 1us, for sessions window_end.

        Raises
        ------
        ColumnNotFound, ColumnExists, TypeMismatch
            If names or types do not fit.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "amount": 12, "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> orders = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> minutes = orders.group_by("user").window(fz.tumbling("1m"))
        >>> minutes.agg(orders=fz.count(), revenue=fz.col("amount").sum())
        Stream(append) <- memory
          user: string
          window_start: timestamp[us, UTC] not null
          window_end: timestamp[us, UTC] not null
          orders: int64 not null
          revenue: int64
          event time: window_end - 1us
        """
        from frazil.group_aggregate import make_group_aggregate
        from frazil.hold_changes import hold_changes
        from frazil.stream import Stream

        asked = {**(aggregates or {}), **named}
        self._check_names(asked)
        on_change = self._emit is not None
        if self._emit is not None and self._window.kind != "session":
            return make_group_aggregate(self._stream, self._keys, asked, self._emit)
        origin = self._stream._origin()
        wanted = _wanted(asked)
        port, computed = compute_calls(self._stream._port, wanted, origin)
        made, results = split(
            asked,
            {
                id(old): new
                for old, new in zip(wanted, computed, strict=True)
                if isinstance(new, Aggregate)
            },
        )
        time = require_event_time(port, origin, f"a window ({self._window})")
        bound = [_bound(one, name, port, origin) for name, one in made.items()]
        for one, (_, ordered) in zip(made.values(), bound, strict=True):
            if ordered:
                _require_positions(port, f"{one!r} depends on the order of rows")
        keys = [port.schema.field(name) for name in self._keys]
        partial = WindowPartialNode(
            pa.schema(keys),
            port,
            self._keys,
            time.column,
            time.minus_us,
            self._window,
            self._lateness_ms,
            tuple(made.items()),
            any(ordered for _, ordered in bound),
        )
        transforms = (("identity", 0),) * len(keys)
        exchange = ExchangeNode(partial.schema, Port(partial), self._keys, transforms, hashed=True)
        schema = pa.schema([*keys, *WINDOW_COLUMNS, *(column for column, _ in bound)])
        made_port = Port(WindowAggregateNode(schema, Port(exchange), partial, on_change))
        if self._emit is not None and self._emit.early_ms is not None:
            row = (*self._keys, WINDOW_COLUMNS[0].name)
            made_port = hold_changes(made_port, self._keys, row, self._emit.early_ms)
        stream = Stream(made_port)
        if all(isinstance(one, Aggregate) for one in asked.values()):
            return stream
        calls = call_texts(port.node)
        shown = {
            name: as_written(repr(one), calls)
            for name, one in made.items()
            if name.startswith(COLUMN_PREFIX)
        }
        return _finished(stream, self._keys, results, shown)

    def _check_names(self, asked: Mapping[str, Any]) -> None:
        if not 1 <= len(asked) <= AGGREGATES_MAX:
            raise PlanError(
                f"agg got {len(asked)} aggregates",
                f"1 to {AGGREGATES_MAX}: agg(orders=fz.count())",
            )
        taken = [*self._keys, "window_start", "window_end"]
        for name in asked:
            if name in taken:
                raise ColumnExists(
                    f"column {name!r} would be there twice",
                    f"there already are {', '.join(taken)}: give the aggregate another name",
                )
        checked(pa.schema([(name, pa.null()) for name in asked]))

    def __repr__(self) -> str:
        by = f" by {', '.join(self._keys)}" if self._keys else ""
        return f"Windowed({self._window}{by}) of {self._stream._origin()}"


def _emit(window: Window, lateness_ms: int, emit: object, early: Duration | None) -> Emit | None:
    from frazil.group_aggregate import Emit

    if emit not in ("on_close", "on_change"):
        raise PlanError(f"window got emit={emit!r}", 'one of "on_close", "on_change"')
    if emit == "on_close" and early is None:
        return None
    if emit == "on_change" and early is not None:
        raise PlanError(
            f"window got emit='on_change' and early={early!r}",
            "on_change gives results with every batch: say one of them",
        )
    early_ms = None if early is None else bounded(early, "early", least=1)
    return Emit(window, lateness_ms, early_ms)


def group(stream: Stream, columns: Sequence[Any], named: Mapping[str, Any]) -> Grouped:
    """Check what `Stream.group_by` got; computed keys become columns of the stream."""
    keys: list[str] = []
    for column in columns:
        name = column._name if isinstance(column, Column) else column
        if isinstance(name, Expr):
            raise PlanError(f"group_by got {name!r}, which has no name", f"write key={name!r}")
        keys.append(stream._require(name))
    if named:
        for name in named:
            if name in stream.schema.names:
                raise ColumnExists(
                    f"key {name!r} has the name of a column", "give the key another name"
                )
        stream = stream.with_columns({name: as_expr(value) for name, value in named.items()})
        keys += named
    for name in keys:
        if keys.count(name) > 1:
            raise ColumnExists(f"key {name!r} is there twice", "name each key once")
        type_ = stream.schema.field(name).type
        if pa.types.is_nested(type_) or pa.types.is_float16(type_) or pa.types.is_null(type_):
            raise TypeMismatch(
                f"key {name!r} is {type_name(type_)}", "a key is a number, text, time or boolean"
            )
    if len(keys) > KEYS_MAX:
        raise PlanError(f"group_by got {len(keys)} keys", f"up to {KEYS_MAX}")
    return Grouped(stream, tuple(keys))


def late_rows(gate: WindowPartialNode | Step, origin: str) -> Stream:
    """The rows that a step refused as late, with the columns that the stream had."""
    from frazil.stream import Stream

    rows = gate.inputs[0]
    if not any(isinstance(node, SourceNode) for node in _up_to_windows(rows)):
        raise PlanError(
            f"no row of {origin} can be late here: late rows have been set aside before",
            "take .late of the first step that goes by event time",
        )
    _require_positions(rows, "late rows are written with their position")
    schema = late_schema(rows.schema)
    double = [name for name in schema.names if schema.names.count(name) > 1]
    if double:
        raise ColumnExists(
            f"late rows would have column {double[0]!r} twice", "rename it before group_by"
        )
    port = Port(gate, "late")
    calls = call_texts(rows.node)
    names = [name for name in schema.names if name not in calls]
    if names == schema.names:
        return Stream(port)
    return Stream(port).select(*names)


def _require_positions(port: Port, why: str) -> None:
    """Raise if rows are not those of a source any more, each with its place in a partition."""
    for node in _up_to_windows(port):
        if isinstance(node, MapBatchesNode):
            raise PlanError(
                f"{why}, and what map_batches returned ({node.line}) has none",
                "use a @fz.batch_udf in place of map_batches",
            )


def _up_to_windows(port: Port) -> Iterator[Node]:
    """Steps that rows come through, each once, back to their sources or to what knows its time."""
    seen: set[int] = set()
    ahead = [port.node]
    while ahead:
        node = ahead.pop()
        computed = isinstance(node, WindowAggregateNode) or (
            isinstance(node, Step) and node.REFUSES
        )
        if id(node) not in seen and not computed:
            seen.add(id(node))
            yield node
            ahead += [upstream.node for upstream in node.inputs]


def _wanted(asked: Mapping[str, Any]) -> list[Aggregate]:
    """The aggregates that were asked for, or are part of what was."""
    wanted: list[Aggregate] = []
    for name, value in asked.items():
        if not isinstance(value, Expr):
            raise TypeMismatch(
                f"agg got {name}={value!r} ({type(value).__name__}), which is no aggregate",
                f'write {name}=fz.count(), or {name}=col("x").sum()',
            )
        found = list(aggregates_in(value))
        if not found:
            raise PlanError(
                f"agg got {name}={value!r}, which is not aggregated",
                f"write {name}={value!r}.sum(), or put it into group_by",
            )
        for one in found:
            nested = [inner for arg in one._args for inner in aggregates_in(arg)]
            if nested:
                raise PlanError(
                    f"{one!r}: an aggregate of the aggregate {nested[0]!r}",
                    "aggregate once, then group_by, window and agg again",
                )
        wanted += found
    return wanted


def _bound(aggregate: Aggregate, name: str, port: Port, origin: str) -> tuple[pa.Field, bool]:
    try:
        return aggregate._bound(name, port.schema, origin)
    except PlanError as error:
        calls = call_texts(port.node)
        what, *lines = (as_written(line, calls) for line in (error.what, *error.lines))
        raise type(error)(what, *lines) from None


def _finished(
    stream: Stream, keys: Sequence[str], results: Mapping[str, Expr], shown: Mapping[str, str]
) -> Stream:
    """Compute what was asked for of the aggregates there are, some of them without a name."""
    named = [(name, col(name)) for name in (*keys, "window_start", "window_end")]
    try:
        return stream._project([*named, *results.items()], finishes=True)
    except PlanError as error:
        origin = stream._origin()
        lines = [error.what.replace(f" in {origin}", f" in the aggregates of {origin}")]
        lines += error.lines
        for name, text in shown.items():
            lines = [line.replace(name, text) for line in lines]
        raise type(error)(*lines) from None
