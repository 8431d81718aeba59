"""What steps of a plan keep over checkpoints, and which rows have to know their position."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from frazil.duration import duration_text
from frazil.node import EventTimeNode, Node, SourceNode, WindowAggregateNode, WindowPartialNode
from frazil.types import type_name
from frazil.udf import as_written, call_texts


def state_of(node: EventTimeNode | WindowAggregateNode) -> dict[str, str]:
    """Say what a step keeps; a checkpoint fits only a step that says the same.

    A changed `out_of_order`, window or lateness would accept rows for windows that are closed, and
    other keys or aggregates are other columns.
    """
    if isinstance(node, EventTimeNode):
        return {
            "event time": node.column,
            "out of order": duration_text(node.out_of_order_ms),
        }
    partial = node.partial
    calls = call_texts(partial.input.node)
    aggregates = [
        f"{name}={as_written(repr(one), calls)}: {type_name(node.schema.field(name).type)}"
        for name, one in partial.aggregates
    ]
    return {
        "keys": ", ".join(f"{field.name}: {type_name(field.type)}" for field in partial.schema),
        "window": str(partial.window),
        "lateness": duration_text(partial.lateness_ms),
        "aggregates": ", ".join(aggregates),
    }


def needs_positions(nodes: Mapping[str, Node], aside_used: Collection[str]) -> set[str]:
    """Find the sources whose rows have to know their position in the partition.

    Late rows are written with it, and aggregates that depend on the order of rows put them in
    order by it.

    Parameters
    ----------
    nodes
        The steps by id.
    aside_used
        Steps whose late or rejected rows somebody takes.
    """
    ids = {id(node): node_id for node_id, node in nodes.items()}
    found: set[str] = set()
    seen: set[int] = set()
    open_nodes: list[Node] = [
        node
        for node_id, node in nodes.items()
        if isinstance(node, WindowPartialNode) and (node_id in aside_used or node.ordered)
    ]
    while open_nodes:
        node = open_nodes.pop()
        if id(node) in seen or isinstance(node, WindowAggregateNode):
            continue  # what a window gives has an order of its own
        seen.add(id(node))
        if isinstance(node, SourceNode):
            found.add(ids[id(node)])
        open_nodes += [port.node for port in node.inputs]
    return found
