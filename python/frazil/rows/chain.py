"""Functions of single objects, one behind the other, as one function of a row's columns."""

from __future__ import annotations

import hashlib
import inspect
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import pyarrow as pa
from frazil.errors import PlanError, TypeMismatch
from frazil.node import Function
from frazil.types import type_name
from frazil.udf import _module_name, _source_hash

if TYPE_CHECKING:
    from frazil.rows.codec import ObjectCodec

Kind = Literal["map", "flat_map", "filter", "filter_map", "inspect"]

KEY = "row_key"
ITEM = "row_item"
TIME = "row_time"
"""Columns of a stream that carries objects."""

STEPS_MAX = 256
"""Functions between two exchanges."""


@dataclass(frozen=True)
class Step:
    """A function of the user, and how it is called."""

    kind: Kind
    function: Callable[..., Any]
    negated: bool = False  # of a filter: keeps what the function does not

    def __str__(self) -> str:
        """Name it for people and for the plan."""
        return f"{'not ' if self.negated else ''}{function_name(self.function)}"

    def __call__(self, items: Iterable[Any]) -> Iterable[Any]:
        """Give what becomes of objects."""
        function = self.function
        match self.kind:
            case "map":
                return [function(item) for item in items]
            case "filter":
                return [item for item in items if bool(function(item)) != self.negated]
            case "flat_map":
                return [made for item in items for made in self._several(item)]
            case "filter_map":
                made = [function(item) for item in items]
                return [item for item in made if item is not None]
        items = list(items)
        for item in items:
            function(item)
        return items

    def _several(self, item: Any) -> Iterable[Any]:
        made = self.function(item)
        if isinstance(made, str | bytes | Mapping) or not isinstance(made, Iterable):
            raise TypeMismatch(
                f"{self} returned {_short(made)}", "flat_map takes a list, or yields objects"
            )
        return made


@dataclass(frozen=True)
class Dicts:
    """Begins a chain with a row as a dict."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"rows({', '.join(self.names)})"

    def __call__(self, values: Sequence[Any]) -> Any:
        """Make an object of the values of a row."""
        return dict(zip(self.names, values, strict=True))


@dataclass(frozen=True)
class OneObject:
    """Begins a chain with an object that stands in a row as bytes."""

    codec: ObjectCodec
    names: ClassVar[tuple[str, ...]] = (ITEM,)

    def __str__(self) -> str:
        return "objects"

    def __call__(self, values: Sequence[Any]) -> Any:
        """Make an object of the values of a row."""
        return self.codec.decode(values[0])


@dataclass(frozen=True)
class KeyAndObject:
    """Begins a chain with the pair of a key and an object."""

    codec: ObjectCodec
    names: ClassVar[tuple[str, ...]] = (KEY, ITEM)

    def __str__(self) -> str:
        return "pairs"

    def __call__(self, values: Sequence[Any]) -> Any:
        """Make an object of the values of a row."""
        return values[0], self.codec.decode(values[1])


class WindowResult(NamedTuple):
    """What came of the objects of a key in a window."""

    start: datetime
    end: datetime
    value: Any


@dataclass(frozen=True)
class Folded:
    """Begins a chain with what comes of the objects of a window, which stand in a row as a list."""

    codec: ObjectCodec
    fold: Callable[[list[Any]], Any]
    names: ClassVar[tuple[str, ...]] = (ITEM, "window_start", "window_end")

    def __str__(self) -> str:
        return str(self.fold) if not isinstance(self.fold, type(len) | type) else self.fold.__name__

    def __call__(self, values: Sequence[Any]) -> WindowResult:
        """Make an object of the values of a row."""
        objects, start, end = values
        return WindowResult(start, end, self.fold([self.codec.decode(each) for each in objects]))


Head = Dicts | OneObject | KeyAndObject | Folded


@dataclass(frozen=True)
class Columns:
    """Ends a chain with columns: each object is a dict, a dataclass or a named tuple."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"columns({', '.join(self.names)})"

    def __call__(self, item: Any) -> dict[str, Any]:
        """Give the values of an object by column."""
        if isinstance(item, Mapping):
            return {name: item.get(name) for name in self.names}
        try:
            return {name: getattr(item, name) for name in self.names}
        except AttributeError as error:
            raise TypeMismatch(
                f"an object is {_short(item)}, and columns are made of it: {error}",
                "give a dict, or an object with these attributes",
            ) from None


