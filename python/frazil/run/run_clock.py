"""The clock that a run's checkpoints go by."""

from __future__ import annotations

import time


class RunClock:
    """Seconds since the run began; a simulated run's go by its steps."""

    def __init__(self, simulated: bool) -> None:
        self._simulated = simulated
        self._steps = 0.0

    def now(self) -> float:
        """Seconds, from a beginning that means nothing."""
        return self._steps if self._simulated else time.monotonic()

    def waited(self, seconds: float) -> None:
        """A wait of so many seconds begins; it passes at once if the run is simulated."""
        self._steps += seconds
