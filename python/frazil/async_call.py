"""Runs the coroutines of `async_udf` in the one event loop of the process."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import itertools
import os
import random
import selectors
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.async_udf import DELAY_MAX_S, AsyncOptions
from frazil.errors import UdfError
from frazil.python_values import python_values
from frazil.stack_text import frame_text
from frazil.types import type_name
from frazil.udf_call import _fits, _raised, _short, _values
from frazil.udf_failed import apart, said_of

if TYPE_CHECKING:
    from types import FrameType

    from frazil import _engine
    from frazil.node import Function


class _Loop:
    """The event loop, in a thread that begins with the first function."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._thread = 0

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=_run, args=(self._loop,), name="frazil-async", daemon=True
                )
                thread.start()
                self._thread = thread.ident or 0
            return self._loop

    def frame(self) -> FrameType | None:
        """Where its thread is."""
        return sys._current_frames().get(self._thread)

    def stop(self) -> None:
        """Let the thread end, with the interpreter."""
        if self._loop is not None and self._process == os.getpid():
            self._loop.call_soon_threadsafe(self._loop.stop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped.

    sys.exit() in a task that a function has made leaves the loop; who awaits the task gets it too.
    """
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
        return


def _cancelled(what: str) -> UdfError:
    return UdfError(what, "a function may not cancel its own task, nor leave with CancelledError")


def _is_cancelled() -> bool:
    """Whether the task at hand itself is, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_loop = _Loop()
atexit.register(_loop.stop)


class AsyncCall:
    """A function as a run has it: what all of its workers share.

    Parameters
    ----------
    pauses
        Whether time passes between tries, and where calls per second are limited; not in tests.
    """

    def __init__(self, function: Function, *, pauses: bool = True) -> None:
        self._function = function
        self._pauses = pauses
        self._options: AsyncOptions = function.options
        self._free = asyncio.Semaphore(self._options.concurrency)
        self._next_at = 0.0  # when the next call may be made, by the clock of the loop
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._asked: dict[Any, asyncio.Future[Any]] = {}  # calls that are under way

    def __call__(self, batch: _engine.ArrowBatch) -> pa.RecordBatch:
        """Make the calls of a batch; of any worker's thread, which waits without the GIL."""
        given = pa.record_batch(batch)
        rows = list(zip(*map(python_values, given.columns), strict=True))
        results: list[Any] = [None] * len(rows)
        reasons: dict[int, str] = {}  # why rows have no result, if they are set apart
        made = self._all(rows, results, reasons)
        future = asyncio.run_coroutine_threadsafe(made, _loop.get())
        try:
            failed = future.result()
        except concurrent.futures.CancelledError:  # a function has cancelled all tasks of the loop
            raise _cancelled(f"the calls of {self._function.reference} were cancelled") from None
        if failed is not None:
            row, error = failed
            raise _raised(self._function, error, given, row) from error
        if self._function.apart:
            return apart(self._function, results, reasons)
        return pa.RecordBatch.from_arrays(
            [self._column(results, given)], schema=self._function.returns
        )

    def stacks(self) -> list[str]:
        """What holds up the loop, if something in it does not wait but works."""
        frame = _loop.frame()
        if frame is None or frame.f_code.co_filename == selectors.__file__:
            return []
        return [frame_text(frame)]

    async def _all(
        self, rows: list[tuple[Any, ...]], results: list[Any], reasons: dict[int, str]
    ) -> tuple[int, Exception] | None:
        """Make all calls; the first that fails, which ends the others."""
        numbered = iter(enumerate(rows))
        ended = asyncio.Event()
        tasks = [
            asyncio.ensure_future(self._some(numbered, results, reasons, ended))
            for _ in range(min(self._options.concurrency, len(rows)))
        ]
        try:
            for done in asyncio.as_completed(tasks):
                failed = await done
                if failed is not None:
                    return failed
        finally:
            ended.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return None

    async def _some(
        self,
        numbered: Iterator[tuple[int, tuple[Any, ...]]],
        results: list[Any],
        reasons: dict[int, str],
        ended: asyncio.Event,
    ) -> tuple[int, Exception] | None:
        """Take one row after the other, as long as there are some."""
        for row, values in numbered:
            try:
                results[row] = await self._made(values, ended)
            except Exception as error:
                if self._function.on_error == "fail":
                    return row, error
                if self._function.apart:
                    reasons[row] = said_of(self._function, error)
        return None

    async def _made(self, values: tuple[Any, ...], ended: asyncio.Event) -> Any:
        """One result; that its function has cancelled the task is an error like others."""
        try:
            return await (self._once(values) if self._options.cache else self._tried(values))
        except asyncio.CancelledError as error:
            if ended.is_set():
                raise
            task = asyncio.current_task()
            while task is not None and task.cancelling():
                task.uncancel()
            raise _cancelled("it cancelled its task") from error

    async def _once(self, values: tuple[Any, ...]) -> Any:
        """One call for all rows with the same arguments, and its result from then on."""
        try:
            hash(values)
        except TypeError:  # lists and dicts cannot be looked up
            return await self._tried(values)
        if values in self._kept:
            self._kept.move_to_end(values)
            return self._kept[values]
        if values in self._asked:
            try:
                return await asyncio.shield(self._asked[values])
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
            return await self._tried(values)  # the batch that has asked has ended
        asked = asyncio.ensure_future(self._tried(values))
        self._asked[values] = asked
        try:
            result = await asked
        finally:
            del self._asked[values]
        self._kept[values] = result
        if len(self._kept) > self._options.cache:
            self._kept.popitem(last=False)
        return result

    async def _tried(self, values: tuple[Any, ...]) -> Any:
        options = self._options
        for again in itertools.count():
            try:
                async with self._free:
                    if options.per_second is not None:
                        await self._turn(options.per_second)
                    async with asyncio.timeout(options.timeout_ms / 1000):
                        return await self._function.call(*values)
            except asyncio.CancelledError as error:
                if _is_cancelled():
                    raise
                if again == options.retries:
                    raise _cancelled(f"it raised {error!r}") from error
            except (SystemExit, KeyboardInterrupt) as error:  # they would end the loop
                raise UdfError(
                    f"it raised {error!r}", "a function may not end the process"
                ) from error
            except Exception:
                if again == options.retries:
                    raise
            longest = min(DELAY_MAX_S, options.delay_ms / 1000 * 2**again)
            await self._pause(longest * random.uniform(0.5, 1))
        raise AssertionError

    async def _turn(self, per_second: float) -> None:
        """Wait until one more call may be made."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next_at)
        self._next_at = at + 1 / per_second
        if at > now:
            await self._pause(at - now)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds if self._pauses else 0)

    def _column(self, results: list[Any], batch: pa.RecordBatch) -> pa.Array:
        field = self._function.returns.field(0)
        try:
            column = pa.array(results, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            column = None
        if column is not None and (field.nullable or not column.null_count):
            return column
        row = next(
            row
            for row, value in enumerate(results)
            if (value is None and not field.nullable) or not _fits(value, field.type)
        )
        raise UdfError(
            f"{self._function.reference} returned {_short(results[row])}, "
            f"and is declared to return {type_name(field.type)}",
            _values(batch, row),
            "return a value of the type, or change the annotation",
        )
