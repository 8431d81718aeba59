"""Truncated tables: which steps their events may pass, and which sinks can follow them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from frazil.errors import ModeMismatch, PlanError
from frazil.node import (
    ExchangeNode,
    FilterNode,
    Node,
    Port,
    ProjectNode,
    SinkNode,
    SourceNode,
)
from frazil.types import type_name
from frazil.unsent_values import UnsentValuesNode

_PASSED = (FilterNode, ProjectNode, ExchangeNode, UnsentValuesNode)
_ADVICE = (
    'write the reader\'s rows, filtered or computed, with mode="upsert" and order_by=, or read '
    'with truncates="stop"'
)


def check_truncates(sinks: Sequence[SinkNode]) -> None:
    """Refuse plans in which the event of a truncated table would reach what cannot follow it.

    Raises
    ------
    PlanError
        A reader says truncates="apply", and a step or sink behind it has no answer to it.
    """
    seen: dict[int, SourceNode | None] = {}
    for sink in sinks:
        source = _reader(sink.input, seen)
        if source is not None:
            _check_sink(sink, source)


def _reader(port: Port, seen: dict[int, SourceNode | None]) -> SourceNode | None:
    """The reader whose truncates a stream has; None if it has none."""
    node = port.node
    if id(node) not in seen:
        seen[id(node)] = _of_node(node, seen)
    return seen[id(node)] if port.output == "rows" else None


def _of_node(node: Node, seen: dict[int, SourceNode | None]) -> SourceNode | None:
    if isinstance(node, SourceNode):
        return node if (node.format or {}).get("truncates") == "apply" else None
    given = [found for port in node.inputs if (found := _reader(port, seen)) is not None]
    if not given or isinstance(node, _PASSED):
        return given[0] if given else None
    raise ModeMismatch(
        f'truncates="apply" of {given[0].name}: the step at {node.line} goes by rows, and a '
        "truncate takes all of them away at once",
        _ADVICE,
    )


def _check_sink(sink: SinkNode, source: SourceNode) -> None:
    what = f'truncates="apply" of {source.name}, and {sink.name}'
    options = sink.options
    if sink.connector != "iceberg" or options.get("mode") != "upsert":
        raise ModeMismatch(f"{what} does not keep rows by key in Iceberg", _ADVICE)
    if "route" in options:
        raise PlanError(f"{what} is many tables", "give the table that is truncated its own sink")
    if "deleted" in options:
        raise PlanError(
            f'{what} keeps deleted rows (deletes="soft"), whose values a truncate does not have',
            'deletes="hard", or read with truncates="stop"',
        )
    order_by = options.get("order_by")
    if order_by is None:
        raise PlanError(
            f"{what} has no order_by=: a truncate has no key, so only its place in the database's "
            "log says which rows were there before it",
            'read with metadata=["source.lsn"], and write with order_by="_source_lsn"',
        )
    column = sink.input.schema.field(order_by)
    if not pa.types.is_integer(column.type):
        raise PlanError(
            f"{what} has order_by={order_by!r}, which is {type_name(column.type)}: two changes of "
            "one moment are not told apart",
            'order by a place in the log, like metadata=["source.lsn"]',
        )
    if not column.nullable:
        raise PlanError(
            f"{what} has order_by={order_by!r}, which may not be null: in a truncate it would be "
            "zero",
            'order by a column of the events themselves, like metadata=["source.lsn"]',
        )
