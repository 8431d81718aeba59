"""Beginning anew, in the same process, when one of many tables cannot be written to any more.

What a writer had of a table since the last checkpoint is gone when its place does not take it: only
the sources have it still. So the run goes back to its last checkpoint, like one that was killed;
the start finds that the table cannot be written to, its rows wait in checkpoints, and all others go
on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from frazil.errors import CheckpointError, FrazilError
from frazil.run.route_target import RouteTarget

if TYPE_CHECKING:
    from frazil.report import RunReport
    from frazil.run.coordinator import Coordinator
    from frazil.run.status import Status

# How often one run begins anew. A place that fails and is well again by turns ends the run.
RESTARTS_MAX = 100

log_ = structlog.get_logger("frazil")


class Restarts:
    """A run of a pipeline, as `Coordinator` has one, over as many of these as it takes.

    Parameters
    ----------
    make
        Makes one. Told whether it is to take over from the one before, which has ended.
    """

    def __init__(self, make: Callable[[bool], Coordinator]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._stopping: Callable[[Coordinator], None] | None = None
        self._returned = threading.Event()
        self._current = make(False)

    @property
    def status(self) -> Status:
        """Where the run stands."""
        return self._current.status

    def stop(self) -> None:
        """As that of `Coordinator`."""
        self._end(lambda coordinator: coordinator.stop())

    def abort(self) -> None:
        """As that of `Coordinator`."""
        self._end(lambda coordinator: coordinator.abort())

    def _end(self, how: Callable[[Coordinator], None]) -> None:
        with self._lock:
            self._stopping = how
            how(self._current)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until `run` has returned; False if it has not in time."""
        return self._returned.wait(timeout_s)

    def run(self) -> RunReport:
        """Run until the end; the report is of the last start."""
        try:
            for _ in range(RESTARTS_MAX):
                try:
                    return self._current.run()
                except CheckpointError:
                    raise
                except FrazilError as error:
                    lost = self._lost()
                    if self._stopping is not None or not lost:
                        raise
                    log_.warning("restart", tables=sorted(lost), error=str(error))
                self._begin_anew()
            return self._current.run()
        finally:
            self._returned.set()

    def _lost(self) -> list[str]:
        targets = self._current.runnable.targets.values()
        return [name for each in targets if isinstance(each, RouteTarget) for name in each.lost()]

    def _begin_anew(self) -> None:
        made = self._make(True)
        with self._lock:
            self._current = made
            if self._stopping is not None:
                self._stopping(made)
