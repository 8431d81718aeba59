"""Calls a function in child processes: batches in parts, answers in the order of their rows."""

from __future__ import annotations

import itertools
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import structlog
from frazil.duration import duration_text
from frazil.errors import UdfError
from frazil.processes import Processes, require_found
from frazil.processes.child import Child, setup_of
from frazil.processes.shared import DONE, RAISED, SHARED_BYTES, TooLarge
from frazil.udf_call import _values
from frazil.udf_failed import _packed

if TYPE_CHECKING:
    from frazil import _engine
    from frazil.node import Function

DEATHS_MAX = 3
"""How often the same rows are given to a new process when one has ended with them."""
START_S = 120.0
"""How long a process may take to import the function's module (seconds)."""
LOOK_S = 1.0
"""How long after it was given rows it is looked whether a process calls the function (seconds)."""
STACKS_MAX = 8
"""Processes that are asked where they are."""
LEAK_BYTES = 1 << 30
"""By how much a process may grow after its first answer, before another takes its place."""

log_ = structlog.get_logger("frazil")


class _Part(NamedTuple):
    """Rows of a batch that one process is given."""

    first: int
    rows: pa.RecordBatch
    deaths: int = 0  # of processes that had them

    def halves(self) -> list[_Part]:
        """Two parts of half the rows."""
        half = self.rows.num_rows // 2
        return [
            _Part(self.first, self.rows.slice(0, half)),
            _Part(self.first + half, self.rows.slice(half)),
        ]


class ProcessCall:
    """A function as a run has it, with the processes that all workers share.

    Each has one part of a batch at a time, so not more parts are under way than there are
    processes.
    """

    def __init__(self, function: Function) -> None:
        assert function.processes is not None
        require_found(function.call)
        self.function = function
        self.options: Processes = function.processes
        self._setup = setup_of(function)
        self._changed = threading.Condition()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._starting = 0
        self._closed = False

    def __call__(self, batch: _engine.ArrowBatch) -> pa.RecordBatch:
        """Call it with a batch; of any worker's thread, which waits without the GIL."""
        given = pa.record_batch(batch)
        return _joined(self.function, _Batch(self, given).answers())

    def stacks(self) -> list[str]:
        """Where the processes are that are busy, some of them."""
        with self._changed:
            busy = list(self._busy)[:STACKS_MAX]
        return [stack for child in busy if (stack := child.stack())]

    def abandon(self) -> None:
        """End what is under way: nobody waits for it."""
        with self._changed:
            self._closed = True
            for child in self._busy:
                child.kill()
            self._changed.notify_all()

    def close(self) -> None:
        """End all processes."""
        self.abandon()
        with self._changed:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()

    def take(self, *, wait: bool) -> Child | None:
        """A process that is free; None if there is none and one is not to be waited for."""
        with self._changed:
            while True:
                self.require_open()
                if self._idle:
                    child = self._idle.pop()
                    self._busy.add(child)
                    return child
                if len(self._busy) + self._starting < self.options.workers:
                    self._starting += 1
                    break
                if not wait:
                    return None
                self._changed.wait()
        return self._started()

    def require_open(self) -> None:
        """Raise an error if the run has ended."""
        if self._closed:
            raise UdfError(f"calling {self.function.reference}: the run has ended")

    def put_back(self, child: Child) -> None:
        """Say that a process is free."""
        with self._changed:
            self._busy.discard(child)
            self._idle.append(child)
            self._changed.notify()

    def discard(self, child: Child, *, ending: bool = False) -> str:
        """End a process; see `Child.discard`."""
        with self._changed:
            self._busy.discard(child)
            self._changed.notify()
        return child.discard(ending=ending)

    def _started(self) -> Child:
        child = None
        try:
            child = Child(self._setup)
        except OSError as error:
            raise UdfError(
                f"{self.function.reference}: no process of its own can be started: {error}",
                "a limit of processes, memory or open files is reached",
            ) from error
        finally:
            with self._changed:
                self._starting -= 1
                if child is not None:
                    self._busy.add(child)
                    if self._closed:
                        child.kill()
                self._changed.notify()
        return child


