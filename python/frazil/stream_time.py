"""What streams have to do with event time: `event_time`, `group_by` and `late`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frazil.changes import make_as_log
from frazil.errors import PlanError, on_user_line
from frazil.event_time import make_event_time
from frazil.gate import gates_of
from frazil.group_aggregate import GroupAggregateNode
from frazil.hold_changes import HoldChangesNode
from frazil.node import Port, ProjectNode, Step, WindowAggregateNode, WindowPartialNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frazil.duration import Duration
    from frazil.grouped import Grouped
    from frazil.stream import Stream


class TimeMethods:
    """The methods of a stream on time."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def event_time(
        self: Any,
        column: str,
        *,
        out_of_order: Duration,
        max_ahead: Duration | None = "auto",
        idle_after: Duration | None = None,
    ) -> Stream:
        """Say which column is the time at which a row's event happened.

        Windows go by it. How far time has come is known of each partition: it is the latest time
        seen there, less `out_of_order`; a row behind that may be late. Rows without a time are bad
        rows.

        Parameters
        ----------
        column
            A timestamp with a zone.
        out_of_order
            How far a row may be behind rows before it in its partition, and surely be counted.
            Windows close that much later.
        max_ahead
            How far a time may be ahead of the time at which the Kafka broker stored the message;
            beyond it the row is bad, so that one clock that is wrong does not close all windows.
            "auto" is "1d" for rows of `read_kafka` and off elsewhere; None is off.
        idle_after
            How long a partition that is read to its end may give no row before time goes on
            without it (by the clock on the wall). None: it is waited for, however long. Rows that
            come to it after that may be late where they would not have been: the pipeline is
            *consistent*, no more *exact*.

        Returns
        -------
        Stream
            The same rows, with event time.

        Raises
        ------
        PlanError
            If the stream has several sources, or has event time already.
        TypeMismatch
            If the column is no timestamp with a zone.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import datetime
        >>> class Order(fz.Schema):
        ...     user_id: str
        ...     created_at: datetime
        >>> orders = fz.read_files("orders.jsonl", format="json", schema=Order)
        >>> orders.event_time("created_at", out_of_order="10s")
        Stream(append) <- file:orders.jsonl
          user_id: string not null
          created_at: timestamp[us, UTC] not null
          event time: created_at, 10s out of order
        """
        from frazil.stream import Stream

        if isinstance(column, str):
            self._require(column)
        node = make_event_time(
            self._port, self._origin(), column, out_of_order, max_ahead, idle_after
        )
        return Stream(Port(node))

    @on_user_line
    def group_by(self: Any, *columns: Any, **named: Any) -> Grouped:
        """Put rows with equal keys together; a window and aggregates come next.

        Parameters
        ----------
        columns
            Names of columns, or ``col("x")``. None at all: all rows are one group.
        named
            Keys that are computed: expressions by name.

        Returns
        -------
        Grouped
            With `window`.

        Raises
        ------
        ColumnNotFound, ColumnExists, TypeMismatch
            If a key is not there, would be there twice, or is of a type without equality.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"user": "ada", "amount": 12.5}])
        >>> orders.group_by("user")
        Grouped(user) of memory
        """
        from frazil.grouped import group

        return group(self, columns, named)

    @on_user_line
    def as_log(self: Any) -> Stream:
        """Make a row of every change of a stream of changes.

        How many changes lead to a last result depends on how rows came: the pipeline is
        *consistent*, no more *settled*.

        Returns
        -------
        Stream
            The columns, and _kind: "insert", "update_before", "update_after" or "delete".

        Raises
        ------
        PlanError
            If the stream is not one of changes.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"user": "ada"}, {"user": "bob"}])
        >>> orders.group_by("user").agg(n=fz.count()).as_log().schema.names
        ['user', 'n', '_kind']
        """
        from frazil.stream import Stream

        return Stream(Port(make_as_log(self._port)))

    @on_user_line
    def as_changes(self: Any, op: str, *, key: str | Sequence[str]) -> Stream:
        """Take rows for changes: a column says what each does to the row of its key.

        Parameters
        ----------
        op
            Column of text: "c" (created) or "r" (read) an insert, "u" an update, "d" a delete. It
            is gone afterwards; a row with anything else ends the run with an error.
        key
            Columns that tell which row is changed. Of a delete only these need be filled.

        Returns
        -------
        Stream
            Of changes by the key. Updates have the row after only: such streams are written by
            their key, as a log, or to memory.

        Raises
        ------
        PlanError
            If a column is not there, or the stream is one of changes already.

        Examples
        --------
        >>> import frazil as fz
        >>> rows = [{"id": 1, "op": "c", "n": 5}, {"id": 1, "op": "d", "n": None}]
        >>> fz.read_memory(rows).as_changes("op", key="id").schema.names
        ['id', 'n']
        """
        from frazil.as_changes import make_as_changes
        from frazil.stream import Stream

        return Stream(make_as_changes(self, op, key))

    @property
    @on_user_line
    def late(self: Any) -> Stream:
        """The rows that came too late for a window, one for each window they missed.

        Each has its own columns, the window, the watermark of its partition and the position. They
        are in the same checkpoint as the results. Only what `agg` gave has them. Those that are not
        written are counted.

        Returns
        -------
        Stream
            Columns of the aggregated stream, then window_start, window_end (null for sessions),
            watermark, partition, position.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> orders = fz.read_memory(rows).event_time("at", out_of_order="10s")
        >>> orders.group_by("user").window(fz.tumbling("1m")).agg(n=fz.count()).late.schema.names
        ['user', 'at', 'window_start', 'window_end', 'watermark', 'partition', 'position']
        """
        from frazil.grouped import late_rows

        gates = late_gates(self._port)
        if not gates:
            raise PlanError(
                f"late rows belong to what agg gave, or another step that goes by event time, and "
                f"this stream of {self._origin()} is not it",
                "write totals.late of the stream that .agg(...) gave",
            )
        return late_rows(gates[0], self._origin())


def late_gates(port: Port) -> list[WindowPartialNode | Step]:
    """The steps that refuse late rows for the step whose immediate result a stream is.

    One for each of its inputs; empty if it has none.
    """
    node = port.node
    if port.output != "rows":
        return []
    if isinstance(node, ProjectNode) and node.finishes:
        node = node.input.node
    if isinstance(node, HoldChangesNode):
        node = node.inputs[0].node
    if isinstance(node, WindowAggregateNode):
        return [node.partial]
    if isinstance(node, GroupAggregateNode):
        return [] if node.assigned is None else [node.assigned]
    if isinstance(node, Step):
        return [node] if node.REFUSES else list(gates_of(node))
    return []
