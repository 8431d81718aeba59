"""Functions of objects that keep something of each key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.errors import TypeMismatch
from frazil.keyed import KeyedFunction, State
from frazil.rows.chain import ITEM, KEY, function_name
from frazil.udf import _module_name

if TYPE_CHECKING:
    from frazil.keyed_out import Out
    from frazil.rows.chain import Chain
    from frazil.rows.codec import ObjectCodec
    from frazil.stream import Stream

Stateful = Callable[[Any, Any], tuple[Any, Any]]
"""Takes what is kept of a key, and an object; gives both: what is kept, what becomes of it."""


class _Keeping(KeyedFunction):
    """Calls a function with what is kept of a key, which is bytes in the engine."""

    kept: State[bytes | None]

    def __init__(
        self,
        chain: Chain,
        function: Stateful,
        codec: ObjectCodec,
        several: bool,
        columns: Sequence[str],
        time: str | None,
    ) -> None:
        self._chain, self._function, self._codec = chain, function, codec
        self._several, self._time = several, time
        # By place: names of columns need not be those of attributes.
        places = [columns.index(name) for name in chain.names]
        self._values = itemgetter(*places)
        self._one = len(places) == 1
        self._time_of = itemgetter(columns.index(time or chain.names[0]))

    def on_rows(self, key: Any, rows: list[Any], out: Out) -> None:
        """Take objects of a key."""
        codec, time = self._codec, self._time
        before = self.kept.value
        kept = None if before is None else codec.decode(before)
        for row in rows:
            values = self._values(row)
            beside = {KEY: key} if time is None else {KEY: key, time: self._time_of(row)}
            for item in self._chain.objects((values,) if self._one else values):
                kept, made = self._answer(kept, item)
                for each in self._each(made) if self._several else (made,):
                    out.emit({**beside, ITEM: codec.encode(each)})
        self.kept.value = None if kept is None else codec.encode(kept, sharing=True)

    def _answer(self, kept: Any, item: Any) -> tuple[Any, Any]:
        answer = self._function(kept, item)
        if answer.__class__ is not tuple or len(answer) != 2:
            raise TypeMismatch(
                f"{function_name(self._function)} returned a {type(answer).__name__}",
                "return what is kept, and what becomes of the object: return kept, made",
            )
        return answer

    def _each(self, made: Any) -> Iterable[Any]:
        if isinstance(made, str | bytes | Mapping) or not isinstance(made, Iterable):
            raise TypeMismatch(
                f"{function_name(self._function)} returned {made!r} of an object",
                "stateful_flat_map takes a list of what becomes of it",
            )
        return made


def keep_by_key(
    stream: Stream,
    chain: Chain,
    function: Stateful,
    codec: ObjectCodec,
    *,
    several: bool,
    time: str | None,
    pure: bool,
) -> Stream:
    """Put the step behind a stream of rows with their keys.

    Parameters
    ----------
    chain
        Makes objects of a row.
    several
        What becomes of an object is a list.
    time
        Column of the event time; None: objects are taken as they arrive.
    """
    named = function if hasattr(function, "__qualname__") else type(function)
    # A plan knows steps by the names of their classes.
    cls = type(
        named.__name__,
        (_Keeping,),
        {
            "__module__": _module_name(named),
            "__qualname__": named.__qualname__,
            "__annotations__": {"kept": State[bytes | None]},
            "_source_file": getattr(getattr(function, "__code__", None), "co_filename", None),
        },
    )
    schema = stream._port.schema
    columns = [KEY, *([time] if time else [])]
    made = pa.schema([*map(schema.field, columns), pa.field(ITEM, pa.binary(), False)])
    return stream.group_by(KEY).process(
        cls(chain, function, codec, several, schema.names, time),
        schema=made,
        event_time=time,
        pure=pure,
    )
