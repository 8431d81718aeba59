"""From streams and sinks to the JSON plan that the engine runs.

Sub-plans that several sinks share stand in it once. Sources read only the columns that somebody
needs. The id of a step is a hash of what it is and of the steps before it, never a number, so that
a line added elsewhere does not change it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from frazil.changes import changes_of
from frazil.concat import orders
from frazil.errors import PlanError
from frazil.expr import Column
from frazil.function_names import name_function
from frazil.node import (
    COLUMN_PREFIX,
    ConcatNode,
    Dimension,
    EventTimeNode,
    ExchangeNode,
    FilterNode,
    Function,
    Json,
    LookupNode,
    MapBatchesNode,
    Node,
    Port,
    ProjectNode,
    SinkNode,
    SourceNode,
    Step,
    UdfNode,
    UnionNode,
    WindowAggregateNode,
    WindowPartialNode,
)
from frazil.plan_state import compared_with_broker, state_of
from frazil.schema import has_rest
from frazil.truncates import check_truncates
from frazil.unsent_values import LOG_POSITION
from frazil.user_aggregate import UserAggregate

PLAN_VERSION = 1
NODES_MAX = 10_000
"""Steps of one plan."""
_ID_BYTES = 6


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes
    ----------
    json
        The plan, version 1; secrets are references in it (`frazil.secret.resolve_secrets`).
    functions
        Python functions by the reference that stands in the plan.
    function_hashes
        Digest of the source text of each function.
    objects
        Live objects of sources, sinks and lookups (a PyIceberg catalog, rows in memory), by id of
        the step.
    nodes
        The steps by id, before columns were left out.
    columns
        The columns each step gives, by its id.
    """

    json: Json
    functions: Mapping[str, Function]
    function_hashes: Mapping[str, str]
    objects: Mapping[str, Mapping[str, Any]]
    nodes: Mapping[str, Node] = field(repr=False)
    columns: Mapping[str, Sequence[str]] = field(repr=False)

    @property
    def text(self) -> str:
        """The plan as text, the same for the same program."""
        return json.dumps(self.json, separators=(",", ":"), sort_keys=True)


def compile_plan(pipeline: str, sinks: Sequence[SinkNode]) -> Plan:
    """Make the plan of a pipeline.

    Raises
    ------
    PlanError
        If names are not unique, or `on_bad_row` contradicts the use of `Stream.rejected`.
    """
    check_truncates(sinks)
    return _Compiler(sinks).compile(pipeline)


def step_ids(sinks: Sequence[SinkNode]) -> Mapping[int, str]:
    """Ids of all steps of a plan, by the identity of their nodes: of two that are the same, one."""
    compiler = _Compiler(sinks)
    for sink in sinks:
        compiler.add(sink)
    return compiler.ids


