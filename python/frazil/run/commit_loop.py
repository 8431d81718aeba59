"""Brings accepted epochs into the tables, in order, each sink by itself, until it works.

It runs beside the coordinator, so that a slow catalog does not hold up checkpoints. An accepted
epoch is never given up here: what cannot be reached now is tried again, and what is still pending
at the end stays in the checkpoint log for the next run.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from frazil.checkpoint.sink_ids import step_of, table_of
from frazil.errors import CheckpointError, CommitError, FrazilError

if TYPE_CHECKING:
    from frazil.checkpoint import CheckpointLog, LogView, Pending

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0

# After this many commits a sink is given time to tidy up its table.
MAINTAIN_EVERY = 10

# Tables of sinks with many that are committed to at a time.
TABLE_THREADS = 8

# How often sinks that commit less often than epochs are cut are looked at (seconds).
LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Committed:
    """What a committer has brought into its table: everything up to this token."""

    slot: int
    digest: str
    head: int | None = None  # snapshot id of the table's head, if the sink has such a thing
    snapshots: tuple[int, ...] = ()  # made by this call
    rows: int = 0  # in them


class Committer(Protocol):
    """Makes a sink's tokens visible. Called by one thread at a time."""

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Bring a non-empty prefix of the tokens into the table, in order, exactly once.

        Raises
        ------
        FrazilError
            With `retryable` set: the outcome is unknown or the table cannot be reached, ask again.
            Else the commit is refused for good and the run has to end.
        """
        ...

    def verify(self, log: LogView) -> int | None:
        """Check that what landed is still in the table; its head snapshot, for the manifest."""
        ...

    def maintain(self) -> None:
        """Tidy up what commits leave behind. Errors with `retryable` set are only noted."""
        ...


class CommitLoop:
    """Commits what is pending in the log.

    Parameters
    ----------
    log
        The checkpoint log, owned by this process.
    committers
        By sink id; may get more of them while running. A table of a sink with many that refuses a
        commit holds up only itself: it is tried again, until `require_taken` is called.
    threaded
        False: `request` commits in the calling thread (the simulated scheduler).
    landed
        Called after something has landed, by a committing thread, one at a time.
    every_s
        Sinks that commit less often than epochs are cut: seconds between two commits, by sink id.
    now
        The clock of `every_s`.
    """

    def __init__(
        self,
        log: CheckpointLog,
        committers: Mapping[str, Committer],
        *,
        threaded: bool,
        landed: Callable[[str, Committed, float], None],
        every_s: Mapping[str, float] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every_s = dict(every_s or {})
        self._now = now
        self._committed_at: dict[str, float] = {}
        self._begun = now()
        self._draining = False
        self._log = log
        self._committers = committers
        self._landed = landed
        self._threaded = threaded
        self._condition = threading.Condition()
        self._requested = False
        self._verifying = False
        self._untidy: dict[str, int] = {}
        self._stopping = False
        self._failed: FrazilError | None = None
        self._trouble: dict[str, FrazilError] = {}
        self._random = random.Random()
        self._landing = threading.Lock()
        self._pool = ThreadPoolExecutor(TABLE_THREADS, "frazil-commit") if threaded else None
        self._thread: threading.Thread | None = None
        if threaded:
            self._thread = threading.Thread(target=self._run, name="frazil-commit", daemon=True)
            self._thread.start()

    def request(self) -> None:
        """Say that something is pending."""
        if not self._threaded:
            self._round()
            self.check()
            return
        with self._condition:
            self._requested = True
            self._condition.notify_all()

    def verify(self) -> None:
        """Ask for a check that what has landed is still in the tables."""
        with self._condition:
            self._verifying = True
        self.request()

    def check(self) -> None:
        """Raise the error that ended committing, if any."""
        if self._failed is not None:
            raise self._failed

    def trouble(self) -> dict[str, FrazilError]:
        """Sinks that cannot commit at the moment, and why."""
        with self._condition:
            return dict(self._trouble)

    def refused(self) -> dict[str, FrazilError]:
        """Tables of sinks with many that refuse their commits, and why."""
        return {sink: error for sink, error in self.trouble().items() if not error.retryable}

    def require_taken(self) -> None:
        """Raise the error of a table that refuses its commits, if there is one."""
        for error in self.refused().values():
            raise error

    def drain(self, timeout_s: float, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Wait until nothing is pending.

        Raises
        ------
        CommitError
            Some sink could not be committed in time; its epochs stay in the checkpoint log.
        """
        deadline = time.monotonic() + timeout_s
        self._draining = True
        self.request()
        while self._log.pending_epochs() > 0:
            self.check()
            stuck = self._log.waiting_sinks() <= self.refused().keys()
            if time.monotonic() > deadline or interrupted() or stuck:
                names = ", ".join(sorted(self.trouble())) or "a sink"
                reason = next((str(error) for error in self.trouble().values()), "")
                how = (
                    "did not take them at all"
                    if stuck
                    else f"did not take them in {timeout_s:.0f} s"
                )
                raise CommitError(
                    f"committing the last epochs: {names} {how}",
                    *([reason.splitlines()[0]] if reason else []),
                    "they stay in the checkpoint log: the next run commits them first",
                )
            if not self._threaded:
                self.request()
                continue
            with self._condition:
                self._condition.wait(0.05)
        self.check()

    def stop(self) -> None:
        """End the thread; a commit under way is waited for."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._pool is not None:
            self._pool.shutdown()

    def _run(self) -> None:
        failures = 0
        while True:
            with self._condition:
                pause = self._pause(failures)
                self._condition.wait_for(lambda: self._requested or self._stopping, pause)
                if self._stopping:
                    return
                self._requested = False
            if not self._round():
                return
            failures = failures + 1 if self._trouble else 0

    def _pause(self, failures: int) -> float | None:
        """Seconds until the next round without a request; None waits for one."""
        if failures:
            longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures, 16))
            return float(longest * (0.5 + self._random.random() / 2))
        return LOOK_S if self._every_s else None

    def _due(self, sink: str) -> bool:
        every = self._every_s.get(step_of(sink))
        since = self._now() - self._committed_at.get(sink, self._begun)
        return every is None or self._draining or since >= every

    def _round(self) -> bool:
        """Every sink once; False if committing has ended for good."""
        with self._condition:
            verifying, self._verifying = self._verifying, False
        due = [sink for sink in list(self._committers) if self._due(sink)]
        for sink in due:
            if table_of(sink) is None and not self._visit(sink, verifying):
                return False
        waiting = self._log.waiting_sinks()
        tables = [
            sink
            for sink in due
            if table_of(sink) is not None
            and (
                verifying
                or sink in waiting
                or sink in self._trouble
                or self._untidy.get(sink, 0) >= MAINTAIN_EVERY
            )
        ]
        visit = map if self._pool is None else self._pool.map
        if not all(list(visit(lambda sink: self._visit(sink, verifying), tables))):
            return False
        with self._condition:
            self._condition.notify_all()
        return True

    def _visit(self, sink: str, verifying: bool) -> bool:
        """Commit what a sink has; False if committing has ended for good."""
        committer = self._committers[sink]
        try:
            self._commit(sink, committer)
            if verifying:
                self._verify(sink, committer)
            self._maintain(sink, committer)
            with self._condition:
                self._trouble.pop(sink, None)
        except FrazilError as error:
            alone = table_of(sink) is not None and not isinstance(error, CheckpointError)
            if not error.retryable and not alone:
                self._fail(error)
                return False
            with self._condition:
                self._trouble[sink] = error
        except Exception as error:
            wrapped = CommitError(f"committing to {sink}: {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._fail(wrapped)
            return False
        return True

    def _commit(self, sink: str, committer: Committer) -> None:
        while pending := self._log.pending(sink):
            started = time.monotonic()
            done = committer.commit(pending, self._log.view(sink))
            self._log.record_landed(sink, done.slot, done.digest, head=done.head)
            with self._condition:
                self._trouble.pop(sink, None)
            with self._landing:
                self._landed(sink, done, time.monotonic() - started)
            self._untidy[sink] = self._untidy.get(sink, 0) + 1
        self._committed_at[sink] = self._now()

    def _verify(self, sink: str, committer: Committer) -> None:
        head = committer.verify(self._log.view(sink))
        landed = self._log.landed(sink)
        if head is not None and landed is not None:
            self._log.record_landed(sink, landed.slot, landed.digest, head=head)

    def _maintain(self, sink: str, committer: Committer) -> None:
        if self._untidy.get(sink, 0) >= MAINTAIN_EVERY:
            self._untidy[sink] = 0
            committer.maintain()

    def _fail(self, error: FrazilError) -> None:
        with self._condition:
            self._failed = error
            self._condition.notify_all()
