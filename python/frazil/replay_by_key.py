"""Sends dead letters into a table by key: in a run of the pipeline itself, as one more input.

Only the pipeline that writes such a table knows which row of a key is the newest, and only one may
write it. So the letters go through a copy of the steps before the sink, into the sink's own input,
in the pipeline's own checkpoints: their position is in its log, and `order_by` decides whether a
row is older than what is there, or than what was deleted.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from frazil.changes import changes_of
from frazil.errors import PlanError
from frazil.replay_places import Files, Place, added_id, ports, rejecting, with_places

if TYPE_CHECKING:
    from frazil.node import Json
    from frazil.pipeline import Pipeline
    from frazil.plan import Plan
    from frazil.write import Sink

LETTERS_OF = "dead letters of "
"""How names of what letters go through begin in reports."""


def is_by_key(sink: Sink) -> bool:
    """Whether rows of a sink replace each other, or are changes."""
    node = sink._node
    return node.options.get("mode") == "upsert" or changes_of(node.input) is not None


def require_order(sink: Sink) -> None:
    """Refuse to send old rows where nobody knows that they are old.

    Raises
    ------
    PlanError
        It has no order of rows.
    """
    options = sink._node.options
    if options.get("mode") == "upsert" and options.get("order_by") is not None:
        return
    raise PlanError(
        f"replaying dead letters into {sink.name}: its rows replace each other by "
        f"{', '.join(options.get('key', ()))}",
        "an old row would take the place of a newer one: only order_by= tells which is older",
        "say order_by= when the table is first written; or choose the others by --sink (sinks=), "
        "or write the rows there by a program of your own",
    )


def source_name(source: str) -> str:
    """What reports call the letters of a source."""
    return f"{LETTERS_OF}{source}"


def with_letters(
    pipeline: Pipeline,
    letters: Sink,
    sink: Sink,
    name: str,
    files: Files,
    taken: Sequence[Place],
) -> Pipeline:
    """Make the pipeline, with letters as one more input of a sink.

    Parameters
    ----------
    letters
        The sink that gets what is rejected again.
    name
        Whose letters these are called then, so that the next replay into this sink finds them.
    files
        Of letters, by who reads them.
    taken
        The steps before which letters go in.
    """
    made = copy.copy(pipeline)
    made._plan = _Joined(pipeline.plan, sink.name, name).plan(letters.name, files, taken)
    return made


def to_letters(
    nodes: Sequence[Json], letters: str, aside: Sequence[list[str]], replay: str
) -> list[Json]:
    """Give the sink of dead letters further inputs.

    Parameters
    ----------
    nodes
        The steps of a plan, in order.
    letters
        The sink's name.
    aside
        What it is to have too.
    """
    made: list[Json] = []
    for node in nodes:
        if node["kind"] == "sink" and node["name"] == letters and aside:
            union = added_id("letters", replay)
            made.append({"id": union, "kind": "union", "inputs": [node["input"], *aside]})
            node = {**node, "input": [union, "rows"]}
        made.append(node)
    return made


class _Joined:
    """A plan, and copies of the steps before a sink, up to the check of its rows."""

    def __init__(self, plan: Plan, sink: str, name: str) -> None:
        self._plan = plan
        self._name = name
        self._nodes: dict[str, Json] = {node["id"]: node for node in plan.json["nodes"]}
        self._check = next(
            node["id"]
            for node in plan.json["nodes"]
            if node["kind"] == "constraints" and node["sink"] == sink
        )
        self._copies = {step: added_id(step, name) for step in self._before(self._check)}

    def _before(self, step: str) -> Iterator[str]:
        """A step and those before it, each at least once."""
        yield step
        for port in ports(self._nodes[step]):
            yield from self._before(port[0])

    def plan(self, letters: str, files: Files, taken: Sequence[Place]) -> Plan:
        """The plan with the copies, joined to the rows that have passed the check."""
        mine = [dataclasses.replace(each, step=self._copies[each.step]) for each in taken]
        joined = added_id("rows", self._name)
        nodes: list[Json] = []
        for node in self._plan.json["nodes"]:
            if node.get("input") == [self._check, "rows"]:
                node = {**node, "input": [joined, "rows"]}
            nodes.append(node)
            if node["id"] in self._copies:
                nodes += with_places([self._copied(node, files)], mine, self._name, files)
            if node["id"] == self._check:
                both = [[self._check, "rows"], [self._copies[self._check], "rows"]]
                nodes.append({"id": joined, "kind": "union", "inputs": both})
        nodes = to_letters(nodes, letters, [*rejecting(nodes), *self._failing(nodes)], self._name)
        objects = dict(self._plan.objects)
        for step, copied in self._copies.items():
            if step in objects:
                objects[copied] = objects[step]
        return dataclasses.replace(
            self._plan, json={**self._plan.json, "nodes": nodes}, objects=objects
        )

    def _failing(self, nodes: Sequence[Json]) -> list[list[str]]:
        """What copies set aside."""
        copies = set(self._copies.values())
        return [
            [node["id"], "failed"]
            for node in nodes
            if node["id"] in copies and node.get("on_error") == "divert"
        ]

    def _copied(self, node: Json, files: Files) -> Json:
        made = {**node, "id": self._copies[node["id"]]}
        if node["kind"] == "source":
            return self._source(made, files)
        if node.get("on_error") == "divert":
            what = node.get("sink") or node["function"]
            made |= {"name": source_name(what), "pipeline": self._name}
        if "input" in node:
            made["input"] = [self._copies[node["input"][0]], node["input"][1]]
        if "inputs" in node:
            made["inputs"] = [[self._copies[step], output] for step, output in node["inputs"]]
        return made

    def _source(self, made: Json, files: Files) -> Json:
        name = made["name"]
        return {
            **made,
            "name": source_name(name),
            "letters_of": name,
            "pipeline": self._name,
            "connector": "dead_letter",
            "options": {"partitions": list(files.get(name, [])), "metadata": []},
            "format": made["format"] or {"kind": "json"},  # it has no letters with bytes
        }
