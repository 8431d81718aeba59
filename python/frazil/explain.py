"""What a pipeline does, in words: its steps, bounds, exactness and delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from frazil.duration import duration_text
from frazil.expr import Column
from frazil.node import (
    ExchangeNode,
    FilterNode,
    MapBatchesNode,
    Node,
    Port,
    ProjectNode,
    SinkNode,
    SourceNode,
    UdfNode,
    UnionNode,
)
from frazil.udf import as_written, call_texts

if TYPE_CHECKING:
    from frazil.pipeline import Pipeline
    from frazil.plan import Plan

DETAIL_COLUMN = 44
EXPRESSION_CHARS = 100
"""Characters of a step's expressions that are shown."""

_WHY_CONSISTENT = "consistent: pure=False"


def explain(pipeline: Pipeline) -> str:
    """Describe a pipeline, from its sinks back to its sources."""
    plan = pipeline.plan
    sinks = [sink._node for sink in pipeline.sinks]
    lines = [
        _row(
            f"pipeline {pipeline.name}",
            f"{_exactness(sinks)}, {_workers(pipeline.workers)}, "
            f"memory up to {pipeline.memory_bytes >> 20} MiB",
        )
    ]
    by_node = {id(node): node_id for node_id, node in plan.nodes.items()}
    read = _read_columns(plan)
    seen: set[int] = set()
    for sink in sinks:
        every = sink.options.get("commit_every_ms")
        commit = (
            f"commit every {duration_text(every)}"
            if every
            else f"commit with checkpoint every {duration_text(pipeline.checkpoint_every_ms)}"
        )
        detail = [part for part in (sink.detail, commit, sink.delivery, _exactness([sink])) if part]
        lines += ["", _row(f"write_{sink.connector} {sink.name}", ", ".join(detail))]
        _describe(sink.input, 1, lines, seen, read, by_node)
    return "\n".join(lines)


def _describe(
    port: Port,
    depth: int,
    lines: list[str],
    seen: set[int],
    read: dict[str, int],
    by_node: dict[int, str],
) -> None:
    node = port.node
    if isinstance(node, SourceNode):
        _describe_source(node, port, depth, lines, read[by_node[id(node)]])
        return
    text, detail = _step(node)
    if node.name is not None:
        text = f"{text} named {node.name}"
    if id(node) in seen:
        lines.append(_row(f"{'  ' * depth}<- {text}", "shared, see above"))
        return
    seen.add(id(node))
    lines.append(_row(f"{'  ' * depth}<- {text}", detail))
    for upstream in node.inputs:
        _describe(upstream, depth + 1, lines, seen, read, by_node)


def _describe_source(node: SourceNode, port: Port, depth: int, lines: list[str], read: int) -> None:
    pad = "  " * depth
    if port.output == "rejected":
        lines.append(_row(f"{pad}<- rejected rows of {node.name}", "bytes, reason, position"))
        return
    fields = f"{read} of {len(node.schema)} fields read"
    if node.format is not None:
        lines.append(_row(f"{pad}<- decode {node.format['kind']}", fields))
        pad += "  "
        fields = ""
    detail = ", ".join(part for part in (fields, node.detail) if part)
    name = (node.name or "").removeprefix(f"{node.connector}:")
    lines.append(_row(f"{pad}<- read_{_reader(node)} {name}", detail))


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
            text = call_texts(node)[node.column]
            return f"call {_cut(text)}", _in_python(how, node.function.pure)
        case MapBatchesNode():
            how = _in_python("a call a batch", node.function.pure)
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
            return f"exchange by {', '.join(keys)}", "rows of equal keys to one worker"
        case UnionNode():
            return "union", f"{len(node.streams)} streams"
    raise AssertionError(node)


def _in_python(how: str, pure: bool) -> str:
    return f"in Python, {how}" + ("" if pure else f"; {_WHY_CONSISTENT}")


def _exactness(sinks: Sequence[SinkNode]) -> str:
    """The worst class of all steps: exact, or consistent if some function is not pure."""
    return "exact" if all(_pure(sink) for sink in sinks) else "consistent"


def _pure(node: Node) -> bool:
    if isinstance(node, UdfNode | MapBatchesNode) and not node.function.pure:
        return False
    return all(_pure(port.node) for port in node.inputs)


def _read_columns(plan: Plan) -> dict[str, int]:
    """Columns each source reads, by its id."""
    return {node_id: len(names) for node_id, names in plan.columns.items()}


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
