"""What a pipeline does, in words: its steps, bounds, exactness and delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from frazil.async_udf import async_text
from frazil.changes import AsLogNode
from frazil.duration import duration_text
from frazil.expr import Column
from frazil.node import (
    ConcatNode,
    EventTimeNode,
    ExchangeNode,
    FilterNode,
    Function,
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
from frazil.udf import as_written, call_texts
from frazil.user_aggregate import in_python

if TYPE_CHECKING:
    from frazil.pipeline import Pipeline
    from frazil.plan import Plan

DETAIL_COLUMN = 44
EXPRESSION_CHARS = 100
"""Characters of a step's expressions that are shown."""

_APART = {"drop": "dropped", "divert": "set aside"}
_WHY_CONSISTENT = "consistent: pure=False"


def explain(pipeline: Pipeline) -> str:
    """Describe a pipeline, from its sinks back to its sources."""
    plan = pipeline.plan
    sinks = [sink._node for sink in pipeline.sinks]
    lines = [
        _row(
            f"pipeline {pipeline.name}",
            f"{_exactness(sinks)}, {_workers(pipeline.workers)}, "
            f"memory up to {pipeline.memory_bytes >> 20} MiB{_spill(pipeline)}",
        )
    ]
    tree = _Tree(plan)
    for sink in sinks:
        every = sink.options.get("commit_every_ms")
        commit = (
            f"commit every {duration_text(every)}"
            if every
            else f"commit with checkpoint every {duration_text(pipeline.checkpoint_every_ms)}"
        )
        detail = [part for part in (sink.detail, commit, sink.delivery, _exactness([sink])) if part]
        lines += ["", _row(f"write_{sink.connector} {sink.name}", ", ".join(detail))]
        lines += tree.describe(sink.input, 1)
    return "\n".join(lines)


def _spill(pipeline: Pipeline) -> str:
    """Where state goes that is more; nothing is said of plans that keep none."""
    if not any(node.get("stateful") for node in pipeline.plan.json["nodes"]):
        return ""
    if not pipeline.spill_bytes:
        return ", state in it"
    return f", more state in {pipeline.spill_folder}"


class _Tree:
    """Steps from a sink back to its sources; those described already are named only."""

    def __init__(self, plan: Plan) -> None:
        self.seen: set[int] = set()
        # Columns each source reads.
        self.read = {id(node): len(plan.columns[name]) for name, node in plan.nodes.items()}
        # Sources that each is read after; see `concat`.
        ids = {made["id"]: made for made in plan.json["nodes"]}
        self.after = {
            id(node): [ids[each]["name"] for each in ids[name].get("after", ())]
            for name, node in plan.nodes.items()
            if isinstance(node, SourceNode)
        }
        self.late_written = {
            id(port.node)
            for node in plan.nodes.values()
            for port in node.inputs
            if port.output == "late"
        }

    def describe(self, port: Port, depth: int) -> list[str]:
        node = port.node
        pad = "  " * depth
        if isinstance(node, SourceNode):
            return self.source(node, port, depth)
        text, detail = self.step(port)
        if node.name is not None:
            text = f"{text} named {node.name}"
        if id(node) in self.seen and port.output != "rows":
            return [
                _row(f"{pad}<- {text}", "; ".join(part for part in (detail, "see above") if part))
            ]
        if id(node) in self.seen:
            return [_row(f"{pad}<- {text}", "shared, see above")]
        self.seen.add(id(node))
        lines = [_row(f"{pad}<- {text}", detail)]
        for upstream in node.inputs:
            lines += self.describe(upstream, depth + 1)
        return lines

    def source(self, node: SourceNode, port: Port, depth: int) -> list[str]:
        pad = "  " * depth
        if port.output == "rejected":
            return [_row(f"{pad}<- rejected rows of {node.name}", "bytes, reason, position")]
        lines = []
        fields = f"{self.read[id(node)]} of {len(node.schema)} fields read"
        if node.key is not None:
            fields += f"; changes by {', '.join(node.key)}"
            fields += "" if node.whole else " (rows before a change may be missing)"
        if node.registry is not None:
            fields += f"; schemas of {node.registry['url']}"
        if node.format is not None:
            lines.append(_row(f"{pad}<- decode {node.format['kind']}", fields))
            pad += "  "
            fields = ""
        first = self.after.get(id(node), [])
        waits = f"after {', '.join(first)}" if first else ""
        detail = ", ".join(part for part in (fields, node.detail, waits) if part)
        name = (node.name or "").removeprefix(f"{node.connector}:")
        return [*lines, _row(f"{pad}<- read_{_reader(node)} {name}", detail)]

    def step(self, port: Port) -> tuple[str, str]:
        node = port.node
        if isinstance(node, Step) and node.REFUSES:
            return self.gate(node, port)
        if not isinstance(node, WindowPartialNode):
            text, detail = _step(node)
            if port.output == "failed":
                return f"failed rows of {text}", "row, reason, function, position"
            return (f"limited rows of {text}", "") if port.output == "limited" else (text, detail)
        if port.output == "late":
            return f"late rows of {_window_text(node)}", "row, window, watermark, position"
        late = "written" if id(node) in self.late_written else "only counted"
        lateness = f", lateness {duration_text(node.lateness_ms)}" if node.lateness_ms else ""
        python = in_python(node.aggregates)
        return "aggregate batches by key and window", f"late rows are {late}{lateness}{python}"

    def gate(self, node: Step, port: Port) -> tuple[str, str]:
        text, detail = node.explained()
        if port.output == "late":
            return f"late rows of {text}", "row, watermark, position"
        late = "written" if id(node) in self.late_written else "only counted"
        return text, f"late rows are {late}" + (f", {detail}" if detail else "")


