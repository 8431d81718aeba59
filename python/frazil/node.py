"""The nodes of a plan: immutable, each with its schema, made by `Stream` and read by `plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from frazil.expr import Expr

Json = dict[str, Any]
OnBadRow = Literal["fail", "drop", "divert"]

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("partition", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("raw", pa.binary()),
        pa.field("raw_bytes", pa.int64(), nullable=False),
    ]
)
"""Columns of a stream of rejected rows."""


@dataclass(frozen=True, eq=False)
class Node:
    """A step of a plan. `name` is the user's own, by `Stream.named`."""

    schema: pa.Schema
    name: str | None = field(default=None, kw_only=True)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it reads."""
        return ()


@dataclass(frozen=True)
class Port:
    """One output of a node: "rows", or "rejected" of a source."""

    node: Node
    output: Literal["rows", "rejected"] = "rows"

    @property
    def schema(self) -> pa.Schema:
        """Columns of what comes out."""
        return REJECTED_SCHEMA if self.output == "rejected" else self.node.schema


@dataclass(frozen=True, eq=False)
class SourceNode(Node):
    """Reads partitions. `name` is set always: "kafka:orders"."""

    connector: str
    options: Json
    format: Json | None
    on_bad_row: OnBadRow | None
    metadata: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, eq=False)
class OneInput(Node):
    """A step with one input."""

    input: Port

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it reads."""
        return (self.input,)


@dataclass(frozen=True, eq=False)
class FilterNode(OneInput):
    """Keeps the rows for which the predicate is true."""

    predicate: Expr


@dataclass(frozen=True, eq=False)
class ProjectNode(OneInput):
    """Computes its columns from those of its input."""

    columns: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, eq=False)
class UdfNode(OneInput):
    """Adds one column, computed by a Python function of other columns."""

    function: Function
    arguments: tuple[Expr, ...]
    column: str


@dataclass(frozen=True, eq=False)
class MapBatchesNode(OneInput):
    """Gives each batch to a Python function and takes what it returns."""

    function: Function


@dataclass(frozen=True, eq=False)
class ExchangeNode(OneInput):
    """Brings rows with equal keys to the same worker.

    `transforms` has one for each key: a partition transform and its parameter.
    """

    keys: tuple[str, ...]
    transforms: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class UnionNode(Node):
    """The rows of all its inputs."""

    streams: tuple[Port, ...]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it reads."""
        return self.streams


@dataclass(frozen=True, eq=False)
class SinkNode(OneInput):
    """Writes. `name` is set always, and unique in a pipeline."""

    connector: str
    options: Json
    objects: Mapping[str, Any] = field(default_factory=dict)
    delivery: str = "exactly once"
    detail: str = ""


@dataclass(frozen=True)
class Function:
    """A Python function in a plan: by reference, with the live object beside it."""

    reference: str
    call: Callable[..., Any] = field(repr=False)
    kind: Literal["row", "batch", "map_batches"]
    returns: pa.Schema
    pure: bool
    on_error: Literal["fail", "null"] = "fail"
    source_hash: str = ""

    def __call__(self, batch: Any) -> pa.RecordBatch:
        """Run it on a batch of its arguments, which has ``__arrow_c_array__``; for the engine."""
        from frazil.udf_call import run

        return run(self, pa.record_batch(batch))
