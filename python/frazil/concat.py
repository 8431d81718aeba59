"""A bounded past, then the unbounded present, as one stream: `concat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from frazil.errors import PlanError, TypeMismatch, WatermarkMissing, on_user_line
from frazil.event_time import NoEventTime, event_time_of
from frazil.node import (
    ConcatNode,
    EventTimeNode,
    FilterNode,
    LookupNode,
    MapBatchesNode,
    Node,
    Port,
    ProjectNode,
    SourceNode,
    UdfNode,
    UnionNode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from frazil.stream import Stream

# Steps that give a row when they are given it, and know nothing of others.
_BY_ROW = (EventTimeNode, FilterNode, LookupNode, MapBatchesNode, ProjectNode, UdfNode, UnionNode)


@on_user_line
def concat(history: Stream, live: Stream) -> Stream:
    """Read a past to its end, then go on with the present: one stream, with one state.

    No row of `live` is read before all of `history` has been. Event time goes on over the seam: a
    window that spans it gets rows of both, and the first rows of `live` stand at the watermark at
    which `history` ended. How far that was is in the checkpoint, and `history` is never read again:
    its files may go. Where the two overlap rows come twice, unless a `filter` on either cuts them
    off.

    Parameters
    ----------
    history
        What comes first: files, rows in memory, or a topic to where it ends at the start. It has
        event time, given by `event_time` before `concat`.
    live
        The same columns, and event time on the same column.

    Returns
    -------
    Stream
        The same columns; one that may be null in any of them may be null.

    Raises
    ------
    SchemaMismatch
        If the columns differ.
    WatermarkMissing
        If one has no event time, or the two have it on different columns.
    PlanError
        If `history` has no end, both read one source, or a step before `concat` keeps rows.

    Examples
    --------
    >>> import frazil as fz
    >>> from datetime import datetime
    >>> class Order(fz.Schema):
    ...     user_id: str
    ...     created_at: datetime
    >>> old = fz.read_files("archive/*.jsonl", format="json", schema=Order)
    >>> new = fz.read_kafka("orders", servers="localhost:9092", format="json", schema=Order)
    >>> fz.concat(
    ...     old.event_time("created_at", out_of_order="10s"),
    ...     new.event_time("created_at", out_of_order="10s"),
    ... )
    Stream(append) <- file:archive/*.jsonl, kafka:orders
      user_id: string not null
      created_at: timestamp[us, UTC] not null
      event time: created_at, 10s out of order
    """
    from frazil.same_columns import same_columns
    from frazil.stream import Stream

    for stream in (history, live):
        if not isinstance(stream, Stream):
            raise TypeMismatch(f"concat got a {type(stream).__name__}", "give two streams")
    fields = same_columns("concat", history, live)
    node = ConcatNode(pa.schema(fields), (history._port, live._port))
    _check_steps(node)
    for which, stream in (("history", history), ("live", live)):
        time = event_time_of(stream._port, stream._origin())
        if isinstance(time, NoEventTime):
            raise WatermarkMissing(
                f"concat goes by event time, and {which} has none: {time.why}",
                "call event_time on each stream, before concat",
            )
    made = Stream(Port(node))
    time = event_time_of(made._port, made._origin())
    if isinstance(time, NoEventTime):
        raise WatermarkMissing(time.why, time.advice)
    return made


def _check_steps(node: ConcatNode) -> None:
    """Refuse what has no end where one is needed, and what would give rows after the seam."""
    history, live = (list(steps_above(port.node)) for port in node.streams)
    for step in (*history, *live):
        if not isinstance(step, (SourceNode, *_BY_ROW)):
            raise PlanError(
                f"concat behind a step that keeps rows or looks at several ({step.line})",
                "call concat on the streams of the sources, and that step behind it",
            )
    for step in history:
        if isinstance(step, SourceNode):
            if any(step is other for other in live):
                raise PlanError(
                    f"both streams of concat read {step.name}",
                    "a source is read once: to have the past of a topic read it from its beginning",
                )
            if step.connector == "generator" and "rows" not in step.options:
                raise PlanError(
                    f"the history of concat is {step.name}, which has no end", "give it rows="
                )


def steps_above(node: Node) -> Iterator[Node]:
    """A step and all those before it; some more than once."""
    yield node
    for port in node.inputs:
        yield from steps_above(port.node)


def orders(nodes: dict[str, Node], ids: dict[int, str]) -> dict[str, set[str]]:
    """Which sources and event_time steps wait for which, by id.

    Raises
    ------
    PlanError
        If two wait for each other.
    """
    after: dict[str, set[str]] = {}
    for node in nodes.values():
        if not isinstance(node, ConcatNode):
            continue
        history, live = (list(steps_above(port.node)) for port in node.streams)
        for kind in (SourceNode, EventTimeNode):
            first = {ids[id(step)] for step in history if isinstance(step, kind)}
            for step in live:
                if isinstance(step, kind):
                    after.setdefault(ids[id(step)], set()).update(first)
    for start in after:
        seen: set[str] = set()
        waiting: Sequence[str] = list(after[start])
        while waiting:
            seen.update(waiting)
            waiting = [each for one in waiting for each in after.get(one, ()) if each not in seen]
        if start in seen:
            raise PlanError(
                f"{nodes[start].name or start} is read before itself",
                "of two streams one is the history of the other in all concat",
            )
    return after
