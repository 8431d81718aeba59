"""Streams: immutable plans whose columns are always known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from frazil.changes import changes_of, refuse_changes
from frazil.errors import (
    ColumnExists,
    ColumnNotFound,
    PlanError,
    TypeMismatch,
    nearest,
    on_user_line,
)
from frazil.event_time import EventTime, event_time_of
from frazil.expr import Column, Expr, as_expr, bind, col
from frazil.gate import named_step
from frazil.hold_changes import HoldChangesNode
from frazil.node import (
    FilterNode,
    MapBatchesNode,
    Node,
    Port,
    ProjectNode,
    SourceNode,
    Step,
    UnionNode,
)
from frazil.processes import processes_of
from frazil.same_columns import same_columns
from frazil.schema import SchemaLike, checked, resolve
from frazil.stream_embed import EmbedMethods
from frazil.stream_failed import FailedMethods
from frazil.stream_join import JoinMethods
from frazil.stream_joined import JoinedMethods
from frazil.stream_ordered import OrderedMethods
from frazil.stream_rows import RowMethods
from frazil.stream_time import TimeMethods
from frazil.types import field_name, type_name
from frazil.udf import as_written, call_texts, check_on_error, compute_calls, make_function
from frazil.unsent_values import UnsentValuesNode
from frazil.write import Writers
from frazil.write_kafka import KafkaWriters
from frazil.write_lancedb import LanceDbWriters
from frazil.write_postgres import PostgresWriters
from frazil.write_python import PythonWriters

if TYPE_CHECKING:
    from frazil.duration import Duration

COLUMNS_SHOWN = 6
"""Columns named in an error."""
UNION_MAX = 64
"""Streams of one union."""

ColumnValue = Any
"""What a column is made of: an expression, a column of a Schema class, or a Python literal.