class _Batch:
    """A batch under way."""

    def __init__(self, call: ProcessCall, given: pa.RecordBatch) -> None:
        self._call = call
        self._function = call.function
        self._given = given
        rows = given.num_rows
        count = max(1, min(rows, call.options.workers))
        bounds = [rows * number // count for number in range(count + 1)]
        self._parts = deque(
            _Part(begin, given.slice(begin, end - begin))
            for begin, end in itertools.pairwise(bounds)
        )
        self._held: dict[Child, _Part] = {}
        self._answers: dict[int, pa.RecordBatch] = {}
        self._failed: tuple[int, UdfError] | None = None  # the first of the rows that did

    def answers(self) -> list[tuple[int, pa.RecordBatch]]:
        """What the function gave, by the first row of each part, in their order."""
        try:
            while self._parts or self._held:
                while self._parts and self._give(wait=not self._held):
                    pass
                if self._held:
                    self._wait()
            if self._failed is not None:
                raise self._failed[1]
        finally:
            for child in list(self._held):
                self._discard(child)
        return sorted(self._answers.items())

    def _give(self, *, wait: bool) -> bool:
        """Give the next part to a process that is free; False if there is none."""
        child = self._call.take(wait=wait)
        if child is None:
            return False
        if not child.alive():  # ended while it was idle: no doing of these rows
            self._call.discard(child)
            return True
        part = self._parts.popleft()
        try:
            child.give(part.rows, part.first, self._given.num_rows)
        except TooLarge as error:
            self._call.put_back(child)
            self._split(part, error.size, "are given to")
            return True
        except BaseException:
            self._call.discard(child)
            raise
        self._held[child] = part
        return True

    def _split(self, part: _Part, size: int, what: str) -> None:
        if part.rows.num_rows > 1:
            self._parts.extendleft(reversed(part.halves()))
            return
        self._fail(
            part,
            UdfError(
                f"{size} bytes of one row {what} {self._function.reference}",
                f"a process of its own takes up to {SHARED_BYTES}",
                "leave workers= out, or make the row smaller",
            ),
        )

    def _wait(self) -> None:
        """Wait until a process has answered, has ended, or has taken too long."""
        waiting = select.poll()
        owners = {}
        for child in self._held:
            for number in (child.fileno(), child.pidfd):
                waiting.register(number, select.POLLIN)
                owners[number] = child
        left = [self._left_s(child) for child in self._held]
        timeout_ms = self._call.options.timeout_ms
        if timeout_ms is not None and any(child.progress()[0] is None for child in self._held):
            left.append(min(LOOK_S, timeout_ms / 1000))  # by then it may have begun
        least = min((each for each in left if each is not None), default=None)
        # A little more, so that the time has passed when it is looked at again.
        ready = waiting.poll(None if least is None else max(0.0, least) * 1000 + 1)
        found = {owners[number] for number, _ in ready}
        for child in found:
            if child in self._held:  # one before it may have made its rows of no use
                self._take(child)
        for child in list(self._held):
            left_s = self._left_s(child)
            if child not in found and left_s is not None and left_s <= 0:
                self._give_up(child)

    def _left_s(self, child: Child) -> float | None:
        """Seconds that a call may still take; None if that has no bound."""
        running, _ = child.progress()
        if running is None:
            return None if child.used else START_S - child.waited()
        timeout_ms = self._call.options.timeout_ms
        return None if timeout_ms is None else timeout_ms / 1000 - running

    def _take(self, child: Child) -> None:
        part = self._held.pop(child)
        answer = child.take()
        if answer is None:
            self._ended(child, part)
            return
        kind, size, resident = answer
        try:
            if kind == DONE:
                self._answers[part.first] = child.rows(size)
            elif kind == RAISED:
                self._fail(part, UdfError(*child.told(size)))
            else:
                self._split(part, size, "come from")
        except (pa.ArrowException, OSError, ValueError) as error:
            self._call.discard(child)
            what = f"{self._function.reference}: a process of its own gave what cannot be read"
            self._fail(part, UdfError(f"{what}: {error}"))
            return
        if not child.used:
            child.used, child.first_bytes = True, resident
        grown = resident - child.first_bytes
        if grown <= LEAK_BYTES:
            self._call.put_back(child)
            return
        self._call.discard(child)
        log_.warning(
            "function.restarted",
            function=self._function.reference,
            reason=f"its process has grown by {grown >> 20} MiB",
        )

    def _ended(self, child: Child, part: _Part) -> None:
        """A process has ended with these rows: the next one is given them, a few times."""
        running, row = child.progress()
        how = self._call.discard(child, ending=True)
        self._call.require_open()
        if running is None:
            where = "while it called nothing"
        elif row is None:
            where = f"with {self._rows_text(part)}"
        else:
            where = _values_at(part, row, self._given)
        part = part._replace(deaths=part.deaths + 1)
        if part.deaths < DEATHS_MAX:
            log_.warning(
                "function.restarted",
                function=self._function.reference,
                reason=f"its process {how}, {where}",
            )
            self._parts.appendleft(part)
            return
        self._fail(
            part,
            UdfError(
                f"{self._function.reference}: its process {how}, as did "
                f"{DEATHS_MAX - 1} before it with the same rows",
                where,
                "a crash in a library, os._exit(), or too little memory: see the kernel's log",
            ),
        )

    def _give_up(self, child: Child) -> None:
        part = self._held.pop(child)
        running, row = child.progress()
        stack = child.stack()
        self._call.discard(child)
        at = [f"it was in {stack}"] if stack else ["it did not say where it was"]
        if running is None:
            what = f"{self._function.reference} was not imported within {START_S:.0f} s"
            self._fail(part, UdfError(what, *at))
            return
        timeout = duration_text(self._call.options.timeout_ms or 0)
        rows = self._rows_text(part) if row is None else _values_at(part, row, self._given)
        what = f"{self._function.reference} took longer than timeout={timeout}"
        self._fail(part, UdfError(what, rows, *at, "make it faster, or timeout= longer"))

    def _fail(self, part: _Part, error: UdfError) -> None:
        """Note an error; of several, that of the first row is told, as one process would find it.

        So what comes behind it is given up, and what stands before it is waited for.
        """
        if self._failed is None or part.first < self._failed[0]:
            self._failed = (part.first, error)
        first = self._failed[0]
        self._parts = deque(each for each in self._parts if each.first < first)
        for child, held in list(self._held.items()):
            if held.first > first:
                self._discard(child)

    def _discard(self, child: Child) -> None:
        del self._held[child]
        self._call.discard(child)

    def _rows_text(self, part: _Part) -> str:
        last = part.first + part.rows.num_rows
        return f"rows {part.first + 1} to {last} of {self._given.num_rows}"


def _values_at(part: _Part, row: int, given: pa.RecordBatch) -> str:
    """Name a row of a part, with its values, as it stands in the batch."""
    return _values(given, part.first + row)


def _joined(function: Function, answers: list[tuple[int, pa.RecordBatch]]) -> pa.RecordBatch:
    """One answer of those of the parts."""
    batches = [batch for _, batch in answers]
    if not function.apart:
        return _one(function, batches)
    failed = {}
    rows = []
    for first, batch in answers:
        rows.append(pa.RecordBatch.from_struct_array(batch.column("rows").flatten()))
        told = pa.RecordBatch.from_struct_array(batch.column("failed").flatten())
        for row, reason in zip(*(column.to_pylist() for column in told.columns), strict=True):
            failed[first + row] = reason
    return _packed(_one(function, rows), failed)


def _one(function: Function, batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    for batch in batches:
        if not batch.schema.equals(function.returns):
            raise UdfError(
                f"{function.reference}: a process of its own gave {batch.schema}",
                f"declared is {function.returns}",
            )
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
