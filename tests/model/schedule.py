"""Several processes with the real log, interleaved step by step as a list of numbers says.

Each process is a thread, but only one runs at a time: it pauses before every request to the store
and to a table, and goes on when its turn comes. What happens is written down at the moment at which
it takes effect, in the words of the model's steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frazil.checkpoint import CheckpointLog, Epoch, Partition, Plan, Rewind, SourceState, is_orphan
from frazil.checkpoint.history import slot_of
from frazil.checkpoint.manifest import Manifest, OperatorPlan, decode
from frazil.checkpoint.memory_store import MemoryStore
from frazil.checkpoint.slot_put import Clock
from frazil.checkpoint.store import PutOutcome
from frazil.errors import CheckpointError, CommitRefused, Fenced

from tests.model.fake_table import FakeCommitter, FakeTables, token

if TYPE_CHECKING:
    from tests.model.world import Commit

SINKS = ("a", "b")
PLAN = Plan("plan", tuple(OperatorPlan(sink, "sink") for sink in SINKS))

# A process that has not paused within this time hangs (seconds).
PATIENCE_S = 30


class Killed(BaseException):
    """The process ends here, as by SIGKILL."""


@dataclass
class Event:
    """Something that took effect. `what` is a word of the model's labels."""

    what: str
    who: int
    data: dict[str, Any] = field(default_factory=dict)


