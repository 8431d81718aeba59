"""The nodes of a plan: immutable, each with its schema, made by `Stream` and read by `plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from frazil.duration import duration_text
from frazil.errors import user_line

if TYPE_CHECKING:
    from frazil.expr import Expr
    from frazil.expr_aggregate import Aggregate
    from frazil.processes import Processes
    from frazil.window import Window

Json = dict[str, Any]
OnBadRow = Literal["fail", "drop", "divert"]
OnError = Literal["fail", "null", "drop", "divert"]
"""What becomes of rows for which a Python function raises."""

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("partition", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("raw", pa.binary()),
        pa.field("raw_bytes", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("pipeline", pa.string(), nullable=False),
        pa.field("log", pa.string(), nullable=False),
    ]
)
"""Columns of a stream of rejected rows, and of rows for which a function raised."""

COLUMN_PREFIX = "__udf_"
"""How names of columns begin that Python functions give to the step behind them."""

WINDOW_COLUMNS = (
    pa.field("window_start", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("window_end", pa.timestamp("us", "UTC"), nullable=False),
)
"""Columns that a windowed aggregate puts between its keys and its results."""


@dataclass(frozen=True, eq=False)
class Node:
    """A step of a plan.

    `name` is the user's own, by `Stream.named`; `line` is where the program asks for the step, and
    is for messages only.
    """

    schema: pa.Schema
    name: str | None = field(default=None, kw_only=True)
    line: str = field(default_factory=user_line, kw_only=True, repr=False)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it reads."""
        return ()


@dataclass(frozen=True)
class Port:
    """One output of a node: "rows", "rejected" of a source, "late" of a window, "limited", and
    "failed" of a Python function.
    """

    node: Node
    output: Literal["rows", "rejected", "late", "limited", "failed"] = "rows"

    @property
    def schema(self) -> pa.Schema:
        """Columns of what comes out."""
        if self.output in ("rejected", "failed"):
            return REJECTED_SCHEMA
        if self.output == "late":
            assert isinstance(self.node, WindowPartialNode | Step)
            return late_schema(self.node.inputs[0].schema)
        return self.node.schema


def late_schema(rows: pa.Schema) -> pa.Schema:
    """Columns of late rows: those of the row, the window it missed, and where it stood."""
    utc = pa.timestamp("us", "UTC")
    return pa.schema(
        [
            *rows.remove_metadata(),
            pa.field("window_start", utc),
            pa.field("window_end", utc),
            pa.field("watermark", utc, nullable=False),
            pa.field("partition", pa.string(), nullable=False),
            pa.field("position", pa.int64(), nullable=False),
        ]
    )


@dataclass(frozen=True, eq=False)
class SourceNode(Node):
    """Reads partitions. `name` is set always: "kafka:orders".

    With a `key` its rows are changes; `whole` says whether they have the rows before them too.
    `registry` is where the schemas of its messages are. `objects` are live ones that reading needs.
    """

    connector: str
    options: Json
    format: Json | None
    on_bad_row: OnBadRow | None
    metadata: tuple[str, ...] = ()
    detail: str = ""
    key: tuple[str, ...] | None = None
    whole: bool = True
    registry: Json | None = None
    objects: Mapping[str, Any] = field(default_factory=dict)


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
    """Computes its columns from those of its input.

    `finishes` says that it is the end of an aggregate, whose name and late rows it stands for.
    """

    columns: tuple[tuple[str, Expr], ...]
    finishes: bool = field(default=False, kw_only=True)


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

    `transforms` has one for each key: a partition transform and its parameter. `hashed` says that
    the step before it has computed the hash of the keys.
    """

    keys: tuple[str, ...]
    transforms: tuple[tuple[str, int], ...]
    hashed: bool = False


@dataclass(frozen=True, eq=False)
class EventTimeNode(OneInput):
    """Gives rows their time, and makes the watermark of each partition.

    Times are in milliseconds; `max_ahead_ms` compares with the time that a broker has stored;
    `idle_after_ms` is of the clock on the wall.
    """

    column: str
    out_of_order_ms: int
    max_ahead_ms: int | None
    idle_after_ms: int | None = None


@dataclass(frozen=True, eq=False)
class WindowPartialNode(OneInput):
    """Sets late rows aside, and aggregates each batch by key and window before the exchange.

    Its schema has the keys only: what else it hands on is between it and the aggregate behind it.
    The time of a row is `time_minus_us` microseconds before that of the column.
    """

    keys: tuple[str, ...]
    time_column: str
    time_minus_us: int
    window: Window
    lateness_ms: int
    aggregates: tuple[tuple[str, Aggregate], ...]
    ordered: bool  # the result of one of them depends on the order of rows


@dataclass(frozen=True, eq=False)
class WindowAggregateNode(OneInput):
    """Keeps the aggregates of each key and open window, and gives them when the window closes.

    What it aggregates is said by `partial`, which stands before the exchange it reads. With
    `on_change` it gives changes of those that are open instead; sessions only.
    """

    partial: WindowPartialNode
    on_change: bool = False


@dataclass(frozen=True, eq=False)
class UnionNode(Node):
    """The rows of all its inputs."""

    streams: tuple[Port, ...]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it reads."""
        return self.streams


