"""Rows that a table would refuse, found before its sink: dead letters of kind "constraint"."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from frazil.changes import changes_of
from frazil.drift import Drift
from frazil.errors import PlanError
from frazil.node import COLUMN_PREFIX, ExchangeNode, Json, Port, Step
from frazil.write import Sink


@dataclass(frozen=True, eq=False)
class ConstraintsNode(Step):
    """Lets through the rows that the table of a sink takes; the others are its output "failed".

    It stands before the sink's exchange, where it is known where rows come from.
    """

    KIND: ClassVar[str] = "constraints"

    sink: str

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return self.sink

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [set(self.schema.names)]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return given[0]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        changes = changes_of(self.streams[0])
        return {
            "sink": self.sink,
            "on_error": "divert",
            "given": [name for name in self.schema.names if not name.startswith(COLUMN_PREFIX)],
            "whole": changes is None or changes.whole,
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        return f"check rows for {self.sink}", "those that the table does not take are set aside"

    def changes(self) -> Any:
        """Whether its rows are changes; None or `frazil.changes.Changes`."""
        return changes_of(self.streams[0])


def constrained(sink: Sink) -> Sink:
    """The sink with the step before it, if it is a table that rows of the program go to."""
    node = sink._node
    port = node.input
    if node.connector != "iceberg" or port.output in ("rejected", "failed"):
        return sink
    if isinstance(port.node, ExchangeNode):
        inner = port.node.input
        checked = Port(dataclasses.replace(port.node, input=_check(inner, sink.name)))
    else:
        checked = _check(port, sink.name)
    return Sink(dataclasses.replace(node, input=checked))


def check_letters(sink: Sink, dead_letters: str | None) -> None:
    """Refuse to set rows aside where nobody takes them.

    Raises
    ------
    PlanError
        The sink's `drift` does, and there is no check of its rows.
    """
    options = sink._node.options
    names = Drift._from_json(options.get("drift"))._quarantining()
    if not names:
        return
    if sink._node.input.output in ("rejected", "failed"):
        raise PlanError(
            f'sink {sink.name}: {names[0]}="quarantine" of rows that were set aside already',
            'dead letters have no dead letters: "evolve", "ignore" or "stop"',
        )
    port = sink._node.input
    if isinstance(port.node, ExchangeNode):
        port = port.node.input
    if dead_letters is None and not isinstance(port.node, ConstraintsNode):
        raise PlanError(
            f'sink {sink.name}: {names[0]}="quarantine", and the pipeline has no table for such '
            "rows",
            'write Pipeline(..., dead_letters="ops.dead_letters")',
        )


def _check(port: Port, sink: str) -> Port:
    return Port(ConstraintsNode(port.schema, (port,), sink))
