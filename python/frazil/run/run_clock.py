"""The clocks of a run: the one that its checkpoints go by, and that of a simulated machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

SIMULATED_START_US = 946_684_800_000_000
"""What the clock of a simulated machine says at first, unless a test says it: 2000-01-01 (us)."""


@dataclass
class SimulatedMachine:
    """The machine's clock in a simulated run; it outlives the run.

    Attributes
    ----------
    us
        Microseconds since 1970.
    """

    us: int = SIMULATED_START_US


class RunClock:
    """Seconds since the run began; a simulated run's go by its steps, and by its machine's clock.

    Parameters
    ----------
    machine
        The clock of the machine if the run is simulated.
    """

    def __init__(self, machine: SimulatedMachine | None) -> None:
        self._machine = machine
        self._steps = 0.0

    def now(self) -> float:
        """Seconds, from a beginning that means nothing."""
        if self._machine is None:
            return time.monotonic()
        return self._steps + (self._machine.us - SIMULATED_START_US) / 1_000_000

    def waited(self, seconds: float, us: int) -> None:
        """Note a wait of so many seconds, and what the machine's clock says behind it, us.

        A simulated run's passes at once.
        """
        self._steps += seconds
        if self._machine is not None:
            self._machine.us = us
