"""Objects by key: state and windows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frazil.errors import PlanError, on_user_line
from frazil.expr import col
from frazil.rows.chain import (
    ITEM,
    KEY,
    Columns,
    Folded,
    KeyAndObject,
    Objects,
    OneObject,
    chain_of,
    checked_function,
    function_name,
)
from frazil.rows.row_stream import RowStream
from frazil.schema import SchemaLike, resolve

if TYPE_CHECKING:
    from frazil.duration import Duration, Size
    from frazil.rows.chain import Head, Step
    from frazil.rows.codec import ObjectCodec
    from frazil.rows.stateful import Stateful
    from frazil.stream import Stream
    from frazil.window import Window

WINDOW_BYTES = "64MiB"
"""Bytes of the objects of one key and window, unless `KeyedRowStream.window` says other."""


class KeyedRowStream(RowStream):
    """A stream of objects that have a key; made by `RowStream.key_by`.

    Functions of single objects keep the key.
    """

    def __init__(self, stream: Stream, codec: ObjectCodec, *, by: str, **how: Any) -> None:
        super().__init__(stream, codec, **how)
        self._by = by
        self._late_of: tuple[Stream, Head, tuple[Step, ...]] | None = None

    @on_user_line
    def stateful_map(self, function: Stateful) -> KeyedRowStream:
        """Give what a function makes of each object and of what it keeps of the key.

        Objects of a key are taken in the order of their event time. Without event time they are
        taken as they arrive, and the pipeline is "consistent" instead of "exact".

        Parameters
        ----------
        function
            Takes what is kept of the key (None at first) and an object; gives what is kept then,
            and what becomes of the object. A key of which None is kept is forgotten.

        Returns
        -------
        KeyedRowStream
            Of what becomes of objects.

        Examples
        --------
        >>> import frazil as fz
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> def numbered(seen: int | None, row: dict) -> tuple[int, dict]:
        ...     seen = (seen or 0) + 1
        ...     return seen, {"number": seen}
        >>> rows = fz.read_memory([{"user": "ada"}] * 3).rows()
        >>> made = rows.key_by(user).stateful_map(numbered).columns({"number": int})
        >>> sorted(row["number"] for row in fz.testing.run_to_end(made))
        [1, 2, 3]
        """
        return self._stateful(function, several=False)

    @on_user_line
    def stateful_flat_map(self, function: Stateful) -> KeyedRowStream:
        """Do the same where any number of objects becomes of one.

        Parameters
        ----------
        function
            As for `stateful_map`; what becomes of an object is a list.

        Returns
        -------
        KeyedRowStream
            Of what becomes of objects.

        Examples
        --------
        >>> import frazil as fz
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> def pairs(before: dict | None, row: dict) -> tuple[dict | None, list]:
        ...     return (row, []) if before is None else (None, [{"sum": before["n"] + row["n"]}])
        >>> rows = fz.read_memory([{"user": "ada", "n": n} for n in (1, 2)]).rows()
        >>> made = rows.key_by(user).stateful_flat_map(pairs).columns({"sum": int})
        >>> fz.testing.run_to_end(made)
        [{'sum': 3}]
        """
        return self._stateful(function, several=True)

    @property
    @on_user_line
    def late(self) -> RowStream:
        """The objects that came too late for what `stateful_map` keeps, as they were before it.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> class Row(fz.Schema):
        ...     user: str
        ...     at: datetime
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> timed = fz.read_memory(rows, schema=Row).event_time("at", out_of_order="10s").rows()
        >>> timed.key_by(user).stateful_map(lambda seen, row: (1, row)).late
        RowStream <- memory
        """
        if self._late_of is None:
            raise PlanError(
                f"{self!r} has no late objects of its own",
                "stateful_map and window have, if there is event time: take .late of these",
            )
        made, head, steps = self._late_of
        return RowStream(made.late, self._codec, head=head, steps=steps, pure=self._pure)

    def _stateful(self, function: Stateful, *, several: bool) -> KeyedRowStream:
        from frazil.rows.stateful import keep_by_key

        function = checked_function("stateful_map", function)
        times = [name for name in self._carried if name != KEY]
        for name in times:
            if self._stream._port.schema.field(name).nullable:
                raise PlanError(
                    f"stateful_map of {self!r}: event time {name!r} may be null",
                    "declare it as datetime, not as datetime | None",
                )
        made = keep_by_key(
            self._stream,
            chain_of(self._head, self._steps, Objects(self._codec)),
            function,
            self._codec,
            several=several,
            time=times[0] if times else None,
            pure=self._pure,
        )
        kept = self._on(made)
        kept._late_of = (made, self._head, self._steps) if times else None
        return kept

    @on_user_line
    def window(
        self, window: Window, *, lateness: Duration | None = None, max_bytes: Size = WINDOW_BYTES
    ) -> WindowedRows:
        """Put the objects of each key into windows of event time.

        Parameters
        ----------
        window
            `tumbling`, `hopping`, `session` and so on.
        lateness
            How much longer a window waits for late objects.
        max_bytes
            Bytes of the objects of one key and window, which are kept until it closes; more end the
            run.

        Returns
        -------
        WindowedRows
            With `fold`, `reduce`, `collect` and `count`.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> rows = [{"user": "ada", "n": n, "at": datetime(2026, 1, 1, tzinfo=UTC)} for n in (3, 4)]
        >>> timed = fz.read_memory(rows).event_time("at", out_of_order="10s").rows()
        >>> minutes = timed.key_by(user).window(fz.tumbling("1m"))
        >>> sums = minutes.fold(int, lambda total, row: total + row["n"])
        >>> fz.testing.run_to_end(sums.map(lambda sum: {"n": sum.value}).columns({"n": int}))
        [{'n': 7}]
        """
        if not self._timed:
            raise PlanError(
                f"windows of {self!r} need event time",
                "call event_time on the stream before rows(), or on the objects before key_by",
            )
        return WindowedRows(self, window, lateness, max_bytes)

    @on_user_line
    def unkeyed(self) -> RowStream:
        """Go on with pairs of key and object.

        Returns
        -------
        RowStream
            Of tuples.

        Examples
        --------
        >>> import frazil as fz
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> pairs = fz.read_memory([{"user": "ada"}]).rows().key_by(user).unkeyed()
        >>> pairs.map(lambda pair: {"key": pair[0]}).columns({"key": str}).head(1).to_pylist()
        [{'key': 'ada'}]
        """
        made = self._as_objects()
        carried = tuple(name for name in self._carried if name != KEY)
        head = KeyAndObject(self._codec)
        return RowStream(made._stream, self._codec, head=head, carried=carried, pure=self._pure)

    @on_user_line
    def columns(self, schema: SchemaLike, *, key: str | None = None) -> Stream:
        """Make an ordinary stream of the objects.

        Parameters
        ----------
        schema
            Columns, as for `RowStream.columns`.
        key
            Name of a further column in front, with the key.

        Returns
        -------
        Stream
            With these columns; without event time, which is to be given again.

        Examples
        --------
        >>> import frazil as fz
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> keyed = fz.read_memory([{"user": "ada", "n": 1}]).rows().key_by(user)
        >>> keyed.columns({"n": int}, key="who").head(1).to_pylist()
        [{'who': 'ada', 'n': 1}]
        """
        fields = list(resolve(schema).remove_metadata())
        end = Columns(tuple(field.name for field in fields))
        made = self._unnested(end, fields, carried=(KEY,))
        names = [field.name for field in fields]
        if key is None:
            return made.select(*names)
        return made.select(**{key: col(KEY)}, **{name: col(name) for name in names})

    def event_time(self, function: Callable[[Any], Any], *, out_of_order: Duration) -> RowStream:
        """Refuse: event time is given before objects go to their keys."""
        raise PlanError("event_time behind key_by", "call it before key_by")

    @property
    def _timed(self) -> bool:
        return self._carried != (KEY,)

    def __repr__(self) -> str:
        with_time = ", with event time" if self._timed else ""
        return f"KeyedRowStream by {self._by} <- {self._stream._origin()}{with_time}"


class WindowedRows:
    """Objects by key and window; made by `KeyedRowStream.window`.

    What becomes of them is given once for each key and window, when the window closes: a
    `WindowResult` with its `start`, `end` and `value`, by the same key. Objects are taken in the
    order of their event time, partition and position.
    """

    def __init__(
        self, keyed: KeyedRowStream, window: Window, lateness: Duration | None, max_bytes: Size
    ) -> None:
        self._keyed = keyed
        rows = keyed._as_objects()._stream.group_by(KEY).window(window, lateness=lateness)
        objects = {ITEM: col(ITEM).collect_list(max_bytes=max_bytes)}
        self._lists = rows.agg(**objects)

    @on_user_line
    def fold(self, first: Callable[[], Any], function: Callable[[Any, Any], Any]) -> KeyedRowStream:
        """Give what comes of taking one object after the other.

        Parameters
        ----------
        first
            Makes what a window begins with.
        function
            Takes that and an object, and gives the next.

        Returns
        -------
        KeyedRowStream
            Of the results.

        Examples
        --------
        >>> import frazil as fz
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> def added(total: int, row: dict) -> int:
        ...     return total + row["n"]
        >>> fz.read_memory([{"user": "ada", "n": 1}]).rows().key_by(user).window(fz.tumbling("1m"))
        Traceback (most recent call last):
            ...
        frazil.errors.PlanError: windows of KeyedRowStream by user <- memory need event time
          call event_time on the stream before rows(), or on the objects before key_by
        """
        return self._folded(Fold(first, checked_function("fold", function)))

    @on_user_line
    def reduce(self, function: Callable[[Any, Any], Any]) -> KeyedRowStream:
        """Give what comes of putting two objects together, until there is one.

        Parameters
        ----------
        function
            Takes two objects and gives one.

        Returns
        -------
        KeyedRowStream
            Of the results.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> def later(a: dict, b: dict) -> dict:
        ...     return max(a, b, key=lambda row: row["n"])
        >>> rows = [{"user": "ada", "n": n, "at": datetime(2026, 1, 1, tzinfo=UTC)} for n in (3, 4)]
        >>> timed = fz.read_memory(rows).event_time("at", out_of_order="10s").rows()
        >>> most = timed.key_by(user).window(fz.tumbling("1m")).reduce(later)
        >>> fz.testing.run_to_end(most.map(lambda found: found.value).columns({"n": int}))
        [{'n': 4}]
        """
        return self._folded(Reduce(checked_function("reduce", function)))

    @on_user_line
    def collect(self) -> KeyedRowStream:
        """Give the list of the objects.

        Returns
        -------
        KeyedRowStream
            Of the results.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> rows = [{"user": "ada", "n": n, "at": datetime(2026, 1, 1, tzinfo=UTC)} for n in (3, 4)]
        >>> timed = fz.read_memory(rows).event_time("at", out_of_order="10s").rows()
        >>> lists = timed.key_by(user).window(fz.tumbling("1m")).collect()
        >>> sizes = lists.map(lambda found: {"rows": len(found.value)}).columns({"rows": int})
        >>> fz.testing.run_to_end(sizes)
        [{'rows': 2}]
        """
        return self._folded(list)

    @on_user_line
    def count(self) -> KeyedRowStream:
        """Give how many objects there are.

        Returns
        -------
        KeyedRowStream
            Of the results.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}] * 3
        >>> timed = fz.read_memory(rows).event_time("at", out_of_order="10s").rows()
        >>> counts = timed.key_by(user).window(fz.tumbling("1m")).count()
        >>> numbers = counts.map(lambda found: {"rows": found.value}).columns({"rows": int})
        >>> fz.testing.run_to_end(numbers)
        [{'rows': 3}]
        """
        return self._folded(len)

    @property
    @on_user_line
    def late(self) -> RowStream:
        """The objects that came too late, once for each window they missed.

        Examples
        --------
        >>> import frazil as fz
        >>> from datetime import UTC, datetime
        >>> def user(row: dict) -> str:
        ...     return row["user"]
        >>> rows = [{"user": "ada", "at": datetime(2026, 1, 1, tzinfo=UTC)}]
        >>> timed = fz.read_memory(rows).event_time("at", out_of_order="10s").rows()
        >>> timed.key_by(user).window(fz.tumbling("1m")).late
        RowStream <- memory.late
        """
        keyed = self._keyed
        return RowStream(
            self._lists.late, keyed._codec, head=OneObject(keyed._codec), pure=keyed._pure
        )

    def _folded(self, fold: Callable[[list[Any]], Any]) -> KeyedRowStream:
        keyed = self._keyed
        return KeyedRowStream(
            self._lists,
            keyed._codec,
            by=keyed._by,
            head=Folded(keyed._codec, fold),
            carried=("window_end", KEY),
            pure=keyed._pure,
        )


@dataclass(frozen=True)
class Fold:
    """Takes one object after the other."""

    first: Callable[[], Any]
    function: Callable[[Any, Any], Any]

    def __call__(self, objects: list[Any]) -> Any:
        """Give what comes of objects in their order."""
        return functools.reduce(self.function, objects, self.first())

    def __str__(self) -> str:
        return f"fold {function_name(self.function)}"


@dataclass(frozen=True)
class Reduce:
    """Puts objects together."""

    function: Callable[[Any, Any], Any]

    def __call__(self, objects: list[Any]) -> Any:
        """Give what comes of objects in their order."""
        return functools.reduce(self.function, objects)

    def __str__(self) -> str:
        return f"reduce {function_name(self.function)}"
