"""The coordinator: takes the checkpoint log, runs the job, cuts epochs, has them committed.

The order of a start: take the log (a fence), commit what is pending, restore positions, run. The
order of an epoch: barrier, all workers answer, one manifest into the log, then the tables. What
may happen between any two of these is a crash, and the next start is right.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from frazil.checkpoint import CheckpointLog, Epoch, KeyGroups, StateFile
from frazil.checkpoint.slot_put import Clock
from frazil.errors import CheckpointError, CommitRefused, Fenced, FrazilError, PlanError
from frazil.report import PartitionReport, RunReport, SinkReport, SourceReport
from frazil.run.commit_loop import CommitLoop, Committed
from frazil.run.discovery import Discovery, FoundBySource
from frazil.run.engine_job import EngineJob, EpochCut, Failed, Found, JobOptions, StateCut
from frazil.run.event_times import EventTimes, moving_watermark, step_names
from frazil.run.lookups import Lookups, LookupStatus
from frazil.run.partitions import Partitions
from frazil.run.run_clock import RunClock
from frazil.run.settings import PATIENCE_MIN_S, PENDING_EPOCHS_MAX, RunSettings
from frazil.run.state_chains import StateChains

if TYPE_CHECKING:
    from frazil.run.runnable import Runnable

# The control loop wakes at least this often, to see signals and to show progress (seconds).
TICK_S = 0.1
# How long after a source could not be asked for its partitions it is asked again (seconds).
SOURCE_RETRY_S = 0.5

KEY_GROUPS = 1024
KEY_HASH_VERSION = 1
KEY_ENCODING_VERSION = 1

log_ = structlog.get_logger("frazil")


class Observer(Protocol):
    """Sees what a run does: the live line, metrics, tests."""

    def update(self, status: Status) -> None:
        """Called by the control loop, a few times a second."""
        ...


@dataclass
class Status:
    """Where a run stands."""

    pipeline: str
    attempt: int
    started: float
    epoch: int = 0
    rows: dict[str, int] = field(default_factory=dict)  # good rows by source id, this run
    rejected: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    lag: dict[str, Mapping[str, int]] = field(default_factory=dict)
    committed_rows: dict[str, int] = field(default_factory=dict)  # by sink id, this run
    commits: dict[str, int] = field(default_factory=dict)
    commit_seconds: float = 0.0  # of the last commit
    checkpoint_seconds: float = 0.0  # of the last checkpoint, barrier to manifest
    last_commit: float = 0.0  # monotonic
    pending_epochs: int = 0
    trouble: dict[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)  # late rows by step, this run
    times: EventTimes = field(default_factory=EventTimes)
    lookups: Mapping[str, LookupStatus] = field(default_factory=dict)  # by name


class Coordinator:
    """Runs one pipeline once. `run` is called by one thread, `stop` by any."""

    def __init__(
        self,
        runnable: Runnable,
        settings: RunSettings,
        *,
        observer: Observer | None = None,
        hook: Callable[[str], None] = lambda _: None,
        events: list[dict[str, Any]] | None = None,
    ) -> None:
        self._runnable = runnable
        self._settings = settings
        self._observer = observer
        self._hook = hook
        self._events = events
        self._threaded = settings.simulated_seed is None
        self._clock = RunClock(not self._threaded)
        self._stop = threading.Event()
        self._abort = threading.Event()
        self._returned = threading.Event()
        self._cutting = False
        self._cut_polled = 0
        self._ended = False
        self._opened = False
        self._finishing = False
        self._admitted: dict[str, list[Found]] = {}
        self._snapshots: dict[str, list[int]] = {}
        self._read: dict[str, int] = {}
        self._rests = any(node.get("idle_after_us") for node in runnable.plan["nodes"])
        times = EventTimes(step_names(runnable.plan))
        self.status = Status(runnable.name, 0, time.monotonic(), times=times)

    def stop(self) -> None:
        """Ask for the end: a last checkpoint, commits, then `run` returns."""
        self._stop.set()

    def abort(self) -> None:
        """Do not wait for the last checkpoint or for tables: what is not committed comes again."""
        self._abort.set()
        self._stop.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until `run` has returned; False if it has not in time."""
        return self._returned.wait(timeout_s)

    def run(self) -> RunReport:
        """Run until the end of bounded sources, `stop`, or the first error."""
        try:
            return self._run()
        finally:
            self._returned.set()

    def _run(self) -> RunReport:
        started = time.monotonic()
        self._log = CheckpointLog.open(
            self._runnable.store,
            plan=self._runnable.checkpoint_plan,
            takeover=self._settings.takeover,
            patience_s=max(PATIENCE_MIN_S, 3 * self._settings.checkpoint_every_s),
            retain=self._settings.retain,
            hook=self._hook,
            events=self._events,
            clock=Clock(sleep=self._sleep_while_opening),
        )
        self._opened = True
        try:
            return self._run_as_owner(started)
        except (CheckpointError, CommitRefused):
            raise
        except FrazilError as error:
            self._say_if_fenced(error)
            raise

    def _run_as_owner(self, started: float) -> RunReport:
        first_epoch = self._log.next_slot
        self.status.attempt = self._log.attempt
        for target in self._runnable.targets.values():
            target.recover(self._log)
        self._commits = CommitLoop(
            self._log,
            self._runnable.targets,
            threaded=self._threaded,
            landed=self._on_landed,
            every_s=self._runnable.commit_every_s,
            now=self._clock.now,
        )
        slowest = max(self._runnable.commit_every_s.values(), default=0.0)
        self._pending_max = max(
            PENDING_EPOCHS_MAX, 2 * round(slowest / self._settings.checkpoint_every_s)
        )
        try:
            self._commits.request()
            if self._start_job():
                self._discovery = Discovery(self._job, threaded=self._threaded)
                try:
                    self._loop()
                finally:
                    self._discovery.close()
                    self._lookups.close()
                    self._job.stop()
            if not self._abort.is_set():
                self._hook("before_drain")
                self._commits.drain(self._settings.drain_s, self._abort.is_set)
                self._close_log()
        finally:
            self._commits.stop()
            for target in self._runnable.targets.values():
                target.close()
        return self._report(first_epoch, time.monotonic() - started)

    def _say_if_fenced(self, error: FrazilError) -> None:
        """A process that was taken over from may see it first by its files being gone."""
        try:
            newer = self._log.newer_attempt()
        except CheckpointError:
            return  # the store does not say; the first error is what is known
        if newer is not None:
            raise Fenced(
                f"{self._log.url}: attempt {newer} has taken over from attempt {self._log.attempt}",
                "nothing is lost; this process must end and must not be restarted by itself",
            ) from error

    def _sleep_while_opening(self, seconds: float) -> None:
        """Sleep for the log; a request to stop ends the waiting for another process at once."""
        if self._opened:
            time.sleep(seconds)
        elif self._stop.wait(seconds):
            raise CheckpointError(
                f"starting {self._runnable.name}: asked to stop before it had the checkpoint log",
                "nothing was read or changed",
            )

    # -- start -----------------------------------------------------------------------------------

    def _start_job(self) -> bool:
        """Find partitions and start the engine; False if the end was asked for before."""
        settings = self._settings
        restored = self._log.newest.manifest.sources
        newest = self._log.newest.manifest
        self._partitions = Partitions(
            restored,
            workers=settings.workers,
            diverting=set(self._runnable.diverting),
            frontiers={} if newest.closed else newest.frontiers,
            times=self._runnable.event_times(),
        )
        self._reopen()
        self._states = StateChains(
            self._stateful_nodes(), () if newest.closed else newest.state_files
        )
        self._lookups = Lookups(
            self._runnable.lookups.values(),
            newest.lookups,
            pipeline=self._runnable.name,
            threaded=self._threaded,
            hook=self._hook,
        )
        news = self._lookups.load()
        found = self._discover_first()
        news |= found is not None and self._partitions.begin(found)
        self._start_positions = self._partitions.positions()
        if found is None:
            return False
        # Sources that end by themselves (a table in memory, a counted generator) end any run. One
        # that has no partitions yet (an empty folder) does not.
        self._bounded = settings.bounded or all(
            partitions and all(each.end for each in partitions) for partitions in found.values()
        )
        if settings.close_windows and not self._bounded:
            raise PlanError(
                f"close_windows=True, and the sources of {self._runnable.name} have no end",
                'run(until="now", close_windows=True) ends where they are now',
            )
        options = JobOptions(
            workers=settings.workers,
            attempt=self._log.attempt,
            first_epoch=self._log.next_slot + news,
            bounded=self._bounded,
            memory_bytes=settings.memory_bytes,
            close_windows=settings.close_windows,
            simulated=not self._threaded,
            seed=settings.simulated_seed or 0,
        )
        plan = self._runnable.with_sink_options(self._log)
        self._job = EngineJob(plan, options, self._runnable.functions)
        for file in self._states.restored():
            self._job.restore(file.operator, self._log.read_state(file))
        self._lookups.give(self._job, self._clock.now())
        if news:
            self._append(self._epoch())
        self._job.assign(self._partitions.assign(found))
        self._job.start()
        if not settings.quiet:
            log_.info(
                "started",
                pipeline=self._runnable.name,
                attempt=self._log.attempt,
                epoch=self._log.next_slot,
                partitions={source: len(each) for source, each in found.items()},
            )
        return True

    def _discover_first(self) -> FoundBySource | None:
        """Partitions to begin with. New ones go into the log before a row of them is read, so that
        a start position that depends on the moment ("latest") is drawn once.
        """
        options = JobOptions(
            workers=1,
            attempt=self._log.attempt,
            first_epoch=0,
            bounded=True,
            memory_bytes=self._settings.memory_bytes,
        )
        scout = EngineJob({**self._runnable.plan, "nodes": self._source_nodes()}, options, {})
        discovery = Discovery(scout, threaded=self._threaded)
        try:
            found = self._await_sources(discovery)
        finally:
            discovery.close()
            scout.stop()
        if found is not None and self._settings.bounded and not self._settings.stopped:
            self._check_ends(found)
        return found

    def _epoch(self, *, last: bool = False) -> Epoch:
        """An epoch without rows: where everything stands."""
        return Epoch(
            sources=self._partitions.state(),
            key_groups=self._key_groups(),
            last=last,
            state_files=() if self._closed else self._states.files(),
            frontiers=self._partitions.frontiers(),
            closed=self._closed,
            lookups=self._lookups.state(cut=False, last=last),
        )

    def _reopen(self) -> None:
        """Refuse to go on where event time has ended, unless that is what is asked for."""
        newest = self._log.newest.manifest
        self._closed = newest.closed and not self._settings.reopen
        if self._closed:
            self._commits.drain(self._settings.drain_s, self._abort.is_set)
            raise PlanError(
                f"{self._runnable.name} was finished with close_windows=True: every window is "
                "closed, and rows that come now would be in windows that are written already",
                "run(reopen=True) begins event time anew",
            )

    def _stateful_nodes(self) -> list[str]:
        return [node["id"] for node in self._runnable.plan["nodes"] if node.get("stateful")]

    def _check_ends(self, found: FoundBySource) -> None:
        for source, partitions in found.items():
            if any(not each.end for each in partitions):
                raise PlanError(
                    f'{self._runnable.source_names[source]} has no end, so until="now" is never '
                    "reached",
                    "give it one (rows= of a generator), or run without until",
                )

    def _await_sources(self, discovery: Discovery) -> FoundBySource | None:
        """Partitions of all sources, when they are reached; None if the end was asked for."""
        limits = [node["options"].get("give_up_after_ms", 0) for node in self._source_nodes()]
        patience_s = min((limit / 1000 for limit in limits if limit), default=math.inf)
        started = time.monotonic()
        while not self._stop.is_set():
            self._commits.check()
            discovery.begin(bounded=self._settings.bounded, known=self._partitions.positions())
            try:
                found = discovery.take(TICK_S)
            except FrazilError as error:
                waited = time.monotonic() - started
                if not error.retryable or not self._settings.wait_at_start or waited > patience_s:
                    raise
                self.status.trouble = {"sources": str(error)}
                if self._observer is not None:
                    self._observer.update(self.status)
                self._stop.wait(SOURCE_RETRY_S)
            else:
                if found is not None:
                    return found
        return None

    def _source_nodes(self) -> list[Any]:
        return [node for node in self._runnable.plan["nodes"] if node["kind"] == "source"]

    def _key_groups(self) -> KeyGroups:
        workers = self._settings.workers
        return KeyGroups(
            workers=tuple(group * workers // KEY_GROUPS for group in range(KEY_GROUPS)),
            hash_version=KEY_HASH_VERSION,
            encoding_version=KEY_ENCODING_VERSION,
        )

    # -- loop ------------------------------------------------------------------------------------

    def _loop(self) -> None:
        now = self._clock.now()
        next_cut = now + self._settings.checkpoint_every_s
        next_discover = now + self._settings.discover_every_s
        next_verify = now + self._settings.verify_every_s
        while not self._abort.is_set():
            for event in self._wait(next_cut):
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, EpochCut):
                    self._accept(event)
                else:
                    self._ended = True
            self._commits.check()
            self._show()
            now = self._clock.now()
            self._lookups.look(self._job, now)
            if self._cutting:
                continue
            self._rest(now)
            # Before the barrier: the epoch that admits them has to know where event time stands.
            self._take_partitions()
            if self._ended or self._stop.is_set():
                closing = self._settings.close_windows and self._ended
                if self._finishing or not (closing or self._has_news()):
                    return
                self._finishing = True
                self._barrier()
            elif now >= next_cut:
                next_cut = max(next_cut + self._settings.checkpoint_every_s, now)
                news = self._has_news() or self._lookups.waiting
                if news and self._log.pending_epochs() < self._pending_max:
                    self._barrier()
                    next_verify = now + self._settings.verify_every_s
                elif now >= next_verify:
                    next_verify = now + self._settings.verify_every_s
                    self._commits.verify()
            if now >= next_discover and not self._bounded:
                next_discover = now + self._settings.discover_every_s
                self._discovery.begin(bounded=False, known=self._partitions.positions())

    def _wait(self, next_cut: float) -> list[Any]:
        tick = TICK_S
        if not self._cutting:
            tick = min(TICK_S, max(0.001, next_cut - self._clock.now()))
        self._clock.waited(tick)
        return list(self._job.wait(tick))

    def _rest(self, now: float) -> None:
        """Have partitions rest that have nothing to read, where the program says that they may.

        Such a run is not exact, so it may depend on when this is called.
        """
        if self._rests:
            self._job.rest(int(now * 1_000_000), moving_watermark(self._job.metrics()))

    def _has_news(self) -> bool:
        return self._job.polled() != self._cut_polled or bool(self._admitted)

    def _barrier(self) -> None:
        self._cut_polled = self._job.polled()
        self._cutting = True
        self._cut_started = time.monotonic()
        lookups = [] if self._finishing else self._lookups.switch()
        self._job.barrier(self._log.next_slot, self._states.due(), lookups)

    def _accept(self, cut: EpochCut) -> None:
        """All workers have answered: the manifest, which is the commit; then the tables."""
        self._hook("after_prepare")
        admitted, self._admitted = self._partitions.admit(self._admitted), {}
        self._partitions.passed(cut.frontiers)
        sources = self._partitions.cut(cut.sources)
        self._closed = self._settings.close_windows and self._finishing and self._ended
        if not self._closed:  # else no window is open
            self._states.take(cut.state, self._put_state)
        lookups = self._lookups.state(cut=True, last=self._finishing)
        epoch = replace(self._epoch(last=self._finishing), sources=sources, lookups=lookups)
        self._append(replace(epoch, tokens=cut.tokens))
        self._lookups.switched()
        self._cutting = False
        self._count(cut)
        if admitted:
            self._job.assign(self._partitions.assign(admitted))
        self._commits.request()
        self._log.collect()

    def _put_state(self, cut: StateCut, number: int) -> StateFile:
        assert cut.data is not None
        return self._log.put_state(cut.operator, cut.worker, number, cut.data)

    def _append(self, epoch: Epoch) -> None:
        entry = self._log.append(epoch)
        self.status.epoch = entry.slot

    def _count(self, cut: EpochCut) -> None:
        status = self.status
        status.checkpoint_seconds = time.monotonic() - self._cut_started
        for source, counted in cut.sources.items():
            self._read[source] = counted.read
            status.rows[source] = counted.good
            diverted = source in self._runnable.diverting
            (status.rejected if diverted else status.dropped)[source] = counted.rejected
            status.lag[source] = counted.lag
        status.late.update(cut.late)

    def _on_landed(self, sink: str, done: Committed, seconds: float) -> None:
        status = self.status
        status.committed_rows[sink] = status.committed_rows.get(sink, 0) + done.rows
        status.commits[sink] = status.commits.get(sink, 0) + 1
        status.commit_seconds = seconds
        status.last_commit = time.monotonic()
        self._snapshots.setdefault(sink, []).extend(done.snapshots)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Tell sources what every table has; they may forget it."""
        self._hook("before_ack")
        positions = self._log.ack_positions()
        job: EngineJob | None = getattr(self, "_job", None)
        if positions and job is not None:
            job.committed(positions)

    def _take_partitions(self) -> None:
        """New partitions, if a look has ended: they are read from the next epoch on."""
        try:
            found = self._discovery.take() or {}
        except FrazilError as error:
            if not error.retryable:
                raise
            log_.warning("discover", pipeline=self._runnable.name, error=str(error))
            return
        known = self._partitions.state()
        for source, partitions in found.items():
            names = set(known[source].positions()) if source in known else set()
            expected = self._admitted.get(source, [])  # in this order the engine numbers them
            names |= {each.name for each in expected}
            new = [each for each in partitions if each.name not in names]
            if new:
                log_.info("partitions", source=source, new=[each.name for each in new])
                self._admitted[source] = [*expected, *new]
        if self._admitted:
            self._job.expect(self._partitions.assign_new(self._admitted))

    def _show(self) -> None:
        self.status.lookups = self._lookups.status()
        if self._observer is None and not self._threaded:
            return
        self.status.pending_epochs = self._log.pending_epochs()
        self.status.trouble = {
            self._runnable.targets[sink].name: str(error)
            for sink, error in self._commits.trouble().items()
        } | self._lookups.trouble()
        self.status.metrics = self._job.metrics()
        self.status.times.update(self.status.metrics, time.monotonic())
        if self._observer is not None:
            self._observer.update(self.status)

    # -- end -------------------------------------------------------------------------------------

    def _report(self, first_epoch: int, seconds: float) -> RunReport:
        names = self._runnable.source_names
        status = self.status
        sources = {
            names[source]: SourceReport(
                read=self._read.get(source, 0),
                good=status.rows.get(source, 0),
                rejected=status.rejected.get(source, 0),
                dropped=status.dropped.get(source, 0),
                partitions=self._partition_reports(source, state.positions()),
            )
            for source, state in self._partitions.state().items()
            if source in names
        }
        sinks = {
            target.name: SinkReport(
                rows=status.committed_rows.get(sink, 0),
                epochs=status.commits.get(sink, 0),
                snapshots=tuple(self._snapshots.get(sink, ())),
            )
            for sink, target in self._runnable.targets.items()
        }
        return RunReport(
            pipeline=self._runnable.name,
            attempt=self._log.attempt,
            first_epoch=first_epoch,
            last_epoch=self._log.newest.slot,
            seconds=seconds,
            sources=sources,
            sinks=sinks,
            late={status.times.names.get(step, step): n for step, n in status.late.items()},
        )

    def _close_log(self) -> None:
        """Write down what has landed, so that the next start has nothing to find out or repeat."""
        newest = self._log.newest.manifest
        landed = {sink: self._log.landed(sink) for sink in self._runnable.targets}
        if any(known is not None and newest.landed.get(s) != known for s, known in landed.items()):
            self._append(self._epoch(last=True))

    def _partition_reports(
        self, source: str, positions: Mapping[str, str]
    ) -> dict[str, PartitionReport]:
        starts = self._start_positions.get(source, {})
        lag = self.status.lag.get(source, {})
        return {
            name: PartitionReport(
                start=json.loads(starts.get(name, position)),
                end=json.loads(position),
                lag=None if lag.get(name, -1) < 0 else lag[name],
            )
            for name, position in positions.items()
        }
