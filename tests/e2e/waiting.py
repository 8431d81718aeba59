"""Pipelines that run in the background of a test, and waiting for what they do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import frazil as fz
    from frazil.run.runner import Handle

# Seconds something may take that is waited for; reached only when a test fails.
PATIENCE_S = 60.0


@contextlib.contextmanager
def running(pipeline: fz.Pipeline) -> Iterator[Handle]:
    """Run it; at the end of the context ask for its end, unless it has ended."""
    handle = pipeline.start(quiet=True)
    try:
        yield handle
    except BaseException:
        handle.abort()
        with contextlib.suppress(Exception):  # the test's own error is the one to show
            handle.wait(PATIENCE_S)
        raise
    if handle.running:
        handle.stop()


def wait_until(reached: Callable[[], bool], handle: Handle) -> None:
    """Wait for something; if the pipeline ends before, its error or its end is the failure."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if not handle.running:
            handle.wait()
            raise AssertionError("the pipeline has ended")
        assert time.monotonic() < deadline, handle.status
        time.sleep(0.01)
