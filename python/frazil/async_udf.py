"""Coroutines on rows, many at a time: `async_udf`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pyarrow as pa
from frazil.duration import Duration, duration_ms, duration_text
from frazil.errors import PlanError, TypeMismatch, on_user_line
from frazil.schema import arrow_type
from frazil.udf import Udf, _hints, check_on_error

if TYPE_CHECKING:
    from frazil.node import Function, OnError

P = ParamSpec("P")
R = TypeVar("R")

CONCURRENCY_MAX = 10_000
"""Calls at a time of one function."""
RETRIES_MAX = 100
"""Times that a call is made again."""
CACHE_MAX = 1_000_000
"""Results that are kept for the same arguments."""
TIMEOUT_MS_MAX = 3_600_000
"""The longest time-out of one call."""
DELAY_MAX_S = 30.0
"""The longest pause before a call is made again (seconds)."""


@dataclass(frozen=True)
class AsyncOptions:
    """How calls are made."""

    concurrency: int
    timeout_ms: int
    retries: int
    delay_ms: int
    per_second: float | None
    cache: int

    def __str__(self) -> str:
        """Say it to people: ``up to 100 at a time, 10s each, tried 4 times``."""
        said = [f"up to {self.concurrency} at a time", f"{duration_text(self.timeout_ms)} each"]
        if self.retries:
            said.append(f"tried {self.retries + 1} times")
        if self.per_second is not None:
            said.append(f"{self.per_second:g} per second")
        if self.cache:
            said.append(f"{self.cache} results kept")
        return ", ".join(said)


@on_user_line
def async_udf(
    *,
    concurrency: int = 100,
    timeout: Duration = "30s",
    retries: int = 0,
    delay: Duration = "100ms",
    per_second: float | None = None,
    cache: int = 0,
    pure: bool = False,
    on_error: OnError = "fail",
) -> Callable[[Callable[P, Awaitable[R]]], Udf[P, R]]:
    """Make a coroutine of single values usable on columns: many calls wait at the same time.

    For services that answer over a network. The rows of a batch are given to it, so many at a time
    as `concurrency` says; the batch goes on, in its order, when all have answered. All functions of
    a process run in one event loop, in a thread of its own.

    Parameters
    ----------
    concurrency
        Calls at a time, of all workers of the process.
    timeout
        How long one call may take; more is an error of the call.
    retries
        How often a call that raises is made again.
    delay
        The pause before the first of them; it doubles each time, up to 30 s, and is drawn from its
        upper half.
    per_second
        Calls per second, at most; also those that are made again.
    cache
        How many results are kept, for calls with the same arguments; those used least recently go.
        They are not in checkpoints.
    pure
        Whether the same values always give the same result. What a service says is not: the
        pipeline is "consistent" then, and not "exact".
    on_error
        When the last try raises: "fail" ends the run, "null" makes the value null, "drop" leaves
        the row out, "divert" also gives it to `Stream.failed` and to the pipeline's dead letters.

    Returns
    -------
    Callable
        The decorator.

    Examples
    --------
    >>> import asyncio
    >>> import frazil as fz
    >>> @fz.async_udf(concurrency=1000, timeout="5s", retries=3)
    ... async def country(ip: str) -> str | None:
    ...     await asyncio.sleep(0.05)
    ...     return "NO" if ip.startswith("10.") else None
    >>> clicks = fz.read_memory([{"ip": "10.0.0.1"}])
    >>> clicks.with_columns(country=country(fz.coalesce(fz.col("ip"), ""))).schema.names
    ['ip', 'country']
    """
    options = AsyncOptions(
        _whole(concurrency, "concurrency", 1, CONCURRENCY_MAX),
        _milliseconds(timeout, "timeout"),
        _whole(retries, "retries", 0, RETRIES_MAX),
        _milliseconds(delay, "delay"),
        _rate(per_second),
        _whole(cache, "cache", 0, CACHE_MAX),
    )
    check_on_error(on_error)

    @on_user_line
    def decorate(function: Callable[P, Awaitable[R]]) -> Udf[P, R]:
        name = getattr(function, "__qualname__", repr(function))
        if not inspect.iscoroutinefunction(function):
            raise TypeMismatch(f"{name} is no coroutine function", "write async def, or use fz.udf")
        hints = _hints(function)
        if "return" not in hints:
            raise PlanError(
                f"{name}() does not say what it returns", f"write async def {name}(...) -> str:"
            )
        type_, nullable = arrow_type(hints["return"], f"{name}() returns")
        returns = pa.field("result", type_, nullable or on_error == "null")
        call: Any = function
        return Udf(call, "async", returns, pure, on_error, options)

    return decorate


def async_text(function: Function) -> str:
    """How calls are made, for `explain`."""
    return f"a call a row, {function.options}"


def _whole(value: int, what: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise PlanError(f"async_udf got {what}={value!r}", f"{least} to {most}")
    return value


def _milliseconds(value: Duration, what: str) -> int:
    found = duration_ms(value, what, least=1)
    if found > TIMEOUT_MS_MAX:
        raise PlanError(f"{what}={value!r} is too long", f"up to {duration_text(TIMEOUT_MS_MAX)}")
    return found


def _rate(value: float | None) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0.001 <= value <= 1e6:
        raise PlanError(f"async_udf got per_second={value!r}", "0.001 to 1,000,000")
    return float(value)
