"""The step that calls a `KeyedFunction`: what `Grouped.process` makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from frazil.changes import refuse_changes
from frazil.errors import PlanError, SchemaError, TypeMismatch
from frazil.event_time import EventTime, NoEventTime, event_time_of, require_event_time
from frazil.gate import columns_text, in_event_time_order
from frazil.keyed import KeyedFunction, KeyedOptions, Method, declared_states, has
from frazil.node import ExchangeNode, Function, Json, Port, Step
from frazil.schema import resolve
from frazil.types import type_name
from frazil.udf import _module_name, _source_hash

if TYPE_CHECKING:
    from frazil.schema import SchemaLike
    from frazil.stream import Stream

Order = Literal["event_time", "arrival"]


@dataclass(frozen=True, eq=False)
class KeyedNode(Step):
    """Calls a Python function with the rows of each key and what is kept of it.

    Without a time rows are taken as they come.
    """

    KIND: ClassVar[str] = "keyed_function"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]
    time: tuple[str, int] | None
    called: Function
    timed: str | None

    @property
    def EXACTNESS(self) -> Literal["exact", "settled", "consistent"]:  # type: ignore[override]
        """The class of what it gives, if what it is given is exact."""
        by_clock = has(_class_of(self.called.call), "on_clock_timer")
        exact = self.called.pure and self.time is not None and not by_clock
        return "exact" if exact else "consistent"

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.called.reference]

    def function(self) -> Function | None:
        """The Python function it calls; the plan and the run are given it."""
        return self.called

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [set(self.streams[0].schema.names)]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return list(self.schema.names)

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        from frazil.plan import schema_text

        cls = _class_of(self.called.call)
        time = None
        if self.time is not None:
            time = {"column": self.time[0], "minus_us": self.time[1]}
        return {
            "keys": list(self.keys),
            "time": time,
            "states": schema_text(pa.schema([each.field for each in declared_states(cls)])),
            "schema": schema_text(self.schema.remove_metadata()),
            "ends": has(cls, "on_end"),
            "clock": has(cls, "on_clock_timer"),
            "pure": self.called.pure,
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        cls = _class_of(self.called.call)
        states = declared_states(cls)
        kept = {
            "keys": columns_text(self.streams[0].schema, self.keys),
            "order": "arrival" if self.time is None else "event time",
            "states": ", ".join(f"{each.name}: {type_name(each.type)}" for each in states),
        }
        # Named only where there are such: so what a checkpoint says of others stays what it was.
        return kept | ({"clock timers": "some"} if has(cls, "on_clock_timer") else {})

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        cls = _class_of(self.called.call)
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        said = ["in Python, a call a batch" if has(cls, "on_groups") else "in Python, a call a key"]
        if self.time is None:
            said.append("consistent: rows as they arrive")
        elif not self.called.pure:
            said.append("consistent: pure=False")
        if has(cls, "on_clock_timer"):
            said.append("consistent: timers by the machine's clock")
        names = ", ".join(each.name for each in declared_states(cls))
        timed = has(cls, "on_timer") or has(cls, "on_clock_timer")
        timers = " and timers" if timed else ""
        said.append(f"state: {names or 'nothing'}{timers} per key")
        return f"process {self.called.reference}{by}", "; ".join(said)

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time: what `process` was told."""
        if self.timed is not None:
            return EventTime(self.timed, 0)
        before = of(self.streams[0])
        if isinstance(before, NoEventTime):
            return before
        return NoEventTime(
            f"process took it away ({self.line}): what it gives are other rows",
            'say which of its columns it is: process(..., event_time="...")',
        )


_WITH_ROWS: tuple[Method, ...] = ("on_timer", "on_clock_timer", "on_end")
"""Methods that go with `on_rows`."""


def _class_of(function: Any) -> type[KeyedFunction]:
    return function if isinstance(function, type) else type(function)


