"""How a pipeline is run; what it computes is in the plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from frazil.run.engine_job import JobOptions
from frazil.run.run_clock import SimulatedMachine

# Epochs that may be accepted and not yet in every table. Past it no further epoch is cut: the open
# one grows in files, not in memory, until a table takes some, or it takes away too many rows.
PENDING_EPOCHS_MAX = 16

# How long the end of a run waits for tables to take the last epochs (seconds).
DRAIN_S = 600.0

# A start beside a live process waits to see its next epoch: three checkpoint intervals, at least
# this long (seconds).
PATIENCE_MIN_S = 5.0

# How often an unbounded run looks for new partitions (seconds).
DISCOVER_EVERY_S = 10.0

# How often what has landed is checked against the tables while nothing new comes (seconds).
VERIFY_EVERY_S = 60.0

# Rows that an epoch may take away from tables by key. They are in memory, here and when they are
# committed; so an epoch with so many is cut at once, and sources rest until it can be.
EPOCH_DELETES_MAX = 1_000_000

MEMORY_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of one run."""

    workers: int = 1
    memory_bytes: int = MEMORY_BYTES
    spill_bytes: int = 0  # of state, beside those in memory
    spill_folder: str = ""
    checkpoint_every_s: float = 10.0
    bounded: bool = False
    stopped: bool = False  # somebody calls `stop` when there is enough: sources need no end
    takeover: bool = False
    close_windows: bool = False  # the end of the sources is the end of event time
    reopen: bool = False  # go on after a run that closed all windows
    wait_at_start: bool = True  # for sources that are away; False: that is an error
    max_rejected: int | float | None = None  # rows of an epoch, or a share; see `Pipeline`
    retain: int = 0
    drain_s: float = DRAIN_S
    discover_every_s: float = DISCOVER_EVERY_S
    verify_every_s: float = VERIFY_EVERY_S
    quiet: bool = False  # no log line at the start
    simulated_seed: int | None = None  # not None: one thread, an order drawn from it, no clock
    machine: SimulatedMachine = field(default_factory=SimulatedMachine)  # of a simulated run

    def job_options(self, attempt: int, *, first_epoch: int, bounded: bool) -> JobOptions:
        """What the engine needs of them."""
        return JobOptions(
            workers=self.workers,
            attempt=attempt,
            first_epoch=first_epoch,
            bounded=bounded,
            memory_bytes=self.memory_bytes,
            spill_bytes=self.spill_bytes,
            spill_folder=self.spill_folder,
            epoch_deletes=EPOCH_DELETES_MAX,
            close_windows=self.close_windows,
            simulated=self.simulated_seed is not None,
            seed=self.simulated_seed or 0,
            clock_us=self.machine.us,
        )