def _step(node: Node) -> tuple[str, str]:
    """A step and what is to be said about it."""
    match node:
        case FilterNode():
            text = as_written(repr(node.predicate), call_texts(node.input.node))
            return f"filter {_cut(_bare(text))}", ""
        case ProjectNode():
            calls = call_texts(node.input.node)
            computed = [
                f"{name}={_bare(as_written(repr(expression), calls))}"
                for name, expression in node.columns
                if not (isinstance(expression, Column) and expression._name == name)
            ]
            if computed:
                return f"compute {_cut(', '.join(computed))}", f"{len(node.columns)} columns"
            return f"select {_cut(', '.join(name for name, _ in node.columns))}", ""
        case UdfNode():
            how = "a call a row" if node.function.kind == "row" else "a call a batch"
            if node.function.kind == "async":
                how = async_text(node.function)
            if node.function.kind == "embed":
                how = f"{node.function.options.name}, {node.function.options}"
            text = call_texts(node)[node.column]
            return f"call {_cut(text)}", _in_python(how, node.function)
        case MapBatchesNode():
            how = _in_python("a call a batch", node.function)
            return f"map_batches {node.function.reference}", how
        case ExchangeNode():
            keys = [
                key
                if name == "identity"
                else f"{name}({key})"
                if not param
                else f"{name}({param}, {key})"
                for key, (name, param) in zip(node.keys, node.transforms, strict=True)
            ]
            if not keys:
                return "exchange", "all rows to one worker"
            return f"exchange by {', '.join(keys)}", "rows of equal keys to one worker"
        case LookupNode():
            return f"join_lookup {node.dimension.name} {_on_text(node)}", _lookup_detail(node)
        case ConcatNode():
            return "concat", "the first to its end, then the second"
        case UnionNode():
            return "union", f"{len(node.streams)} streams"
        case EventTimeNode():
            return f"event_time {node.column}", _time_detail(node)
        case WindowAggregateNode():
            state = _counted(len(node.partial.aggregates), "accumulator")
            how = ", on change" if node.on_change else ""
            text = f"window_aggregate {_window_text(node.partial)}{how}"
            return text, _window_detail(node, state)
        case Step():
            text, detail = node.explained()
            calls = {} if len(node.inputs) != 1 else call_texts(node.inputs[0].node)
            return _cut(as_written(text, calls)), detail
    raise AssertionError(node)


def _in_python(how: str, function: Function) -> str:
    apart = f"; rows for which it raises are {_APART[function.on_error]}" if function.apart else ""
    if function.processes is not None:
        how += f", {function.processes}"
    return f"in Python, {how}{apart}" + ("" if function.pure else f"; {_WHY_CONSISTENT}")


def _exactness(sinks: Sequence[SinkNode]) -> str:
    """The worst class of all steps."""
    found = {_class_of(sink) for sink in sinks}
    return next(each for each in ("consistent", "settled", "exact") if each in found)


def _class_of(node: Node) -> str:
    if isinstance(node, UdfNode | MapBatchesNode) and not node.function.pure:
        return "consistent"
    if isinstance(node, EventTimeNode) and node.idle_after_ms is not None:
        return "consistent"
    if isinstance(node, LookupNode) and node.dimension.inexact:
        return "consistent"
    found = {_class_of(port.node) for port in node.inputs}
    found.add(node.EXACTNESS if isinstance(node, Step) else "exact")
    if isinstance(node, WindowAggregateNode) and node.on_change:
        found.add("settled")
    if isinstance(node, AsLogNode) and not node.folded and "settled" in found:
        return "consistent"
    return next(each for each in ("consistent", "settled", "exact") if each in found)


def _on_text(node: LookupNode) -> str:
    keys = [
        ours if ours == theirs else f"{ours} = {theirs}"
        for ours, theirs in zip(node.keys, node.dimension_keys, strict=True)
    ]
    return f"on {', '.join(keys)}"


def _lookup_detail(node: LookupNode) -> str:
    said: list[str] = [node.how]
    if node.duplicates == "all" and node.how in ("inner", "left"):
        said.append("all rows of a key")
    inexact = node.dimension.inexact
    said.append(f"consistent: {inexact}" if inexact else "exact: one version for ever")
    return ", ".join(said)


def _time_detail(node: EventTimeNode) -> str:
    said = [f"{duration_text(node.out_of_order_ms)} out of order"]
    if node.max_ahead_ms is not None:
        said.append(f"up to {duration_text(node.max_ahead_ms)} ahead of the broker's clock")
    if node.idle_after_ms is not None:
        said.append(f"partitions rest after {duration_text(node.idle_after_ms)} (consistent)")
    return ", ".join(said)


def _window_text(node: WindowPartialNode) -> str:
    return f"{node.window} by {', '.join(node.keys)}" if node.keys else str(node.window)


def _window_detail(node: WindowAggregateNode, state: str) -> str:
    window = node.partial.window
    options = dict(window.options)
    if window.kind in ("hopping", "cumulating"):
        pieces = int(options["size_us"]) // int(options["every_us"])
        return f"state: {state} per key and piece, {pieces} pieces a window"
    detail = f"state: {state} per key and {'session' if window.kind == 'session' else 'window'}"
    return f"{detail}; changes (settled)" if node.on_change else detail


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _reader(node: SourceNode) -> str:
    return {"file": "files"}.get(node.connector, node.connector)


def _workers(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def _bare(text: str) -> str:
    """An expression without the outermost parentheses."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for position, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return text[1:-1] if position == len(text) - 1 else text
    return text


def _cut(text: str) -> str:
    return text if len(text) <= EXPRESSION_CHARS else text[: EXPRESSION_CHARS - 3] + "..."


def _row(text: str, detail: str) -> str:
    return f"{text.ljust(DETAIL_COLUMN)}  {detail}".rstrip()
