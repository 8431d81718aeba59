"""Functions of objects that keep something of each key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.errors import TypeMismatch
from frazil.keyed import KeyedFunction, State
from frazil.rows.chain import ITEM, KEY, function_name
from frazil.udf import _module_name

if TYPE_CHECKING:
    from frazil.keyed_out import Out
    from frazil.rows.codec import ObjectCodec
    from frazil.stream import Stream

Stateful = Callable[[Any, Any], tuple[Any, Any]]
"""Takes what is kept of a key, and an object; gives both: what is kept, what becomes of it."""


class _Keeping(KeyedFunction):
    """Calls a function with what is kept of a key, which is bytes in the engine."""

    kept: State[bytes | None]

    def __init__(
        self, function: Stateful, codec: ObjectCodec, several: bool, time: str | None
    ) -> None:
        self._function, self._codec = function, codec
        self._several, self._time = several, time

    def on_rows(self, key: Any, rows: list[Any], out: Out) -> None:
        """Take objects of a key."""
        function, codec, time = self._function, self._codec, self._time
        before = self.kept.value
        kept = None if before is None else codec.decode(before)
        for row in rows:
            answer = function(kept, codec.decode(getattr(row, ITEM)))
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise TypeMismatch(
                    f"{function_name(function)} returned a {type(answer).__name__}",
                    "return what is kept, and what becomes of the object: return kept, made",
                )
            kept, made = answer
            beside = {KEY: key} if time is None else {KEY: key, time: getattr(row, time)}
            for each in self._each(made) if self._several else (made,):
                out.emit({**beside, ITEM: codec.encode(each)})
        self.kept.value = None if kept is None else codec.encode(kept)

    def _each(self, made: Any) -> Iterable[Any]:
        if isinstance(made, str | bytes | Mapping) or not isinstance(made, Iterable):
            raise TypeMismatch(
                f"{function_name(self._function)} returned {made!r} of an object",
                "stateful_flat_map takes a list of what becomes of it",
            )
        return made


def keep_by_key(
    stream: Stream,
    function: Stateful,
    codec: ObjectCodec,
    *,
    several: bool,
    time: str | None,
    pure: bool,
) -> Stream:
    """Put the step behind a stream of objects with their keys.

    Parameters
    ----------
    several
        What becomes of an object is a list.
    time
        Column of the event time; None: objects are taken as they arrive.
    """
    if not callable(function):
        raise TypeMismatch(f"{function!r} is no function", "give a function of what is kept")
    named = function if hasattr(function, "__qualname__") else type(function)
    # A plan knows steps by the names of their classes.
    cls = type(
        named.__name__,
        (_Keeping,),
        {
            "__module__": _module_name(named),
            "__qualname__": named.__qualname__,
            "__annotations__": {"kept": State[bytes | None]},
        },
    )
    schema = stream._port.schema
    columns = [KEY, *([time] if time else []), ITEM]
    made = pa.schema([schema.field(name) for name in columns])
    return stream.group_by(KEY).process(
        cls(function, codec, several, time), schema=made, event_time=time, pure=pure
    )