def make_process(
    stream: Stream,
    keys: tuple[str, ...],
    function: type[KeyedFunction] | KeyedFunction,
    schema: SchemaLike,
    order: Order | None,
    event_time: str | None,
    pure: bool,
) -> Stream:
    """Check what `Grouped.process` got, and make its steps."""
    from frazil.stream import Stream, _without_calls

    cls = _checked_class(function)
    declared_states(cls)
    made = resolve(schema)
    port, origin = _without_calls(stream._port, stream.schema.names), stream._origin()
    refuse_changes(port, "process")
    if order not in (None, "event_time", "arrival"):
        raise PlanError(f"process got order={order!r}", 'one of "event_time", "arrival"')
    if order is None:
        found = event_time_of(port, origin)
        order = "arrival" if isinstance(found, NoEventTime) else "event_time"
    timed = has(cls, "on_timer") or event_time is not None
    options = KeyedOptions(timed and has(cls, "on_rows"), event_time)
    _check_time(cls, made, event_time)
    if order == "arrival":
        for what, needs in (
            ("on_timer", has(cls, "on_timer")),
            ("on_end", has(cls, "on_end")),
            (f"event_time={event_time!r}", event_time is not None),
        ):
            if needs:
                raise PlanError(
                    f"process({cls.__name__}): {what} needs rows in event-time order",
                    f"{origin} is taken as its rows arrive: call event_time on it"
                    if isinstance(event_time_of(port, origin), NoEventTime)
                    else 'leave order="arrival" away',
                )
        transforms = (("identity", 0),) * len(keys)
        before = Port(ExchangeNode(port.schema, port, keys, transforms))
        time = None
    else:
        column = require_event_time(port, origin, "process")
        before = in_event_time_order(port, origin, keys, "process")
        time = (column.column, column.minus_us)
    reference = f"{_module_name(cls)}:{cls.__qualname__}"
    call: Any = function  # not to be called: each worker makes an object of it
    called = Function(
        reference, call, "keyed", made, pure, source_hash=_source_hash(cls), options=options
    )
    return Stream(Port(KeyedNode(made, (before,), keys, time, called, event_time)))


def _checked_class(function: Any) -> type[KeyedFunction]:
    cls = _class_of(function)
    if not issubclass(cls, KeyedFunction):
        raise TypeMismatch(
            f"process got {function!r}, a {type(function).__name__}",
            "give a class: class Totals(fz.KeyedFunction): ...",
        )
    rows, groups = has(cls, "on_rows"), has(cls, "on_groups")
    if rows == groups:
        raise PlanError(
            f"{cls.__qualname__} has {'both on_rows and' if rows else 'neither on_rows nor'} "
            "on_groups",
            "define one of them",
        )
    for other in _WITH_ROWS:
        if groups and has(cls, other):
            raise PlanError(
                f"{cls.__qualname__} has on_groups and {other}", f"{other} goes with on_rows"
            )
    for method in ("open", "close", "on_rows", "on_groups", *_WITH_ROWS):
        defined = getattr(cls, method)
        if inspect.isgeneratorfunction(defined) or inspect.isasyncgenfunction(defined):
            raise PlanError(
                f"{cls.__qualname__}.{method} is a generator, and what it yields would be lost",
                f"give rows to {'out.batch' if groups else 'out.emit'}, and yield nothing",
            )
        if inspect.iscoroutinefunction(defined):
            raise PlanError(
                f"{cls.__qualname__}.{method} is asynchronous, and nothing awaits it",
                "write def; for what waits put a function of fz.async_udf before it",
            )
    return cls


def _check_time(cls: type[KeyedFunction], schema: pa.Schema, event_time: str | None) -> None:
    if event_time is None:
        return
    if event_time not in schema.names:
        raise SchemaError(
            f"process got event_time={event_time!r}, and gives {', '.join(schema.names)}",
            "name one of its columns",
        )
    field = schema.field(event_time)
    if field.type != pa.timestamp("us", "UTC") or field.nullable:
        null = " that may be null" if field.nullable else ""
        raise TypeMismatch(
            f"process got event_time={event_time!r}, which is {type_name(field.type)}{null}",
            "event time is timestamp[us, UTC], not null",
        )
    if has(cls, "on_end"):
        raise PlanError(
            f"{cls.__qualname__} has on_end, and event_time={event_time!r}",
            "rows at the end of event time have none: give them by a timer",
        )
    if has(cls, "on_clock_timer"):
        raise PlanError(
            f"{cls.__qualname__} has on_clock_timer, and event_time={event_time!r}",
            "how far event time has come when the machine's clock says a time is not known: leave "
            "event_time away",
        )
