"""The coordinator: takes the checkpoint log, runs the job, cuts epochs, has them committed.

The order of a start: take the log (a fence), commit what is pending, restore positions, run. The
order of an epoch: barrier, all workers answer, one manifest into the log, then the tables. What
may happen between any two of these is a crash, and the next start is right.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog
from frazil.checkpoint import CheckpointLog, Epoch, StateFile
from frazil.checkpoint.slot_put import Clock
from frazil.errors import CheckpointError, CommitRefused, Fenced, FrazilError, PlanError
from frazil.run.account import Account
from frazil.run.commit_loop import CommitLoop, Committed
from frazil.run.discovery import Discovery, FoundBySource
from frazil.run.engine_job import (
    EngineJob,
    EpochCut,
    Failed,
    Found,
    JobOptions,
    SchemasWanted,
    StateCut,
    StateMade,
    TableWanted,
)
from frazil.run.event_times import EventTimes, moving_watermark, step_names
from frazil.run.histories import Histories
from frazil.run.lookups import Lookups
from frazil.run.partitions import Partitions, key_groups
from frazil.run.reject_limit import RejectLimit
from frazil.run.routes import Routes
from frazil.run.run_clock import RunClock
from frazil.run.schemas import Schemas
from frazil.run.settings import PATIENCE_MIN_S, PENDING_EPOCHS_MAX, RunSettings
from frazil.run.slow_calls import SlowCalls
from frazil.run.state_chains import StateChains
from frazil.run.status import Observer, Status

if TYPE_CHECKING:
    from frazil.checkpoint import Manifest
    from frazil.report import RunReport
    from frazil.run.runnable import Runnable, SinkTarget

# The control loop wakes at least this often, to see signals and to show progress (seconds).
TICK_S = 0.1
# How long after a source could not be asked for its partitions it is asked again (seconds).
SOURCE_RETRY_S = 0.5

log_ = structlog.get_logger("frazil")


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
        self._runnable = self.runnable = runnable
        self._settings = settings
        self._observer = observer
        self._hook = hook
        self._events = events
        self._threaded = settings.simulated_seed is None
        self._clock = RunClock(None if self._threaded else settings.machine)
        self._stop = threading.Event()
        self._abort = threading.Event()
        self._returned = threading.Event()
        self._cutting = False
        self._cut_polled = 0
        self._ended = False
        self._closing = False
        self._opened = False
        self._finishing = False
        self._acknowledged: dict[str, dict[str, str]] = {}
        self._admitted: dict[str, list[Found]] = {}
        self._waiting: FoundBySource = {}  # partitions of sources that wait for others
        self._due: frozenset[str] = frozenset()  # histories that end with the epoch being cut
        self._rests = any(node.get("idle_after_us") for node in runnable.plan["nodes"])
        times = EventTimes(step_names(runnable.plan))
        self.status = Status(runnable.name, 0, time.monotonic(), times=times, apart=runnable.apart)
        self._account = Account(self.status, runnable.diverting)
        self._limit = RejectLimit(settings.max_rejected, runnable.names())

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
        self._targets: dict[str, SinkTarget] = dict(self._runnable.targets)
        self._runnable.recover(self._log)
        self._routes = Routes(
            self._targets, self._runnable.plan, self._log, threaded=self._threaded
        )
        self._commits = CommitLoop(
            self._log,
            self._targets,
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
                    self._schemas.close()
                    self._job.stop()
            if not self._abort.is_set():
                self._hook("before_drain")
                self._commits.drain(self._settings.drain_s, self._abort.is_set)
                self._close_log()
            if not self._stop.is_set():
                self._routes.require_open()
        finally:
            self._commits.stop()
            self._routes.close()
            for target in self._targets.values():
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
        newest = self._log.newest.manifest
        self._restore_sources(newest)
        self._reopen()
        stateful, lasting = self._runnable.stateful(), self._runnable.lasting()
        self._states = StateChains(
            stateful, newest.state_files, lasting=lasting, closed=newest.closed
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
        options = settings.job_options(
            self._log.attempt, first_epoch=self._log.next_slot + news, bounded=self._bounded
        )
        plan = self._runnable.with_sink_options(self._log)
        self._slow = SlowCalls(self._runnable.functions, self._runnable.name)
        self._job = EngineJob(plan, options, self._slow.calls)
        self._schemas = Schemas(
            self._runnable.registries,
            self._job,
            pipeline=self._runnable.name,
            wait=settings.wait_at_start,
        )
        restoring = time.monotonic()
        for file in self._states.restored():
            self._job.restore(file.operator, self._log.read_state(file))
        self._job.restored()
        self.status.restore_seconds = time.monotonic() - restoring
        self._lookups.give(self._job, self._clock.now())
        if news:
            self._append(self._epoch())
        self._waiting, now = self._histories.split(found)
        self._job.assign(self._partitions.assign(now))
        if self._histories.ended:
            self._job.end_sources(self._histories.ended)
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

    def _restore_sources(self, newest: Manifest) -> None:
        times = self._runnable.event_times()
        self._partitions = Partitions(
            newest.sources,
            workers=self._settings.workers,
            diverting=set(self._runnable.diverting),
            frontiers={} if newest.closed else newest.frontiers,
            times=times,
        )
        ended = [source for source, state in newest.sources.items() if state.ended]
        self._histories = Histories(self._runnable.plan, times, ended)
        self._histories.require_order(newest.frontiers, self._runnable.source_names)
        self._partitions.begin_at(self._histories.seams(self._partitions.frontiers()))

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
        left = self._histories.left()
        nodes = [node for node in self._runnable.sources() if node["id"] in left]
        scout = EngineJob({**self._runnable.plan, "nodes": nodes}, options, {})
        discovery = Discovery(scout, threaded=self._threaded)
        try:
            found = self._await_sources(discovery)
        finally:
            discovery.close()
            scout.stop()
        self._check_ends(found or {})
        return found

    def _epoch(self, *, last: bool = False) -> Epoch:
        """An epoch without rows: where everything stands."""
        return Epoch(
            sources=self._partitions.state(),
            key_groups=key_groups(self._settings.workers),
            last=last,
            state_files=self._states.files(closed=self._closed),
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

    def _check_ends(self, found: FoundBySource) -> None:
        bounded = self._settings.bounded and not self._settings.stopped
        for source, partitions in found.items():
            if all(each.end for each in partitions):
                continue
            name = self._runnable.source_names[source]
            if self._histories.is_one(source):
                raise PlanError(f"{name} is a history and has no end", "give it one")
            if bounded:
                raise PlanError(
                    f'{name} has no end, so until="now" is never reached',
                    "give it one (rows= of a generator), or run without until",
                )

    def _await_sources(self, discovery: Discovery) -> FoundBySource | None:
        """Partitions of all sources, when they are reached; None if the end was asked for."""
        limits = [node["options"].get("give_up_after_ms", 0) for node in self._runnable.sources()]
        patience_s = min((limit / 1000 for limit in limits if limit), default=math.inf)
        started = time.monotonic()
        while not self._stop.is_set():
            self._commits.check()
            discovery.begin(
                bounded=self._settings.bounded,
                known=self._partitions.positions(),
                sources=self._histories.left(),
            )
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
                if isinstance(event, StateMade):
                    self._store_state(event.state)
                elif isinstance(event, TableWanted):
                    self._routes.want(event, self._clock.now())
                elif isinstance(event, EpochCut):
                    self._accept(event)
                elif isinstance(event, SchemasWanted):
                    self._schemas.want(event.schemas)
                else:
                    self._ended = True
            self._commits.check()
            self._schemas.check()
            self._show()
            now = self._clock.now()
            self._lookups.look(self._job, now)
            if not self._finishing:
                self._routes.look(self._job, now, cutting=self._cutting)
            if self._cutting:
                continue
            self._rest(now)
            # Before the barrier: the epoch that admits them has to know where event time stands.
            self._take_partitions()
            if self._stop.is_set() or (self._ended and not self._routes.opening(now)):
                closing = self._settings.close_windows and self._ended
                if closing and not self._finishing:
                    self._routes.require_open()
                if self._finishing or not (closing or self._has_news()):
                    return
                self._finishing = True
                self._barrier()
            elif now >= next_cut or self._due_now() or self._job.full():
                next_cut = max(next_cut + self._settings.checkpoint_every_s, now)
                news = self._has_news() or self._lookups.waiting or bool(self._due_now())
                if news and self._log.pending_epochs() < self._pending_max:
                    self._barrier()
                    next_verify = now + self._settings.verify_every_s
                else:
                    if news:
                        self._commits.require_taken()
                    if now >= next_verify:
                        next_verify = now + self._settings.verify_every_s
                        self._commits.verify()
            if now >= next_discover and not self._bounded:
                next_discover = now + self._settings.discover_every_s
                self._discovery.begin(
                    bounded=False,
                    known=self._partitions.positions(),
                    sources=self._histories.growing(),
                )

    def _wait(self, next_cut: float) -> list[Any]:
        left = max(0.001, next_cut - self._clock.now())
        tick = TICK_S if self._cutting else min(TICK_S, left)
        events = list(self._job.wait(tick))
        self._clock.waited(tick, self._job.clock_us())
        return events

    def _rest(self, now: float) -> None:
        """Have partitions rest that have nothing to read, where the program says that they may.

        Such a run is not exact, so it may depend on when this is called.
        """
        if self._rests:
            self._job.rest(int(now * 1_000_000), moving_watermark(self._job.metrics()))

    def _has_news(self) -> bool:
        polled = self._job.polled() != self._cut_polled
        return polled or bool(self._admitted) or self._routes.told or self._job.full()

    def _due_now(self) -> frozenset[str]:
        """Histories that have been read to their end, and are to be left behind."""
        return self._histories.due(self._job.metrics()) if self._histories.pending else frozenset()

    def _barrier(self) -> None:
        self._cut_polled = self._job.polled()
        self._routes.told = False
        self._due = self._due_now()
        self._cutting = True
        # No window is open in it; not if the end only comes behind the barrier.
        self._closing = self._settings.close_windows and self._finishing and self._ended
        self._cut_started = time.monotonic()
        lookups = [] if self._finishing else self._lookups.switch()
        self._job.barrier(self._log.next_slot, self._states.due(), lookups)

    def _accept(self, cut: EpochCut) -> None:
        """All workers have answered: the manifest, which is the commit; then the tables."""
        self._hook("after_prepare")
        self.status.metrics = self._job.metrics()
        admitted, self._admitted = self._partitions.admit(self._admitted), {}
        waiting, admitted = self._histories.split(admitted)
        for source, partitions in waiting.items():
            self._waiting.setdefault(source, []).extend(partitions)
        self._partitions.passed(cut.frontiers)
        admitted |= self._cross_seam()
        self._limit.check(cut)
        sources = self._partitions.cut(cut.sources)
        steps = self._account.settle(self._runnable.letters, sources, cut)
        self._closed = self._closing
        self._store_state(cut.state)
        self._states.accept()
        lookups = self._lookups.state(cut=True, last=self._finishing)
        epoch = replace(self._epoch(last=self._finishing), sources=sources, lookups=lookups)
        self._append(replace(epoch, tokens=self._routes.split(cut.tokens), steps=steps))
        self._lookups.switched()
        self._cutting = False
        self.status.checkpoint_seconds = time.monotonic() - self._cut_started
        self._account.count(cut)
        if admitted and not self._finishing:
            self._job.assign(self._partitions.assign(admitted))
        if self._due and not self._finishing:
            self._job.end_sources(self._due)
        self._commits.request()
        self._log.collect()

    def _cross_seam(self) -> FoundBySource:
        """End the histories that have been read; gives what waited for them.

        What waited begins where event time stands then. Both stand in the manifest before a row of
        it is read, so that it is the same after a crash.
        """
        if not self._due:
            return {}
        self._histories.end(self._due)
        self._partitions.end(self._due)
        self._partitions.begin_at(self._histories.seams(self._partitions.frontiers()))
        self._waiting, begun = self._histories.split(self._waiting)
        history = [self._runnable.source_names[source] for source in sorted(self._due)]
        if not self._settings.quiet:
            log_.info("history read", pipeline=self._runnable.name, history=history)
        return begun

    def _store_state(self, cuts: tuple[StateCut, ...]) -> None:
        self._states.store(cuts, self._put_state, closing=self._closing)

    def _put_state(self, cut: StateCut, number: int) -> StateFile:
        assert cut.data is not None
        return self._log.put_state(cut.operator, cut.worker, number, cut.data)

    def _append(self, epoch: Epoch) -> None:
        entry = self._log.append(epoch)
        self.status.epoch = entry.slot

    def _on_landed(self, sink: str, done: Committed, seconds: float) -> None:
        self._account.landed(sink, done, seconds)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Tell sources what every table has; they may forget it."""
        self._hook("before_ack")
        positions = self._log.ack_positions()
        job: EngineJob | None = getattr(self, "_job", None)
        if positions and job is not None and positions != self._acknowledged:
            self._acknowledged = positions
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
        _, begun = self._histories.split(self._admitted)
        if begun:
            self._job.expect(self._partitions.assign_new(begun))

    def _show(self) -> None:
        self.status.lookups = self._lookups.status()
        if self._observer is None and not self._threaded:
            return
        self.status.pending_epochs = self._log.pending_epochs()
        self.status.trouble = {
            self._targets[sink].name: str(error) for sink, error in self._commits.trouble().items()
        }
        self._slow.look()
        others = (self._lookups, self._routes, self._schemas, self._slow)
        self.status.trouble |= {k: v for each in others for k, v in each.trouble().items()}
        self.status.metrics = self._job.metrics()
        self.status.times.update(self.status.metrics, time.monotonic())
        if self._observer is not None:
            self._observer.update(self.status)

    # -- end -------------------------------------------------------------------------------------

    def _report(self, first_epoch: int, seconds: float) -> RunReport:
        return self._account.report(
            first_epoch=first_epoch,
            last_epoch=self._log.newest.slot,
            seconds=seconds,
            sources=self._runnable.source_names,
            starts=self._start_positions,
            positions=self._partitions.positions(),
            sinks={sink: target.name for sink, target in self._targets.items()},
        )

    def _close_log(self) -> None:
        """Write down what has landed, so that the next start has nothing to find out or repeat."""
        newest = self._log.newest.manifest
        landed = {sink: self._log.landed(sink) for sink in self._targets}
        if any(known is not None and newest.landed.get(s) != known for s, known in landed.items()):
            self._append(self._epoch(last=True))
