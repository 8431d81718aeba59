"""What steps of a plan keep over checkpoints, and which rows have to know their position."""

from __future__ import annotations

from collections.abc import Mapping

from frazil import _engine
from frazil.duration import duration_text
from frazil.node import EventTimeNode, Node, WindowAggregateNode
from frazil.types import type_name
from frazil.udf import as_written, call_texts

TIME_ZONES = "time zones"
"""What a step's state depends on, and may change all the same: the version of the time zones."""


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
    state = {
        "keys": ", ".join(f"{field.name}: {type_name(field.type)}" for field in partial.schema),
        "window": str(partial.window),
        "lateness": duration_text(partial.lateness_ms),
        "aggregates": ", ".join(aggregates),
    }
    if isinstance(zone := dict(partial.window.options).get("zone"), str):
        state[TIME_ZONES] = _engine.time_zone_version(zone)
    return state


def compared_with_broker(nodes: Mapping[str, Node]) -> set[str]:
    """Find the sources whose rows are compared with the time at which the broker stored them.

    Parameters
    ----------
    nodes
        The steps by id.
    """
    ids = {id(node): node_id for node_id, node in nodes.items()}
    found: set[str] = set()
    for node in nodes.values():
        if not isinstance(node, EventTimeNode) or node.max_ahead_ms is None:
            continue
        source: Node = node
        while source.inputs:
            source = source.inputs[0].node
        found.add(ids[id(source)])
    return found
