"""Sends dead letters into a table by key: in a run of the pipeline itself, as one more input.

Only the pipeline that writes such a table knows which row of a key is the newest, and only one may
write it. So the letters go through a copy of the steps before the sink, into the sink's own input,
in the pipeline's own checkpoints: their position is in its log, and `order_by` decides whether a
row is older than what is there, or than what was deleted.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from frazil.changes import changes_of
from frazil.checkpoint.plan_fit import REPLAY_PREFIX
from frazil.errors import PlanError

if TYPE_CHECKING:
    from frazil.node import Json
    from frazil.pipeline import Pipeline
    from frazil.plan import Plan
    from frazil.write import Sink

ID_CHARS = 12
"""Characters of a digest in the ids of copies."""


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
    return f"dead letters of {source}"


def with_letters(
    pipeline: Pipeline,
    letters: Sink,
    sink: Sink,
    name: str,
    partitions: Mapping[str, Sequence[Mapping[str, str]]],
) -> Pipeline:
    """Make the pipeline, with letters as one more input of a sink.

    Parameters
    ----------
    letters
        The sink that gets what is rejected again.
    name
        Whose letters these are called then, so that the next replay into this sink finds them.
    partitions
        Files of letters by source.
    """
    made = copy.copy(pipeline)
    made._plan = _Joined(pipeline.plan, sink.name, name).plan(letters.name, partitions)
    return made


class _Joined:
    """A plan, and copies of the steps before the check of a sink's rows."""

    def __init__(self, plan: Plan, sink: str, name: str) -> None:
        self._plan = plan
        self._name = name
        self._nodes: dict[str, Json] = {node["id"]: node for node in plan.json["nodes"]}
        self._check = next(
            node
            for node in plan.json["nodes"]
            if node["kind"] == "constraints" and node["sink"] == sink
        )
        self._copies = {step: self._id(step) for step in self._before(self._check["input"][0])}

    def _id(self, step: str) -> str:
        digest = hashlib.blake2b(f"{step} {self._name}".encode(), digest_size=ID_CHARS // 2)
        return REPLAY_PREFIX + digest.hexdigest()

    def _before(self, step: str) -> Iterator[str]:
        """A step and those before it, each at least once."""
        yield step
        for port in self._ports(self._nodes[step]):
            yield from self._before(port[0])

    @staticmethod
    def _ports(node: Json) -> list[list[str]]:
        return [node["input"]] if "input" in node else node.get("inputs", [])

    def plan(self, letters: str, partitions: Mapping[str, Sequence[Mapping[str, str]]]) -> Plan:
        """The plan with the copies, joined to the rows that are checked for the sink."""
        nodes: list[Json] = []
        aside: list[list[str]] = []
        for node in self._plan.json["nodes"]:
            if node["id"] == self._check["id"]:
                joined = [self._check["input"], [self._copies[node["input"][0]], "rows"]]
                nodes.append({"id": self._id("rows"), "kind": "union", "inputs": joined})
                node = {**node, "input": [self._id("rows"), "rows"]}
            elif node["kind"] == "sink" and node["name"] == letters:
                inputs = [node["input"], *aside]
                nodes.append({"id": self._id("letters"), "kind": "union", "inputs": inputs})
                node = {**node, "input": [self._id("letters"), "rows"]}
            nodes.append(node)
            if node["id"] in self._copies:
                made = self._copied(node, partitions)
                nodes.append(made)
                if made.get("on_bad_row") == "divert":
                    aside.append([made["id"], "rejected"])
                if made.get("on_error") == "divert":
                    aside.append([made["id"], "failed"])
        objects = dict(self._plan.objects)
        for step, copied in self._copies.items():
            if step in objects:
                objects[copied] = objects[step]
        return dataclasses.replace(
            self._plan, json={**self._plan.json, "nodes": nodes}, objects=objects
        )

    def _copied(self, node: Json, partitions: Mapping[str, Sequence[Mapping[str, str]]]) -> Json:
        made = {**node, "id": self._copies[node["id"]]}
        if node["kind"] == "source":
            return self._source(made, partitions)
        if "input" in node:
            made["input"] = [self._copies[node["input"][0]], node["input"][1]]
        if "inputs" in node:
            made["inputs"] = [[self._copies[step], output] for step, output in node["inputs"]]
        return made

    def _source(self, made: Json, partitions: Mapping[str, Sequence[Mapping[str, str]]]) -> Json:
        name = made["name"]
        return {
            **made,
            "name": source_name(name),
            "letters_of": name,
            "pipeline": self._name,
            "connector": "dead_letter",
            "options": {"partitions": list(partitions.get(name, [])), "metadata": []},
            "format": made["format"] or {"kind": "json"},  # it has no letters with bytes
        }
