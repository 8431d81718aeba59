"""Rows that a pipeline cannot take, as one sink: dead letters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from frazil.constraints import ConstraintsNode
from frazil.errors import ConfigError, PlanError
from frazil.node import (
    EventTimeNode,
    MapBatchesNode,
    Node,
    Port,
    SinkNode,
    SourceNode,
    UdfNode,
)
from frazil.plan import step_ids
from frazil.write import Sink

if TYPE_CHECKING:
    from frazil.stream import Stream

UNION_MAX = 64
"""Streams of one union."""

_CATALOG = ("catalog", "catalog_name", "s3")


def dead_letter_sink(table: str, sinks: Sequence[Sink], like: Sink | None = None) -> Sink:
    """Make the sink for `Pipeline(dead_letters=)`.

    Parameters
    ----------
    table
        "namespace.table", in the catalog of the first sink that is a table.
    sinks
        The pipeline's own.
    like
        A sink whose catalog it is instead.

    Raises
    ------
    PlanError
        No reader of them may reject rows, no function divert and no table refuse them.
    """
    if not isinstance(table, str):
        raise ConfigError(f"dead_letters={table!r}", 'write "namespace.table"')
    nodes = [sink._node for sink in sinks]
    ports = [Port(source, "rejected") for source in rejecting(nodes)]
    ports += [Port(step, "failed") for step in failing(nodes)]
    if not ports:
        raise PlanError(
            f"dead_letters={table!r}, and no step of the pipeline may have any",
            "leave it out: rows are rejected where they are decoded or get their event time, "
            'unless the reader says on_bad_row="fail" or "drop", or .rejected is written already; '
            'Python functions divert them with on_error="divert"; and Iceberg tables may refuse '
            "them",
        )
    made = _union(ports).write_iceberg(table)
    return Sink(_in_catalog_of(made._node, sinks if like is None else [like]))


def rejecting(sinks: Sequence[Node]) -> list[SourceNode]:
    """Readers whose rejected rows nobody takes yet, and which may have some."""
    nodes = list(walk(sinks))
    taken = {id(port.node) for node in nodes for port in node.inputs if port.output == "rejected"}
    timed = {
        id(source)
        for node in nodes
        if isinstance(node, EventTimeNode)
        for source in walk([node])
        if isinstance(source, SourceNode)
    }
    return [
        node
        for node in nodes
        if isinstance(node, SourceNode)
        and node.on_bad_row in (None, "divert")
        and id(node) not in taken
        and (node.format is not None or id(node) in timed)
    ]


def failing(sinks: Sequence[SinkNode]) -> list[Node]:
    """Steps that set failed rows aside which nobody takes yet; of two that are one step, one."""
    ids = step_ids(sinks)
    nodes = list(walk(sinks))
    ports = [port for node in nodes for port in node.inputs]
    taken = {ids[id(port.node)] for port in ports if port.output == "failed"}
    found = {ids[id(node)]: node for node in nodes if _diverts(node)}
    return [node for step, node in found.items() if step not in taken]


def _diverts(node: Node) -> bool:
    if isinstance(node, UdfNode | MapBatchesNode):
        return node.function.on_error == "divert"
    return isinstance(node, ConstraintsNode)


def walk(sinks: Sequence[Node]) -> Iterator[Node]:
    """All steps, each once, before those that read it."""
    seen: set[int] = set()

    def visit(node: Node) -> Iterator[Node]:
        if id(node) in seen:
            return
        seen.add(id(node))
        for port in node.inputs:
            yield from visit(port.node)
        yield node

    for sink in sinks:
        yield from visit(sink)


def _union(ports: Sequence[Port]) -> Stream:
    from frazil.stream import Stream

    streams = [Stream(port) for port in ports]
    while len(streams) > 1:
        streams = [
            some[0].union(*some[1:]) if len(some) > 1 else some[0]
            for at in range(0, len(streams), UNION_MAX)
            for some in [streams[at : at + UNION_MAX]]
        ]
    return streams[0]


def _in_catalog_of(node: SinkNode, sinks: Sequence[Sink]) -> SinkNode:
    tables = [sink._node for sink in sinks if sink._node.connector == "iceberg"]
    if not tables:
        return node
    first = tables[0]
    options = {key: first.options[key] for key in _CATALOG if key in first.options}
    catalog = {key: first.objects[key] for key in ("catalog",) if key in first.objects}
    return dataclasses.replace(
        node, options={**node.options, **options}, objects={**node.objects, **catalog}
    )