def schema_text(schema: pa.Schema) -> str:
    """A schema as it stands in a plan: base64 of Arrow's IPC message."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


class _Compiler:
    def __init__(self, sinks: Sequence[SinkNode]) -> None:
        self.sinks = sinks
        self.ids: dict[int, str] = {}  # by identity of the node object
        self.nodes: dict[str, Node] = {}  # in topological order
        self.needed: dict[str, set[str]] = {}
        self.emitted: dict[str, list[str]] = {}
        self.aside_used: set[str] = set()  # whose rejected, late or failed rows somebody takes
        self.functions: dict[str, Function] = {}
        self.dimensions: dict[str, LookupNode] = {}  # the first step that names a table
        self.compared: set[str] = set()  # sources whose rows need the broker's time
        self.after: dict[str, set[str]] = {}  # who is read when others have been; see `concat`
        self.json_nodes: list[Json] = []

    def compile(self, pipeline: str) -> Plan:
        for sink in self.sinks:
            self.add(sink)
        for node_id, node in reversed(self.nodes.items()):
            self.need_inputs(node_id, node)
        self.compared = compared_with_broker(self.nodes)
        self.after = orders(self.nodes, self.ids)
        for node_id, node in self.nodes.items():
            self.emit(node_id, node)
            self.note_aggregates(node)
        return Plan(
            {"v": PLAN_VERSION, "pipeline": pipeline, "nodes": self.json_nodes},
            self.functions,
            {reference: made.source_hash for reference, made in self.functions.items()},
            {
                node_id: objects
                for node_id, node in self.nodes.items()
                if (objects := _objects(node))
            },
            self.nodes,
            self.emitted,
        )

    # Ids.

    def add(self, node: Node) -> str:
        if id(node) in self.ids:
            return self.ids[id(node)]
        upstream = [[self.add(port.node), port.output] for port in node.inputs]
        for port_id, output in upstream:
            if output != "rows":
                self.aside_used.add(port_id)
        kind = _kind(node)
        if isinstance(node, LookupNode):
            self.check_dimension(node)
        if isinstance(node, WindowAggregateNode):
            # Neither its aggregates nor what comes before the exchange: only if they change under
            # the same id can a checkpoint say what has changed.
            upstream = [[self.add(port.node), port.output] for port in node.partial.inputs]
        if node.name is None:
            defining: Any = [self.definition(node), upstream]
        else:
            defining = node.name
        node_id = f"{kind}-{_digest([kind, defining])}"
        self.check_unique(node_id, node)
        self.ids[id(node)] = node_id
        self.nodes.setdefault(node_id, node)
        if len(self.nodes) > NODES_MAX:
            raise PlanError(f"the plan has more than {NODES_MAX} steps", "split the pipeline")
        return node_id

    def check_unique(self, node_id: str, node: Node) -> None:
        if node_id not in self.nodes:
            return
        if node.name is None:
            self.check_same(node, self.nodes[node_id])
            return
        if isinstance(node, SourceNode):
            raise PlanError(
                f"two readers are called {node.name!r}",
                "use the stream of one reader twice, or give one of them name=",
            )
        if isinstance(node, SinkNode):
            raise PlanError(f"two sinks are called {node.name!r}", "give one of them another name=")
        raise PlanError(
            f"two steps are called {node.name!r}", "give one of them another name: .named()"
        )

    def check_dimension(self, node: LookupNode) -> None:
        """A name stands for one table, whose version a checkpoint keeps."""
        other = self.dimensions.setdefault(node.dimension.name, node)
        if _tables(other.dimension) != _tables(node.dimension):
            raise PlanError(
                f"two lookup tables are called {node.dimension.name!r} ({other.line}, {node.line})",
                "give one of them another name=",
            )

    def check_same(self, node: Node, other: Node) -> None:
        """Ids of what keeps state do not say everything of it, so two could share one."""
        match node, other:
            case EventTimeNode(), EventTimeNode():
                if _times(node) != _times(other):
                    raise PlanError(
                        f"event time of {node.column!r} is there twice with other options "
                        f"({other.line}, {node.line})",
                        "give the stream its event time once, and use that stream for both",
                    )
            case Step(), Step():
                every = [list(port.schema.names) for port in node.inputs]
                if node.state(every) != other.state(every):
                    raise PlanError(
                        f"{node.explained()[0]} is there twice with other options ({other.line}, "
                        f"{node.line})",
                        "give each a name: .named()",
                    )
            case WindowAggregateNode(), WindowAggregateNode():
                if state_of(node) != state_of(other):
                    raise PlanError(
                        f"two aggregates of one stream by the same keys and window ({other.line}, "
                        f"{node.line})",
                        "ask for all in one agg(), or give each a name: .agg(...).named()",
                    )

    def definition(self, node: Node) -> Any:
        match node:
            case EventTimeNode():
                return node.column
            case WindowPartialNode():
                time = [node.time_column, node.time_minus_us]
                aggregates = [one._spec(name) for name, one in node.aggregates]
                return [node.keys, time, node.window.to_json(), node.lateness_ms, aggregates]
            case WindowAggregateNode():
                how = ["on_change"] if node.on_change else []
                return [node.partial.keys, node.partial.window.to_json(), *how]
            case FilterNode():
                return node.predicate._to_json()
            case LookupNode():
                keys = [node.keys, node.dimension_keys]
                return [node.dimension.name, node.how, keys, node.take, node.duplicates]
            case ProjectNode():
                return [[name, expression._to_json()] for name, expression in node.columns]
            case UdfNode():
                arguments = [argument._to_json() for argument in node.arguments]
                return [self.reference(node.function), arguments, node.column]
            case MapBatchesNode():
                return self.reference(node.function)
            case ExchangeNode():
                hashed = ["hashed"] if node.hashed else []
                return [node.keys, node.transforms, *hashed]
            case Step():
                return node.definition()
        return None

    def reference(self, function: Function) -> str:
        """Name of a function in the plan; the same function may be there with other results."""
        return name_function(self.functions, function, _function_digest)

    # Columns.

    def need(self, port: Port, names: set[str]) -> None:
        if port.output == "rows":
            self.needed.setdefault(self.ids[id(port.node)], set()).update(names)

    def need_inputs(self, node_id: str, node: Node) -> None:
        if node_id not in self.needed and isinstance(node, SourceNode):
            # Only its rejected rows are asked for: rows are bad by any of the columns declared.
            self.needed[node_id] = set(node.schema.names)
        wanted = self.needed.setdefault(node_id, set())
        if isinstance(node, SourceNode):
            wanted.update(node.key or ())  # tells whether an update is one of the same row
            if any(has_rest(field) for field in node.schema if field.name in wanted):
                wanted.update(node.schema.names)  # what is left is what no declared column reads
        if not wanted and isinstance(node, SourceNode | ProjectNode | UnionNode):
            wanted.add(min(node.schema, key=_width).name)  # rows have to be counted by something
        match node:
            case SinkNode() | MapBatchesNode():
                self.need(node.input, set(node.input.schema.names))
            case FilterNode():
                self.need(node.input, wanted | set(node.predicate._columns()))
            case ProjectNode():
                for name, expression in node.columns:
                    if name in wanted:
                        self.need(node.input, set(expression._columns()))
            case UdfNode():
                read = {name for argument in node.arguments for name in argument._columns()}
                shown = self.shown(node_id, node)
                self.need(node.input, wanted - {node.column} | read | set(shown))
            case ExchangeNode():
                self.need(node.input, wanted | set(node.keys))
            case EventTimeNode():
                self.need(node.input, wanted | {node.column})
            case LookupNode():
                taken = {name for _, name in node.take}
                self.need(node.input, wanted - taken | set(node.keys))
            case WindowPartialNode():
                self.need(node.input, self.read_by_window(node_id, node))
            case WindowAggregateNode():
                self.need(node.input, set(node.partial.keys))
            case UnionNode():
                for port in node.streams:
                    self.need(port, wanted)
            case Step():
                if node_id in self.aside_used:
                    wanted = set(node.inputs[0].schema.names)  # late rows have all their columns
                for port, names in zip(node.inputs, node.reads(wanted), strict=True):
                    self.need(port, names)

    def shown(self, node_id: str, node: UdfNode | MapBatchesNode) -> list[str]:
        """Columns that are shown of rows for which the function raises, if somebody takes them."""
        if node_id not in self.aside_used:
            return []
        return [name for name in node.input.schema.names if not name.startswith(COLUMN_PREFIX)]

    def read_by_window(self, node_id: str, node: WindowPartialNode) -> set[str]:
        if node_id in self.aside_used:
            return set(node.input.schema.names)  # late rows have all their columns
        read = {name for _, one in node.aggregates for name in one._columns()}
        return read | {node.time_column, *node.keys}

    def columns_of(self, port: Port) -> list[str]:
        if port.output != "rows":
            return list(port.schema.names)
        return self.emitted[self.ids[id(port.node)]]

    def kept(self, node_id: str, schema: pa.Schema) -> list[str]:
        """The needed columns in their order."""
        return [name for name in schema.names if name in self.needed[node_id]]

    # JSON.

    def emit(self, node_id: str, node: Node) -> None:
        made: Json = {"id": node_id, "kind": _kind(node)}
        if node_id in self.after:
            made["after"] = sorted(self.after[node_id])
        if isinstance(node, SourceNode) and any(node_id in each for each in self.after.values()):
            made["history"] = True
        if node.name is not None:
            made["name"] = node.name
        if len(node.inputs) == 1:
            made["input"] = self.port_json(node.inputs[0])
            self.emitted[node_id] = self.columns_of(node.inputs[0])
        match node:
            case SourceNode():
                self.emit_source(node_id, node, made)
            case FilterNode():
                made["predicate"] = node.predicate._to_json()
                if (found := changes_of(node.input)) is not None and not found.whole:
                    made["whole"] = False
            case ProjectNode():
                names = self.kept(node_id, node.schema)
                self.emitted[node_id] = names
                made["columns"] = [
                    [name, expression._to_json()]
                    for name, expression in node.columns
                    if name in names
                ]
            case UdfNode():
                self.emit_udf(node_id, node, made)
            case LookupNode():
                self.emit_lookup(node_id, node, made)
            case MapBatchesNode():
                self.emitted[node_id] = list(node.schema.names)
                made["function"] = self.reference(node.function)
                made["schema"] = schema_text(node.schema)
                made |= _python(node.function, self.shown(node_id, node))
            case ExchangeNode():
                made["keys"] = list(node.keys)
                made["transforms"] = [
                    {"name": name, "param": param} for name, param in node.transforms
                ]
                if node.hashed:
                    made["hashed"] = True
            case EventTimeNode():
                made |= _times(node)
                made["state"] = state_of(node)
            case WindowPartialNode():
                made["time"] = {"column": node.time_column, "minus_us": node.time_minus_us}
                self.emit_window(node_id, node, made)
            case WindowAggregateNode():
                self.emit_window(node_id, node.partial, made)
                self.emitted[node_id] = list(node.schema.names)
                made["emit"] = "on_change" if node.on_change else "on_close"
                made["stateful"] = True
                made["schema"] = schema_text(node.schema)
                made["state"] = state_of(node)
            case UnionNode():
                names = self.kept(node_id, node.schema)
                self.emitted[node_id] = names
                made["inputs"] = [self.selected(port, names) for port in node.streams]
                made["schema"] = schema_text(pa.schema([node.schema.field(n) for n in names]))
            case Step():
                self.emit_step(node_id, node, made)
            case SinkNode():
                self.emit_sink(node, made)
        self.json_nodes.append(made)

    def note_aggregates(self, node: Node) -> None:
        for _, one in getattr(node, "aggregates", ()):
            if isinstance(one, UserAggregate) and self.reference(one._made) != one._made.reference:
                raise PlanError(
                    f"{one!r} is there with other types",
                    "a plan knows functions by name: give the other class a name of its own",
                )

    def emit_source(self, node_id: str, node: SourceNode, made: Json) -> None:
        names = self.kept(node_id, node.schema)
        self.emitted[node_id] = names
        options = dict(node.options)
        if "metadata" in options:
            options["metadata"] = [name for name in options["metadata"] if f"_{name}" in names]
        if node_id in self.compared and "timestamp" not in options.get("metadata", ()):
            options["metadata"] = [*options.get("metadata", ()), "timestamp"]
        on_bad_row = node.on_bad_row
        if node_id in self.aside_used:
            if on_bad_row in ("fail", "drop"):
                raise PlanError(
                    f"{node.name}: on_bad_row={on_bad_row!r}, and its rejected rows are written",
                    'leave on_bad_row away, or say "divert"',
                )
            on_bad_row = "divert"
        made["connector"] = node.connector
        made["options"] = options
        made["format"] = node.format
        if node.registry is not None:
            made["registry"] = node.registry
        hidden = () if node.key is None else (_KINDS_FIELD,)
        if node.format is not None and node.format.get("keep"):
            hidden = (LOG_POSITION, *hidden)
        made["schema"] = schema_text(pa.schema([*(node.schema.field(n) for n in names), *hidden]))
        made["on_bad_row"] = on_bad_row or "fail"

    def emit_udf(self, node_id: str, node: UdfNode, made: Json) -> None:
        self.emitted[node_id] = [*self.emitted[node_id], node.column]
        made["function"] = self.reference(node.function)
        made["args"] = [argument._to_json() for argument in node.arguments]
        made["column"] = node.column
        made["returns"] = schema_text(pa.schema([node.schema.field(node.column)]))
        if node.function.kind == "embed":
            made["stateful"] = True
            made["state"] = node.function.options.state()
        if (found := changes_of(node.input)) is not None and not found.whole:
            made["whole"] = False
        made |= _python(node.function, self.shown(node_id, node))

    def emit_sink(self, node: SinkNode, made: Json) -> None:
        made["connector"] = node.connector
        made["options"] = node.options
        made["schema"] = schema_text(node.schema)
        if node.state is not None:
            made["stateful"] = True
            made["state"] = dict(node.state)

    def emit_window(self, node_id: str, node: WindowPartialNode, made: Json) -> None:
        self.emitted[node_id] = list(node.keys)
        if node_id in self.aside_used:
            assert self.columns_of(node.input) == node.input.schema.names
        made["keys"] = list(node.keys)
        made["window"] = node.window.to_json()
        made["lateness_us"] = node.lateness_ms * 1_000
        made["aggregates"] = [one._spec(name) for name, one in node.aggregates]

    def emit_lookup(self, node_id: str, node: LookupNode, made: Json) -> None:
        taken = [(column, name) for column, name in node.take if name in self.needed[node_id]]
        self.emitted[node_id] = [*self.emitted[node_id], *(name for _, name in taken)]
        columns = dict.fromkeys([*node.dimension_keys, *(column for column, _ in taken)])
        made["how"] = node.how
        made["keys"] = list(node.keys)
        made["dimension_keys"] = list(node.dimension_keys)
        made["take"] = [list(each) for each in taken]
        made["duplicates"] = node.duplicates
        made["dimension"] = node.dimension.to_json()
        made["schema"] = schema_text(pa.schema([node.dimension.schema.field(c) for c in columns]))

    def emit_step(self, node_id: str, node: Step, made: Json) -> None:
        given = [self.columns_of(port) for port in node.inputs]
        gives = self.emitted[node_id] = node.gives(given, self.needed[node_id])
        if len(node.inputs) > 1:
            made["inputs"] = [self.port_json(port) for port in node.inputs]
        made |= node.spec(given, gives)
        if (function := node.function()) is not None:
            made["function"] = self.reference(function)
        if node.STATEFUL:
            made["stateful"] = True
        if (state := node.state(given)) is not None:
            made["state"] = state

    def selected(self, port: Port, names: list[str]) -> list[str]:
        """The port, through a projection if it has more columns than are wanted."""
        if self.columns_of(port) == names:
            return self.port_json(port)
        upstream = self.port_json(port)
        columns = [[name, Column(name)._to_json()] for name in names]
        node_id = f"project-{_digest(['project', [columns, [upstream]]])}"
        if all(made["id"] != node_id for made in self.json_nodes):
            self.json_nodes.append(
                {"id": node_id, "kind": "project", "input": upstream, "columns": columns}
            )
        return [node_id, "rows"]

    def port_json(self, port: Port) -> list[str]:
        return [self.ids[id(port.node)], port.output]


_KINDS: dict[type[Node], str] = {
    SourceNode: "source",
    FilterNode: "filter",
    ProjectNode: "project",
    UdfNode: "udf",
    MapBatchesNode: "map_batches",
    ExchangeNode: "exchange",
    UnionNode: "union",
    ConcatNode: "concat",
    EventTimeNode: "event_time",
    LookupNode: "lookup",
    WindowPartialNode: "window_partial",
    WindowAggregateNode: "window_aggregate",
    SinkNode: "sink",
}


def _kind(node: Node) -> str:
    return node.KIND if isinstance(node, Step) else _KINDS[type(node)]


def _times(node: EventTimeNode) -> Json:
    def microseconds(ms: int | None) -> int | None:
        return None if ms is None else ms * 1_000

    return {
        "column": node.column,
        "out_of_order_us": microseconds(node.out_of_order_ms),
        "max_ahead_us": microseconds(node.max_ahead_ms),
        **({"idle_after_us": node.idle_after_ms * 1_000} if node.idle_after_ms else {}),
    }


def _objects(node: Node) -> Mapping[str, Any]:
    match node:
        case SourceNode() | SinkNode():
            return node.objects
        case LookupNode():
            return node.dimension.objects
    return {}


def _tables(dimension: Dimension) -> list[Any]:
    """What makes two lookup tables one: all but which of the columns are wanted."""
    return [dimension.to_json(), {key: id(each) for key, each in dimension.objects.items()}]


def _python(function: Function, shown: list[str]) -> Json:
    made = {"call": function.kind, "pure": function.pure, "on_error": function.on_error}
    if function.on_error != "divert":
        return made
    return {**made, "given": shown} if shown else {**made, "on_error": "drop"}


_KINDS_FIELD = pa.field("__fz_kind", pa.uint8(), nullable=False)
"""What a source of changes gives behind its columns."""


def _function_digest(function: Function) -> str:
    how = [function.kind, schema_text(function.returns), function.pure, function.on_error]
    if function.kind == "embed":
        how.append(str(function.options))
    return _digest(how)


def _digest(defining: Any) -> str:
    text = json.dumps(defining, separators=(",", ":"), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()


def _width(column: pa.Field) -> int:
    """Bits of a value; what has no fixed width comes last."""
    try:
        return int(column.type.bit_width)
    except ValueError:
        return 1 << 16
