"""Where dead letters of steps go in again: before the step whose function raised, or the check.

Such a letter has the row that the step was given, as JSON. A reader of these rows is put beside the
step's own input. It is known by the function or the sink, not by where the step stands: so a
program may be mended, and no letter is sent twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.changes import changes_of
from frazil.checkpoint.plan_fit import REPLAY_PREFIX
from frazil.constraints import ConstraintsNode
from frazil.expr import Column, lit
from frazil.node import COLUMN_PREFIX, MapBatchesNode, Node, UdfNode
from frazil.plan import schema_text

if TYPE_CHECKING:
    from frazil.node import Json
    from frazil.plan import Plan

ID_CHARS = 12
"""Characters of a digest in the ids of steps that a replay adds."""

PLACE_SOURCE = "rows for "
"""How names of readers of such letters begin."""

_OP = "__replay_op"

Files = Mapping[str, Sequence[Mapping[str, str]]]
"""Files of letters, by the name of who reads them."""


@dataclass(frozen=True)
class Place:
    """A step before which letters go in.

    Attributes
    ----------
    kind
        Of the letters: "function" or "constraint".
    name
        The function, as letters have it; or the sink.
    step
        Id of the step whose input they are put beside.
    schema
        Of that input.
    changes
        Its rows are changes.
    """

    kind: str
    name: str
    step: str
    schema: pa.Schema
    changes: bool

    @property
    def source(self) -> str:
        """What reports and letters call the reader of these rows."""
        return f"{PLACE_SOURCE}{'function' if self.kind == 'function' else 'sink'} {self.name}"

    def steps(self, replay: str, files: Files) -> list[Json]:
        """The reader, and what makes changes of its rows; the last one gives them.

        Parameters
        ----------
        replay
            Whose letters these are called if they are rejected again.
        """
        source: Json = {
            "id": added_id(f"{self.kind} {self.name}", replay),
            "kind": "source",
            "name": self.source,
            "pipeline": replay,
            "connector": "dead_letter",
            "options": {"partitions": list(files.get(self.source, [])), "metadata": []},
            "format": {"kind": "json"},
            "schema": schema_text(self.schema),
            "on_bad_row": "divert",
        }
        if not self.changes:
            return [source]
        # Letters are of new rows only; what is older than a row that is there does nothing.
        columns = [[name, Column(name)._to_json()] for name in self.schema.names]
        marked: Json = {
            "id": added_id(f"{source['id']} marked", replay),
            "kind": "project",
            "input": [source["id"], "rows"],
            "columns": [*columns, [_OP, lit("c")._to_json()]],
        }
        made: Json = {
            "id": added_id(f"{source['id']} changes", replay),
            "kind": "as_changes",
            "input": [marked["id"], "rows"],
            "op": _OP,
        }
        return [source, marked, made]


def added_id(what: str, replay: str) -> str:
    """Id of a step that a replay adds: with this, it may be there or not."""
    digest = hashlib.blake2b(f"{what} {replay}".encode(), digest_size=ID_CHARS // 2)
    return REPLAY_PREFIX + digest.hexdigest()


@dataclass(frozen=True)
class Places:
    """Of a sink; and why letters of other functions cannot be sent into it.

    Attributes
    ----------
    known
        By kind and name.
    elsewhere
        Functions of steps that are not before the sink, and sinks: their letters are not its own.
    ambiguous
        Functions that several steps call, each with rows of its own.
    unreadable
        Steps whose rows have a type that is not read from JSON.
    """

    known: Mapping[tuple[str, str], Place]
    elsewhere: frozenset[tuple[str, str]]
    ambiguous: frozenset[str]
    unreadable: frozenset[tuple[str, str]]

    def why_not(self, kind: str, name: str) -> str:
        """Why a letter that has no place cannot be sent."""
        if (kind, name) in self.unreadable:
            return f"{kind} {name}, whose rows have a type that is not read from JSON"
        if kind != "function" or not name:
            return kind
        who = "several steps call" if name in self.ambiguous else "no step calls"
        return f"{kind} {name}, which {who}"


def places(plan: Plan, sink: str) -> Places:
    """Find where letters go in on their way to a sink.

    Parameters
    ----------
    plan
        Of the pipeline, with the table for its dead letters.
    """
    nodes: dict[str, Json] = {node["id"]: node for node in plan.json["nodes"]}
    target = next(n for n in nodes.values() if n["kind"] == "sink" and n["name"] == sink)
    before = set(_before(nodes, target["id"]))
    known: dict[tuple[str, str], Place] = {}
    elsewhere: set[tuple[str, str]] = set()
    ambiguous: set[str] = set()
    entries: dict[str, str] = {}  # of a function: the one step that its rows go to
    for step, node in nodes.items():
        if node.get("on_error") != "divert":
            continue
        made = plan.nodes[step]
        if isinstance(made, ConstraintsNode):
            key = ("constraint", made.sink)
        else:
            assert isinstance(made, UdfNode | MapBatchesNode)
            key = ("function", node["function"])
        entry = _entry(plan, nodes, step)
        if entries.setdefault(key[1], entry) != entry and key[0] == "function":
            ambiguous.add(key[1])
        if step in before:
            known[key] = _place(key, plan, nodes[entry])
        else:
            elsewhere.add(key)
    of_several = {("function", name) for name in ambiguous}
    unreadable = {
        key for key, place in known.items() if not all(_readable(f.type) for f in place.schema)
    }
    return Places(
        {key: each for key, each in known.items() if key not in of_several | unreadable},
        frozenset(elsewhere - set(known) - of_several),
        frozenset(ambiguous),
        frozenset(unreadable),
    )


def with_places(
    nodes: Sequence[Json], found: Sequence[Place], replay: str, files: Files
) -> list[Json]:
    """Put readers of letters beside the inputs of steps.

    Parameters
    ----------
    nodes
        The steps of a plan, in order.
    """
    made: list[Json] = []
    for node in nodes:
        mine = [place for place in found if place.step == node["id"]]
        if mine:
            added = [place.steps(replay, files) for place in mine]
            made += [step for steps in added for step in steps]
            joined = [node["input"], *([steps[-1]["id"], "rows"] for steps in added)]
            union: Json = {"id": added_id(f"{node['id']} rows", replay), "kind": "union"}
            made.append({**union, "inputs": joined})
            node = {**node, "input": [union["id"], "rows"]}
        made.append(node)
    return made


def rejecting(nodes: Sequence[Json]) -> list[list[str]]:
    """The rejected rows of readers that were put in, if they are set aside."""
    return [
        [node["id"], "rejected"]
        for node in nodes
        if node["kind"] == "source"
        and node["id"].startswith(REPLAY_PREFIX)
        and node["on_bad_row"] == "divert"
    ]


def _before(nodes: Mapping[str, Json], step: str) -> list[str]:
    """A step and those before it."""
    found: dict[str, None] = {}
    todo = [step]
    while todo:
        at = todo.pop()
        if at not in found:
            found[at] = None
            todo += [port[0] for port in ports(nodes[at])]
    return list(found)


def ports(node: Json) -> list[list[str]]:
    """What a step reads."""
    return [node["input"]] if "input" in node else list(node.get("inputs", []))


def _entry(plan: Plan, nodes: Mapping[str, Json], step: str) -> str:
    """The step itself; or, of functions that are called one after the other, the first.

    What others have given before it is in no letter, and they give it again.
    """
    node: Node | None = plan.nodes.get(step)
    while isinstance(node, UdfNode) and any(
        name.startswith(COLUMN_PREFIX) for name in node.input.schema.names
    ):
        step = nodes[step]["input"][0]
        node = plan.nodes.get(step)
    return step


def _place(key: tuple[str, str], plan: Plan, node: Json) -> Place:
    port = plan.nodes[node["id"]].inputs[0]
    names = plan.columns[node["input"][0]]
    schema = pa.schema([_plain(port.schema.field(name)) for name in names])
    return Place(*key, node["id"], schema, changes_of(port) is not None)


_READABLE = (
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_float32, pa.types.is_float64),
    *(pa.types.is_decimal128, pa.types.is_decimal256, pa.types.is_null),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary),
    *(pa.types.is_date32, pa.types.is_time, pa.types.is_timestamp),
)


def _readable(type_: Any) -> bool:
    """Whether the engine reads a type from the JSON that it makes of it."""
    if pa.types.is_map(type_):
        text = pa.types.is_string(type_.key_type) or pa.types.is_large_string(type_.key_type)
        return text and _readable(type_.item_type)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return _readable(type_.value_type)
    if pa.types.is_struct(type_):
        return all(_readable(type_.field(i).type) for i in range(type_.num_fields))
    return any(test(type_) for test in _READABLE)


def _plain(field: pa.Field) -> pa.Field:
    """A field by its own name: where its value stands in a message is the reader's matter."""
    return pa.field(field.name, _plain_type(field.type), field.nullable)


def _plain_type(type_: Any) -> Any:
    if pa.types.is_struct(type_):
        return pa.struct([_plain(type_.field(i)) for i in range(type_.num_fields)])
    if pa.types.is_large_list(type_):
        return pa.large_list(_plain(type_.value_field))
    if pa.types.is_list(type_):
        return pa.list_(_plain(type_.value_field))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(_plain(type_.value_field), type_.list_size)
    if pa.types.is_map(type_):
        return pa.map_(_plain(type_.key_field), _plain(type_.item_field))
    return type_