@dataclass(frozen=True, eq=False)
class ConcatNode(UnionNode):
    """The rows of its first input, then those of its second."""


@dataclass(frozen=True, eq=False)
class Step(Node):
    """A step that says of itself all that a plan, `explain` and a checkpoint ask.

    Attributes
    ----------
    KIND
        What the engine calls it.
    STATEFUL
        Whether a checkpoint has state of it.
    REFUSES
        Whether it sets late rows aside, as output "late".
    EXACTNESS
        The class of what it gives, if what it is given is exact.
    """

    KIND: ClassVar[str]
    STATEFUL: ClassVar[bool] = False
    REFUSES: ClassVar[bool] = False
    EXACTNESS: ClassVar[Literal["exact", "settled", "consistent"]] = "exact"

    streams: tuple[Port, ...]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it reads."""
        return self.streams

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        raise NotImplementedError

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        raise NotImplementedError

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        raise NotImplementedError

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        raise NotImplementedError

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        return None

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        raise NotImplementedError

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time; `of` gives that of an input. As `frazil.event_time.event_time_of`."""
        return of(self.streams[0])

    def function(self) -> Function | None:
        """The Python function it calls; the plan and the run are given it."""
        return None

    def changes(self) -> Any:
        """Whether its rows are changes; None or `frazil.changes.Changes`."""
        return None


@dataclass(frozen=True, eq=False)
class SinkNode(OneInput):
    """Writes. `name` is set always, and unique in a pipeline.

    `state` says what it keeps over checkpoints, if it does: one fits only a sink that says the
    same.
    """

    connector: str
    options: Json
    objects: Mapping[str, Any] = field(default_factory=dict)
    delivery: str = "exactly once"
    detail: str = ""
    state: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A lookup table: what it is called, what it has, and how a run gets its rows.

    Attributes
    ----------
    name
        Under which checkpoints keep its version; unique in a pipeline.
    options
        How to load it; secrets are references in it.
    objects
        Live objects that loading needs (a PyIceberg catalog).
    refresh_ms
        How often a newer version is looked for; None: the first one is kept.
    on_change
        What a start does if there is another version and no `refresh_ms`: "fail" or "take".
    max_bytes
        Of memory, for one version and its index.
    """

    name: str
    kind: Literal["parquet", "iceberg", "sql"]
    schema: pa.Schema
    options: Json
    objects: Mapping[str, Any] = field(default_factory=dict)
    refresh_ms: int | None = None
    on_change: Literal["fail", "take"] = "fail"
    max_bytes: int

    def to_json(self) -> Json:
        """As it stands in a plan."""
        return {
            "name": self.name,
            "kind": self.kind,
            "options": self.options,
            "refresh_ms": self.refresh_ms,
            "on_change": self.on_change,
            "max_bytes": self.max_bytes,
        }

    @property
    def inexact(self) -> str:
        """Why results depend on more than the rows and this table; empty if they do not."""
        if self.refresh_ms is not None:
            return f"refreshed every {duration_text(self.refresh_ms)}"
        return "may be another at each start" if self.on_change == "take" else ""


@dataclass(frozen=True, eq=False)
class LookupNode(OneInput):
    """Joins rows with those of a lookup table, of which every worker has all.

    `keys` are columns of the stream, `dimension_keys` those of the table that equal them; `take`
    has the other columns of the table, each with its name in the result.
    """

    dimension: Dimension
    how: Literal["inner", "left", "semi", "anti"]
    keys: tuple[str, ...]
    dimension_keys: tuple[str, ...]
    take: tuple[tuple[str, str], ...]
    duplicates: Literal["fail", "all"]


@dataclass(frozen=True)
class Function:
    """A Python function in a plan: by reference, with the live object beside it."""

    reference: str
    call: Callable[..., Any] = field(repr=False)
    kind: Literal["row", "batch", "map_batches", "async", "keyed", "aggregate", "embed"]
    returns: pa.Schema
    pure: bool
    on_error: OnError = "fail"
    source_hash: str = ""
    options: Any = None  # what a kind of them needs besides
    # Where it runs, if not in this process. It is the same function whatever this says.
    processes: Processes | None = field(default=None, compare=False)

    @property
    def apart(self) -> bool:
        """Whether rows for which it raises are left out, and the others go on."""
        return self.on_error in ("drop", "divert")

    def __call__(self, batch: Any) -> pa.RecordBatch:
        """Run it on a batch of its arguments, which has ``__arrow_c_array__``; for the engine."""
        from frazil.udf_call import run

        return run(self, pa.record_batch(batch))