@dataclass(frozen=True)
class Key:
    """What the key of an object is."""

    function: Callable[[Any], Any]
    type: pa.DataType

    def __str__(self) -> str:
        return f"by {function_name(self.function)}"

    def __call__(self, item: Any) -> Any:
        """Give the key of an object; it is of its type, and not None."""
        key = self.function(item)
        if key.__class__ is not _KEY_CLASSES.get(self.type.id):
            self._check(key)
        return key

    def _check(self, key: Any) -> None:
        named = function_name(self.function)
        if key is None:
            raise TypeMismatch(f"{named} returned None", "every row has a key")
        try:
            pa.scalar(key, self.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise TypeMismatch(
                f"{named} returned key {_short(key)}, which is no {type_name(self.type)}",
                "say what keys are: annotate the function, def key(item) -> int:",
            ) from None


# Of these types any object of the class is a key; numbers may be out of range, so they are tried.
_KEY_CLASSES = {pa.string().id: str, pa.binary().id: bytes, pa.bool_().id: bool}


@dataclass(frozen=True)
class Objects:
    """Ends a chain with objects as bytes, with a key or a time beside if there are functions."""

    codec: ObjectCodec
    key: Key | None = None
    time: Callable[[Any], Any] | None = None

    def __str__(self) -> str:
        """Name the functions."""
        at = "" if self.time is None else f"at {function_name(self.time)}"
        return str(self.key or at or "objects")

    def __call__(self, item: Any) -> dict[str, Any]:
        """Give an object as columns."""
        made: dict[str, Any] = {ITEM: self.codec.encode(item)}
        if self.key is not None:
            made[KEY] = self.key(item)
        if self.time is not None:
            made[TIME] = _checked_time(self.time(item), self.time)
        return made


@dataclass(frozen=True)
class OnlyKey:
    """Ends a chain with the key of its one object."""

    key: Key

    def __str__(self) -> str:
        return str(self.key)

    def __call__(self, item: Any) -> Any:
        """Give the key."""
        return self.key(item)


End = Columns | Objects | OnlyKey


def _checked_time(time: Any, function: Any) -> datetime:
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise TypeMismatch(
            f"{function_name(function)} returned {_short(time)} as event time",
            "give a datetime with a zone: datetime.fromtimestamp(seconds, UTC)",
        )
    return time


class Chain:
    """Takes the values of a row, and gives what becomes of it: a list of dicts."""

    dicts = True
    """Maps of columns are dicts in the values it is called with."""

    def __init__(self, head: Head, steps: tuple[Step, ...], end: End) -> None:
        if len(steps) > STEPS_MAX:
            raise PlanError(f"{len(steps)} functions follow one another", f"up to {STEPS_MAX}")
        self._head, self._steps, self._end = head, steps, end
        self._one = isinstance(end, OnlyKey)
        self.__code__: Any = None  # of the function that raised, for its line in the error

    def __call__(self, *values: Any) -> Any:
        """Give what becomes of a row: a list, or its key."""
        at: Any = self._head
        try:
            item = self._head(values)
            if self._one:
                at = self._end
                return at(item)
            items: Iterable[Any] = (item,)
            for at in self._steps:
                items = at(items)
            at = self._end
            return [at(item) for item in items]
        except Exception:
            function = getattr(getattr(at, "key", None) or at, "function", None)
            self.__code__ = getattr(function, "__code__", None)
            raise

    def objects(self, values: Sequence[Any]) -> Iterable[Any]:
        """Give the objects that become of a row."""
        items: Iterable[Any] = (self._head(values),)
        for step in self._steps:
            items = step(items)
        return items

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that it takes."""
        return self._head.names

    @property
    def reference(self) -> str:
        """Name of it in a plan."""
        named = "|".join(map(str, (self._head, *self._steps, self._end)))
        if len(named) > 200:
            named = f"{named[:180]}#{hashlib.blake2b(named.encode(), digest_size=6).hexdigest()}"
        return f"python:{named}"

    @property
    def source_hash(self) -> str:
        """Digest of the functions' sources."""
        digest = hashlib.blake2b(digest_size=16)
        for step in self._steps:
            digest.update(_source_hash(step.function).encode())
        return digest.hexdigest()


_chains: weakref.WeakValueDictionary[Any, Chain] = weakref.WeakValueDictionary()


def chain_of(head: Head, steps: tuple[Step, ...], end: End) -> Chain:
    """Make a chain; the same functions are the same chain, wherever they are."""
    said = (head, steps, end)
    chain = _chains.get(said)
    if chain is None:
        chain = _chains[said] = Chain(*said)
    return chain


def chain_function(chain: Chain, returns: pa.Field, pure: bool) -> Function:
    """Describe a chain for the plan."""
    schema = pa.schema([returns])
    return Function(chain.reference, chain, "row", schema, pure, "fail", chain.source_hash)


class Held:
    """A callable object that has no hash of its own: told apart by which object it is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__module__ = type(function).__module__
        self.__qualname__ = type(function).__qualname__

    def __call__(self, *given: Any) -> Any:
        """Call it."""
        return self.function(*given)


def checked_function(what: str, function: Any, *, generates: bool = False) -> Callable[..., Any]:
    """A function that a step may call, with a hash.

    Raises
    ------
    TypeMismatch
        It is none, or calling it does nothing by itself.
    """
    if not callable(function):
        raise TypeMismatch(f"{what} got {function!r}", "give a function of one object")
    called = function if inspect.isroutine(function) else type(function).__call__
    called = getattr(function, "func", called)  # of a partial
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise TypeMismatch(
            f"{what} got {function_name(function)}, which is a coroutine",
            "give a plain function; @fz.async_udf is for coroutines",
        )
    if inspect.isgeneratorfunction(called) and not generates:
        raise TypeMismatch(
            f"{what} got {function_name(function)}, which yields", "flat_map takes what yields"
        )
    try:
        hash(function)
    except TypeError:
        return Held(function)
    checked: Callable[..., Any] = function
    return checked


def function_name(function: Any) -> str:
    """A function as people and plans know it: "orders.parse"."""
    function = getattr(function, "func", function)  # of a partial
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{_module_name(named).rpartition('.')[2]}.{named.__qualname__}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