class Choices:
    """The numbers that decide everything; zeros when they are used up."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers: Iterator[int] = iter(numbers)
        self.left = len(numbers)

    def pick(self, count: int) -> int:
        """A number below `count`."""
        self.left -= 1
        return next(self._numbers, 0) % count


class Schedule:
    """The shared world, and whose turn it is."""

    def __init__(self, numbers: Sequence[int], *, processes: int, rewinds: bool = False) -> None:
        self.choices = Choices(numbers)
        self.rewinds = rewinds
        self.store = MemoryStore("schedule")
        self.tables = FakeTables(SINKS)
        self.late_commits: list[tuple[int, Commit]] = []
        self.acked = 0  # the source has forgotten the rows below
        self.events: list[Event] = []
        self.log_events: list[dict[str, Any]] = []  # what the logs say themselves
        self.processes = [RealProcess(self, who) for who in range(1, processes + 1)]

    def run(self) -> None:
        """Let processes and the network go on until the choices are used up; then kill all."""
        try:
            while self.choices.left > 0:
                alive = [process for process in self.processes if not process.ended]
                others = (len(self.store.in_flight) > 0) + (len(self.late_commits) > 0)
                turn = self.choices.pick(len(alive) * 3 + others) if alive or others else -1
                if turn < 0:
                    break
                if turn < len(alive) * 3:
                    alive[turn // 3].step()
                elif self.store.in_flight and turn == len(alive) * 3:
                    self._late_put()
                else:
                    self._late_commit()
        finally:
            for process in self.processes:
                process.kill()

    def _late_put(self) -> None:
        at = self.choices.pick(len(self.store.in_flight))
        key, data = self.store.in_flight[at]
        at = self.store.in_flight.index((key, data))  # the oldest copy
        created = self.store.land_late(at) is PutOutcome.CREATED
        process = next(process for process in self.processes if data in process.sent)
        copy = process.late_copies[key, data].pop(0)
        process.note("put lands", slot=slot_of(key), accepted=created, copy=copy)

    def _late_commit(self) -> None:
        who, commit = self.late_commits.pop(self.choices.pick(len(self.late_commits)))
        accepted = self.tables.commit(commit)
        self.events.append(_commit_lands(who, commit, accepted))


class RealProcess:
    """One process: opens the log, then does what is chosen for it until it ends."""

    def __init__(self, schedule: Schedule, who: int) -> None:
        self.schedule = schedule
        self.who = who
        self.ended = False
        self.error: BaseException | None = None
        self.sent: list[bytes] = []
        self.late_copies: dict[tuple[str, bytes], list[int]] = {}
        self._killed = False
        self._go = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def step(self) -> None:
        """Run to the next pause, or to the end."""
        self._go.release()
        assert self._paused.acquire(timeout=PATIENCE_S), f"process {self.who} hangs"

    def kill(self) -> None:
        """End it where it is."""
        self._killed = True
        if not self.ended:
            self.step()
        self._thread.join(PATIENCE_S)

    def pause(self) -> None:
        """Wait for the next turn."""
        self._paused.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def note(self, what: str, **data: Any) -> None:
        """Write down what takes effect now."""
        self.schedule.events.append(Event(what, self.who, data))

    def pick(self, count: int) -> int:
        """Choose among `count` ways to go on."""
        return self.schedule.choices.pick(count)

    def _main(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._live()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.ended = True
        self._paused.release()

    # -- its life
    # ------------------------------------------------------------------------------------

    def _live(self) -> None:
        store = SteppingStore(self)
        order = None
        if self.schedule.rewinds and self.who > 1 and self.pick(2):
            order = Rewind(to=self.pick(4), proofs=self.schedule.tables.proof)
            store.atomic = True
        try:
            log = CheckpointLog.open(
                store,
                plan=PLAN,
                takeover=True,
                rewind=order,
                clock=Clock(sleep=lambda _: None),
                events=self.schedule.log_events,
            )
            store.atomic = False
            while True:
                self._act(log)
        except Fenced as error:
            self.note("ended", why="fenced")
            self.error = error
        except CommitRefused as error:
            self.error = error
        except CheckpointError as error:
            self.note("ended", why="refused")
            self.error = error

    def _act(self, log: CheckpointLog) -> None:
        actions: list[Callable[[CheckpointLog], None]] = [
            self._epoch,
            lambda log: self._commit(log, "a"),
            lambda log: self._commit(log, "b"),
            self._ack,
            self._collect,
            self._orphans,
        ]
        self.pause()
        actions[self.pick(len(actions))](log)

    def _epoch(self, log: CheckpointLog) -> None:
        source = log.newest.manifest.sources.get("s")
        start = int(source.partitions[0].position) if source else 0
        start = max(start, self.schedule.acked)  # what was acknowledged is gone from the source
        end = start + self.pick(3)
        log.append(make_epoch(start, end))

    def _commit(self, log: CheckpointLog, sink: str) -> None:
        committer = FakeCommitter(self.schedule.tables, log, sink)
        at = len(self.schedule.events)
        try:
            load = committer.load()
        except (Fenced, CommitRefused) as error:
            what = "fenced" if isinstance(error, Fenced) else "refused"
            self.schedule.events.insert(at, Event(what, self.who, {"sink": committer.at}))
            raise
        if load.commit is None:
            if load.seen is not None and load.seen != log.landed(sink):
                self.note("seen", sink=committer.at)
                log.record_landed(sink, load.seen.slot, load.seen.digest)
            return
        self.note("send", sink=committer.at, slot=load.slot, commit=load.commit)
        self.pause()
        fault = self.pick(6)
        if fault == 5:
            self.note("time out")
            self.schedule.late_commits.append((self.who, load.commit))
            return
        if fault == 4:
            self.note("time out")
        accepted = self.schedule.tables.commit(load.commit)
        self.schedule.events.append(_commit_lands(self.who, load.commit, accepted))
        if accepted and fault < 4:
            done = load.commit.ref
            log.record_landed(sink, done.slot, done.digest)  # type: ignore[attr-defined]

    def _ack(self, log: CheckpointLog) -> None:
        positions = log.ack_positions()
        if positions:
            ready = int(positions["s"]["p"])
            if ready > self.schedule.acked:
                self.schedule.acked = ready
                self.note("ack", ready=ready)

    def _collect(self, log: CheckpointLog) -> None:
        removed = [slot for key in log.collect() if (slot := slot_of(key)) is not None]
        if removed:
            self.note("collect", slots=removed)

    def _orphans(self, log: CheckpointLog) -> None:
        tables = self.schedule.tables
        dead = {
            file
            for file in tables.files
            if is_orphan(int(str(file[1])), int(str(file[2])), log.owners, log.attempt)
        }
        if dead:
            tables.files -= dead
            tables.gone |= dead
            self.note("orphans", files=dead)


class SteppingStore:
    """The shared store as one process uses it: pauses before each request, notes what it does."""

    def __init__(self, process: RealProcess) -> None:
        self._process = process
        self._store = process.schedule.store
        self.url = self._store.url
        self.atomic = False  # no pauses while a rewind compares tables with the log
        self._asking = ""  # key of a put that was not plainly accepted
        self._copies: dict[bytes, int] = {}

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        process = self._process
        if data not in process.sent:
            process.sent.append(data)
            self._note_sent(decode(data))
        elif self._asking == key:
            process.note("put again")
        copy = self._copies[data] = self._copies.get(data, -1) + 1
        self._asking = key
        self.atomic = False
        process.pause()
        fault = process.pick(8)
        slot = slot_of(key)
        if fault >= 5:
            process.note("time out")
        if fault == 7:
            return PutOutcome.UNKNOWN  # never arrives
        if fault == 6:
            process.late_copies.setdefault((key, data), []).append(copy)
            self._store.in_flight.append((key, data))
            return PutOutcome.UNKNOWN
        outcome = self._store.put_new(key, data)
        accepted = outcome is PutOutcome.CREATED
        process.note("put lands", slot=slot, accepted=accepted, copy=copy)
        if accepted and fault < 5:
            self._asking = ""
        return PutOutcome.UNKNOWN if fault == 5 else outcome

    def get(self, key: str) -> bytes | None:
        self._pause()
        data = self._store.get(key)
        if key == self._asking and data is not None:
            self._process.note("read")
            self._asking = ""
        return data

    def list(self, prefix: str, after: str = "") -> list[str]:
        self._pause()
        if prefix == "log/" and not after:
            self._process.note("list")
        return self._store.list(prefix, after)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def probe(self) -> None:
        self._store.probe()

    def _pause(self) -> None:
        if not self.atomic:
            self._process.pause()

    def _note_sent(self, manifest: Manifest) -> None:
        if manifest.kind == "epoch":
            files = self._process.schedule.tables.files
            for sink in manifest.tokens:
                files.add(("data", manifest.attempt, manifest.slot, SINKS.index(sink)))
            self._process.note("prepare", manifest=manifest)
        else:
            self._process.note("start", manifest=manifest)


def make_epoch(start: int, end: int) -> Epoch:
    """Rows `start` to `end` of the only source, spread over the sinks."""
    tokens = {}
    for at, sink in enumerate(SINKS):
        if rows := [(0, number) for number in range(start, end) if number % len(SINKS) == at]:
            tokens[sink] = token(rows)
    return Epoch(sources={"s": SourceState((Partition("p", str(end)),))}, tokens=tokens)


def _commit_lands(who: int, commit: Commit, accepted: bool) -> Event:
    return Event(
        "commit lands",
        who,
        {"sink": commit.sink, "slot": commit.ref.slot, "accepted": accepted, "commit": commit},
    )


def restart_alone(schedule: Schedule, rows: int) -> CheckpointLog:
    """A fresh process, nothing else running: brings all rows below `rows` into the tables."""
    log = CheckpointLog.open(schedule.store, takeover=True)
    for sink in SINKS:
        FakeCommitter(schedule.tables, log, sink).run()
    source = log.newest.manifest.sources.get("s")
    start = max(int(source.partitions[0].position) if source else 0, schedule.acked)
    log.append(make_epoch(start, max(rows, start)))
    for sink in SINKS:
        FakeCommitter(schedule.tables, log, sink).run()
    return log
