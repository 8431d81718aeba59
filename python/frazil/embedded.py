"""Which columns of a stream are vectors of a model: a table of theirs has one model for ever."""

from __future__ import annotations

from frazil.expr import Column
from frazil.node import Port, ProjectNode, UdfNode, UnionNode

Embedding = dict[str, str]
"""The name and dimension of a model, as texts."""


def embeddings_of(port: Port) -> dict[str, Embedding]:
    """Find the columns that `Stream.embed` made, under their names of now.

    They are followed through all steps that hand on columns as they are.
    """
    return _found(port, {})


def embedding_options(port: Port) -> dict[str, dict[str, Embedding]]:
    """What the sink of a stream has to know of them: an option, if there are any."""
    found = embeddings_of(port)
    return {"embeddings": dict(sorted(found.items()))} if found else {}


def _found(port: Port, known: dict[int, dict[str, Embedding]]) -> dict[str, Embedding]:
    node = port.node
    if port.output in ("rejected", "failed"):
        return {}
    if id(node) in known:
        return known[id(node)]
    before = [_found(each, known) for each in node.inputs]
    match node:
        case ProjectNode():
            made = {
                name: before[0][expression._name]
                for name, expression in node.columns
                if isinstance(expression, Column) and expression._name in before[0]
            }
        case UdfNode() if node.function.kind == "embed":
            made = {**before[0], node.column: node.function.options.embedding()}
        case UnionNode():
            made = {
                name: each
                for name, each in before[0].items()
                if all(other.get(name) == each for other in before)
            }
        case _:
            made = {name: each for found in before for name, each in found.items()}
    known[id(node)] = {name: each for name, each in made.items() if name in node.schema.names}
    return known[id(node)]