A checker sees ``Order.amount`` as the number it is declared to be, so nothing narrower can be said.
"""


class Stream(
    TimeMethods,
    JoinMethods,
    JoinedMethods,
    OrderedMethods,
    RowMethods,
    FailedMethods,
    EmbedMethods,
    Writers,
    KafkaWriters,
    PythonWriters,
    LanceDbWriters,
    PostgresWriters,
):
    """Rows that flow: where they come from and what is done to them, and nothing else.

    A stream never changes; every method gives a new one and checks names and types at once. Nothing
    is read before a `Pipeline` runs.

    Examples
    --------
    >>> import frazil as fz
    >>> orders = fz.read_memory([{"id": 1, "amount": 12.5}, {"id": 2, "amount": 3.0}])
    >>> orders.filter(fz.col("amount") > 10).select("id")
    Stream(append) <- memory
      id: int64
    """

    __slots__ = ("_port",)

    def __init__(self, port: Port) -> None:
        self._port = port

    @property
    def schema(self) -> pa.Schema:
        """The columns, as a `pyarrow.Schema`.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1}]).schema.names
        ['id']
        """
        return self._port.schema.remove_metadata()

    @property
    @on_user_line
    def rejected(self) -> Stream:
        """The rows of the source that could not be decoded, or have no usable event time.

        Each has its bytes, the reason, the column and the position. They are in the same checkpoint
        as the good rows around them. Only what a reader gave has them.

        Returns
        -------
        Stream
            Columns source, partition, position, reason, column, raw, raw_bytes, kind, epoch,
            pipeline, log; see docs/dead-letters.md.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_files("orders.jsonl", format="json", schema={"id": int})
        >>> orders.rejected.schema.names[:4]
        ['source', 'partition', 'position', 'reason']
        """
        node = self._port.node
        if isinstance(node, UnsentValuesNode):
            node = node.source  # it stands between, and is the reader's own
        if not isinstance(node, SourceNode) or self._port.output != "rows":
            raise PlanError(
                "rejected rows belong to what a reader gave, and this stream is computed",
                f"write orders.rejected of the stream that {self._origin()} gave",
            )
        return Stream(Port(node, "rejected"))

    @on_user_line
    def filter(self, *predicates: ColumnValue) -> Stream:
        """Keep the rows for which all predicates are true; null is not true.

        Parameters
        ----------
        predicates
            Boolean expressions.

        Returns
        -------
        Stream
            The same columns.

        Raises
        ------
        ColumnNotFound, TypeMismatch
            If a predicate names what is not there, or is not boolean.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"id": 1, "amount": 12.5}])
        >>> orders.filter(fz.col("amount") > 10, fz.col("id") != 7).schema.names
        ['id', 'amount']
        """
        if not predicates:
            raise PlanError("filter got no predicate", 'write filter(col("amount") > 10)')
        combined: Expr | None = None
        for predicate in predicates:
            if not isinstance(predicate, Expr):
                raise TypeMismatch(
                    f"filter got {predicate!r}, a {type(predicate).__name__}",
                    'write an expression: filter(col("amount") > 10)',
                )
            combined = predicate if combined is None else combined & predicate
        assert combined is not None
        port, (predicate,) = compute_calls(self._port, [combined], self._origin())
        bound = self._bind(predicate, port)
        if not pa.types.is_boolean(bound.type):
            raise TypeMismatch(
                f"filter got {predicate!r}, which is {type_name(bound.type)}",
                "a predicate is boolean: compare it with something",
            )
        node = FilterNode(port.schema, port, predicate)
        return Stream(_without_calls(Port(node), self._port.schema.names))

    @on_user_line
    def select(self, *columns: ColumnValue, **named: ColumnValue) -> Stream:
        """Make a stream of these columns only, in this order.

        Parameters
        ----------
        columns
            Names, or expressions that have a name of their own; or a dict of names and expressions.
        named
            Further columns by name.

        Returns
        -------
        Stream
            The columns named.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"id": 1, "amount": 12.5}])
        >>> orders.select("id", total=fz.col("amount") * 2)
        Stream(append) <- memory
          id: int64
          total: double
        """
        listed: list[tuple[str, Expr]] = []
        for column in columns:
            if isinstance(column, str):
                self._require(column)
                listed.append((column, col(column)))
            elif isinstance(column, Mapping):
                listed += [(name, as_expr(value)) for name, value in column.items()]
            else:
                listed.append((_name_of(column), column))
        listed += [(name, as_expr(value)) for name, value in named.items()]
        if not listed:
            raise PlanError("select got no column", 'write select("id", "amount")')
        return self._project(listed)

    @on_user_line
    def with_columns(
        self, columns: Mapping[str, ColumnValue] | None = None, /, **named: ColumnValue
    ) -> Stream:
        """Add columns, or replace those of the same name.

        Parameters
        ----------
        columns
            Names and expressions, for names that are no identifiers.
        named
            Expressions by name. A text is a literal, not a column.

        Returns
        -------
        Stream
            The columns there were, then the new ones. All are computed of the old ones.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"id": 1, "amount": 12.5}])
        >>> orders.with_columns(tax=fz.col("amount") * 0.19)
        Stream(append) <- memory
          id: int64
          amount: double
          tax: double
        """
        new = {name: as_expr(value) for name, value in {**(columns or {}), **named}.items()}
        if not new:
            raise PlanError("with_columns got no column", 'write with_columns(tax=col("x") * 2)')
        kept = [(name, new.pop(name, col(name))) for name in self._port.schema.names]
        return self._project(kept + list(new.items()))

    @on_user_line
    def drop(self, *names: str) -> Stream:
        """Leave columns out.

        Parameters
        ----------
        names
            Names of columns that are there.

        Returns
        -------
        Stream
            The other columns.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1, "note": "x"}]).drop("note").schema.names
        ['id']
        """
        dropped = {self._require(name) for name in names}
        kept = [(name, col(name)) for name in self._port.schema.names if name not in dropped]
        if not kept:
            raise PlanError("drop leaves no column", "keep at least one")
        return self._project(kept)

    @on_user_line
    def rename(self, names: Mapping[str, str] | None = None, /, **named: str) -> Stream:
        """Give columns other names.

        Parameters
        ----------
        names
            Old and new names.
        named
            The same as keywords: ``old="new"``.

        Returns
        -------
        Stream
            The same columns in the same order.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1}]).rename(id="order_id").schema.names
        ['order_id']
        """
        new = {**(names or {}), **named}
        for old in new:
            self._require(old)
        return self._project([(new.get(name, name), col(name)) for name in self._port.schema.names])

    @on_user_line
    def union(self, *others: Stream) -> Stream:
        """Put the rows of streams with the same columns into one.

        Parameters
        ----------
        others
            Streams with the same names and types, in the same order.

        Returns
        -------
        Stream
            The same columns; one that may be null in any of them may be null.

        Raises
        ------
        SchemaMismatch
            If the columns differ.

        Examples
        --------
        >>> import frazil as fz
        >>> old = fz.read_memory([{"id": 1}], name="old")
        >>> new = fz.read_memory([{"id": 2}], name="new")
        >>> old.union(new)
        Stream(append) <- old, new
          id: int64
        """
        if not others or len(others) >= UNION_MAX:
            raise PlanError(f"union of {len(others) + 1} streams", f"2 to {UNION_MAX}")
        for other in others:
            if not isinstance(other, Stream):
                raise TypeMismatch(f"union got a {type(other).__name__}", "give streams")
            if (changes_of(self._port) is None) != (changes_of(other._port) is None):
                refuse_changes(self._port, "a union with rows")
                refuse_changes(other._port, "a union with rows")
        fields = same_columns("union", self, *others)
        ports = (self._port, *(other._port for other in others))
        return Stream(Port(UnionNode(pa.schema(fields), ports)))

    @on_user_line
    def map_batches(
        self,
        function: Callable[[pa.RecordBatch], pa.RecordBatch],
        *,
        schema: SchemaLike,
        pure: bool = True,
        on_error: Literal["fail", "drop", "divert"] = "fail",
        workers: int = 0,
        timeout: Duration | None = None,
    ) -> Stream:
        """Give each batch to a Python function and go on with what it returns.

        Batches have any number of rows, and how rows are split must not change what the function
        does to them.

        Parameters
        ----------
        function
            Takes a `pyarrow.RecordBatch` and gives one; rows may be fewer or more.
        schema
            Columns of what it returns; checked on each batch.
        pure
            Whether the same rows always give the same result. False makes the pipeline
            "consistent" instead of "exact".
        on_error
            "fail" ends the run when the function raises; with "drop" and "divert" it is called
            again with halves of the batch, down to the rows for which it raises: these are left
            out, or go to `failed`.
        workers
            How many processes of its own call it, each with a part of the batch; 0: this process
            does. It has to stand at the top of a module, which they import.
        timeout
            How long one call may take; more ends the run. Only with `workers`.

        Returns
        -------
        Stream
            The columns of `schema`.

        Examples
        --------
        >>> import frazil as fz
        >>> import pyarrow as pa
        >>> def double(batch: pa.RecordBatch) -> pa.RecordBatch:
        ...     return pa.record_batch({"id": [2 * i for i in batch["id"].to_pylist()]})
        >>> fz.read_memory([{"id": 1}]).map_batches(double, schema={"id": pa.int64()})
        Stream(append) <- memory
          id: int64
        """
        refuse_changes(self._port, "map_batches")
        returns = resolve(schema).remove_metadata()
        check_on_error(on_error, None if pure else "map_batches", ("fail", "drop", "divert"))
        processes = processes_of(function, workers, timeout)
        made = make_function(function, "map_batches", returns, pure, on_error, processes=processes)
        return Stream(Port(MapBatchesNode(returns, self._port, made)))

    @on_user_line
    def named(self, name: str) -> Stream:
        """Fix the name of the last step, under which a checkpoint knows it.

        Parameters
        ----------
        name
            Unique in the pipeline.

        Returns
        -------
        Stream
            The same rows.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1}]).filter(fz.col("id") > 0).named("positive").schema.names
        ['id']
        """
        if not isinstance(name, str) or not name:
            raise PlanError(f"named({name!r})", "a name is a text that is not empty")
        if self._port.output != "rows":
            raise PlanError(
                f"{self._port.output} rows have no name of their own",
                "name the reader, or the window they are late for",
            )
        node = self._port.node
        if isinstance(node, ProjectNode) and node.finishes:
            named = Port(_with_name(node.input.node, name))
            return Stream(Port(dataclasses.replace(node, input=named)))
        return Stream(Port(_with_name(node, name)))

    @on_user_line
    def head(self, n: int = 10) -> pa.Table:
        """Read a bounded sample, and keep nothing of it.

        Reads from the start of the sources until `n` rows are there, or the sources are at their
        present end. No checkpoint is made.

        Parameters
        ----------
        n
            Rows at most.

        Returns
        -------
        pyarrow.Table
            The stream's columns.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1}, {"id": 2}]).head(1).to_pylist()
        [{'id': 1}]
        """
        from frazil.run.sample import sample

        return sample(self, n)

    @on_user_line
    def show(self, n: int = 10) -> None:
        """Print a bounded sample, as `head` reads it.

        Parameters
        ----------
        n
            Rows at most.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1, "user": "ada"}]).show()
        id  user
         1  ada
        """
        from frazil.run.sample import sample
        from frazil.show import table_text

        print(table_text(sample(self, n)))

    def __repr__(self) -> str:
        kind = changes_of(self._port) or "append"
        lines = [f"Stream({kind}) <- {self._origin()}", *map(field_name, self._port.schema)]
        time = event_time_of(self._port, self._origin())
        if isinstance(time, EventTime):
            lines.append(f"event time: {time}")
        return "\n  ".join(lines)

    def _origin(self) -> str:
        """Names of the sources, as shown to people."""
        output = "" if self._port.output == "rows" else f".{self._port.output}"
        return ", ".join(dict.fromkeys(source_names(self._port.node))) + output

    def _require(self, name: object) -> str:
        if not isinstance(name, str):
            raise TypeMismatch(f"{name!r} is a {type(name).__name__}", "names of columns are texts")
        if name not in self._port.schema.names:
            raise column_not_found(name, self._port.schema, self._origin())
        return name

    def _project(self, columns: Sequence[tuple[str, Expr]], *, finishes: bool = False) -> Stream:
        names = [name for name, _ in columns]
        for name in names:
            if names.count(name) > 1:
                raise ColumnExists(
                    f"column {name!r} would be there twice", "give one of them another name"
                )
        port, expressions = compute_calls(self._port, [expr for _, expr in columns], self._origin())
        fields = []
        for name, expression in zip(names, expressions, strict=True):
            bound = self._bind(expression, port)
            fields.append(pa.field(name, bound.type, bound.nullable))
        schema = checked(pa.schema(fields))
        computed = tuple(zip(names, expressions, strict=True))
        return Stream(Port(ProjectNode(schema, port, computed, finishes=finishes)))

    def _bind(self, expression: Expr, port: Port) -> pa.Field:
        try:
            return bind(expression, port.schema, self._origin())
        except PlanError as error:
            calls = call_texts(port.node)
            what, *lines = (as_written(line, calls) for line in (error.what, *error.lines))
            raise type(error)(what, *lines) from None


def column_not_found(name: str, schema: pa.Schema, origin: str) -> ColumnNotFound:
    """Describe what is there instead, the likeliest first."""
    like = nearest(name, schema.names)
    order = sorted(range(len(schema)), key=lambda i: schema.names[i] != like)
    shown = [f"{schema.names[i]}: {type_name(schema.field(i).type)}" for i in order[:COLUMNS_SHOWN]]
    have = ", ".join(shown) + (", ..." if len(schema) > COLUMNS_SHOWN else "")
    lines = [f"have: {have}"] + ([f"did you mean {like!r}?"] if like else [])
    return ColumnNotFound(f"no column {name!r} in {origin}", *lines)


def source_names(node: Node) -> list[str]:
    """Names of the sources a step reads, in order."""
    if isinstance(node, SourceNode):
        return [node.name or ""]
    return [name for port in node.inputs for name in source_names(port.node)]


def _name_of(column: object) -> str:
    if isinstance(column, Column):
        return column._name
    if isinstance(column, Expr):
        raise PlanError(
            f"select got {column!r}, which has no name", f"name it: select(name={column!r})"
        )
    raise TypeMismatch(
        f"select got {column!r}, a {type(column).__name__}",
        "give names, expressions, or literals by keyword: select(kind='new')",
    )


def _without_calls(port: Port, names: Sequence[str]) -> Port:
    """Drop the columns that Python functions gave to a filter."""
    if port.schema.names == list(names):
        return port
    schema = pa.schema([port.schema.field(name) for name in names])
    return Port(ProjectNode(schema, port, tuple((name, col(name)) for name in names)))


def _with_name(node: Node, name: str) -> Node:
    if isinstance(node, HoldChangesNode):
        return node.with_name(name)
    if isinstance(node, Step):
        return named_step(node, name)
    return dataclasses.replace(node, name=name)
