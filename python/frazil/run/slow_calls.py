"""Python functions that take long: named, with where they are, while they do."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from frazil.stack_text import frame_text

if TYPE_CHECKING:
    from frazil import _engine

SLOW_CALL_S = 30.0
"""How long a call of a function may take before it is named (seconds); again at twice that, ..."""

LOOK_AGAIN_S = 1.0
"""When a call is looked at again that did not say where it is (seconds)."""

Call = Callable[["_engine.ArrowBatch"], object]

log_ = structlog.get_logger("frazil")


class WatchedCall:
    """What the engine calls, with a note of the calls under way."""

    def __init__(self, name: str, call: Call) -> None:
        self.name = name
        self._call = call
        self._running: dict[int, float] = {}  # when each thread has begun, by the steady clock

    def __call__(self, batch: _engine.ArrowBatch) -> object:
        """Make one call of the engine; of any worker's thread."""
        thread = threading.get_ident()
        self._running[thread] = time.monotonic()
        try:
            return self._call(batch)
        finally:
            del self._running[thread]

    def abandon(self) -> None:
        """End calls that can be ended: the run has."""
        abandon = getattr(self._call, "abandon", None)
        if abandon is not None:
            abandon()

    def close(self) -> None:
        """Let go of what calls have opened; no worker is there any more."""
        close = getattr(self._call, "close", None)
        if close is not None:
            close()

    def running(self) -> dict[int, float]:
        """When the calls under way have begun, by thread."""
        return dict(self._running)

    def stacks(self, thread: int) -> list[str]:
        """Where a call is, on one line each; of processes of its own, all that are busy."""
        elsewhere = getattr(self._call, "stacks", None)
        if elsewhere is not None:
            found: list[str] = elsewhere()
            return found
        frame = sys._current_frames().get(thread)
        return [] if frame is None else [frame_text(frame)]


@dataclass
class _Slow:
    """A call that takes long."""

    text: str
    next_s: float  # when it is looked at again


class SlowCalls:
    """Looks at the calls under way, a few times a second; of the control thread."""

    def __init__(self, functions: Mapping[str, Call], pipeline: str) -> None:
        self.calls = {
            reference: WatchedCall(_name(reference), call) for reference, call in functions.items()
        }
        self._pipeline = pipeline
        self._slow: dict[tuple[str, int, float], _Slow] = {}

    def look(self) -> None:
        """Name the calls that take long, in the log as well."""
        now = time.monotonic()
        found = {
            (reference, thread, since): call
            for reference, call in self.calls.items()
            for thread, since in call.running().items()
            if now - since > SLOW_CALL_S
        }
        self._slow = {key: slow for key, slow in self._slow.items() if key in found}
        for key, call in found.items():
            known = self._slow.get(key)
            taken = now - key[2]
            if known is not None and taken < known.next_s:
                continue
            stacks = call.stacks(key[1])
            if call.running().get(key[1]) != key[2]:
                continue  # it has returned: the stack may be of something else
            passed = SLOW_CALL_S
            while passed * 2 <= taken:
                passed *= 2
            where = f", it is in {'; '.join(stacks)}" if stacks else ""
            text = f"a call takes longer than {passed:g} s{where}"
            # A process of its own that has not begun does not say where it is.
            self._slow[key] = _Slow(text, passed * 2 if stacks else taken + LOOK_AGAIN_S)
            if known is not None and known.text == text:
                continue
            log_.warning("function.slow", pipeline=self._pipeline, function=call.name, reason=text)

    def trouble(self) -> dict[str, str]:
        """What is to be said of each function that takes long."""
        return {self.calls[key[0]].name: slow.text for key, slow in self._slow.items()}


def _name(reference: str) -> str:
    """The function, as people know it: aggregates stand in a run's plan under a name of the run."""
    if reference.startswith("aggregate "):
        return reference.split(" ")[1]
    return reference.partition("#")[0]
