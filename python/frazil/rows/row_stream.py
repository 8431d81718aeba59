"""`RowStream`: a stream of Python objects, worked on one at a time."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.changes import refuse_changes
from frazil.errors import PlanError, on_user_line
from frazil.event_time import EventTime, NoEventTime, event_time_of
from frazil.expr import col
from frazil.node import Port, UdfNode
from frazil.rows.chain import (
    ITEM,
    KEY,
    TIME,
    Columns,
    Dicts,
    End,
    Head,
    Key,
    Kind,
    Objects,
    OneObject,
    OnlyKey,
    Step,
    WindowResult,
    chain_function,
    chain_of,
    checked_function,
    function_name,
)
from frazil.rows.codec import ObjectCodec
from frazil.schema import SchemaLike, arrow_type, resolve

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.rows.keyed import KeyedRowStream
    from frazil.stream import Stream

_MADE = "row_made"


class RowStream:
    """A stream of Python objects; made by `Stream.rows`.

    Each method takes a function of one object and gives a new stream. Functions that follow one
    another are called one after the other for each object; `columns` makes a stream again.
    It is the easy way and the slow one: some microseconds an object.

    Examples
    --------
    >>> import frazil as fz
    >>> def words(row: dict) -> list[str]:
    ...     return row["text"].split()
    >>> def counted(word: str) -> dict:
    ...     return {"word": word, "letters": len(word)}
    >>> texts = fz.read_memory([{"text": "thin ice"}])
    >>> made = texts.rows().flat_map(words).map(counted).columns({"word": str, "letters": int})
    >>> made.head(10).to_pylist()
    [{'word': 'thin', 'letters': 4}, {'word': 'ice', 'letters': 3}]
    """

    def __init__(
        self,
        stream: Stream,
        codec: ObjectCodec,
        *,
        steps: tuple[Step, ...] = (),
        carried: tuple[str, ...] = (),
        head: Head | None = None,
        pure: bool = True,
    ) -> None:
        self._stream = stream
        self._codec = codec
        self._steps = steps
        self._carried = carried  # columns that stand beside an object: of its time, of its key
        self._head = head or Dicts(tuple(stream._port.schema.names))
        self._pure = pure

    def map(self, function: Callable[[Any], Any]) -> RowStream:
        """Give what a function makes of each object.

        Parameters
        ----------
        function
            Takes an object and gives one.

        Returns
        -------
        RowStream
            Of what it gives.

        Examples
        --------
        >>> import frazil as fz
        >>> rows = fz.read_memory([{"id": 1}]).rows()
        >>> def double(row: dict) -> dict:
        ...     return {"id": 2 * row["id"]}
        >>> rows.map(double).columns({"id": int}).head(1).to_pylist()
        [{'id': 2}]
        """
        return self._with("map", function)

    def flat_map(self, function: Callable[[Any], Iterable[Any]]) -> RowStream:
        """Give each of the objects that a function makes of one.

        Parameters
        ----------
        function
            Takes an object and gives a list, or yields objects.

        Returns
        -------
        RowStream
            Of these, in their order.

        Examples
        --------
        >>> import frazil as fz
        >>> def letters(row: dict) -> list[dict]:
        ...     return [{"letter": letter} for letter in row["word"]]
        >>> words = fz.read_memory([{"word": "ice"}]).rows()
        >>> words.flat_map(letters).columns({"letter": str}).head(9)["letter"].to_pylist()
        ['i', 'c', 'e']
        """
        return self._with("flat_map", function)

    def filter(self, function: Callable[[Any], object]) -> RowStream:
        """Keep the objects of which a function is true.

        Parameters
        ----------
        function
            Takes an object.

        Returns
        -------
        RowStream
            Of these.

        Examples
        --------
        >>> import frazil as fz
        >>> def odd(row: dict) -> bool:
        ...     return row["id"] % 2 == 1
        >>> rows = fz.read_memory([{"id": 1}, {"id": 2}]).rows()
        >>> rows.filter(odd).columns({"id": int}).head(9).to_pylist()
        [{'id': 1}]
        """
        return self._with("filter", function)

    def filter_map(self, function: Callable[[Any], Any]) -> RowStream:
        """Give what a function makes of each object, but for None.

        Parameters
        ----------
        function
            Takes an object and gives one, or None.

        Returns
        -------
        RowStream
            Of what it gives.

        Examples
        --------
        >>> import frazil as fz
        >>> def known(row: dict) -> dict | None:
        ...     return row if row["id"] else None
        >>> rows = fz.read_memory([{"id": 1}, {"id": 0}]).rows()
        >>> rows.filter_map(known).columns({"id": int}).head(9).to_pylist()
        [{'id': 1}]
        """
        return self._with("filter_map", function)

    def inspect(self, function: Callable[[Any], object]) -> RowStream:
        """Show each object to a function, and go on with it.

        Parameters
        ----------
        function
            Takes an object; what it gives does not count. After a crash it sees objects again.

        Returns
        -------
        RowStream
            The same objects.

        Examples
        --------
        >>> import frazil as fz
        >>> rows = fz.read_memory([{"id": 1}]).rows()
        >>> rows.inspect(print).columns({"id": int}).head(1).num_rows
        {'id': 1}
        1
        """
        return self._with("inspect", function)

    def branch(self, function: Callable[[Any], object]) -> tuple[RowStream, RowStream]:
        """Part the objects in two streams.

        Parameters
        ----------
        function
            Takes an object. It is called for each of the two.

        Returns
        -------
        tuple of RowStream
            Those of which it is true, and the others.

        Examples
        --------
        >>> import frazil as fz
        >>> def odd(row: dict) -> bool:
        ...     return row["id"] % 2 == 1
        >>> ones, twos = fz.read_memory([{"id": 1}, {"id": 2}]).rows().branch(odd)
        >>> twos.columns({"id": int}).head(9).to_pylist()
        [{'id': 2}]
        """
        return self._with("filter", function), self._with("filter", function, negated=True)

    @on_user_line
    def merge(self, *others: RowStream) -> RowStream:
        """Put the objects of several streams into one.

        Parameters
        ----------
        others
            Streams of objects; those that have event time all have it, or none.

        Returns
        -------
        RowStream
            Of all objects.

        Examples
        --------
        >>> import frazil as fz
        >>> a, b = (fz.read_memory([{"id": n}], name=f"r{n}").rows() for n in (1, 2))
        >>> both = a.merge(b).columns({"id": int})
        >>> sorted(fz.testing.run_to_end(both), key=str)
        [{'id': 1}, {'id': 2}]
        """
        streams = [each._as_objects()._stream for each in (self, *others)]
        made = streams[0]
        for other in streams[1:]:
            made = made.union(other)
        return self._on(made)

    @on_user_line
    def event_time(self, function: Callable[[Any], Any], *, out_of_order: Duration) -> RowStream:
        """Say what the event time of an object is.

        Where the time is a column already, call `Stream.event_time` before `Stream.rows`.

        Parameters
        ----------
        function
            Takes an object and gives a datetime with a zone.
        out_of_order
            As in `Stream.event_time`.

        Returns
        -------
        RowStream
            The same objects, with event time.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> def at(row: dict) -> datetime:
        ...     return datetime.fromtimestamp(row["seconds"], UTC)
        >>> timed = fz.read_memory([{"seconds": 5}]).rows().event_time(at, out_of_order="10s")
        >>> timed
        RowStream <- memory, with event time
        """
        if self._carried:
            raise PlanError("the objects have event time already", "call it once")
        end = Objects(self._codec, time=checked_function("event_time", function))
        made = self._unnested(end, [pa.field(TIME, _UTC, False)])
        return self._on(made.event_time(TIME, out_of_order=out_of_order), carried=(TIME,))

    @on_user_line
    def key_by(self, function: Callable[[Any], Any]) -> KeyedRowStream:
        """Bring objects of one key together, for what is kept by key.

        Parameters
        ----------
        function
            Takes an object and gives its key, which is never None. Keys are texts unless the
            function is annotated with another type: ``def user(row: dict) -> int``.

        Returns
        -------
        KeyedRowStream
            With state and windows by key.

        Examples
        --------
        >>> import frazil as fz
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> fz.read_memory([{"user": "ada"}]).rows().key_by(user)
        KeyedRowStream by user <- memory
        """
        from frazil.rows.keyed import KeyedRowStream

        key = Key(checked_function("key_by", function), _key_type(function))
        carried = tuple(name for name in self._carried if name != KEY)
        field = pa.field(KEY, key.type, False)
        head: Head = OneObject(self._codec)
        if isinstance(self._head, Dicts) and not self._steps:
            made, head = self._called(OnlyKey(key), (), field), self._head
        else:
            made = self._unnested(Objects(self._codec, key), [field], carried)
        return KeyedRowStream(
            made,
            self._codec,
            carried=(*carried, KEY),
            head=head,
            pure=self._pure,
            by=function_name(function).rpartition(".")[2],
        )

    @on_user_line
    def columns(self, schema: SchemaLike) -> Stream:
        """Make an ordinary stream of the objects.

        Parameters
        ----------
        schema
            Columns: keys of the objects if they are dicts, else attributes. What a dict has not is
            null.

        Returns
        -------
        Stream
            With these columns; without event time, which is to be given again.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.read_memory([{"id": 1, "x": 2}]).rows().columns({"id": int, "y": int | None})
        Stream(append) <- memory
          id: int64 not null
          y: int64
        """
        fields = list(resolve(schema).remove_metadata())
        made = self._unnested(Columns(tuple(field.name for field in fields)), fields, carried=())
        return made

    # How it is done: a Python function gives a list of structs for each row; they are unnested.

    def _with(self, kind: Kind, function: Callable[..., Any], negated: bool = False) -> typing.Self:
        function = checked_function(kind, function, generates=kind == "flat_map")
        made = self._copy()
        made._steps = (*self._steps, Step(kind, function, negated))
        return made

    def _copy(self) -> typing.Self:
        made: typing.Self = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def _on(self, stream: Stream, carried: tuple[str, ...] | None = None) -> typing.Self:
        """The same over a stream that has objects as bytes."""
        made = self._copy()
        made._stream, made._steps, made._head = stream, (), OneObject(self._codec)
        made._carried = self._carried if carried is None else carried
        return made

    def _as_objects(self) -> RowStream:
        if isinstance(self._head, OneObject) and not self._steps:
            return self
        return self._on(self._unnested(Objects(self._codec), []))

    def _unnested(
        self, end: End, fields: Sequence[pa.Field], carried: tuple[str, ...] | None = None
    ) -> Stream:
        """Call the functions, and put what they give into columns, beside those of time and key."""
        carried = self._carried if carried is None else carried
        item = [pa.field(ITEM, pa.binary(), False)] if isinstance(end, Objects) else []
        made = pa.struct([*fields, *item])
        lists = pa.list_(pa.field("element", made, nullable=False))
        called = self._called(end, self._steps, pa.field(_MADE, lists, False))
        new = {field.name: col(_MADE).struct[field.name] for field in made}
        return called.select(*carried, _MADE).unnest(_MADE).select(*carried, **new)

    def _called(self, end: End, steps: tuple[Step, ...], returns: pa.Field) -> Stream:
        """Put what functions give into a further column."""
        from frazil.stream import Stream

        port = self._stream._port
        function = chain_function(chain_of(self._head, steps, end), returns, self._pure)
        arguments = tuple(map(col, self._head.names))
        node = UdfNode(port.schema.append(returns), port, function, arguments, returns.name)
        return Stream(Port(node))

    def __repr__(self) -> str:
        timed = event_time_of(self._stream._port, "") if self._carried else None
        with_time = ", with event time" if isinstance(timed, EventTime) else ""
        return f"RowStream <- {self._stream._origin()}{with_time}"


_UTC = pa.timestamp("us", "UTC")


def make_rows(stream: Stream, classes: Sequence[type], pure: bool) -> RowStream:
    """Check what `Stream.rows` got, and make the stream."""
    refuse_changes(stream._port, "rows")
    found = event_time_of(stream._port, stream._origin())
    carried = () if isinstance(found, NoEventTime) else (found.column,)
    return RowStream(stream, ObjectCodec((WindowResult, *classes)), carried=carried, pure=pure)


def _key_type(function: Callable[[Any], Any]) -> pa.DataType:
    function = getattr(function, "func", function)  # of a partial
    annotated = function if inspect.isroutine(function) else type(function).__call__
    try:
        hints = typing.get_type_hints(annotated)
    except (NameError, TypeError, AttributeError):
        hints = {}
    if hints.get("return") in (None, Any):
        return pa.string()
    return arrow_type(hints["return"], f"{function_name(function)} returns")[0]
