"""What stands before steps that take each row at its own time: late gate, exchange, order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from frazil.event_time import require_event_time
from frazil.node import ExchangeNode, Json, Node, Port, Step
from frazil.types import type_name

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class GateNode(Step):
    """Sets aside rows that are behind the watermark of their own partition.

    The time of a row is `time_minus_us` microseconds before that of the column. One that does not
    refuse only notes how rows of one time are ordered.
    """

    KIND: ClassVar[str] = "gate"
    REFUSES: ClassVar[bool] = True

    time_column: str
    time_minus_us: int
    refuses: bool = True

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.time_column, self.time_minus_us, *([] if self.refuses else ["order"])]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted | {self.time_column}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return given[0]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        time = {"column": self.time_column, "minus_us": self.time_minus_us}
        return {"time": time} | ({} if self.refuses else {"refuses": False})

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        return "late gate", ""


@dataclass(frozen=True, eq=False)
class ReorderNode(Step):
    """Holds rows until the watermark has passed them, and gives them in event-time order.

    What it keeps is hashed by `keys`, which the exchange before it has.
    """

    KIND: ClassVar[str] = "reorder"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]
    time_column: str
    time_minus_us: int

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.time_column, self.time_minus_us]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted | {self.time_column, *self.keys}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return given[0]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        time = {"column": self.time_column, "minus_us": self.time_minus_us}
        return {"keys": list(self.keys), "time": time}

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        return {"keys": ", ".join(self.keys), "rows": columns_text(self.schema, given[0])}

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        return "put in event-time order", "state: rows that the watermark has not passed"


def columns_text(schema: pa.Schema, names: Sequence[str]) -> str:
    """Columns with their types, as they stand in what a step says of its state."""
    return ", ".join(f"{name}: {type_name(schema.field(name).type)}" for name in names)


def gated(port: Port, origin: str, keys: Sequence[str], what: str) -> Port:
    """The rows of a stream behind a late gate and an exchange by keys.

    Parameters
    ----------
    port
        The stream.
    origin
        What it is called in errors.
    keys
        Columns; none: all rows go to one worker.
    what
        What needs event time, in errors: "deduplicate".

    Raises
    ------
    WatermarkMissing
        If the stream has no event time; says what took it away.
    """
    time = require_event_time(port, origin, what)
    gate = GateNode(port.schema, (port,), time.column, time.minus_us)
    transforms = (("identity", 0),) * len(keys)
    return Port(ExchangeNode(gate.schema, Port(gate), tuple(keys), transforms))


def in_event_time_order(port: Port, origin: str, keys: Sequence[str], what: str) -> Port:
    """The rows of a stream, those of each key in event-time order; errors as `gated`."""
    time = require_event_time(port, origin, what)
    behind = gated(port, origin, keys, what)
    return Port(ReorderNode(port.schema, (behind,), tuple(keys), time.column, time.minus_us))


def gates_of(node: Node) -> list[GateNode]:
    """The late gate of each input of a step, in their order; empty if there are none."""
    found = []
    for port in node.inputs:
        upstream = port.node
        while isinstance(upstream, ExchangeNode | ReorderNode):
            upstream = upstream.inputs[0].node
        if isinstance(upstream, GateNode) and upstream.refuses:
            found.append(upstream)
    return found


def named_step(step: Step, name: str) -> Step:
    """The step with a name, and those that put its rows in order named after it.

    They too keep state, by which they have to be known when something before them is changed.
    """
    streams = []
    for number, port in enumerate(step.streams, 1):
        if isinstance(port.node, ReorderNode):
            order = f"{name}/order" if len(step.streams) == 1 else f"{name}/order {number}"
            port = Port(replace(port.node, name=order))
        streams.append(port)
    return replace(step, name=name, streams=tuple(streams))
