"""The checkpoint log: an epoch is committed when its slot is accepted here, and at no other moment.

A process takes the log with `CheckpointLog.open`, which puts a fence; before that it may read
nothing it relies on. Then it appends one manifest per epoch, commits the tokens of accepted slots
to the tables in order, and tells the log what has landed. Rules in docs/formats/checkpoint.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from frazil.checkpoint import history
from frazil.checkpoint.collector import Collector
from frazil.checkpoint.history import slot_key
from frazil.checkpoint.manifest import (
    Entry,
    KeyGroups,
    Landed,
    LookupState,
    Manifest,
    Owner,
    Plan,
    SinkToken,
    SourceState,
    StateFile,
    StepRows,
    digest_of,
    encode,
)
from frazil.checkpoint.opening import Opening
from frazil.checkpoint.reader import list_slots, parse_slot, read_slot
from frazil.checkpoint.slot_put import Clock, patiently, put_object
from frazil.checkpoint.state_files import load_state, state_key, store_state
from frazil.checkpoint.takeover import this_writer
from frazil.checkpoint.tokens import load_parts, store_token
from frazil.errors import CheckpointError, Fenced

if TYPE_CHECKING:
    from frazil.checkpoint.plan_fit import Fit
    from frazil.checkpoint.rewind import Rewind
    from frazil.checkpoint.store import Store

T = TypeVar("T")

# Exit code of a fenced process. Supervisors must not restart on it (RestartPreventExitStatus=76).
EXIT_FENCED = 76

# A process that does not ask for a takeover waits until the newest slot is this old (seconds).
PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What a coordinator gives for an epoch, when all workers have answered."""

    sources: Mapping[str, SourceState]
    tokens: Mapping[str, Sequence[str]] = field(default_factory=dict)  # non-empty parts by sink
    state_files: tuple[StateFile, ...] = ()
    key_groups: KeyGroups | None = None
    last: bool = False  # the process means to end after this one
    frontiers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    closed: bool = False  # every window is closed
    lookups: Mapping[str, LookupState] = field(default_factory=dict)
    steps: Mapping[str, StepRows] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A token that is to be committed to its table. `parts` is empty for an empty commit."""

    sink: str
    slot: int
    digest: str
    attempt: int
    incarnation: str
    parts: tuple[str, ...]
    sources: Mapping[str, SourceState]  # positions, for the snapshot summary
    created_us: int = 0  # wall clock of who put the manifest


class LogView:
    """What a sink's committer may ask of the log."""

    def __init__(self, log: CheckpointLog, sink: str) -> None:
        self._log = log
        self.sink = sink

    @property
    def incarnation(self) -> str:
        """Identity of the log."""
        return self._log.incarnation

    @property
    def attempt(self) -> int:
        """Number of this process's attempt."""
        return self._log.attempt

    @property
    def landed(self) -> Landed | None:
        """The last token known to be in the table."""
        return self._log.landed(self.sink)

    @property
    def head(self) -> int | None:
        """The table's head snapshot that was verified last."""
        return self._log.head(self.sink)

    @property
    def landed_us(self) -> int | None:
        """When its manifest was put, by the clock of who did it; None if the log has it no more."""
        landed = self.landed
        return None if landed is None else self._log.created_us(landed.slot)

    @property
    def floor(self) -> int:
        """Lowest slot that a restart may need."""
        return self._log.newest.manifest.floor

    def remove_staged(self, names: Iterable[str]) -> None:
        """Remove files from the folder of staged data; nothing happens if they are not there."""
        self._log.remove_staged(names)

    def contains(self, slot: int, digest: str) -> bool:
        """Whether the log gave this sink a token in this slot, with this digest."""
        return self._log.contains(self.sink, slot, digest)

    def newer_attempt(self) -> int | None:
        """Look into the store for a newer process; its attempt, or None."""
        return self._log.newer_attempt()


class CheckpointLog:
    """A log that this process owns, until somebody newer fences it.

    Threads: any; appends are done one at a time. After Fenced or OutcomeUnknown every call that
    writes raises the same again.
    """

    def __init__(
        self,
        store: Store,
        entries: Sequence[Entry],
        nonce: str,
        *,
        plan: Plan | None,
        fit: Fit,
        retain: int,
        hook: Callable[[str], None],
        events: list[dict[str, Any]] | None,
        clock: Clock,
    ) -> None:
        newest = entries[-1].manifest
        self._store = store
        self._entries = list(entries)
        self._nonce = nonce
        self._plan = plan if plan is not None else newest.plan
        self.fit = fit
        self._hook = hook
        self._events = events
        self._clock = clock
        self._lock = threading.RLock()  # the attributes here
        self._appending = threading.Lock()  # one append or collection at a time
        self._landed = dict(newest.landed)
        self._heads = dict(newest.heads)
        self._stopped: CheckpointError | None = None
        self._collector = Collector(store, retain)

    @classmethod
    def open(
        cls,
        store: Store,
        *,
        plan: Plan | None = None,
        takeover: bool = False,
        patience_s: float = PATIENCE_S,
        retain: int = 0,
        rewind: Rewind | None = None,
        hook: Callable[[str], None] = lambda _: None,
        events: list[dict[str, Any]] | None = None,
        clock: Clock | None = None,
    ) -> CheckpointLog:
        """Take the log: list, check, put a fence (or a rewind) at the next slot.

        Parameters
        ----------
        store
            Where the log is. Call its `probe` before.
        plan
            What wants to restore the checkpoint; refused here if it does not fit.
        takeover
            Do not wait to see whether another process is at work, end it.
        patience_s
            Without `takeover`: how old (seconds) a stranger's newest slot must be.
        retain
            Slots below the floor that are kept, for a rewind.
        rewind
            Restore an older slot.
        hook
            Called with the name of each step, for crash tests.
        events
            Gets a dict for every step: kind ("fence_put", "opened", "put", "accepted", "landed",
            "ack", "collected", "fenced"), nonce and attempt of the process, and what belongs to it.
            JSON can hold it. For tests.
        clock
            For tests.

        Raises
        ------
        CheckpointError
            The log lost a slot, the plan does not fit, the rewind would be wrong, or another
            process is at work. Nothing was written then, and a running process was not disturbed.
        Fenced
            A newer process took the log at the same time.
        """
        clock = clock or Clock()
        opening = Opening(
            store, plan, rewind, hook, events, clock, None if takeover else patience_s
        )
        entries, fit = opening.take()
        log = cls(
            store,
            entries,
            opening.nonce,
            plan=plan,
            fit=fit,
            retain=retain,
            hook=hook,
            events=events,
            clock=clock,
        )
        log._look_for_newer()
        hook("after_l4_list")
        log._event("opened", slot=entries[-1].slot, digest=entries[-1].digest)
        return log

    # -- what is staged beside it ------------------------------------------------------------------

    STAGED = "staged"
    """Folder of the store in which sinks keep what is to be sent when its epoch is accepted."""

    def staged(self) -> list[str]:
        """Names of the files in that folder."""
        folder = f"{self.STAGED}/"
        keys = patiently(lambda: self._store.list(folder), self._clock)
        return [key.removeprefix(folder) for key in keys]

    def remove_staged(self, names: Iterable[str]) -> None:
        """Remove files from that folder; nothing happens if they are not there."""
        for name in names:
            self._store.delete(f"{self.STAGED}/{name}")

    # -- what it holds ---------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the log is."""
        return self._store.url

    @property
    def incarnation(self) -> str:
        """Identity of the log, made with its first slot."""
        return self.newest.manifest.incarnation

    @property
    def attempt(self) -> int:
        """Number of this process's attempt."""
        return self.newest.manifest.attempt

    @property
    def newest(self) -> Entry:
        """The last accepted slot: right after opening, what to restore."""
        with self._lock:
            return self._entries[-1]

    @property
    def owners(self) -> tuple[Owner, ...]:
        """Who had which slots; for `is_orphan`."""
        return self.newest.manifest.owners

    @property
    def next_slot(self) -> int:
        """Number of the next epoch."""
        return self.newest.slot + 1

    def landed(self, sink: str) -> Landed | None:
        """The last token of a sink that is known to be in its table."""
        with self._lock:
            return self._landed.get(sink)

    def head(self, sink: str) -> int | None:
        """The head snapshot of a sink's table that was verified last."""
        with self._lock:
            return self._heads.get(sink)

    def contains(self, sink: str, slot: int, digest: str) -> bool:
        """Whether the log gave a sink a token in this slot, with this digest."""
        with self._lock:
            return history.contains(self._entries, sink, slot, digest)

    def created_us(self, slot: int) -> int | None:
        """When a manifest was put, by the clock of who did it; None if it is gone."""
        with self._lock:
            found = [entry for entry in self._entries if entry.slot == slot]
        return found[0].manifest.created_us if found else None

    def pending(self, sink: str) -> list[Pending]:
        """Tokens of a sink that are not known to be in its table, in the order to commit them."""
        with self._lock:
            entries = history.unlanded(self._entries, sink, self._landed)
        return [self._pending(entry, sink) for entry in entries]

    def pending_epochs(self) -> int:
        """Number of accepted epochs that some table does not have yet."""
        with self._lock:
            return len({entry.slot for entry, _ in history.waiting(self._entries, self._landed)})

    def sinks(self) -> list[str]:
        """Sinks with tokens in the log."""
        with self._lock:
            return sorted({sink for entry in self._entries for sink in entry.manifest.tokens})

    def waiting_sinks(self) -> set[str]:
        """Sinks with tokens that are not known to be in their tables."""
        with self._lock:
            return {sink for _, sink in history.waiting(self._entries, self._landed)}

    def view(self, sink: str) -> LogView:
        """The log as the committer of a sink sees it."""
        return LogView(self, sink)

    def ack_positions(self) -> dict[str, dict[str, str]] | None:
        """Positions below which every table has every row: sources may forget these rows.

        None while epochs found on opening wait for their tables. Never positions of the newest
        manifest as such: a manifest can get lost with its store, rows in tables cannot.
        """
        with self._lock:
            self._check_running()
            newest = self._entries[-1]
            floor = history.floor_of(self._entries, self._landed, newest.slot + 1)
            entry = history.last_below(self._entries, floor)
            if entry is None:
                return None
            self._event("ack", slot=entry.slot, digest=entry.digest)
            return {source: state.positions() for source, state in entry.manifest.sources.items()}

    # -- what changes it -------------------------------------------------------------------------

    def append(self, epoch: Epoch) -> Entry:
        """Commit an epoch: put its manifest at the next slot.

        When this returns, the epoch is committed and its tokens may go to the tables. Everything
        that can make a commit fail for good has to be checked before.

        Raises
        ------
        Fenced
            A newer process has the log. Nothing of this epoch counts, commit nothing.
        OutcomeUnknown
            The store does not say whether the manifest is there. End; the next start will know.
        """
        with self._appending:
            self._check_running()
            with self._lock:
                previous = self._entries[-1]
                landed = dict(self._landed)
                heads = dict(self._heads)
                floor = history.floor_of(self._entries, landed, previous.slot + 1)
            manifest = self._manifest(previous, epoch, landed, heads, floor)
            data = encode(manifest)
            self._hook("before_put")
            self._event("put", slot=manifest.slot, digest=digest_of(data), manifest=data.decode())
            found = self._stopping(
                lambda: put_object(self._store, slot_key(manifest.slot), data, self._clock)
            )
            self._hook("after_put")
            if found != data:
                self._fence(parse_slot(self._store, manifest.slot, found))
            entry = Entry(manifest, digest_of(data))
            self._look_for_newer(after=manifest.slot)
            self._hook("after_l4_list")
            with self._lock:
                self._entries.append(entry)
                self._forget(manifest.floor)
                # Here, as another thread may see the entry, and tell what comes of it, from now on.
                self._event("accepted", slot=entry.slot, digest=entry.digest)
            self._collector.add_manifest(manifest)
            return entry

    def record_landed(self, sink: str, slot: int, digest: str, *, head: int | None = None) -> None:
        """Say that a table has all tokens of a sink up to this slot.

        Parameters
        ----------
        sink, slot, digest
            The token, as its `Pending` named it.
        head
            The table's head snapshot in which this was seen.
        """
        with self._lock:
            known = self._landed.get(sink)
            if known is not None and (slot, digest) == (known.slot, known.digest):
                pass
            elif known is not None and slot <= known.slot:
                raise CheckpointError(
                    f"{self.url}: sink {sink!r} landed epoch {known.slot}, so epoch {slot} "
                    "cannot be its last"
                )
            elif not history.contains(self._entries, sink, slot, digest):
                raise CheckpointError(
                    f"{self.url}: sink {sink!r} has no token in epoch {slot} with digest "
                    f"{digest[:12]}"
                )
            else:
                self._landed[sink] = Landed(slot, digest)
                self._event("landed", sink=sink, slot=slot, digest=digest)
            if head is not None:
                self._heads[sink] = head

    def newer_attempt(self) -> int | None:
        """Look into the store for a slot of another process above ours; its attempt, or None."""
        with self._lock:
            newest = self._entries[-1].slot
        for slot in reversed(patiently(lambda: list_slots(self._store, after=newest), self._clock)):
            entry = patiently(lambda slot=slot: read_slot(self._store, slot), self._clock)  # type: ignore[misc]
            if entry is not None and entry.manifest.nonce != self._nonce:
                self._stopped = self._stopped or self._fenced_by(entry, slot)
                return entry.manifest.attempt
        return None

    def put_state(self, operator: str, worker: int, number: int, data: bytes) -> StateFile:
        """Put a state file of the next epoch, which is to name it.

        Raises
        ------
        OutcomeUnknown
            The store gives no answer.
        """
        with self._appending:
            self._check_running()
            newest = self.newest
            key = state_key(newest.manifest.attempt, newest.slot + 1, operator, worker, number)
            self._hook("before_state_put")
            file = self._stopping(
                lambda: store_state(self._store, key, operator, data, self._clock)
            )
            self._collector.add_state(key)
            return file

    def read_state(self, file: StateFile) -> bytes:
        """Read a state file that the newest manifest names."""
        return patiently(lambda: load_state(self._store, file), self._clock)

    def collect(self) -> list[str]:
        """Remove what nobody needs any more: slots below the accepted floor, and their tokens.

        Returns
        -------
        list of str
            Keys that were removed.
        """
        with self._appending:
            self._check_running()
            newest = self.newest.manifest
            self._hook("before_gc")
            removed = self._collector.collect(newest)
            self._hook("after_gc")
            if removed:
                self._event("collected", floor=newest.floor, keys=removed)
            return removed

    # -- inside ----------------------------------------------------------------------------------

    def _manifest(
        self,
        previous: Entry,
        epoch: Epoch,
        landed: dict[str, Landed],
        heads: dict[str, int],
        floor: int,
    ) -> Manifest:
        before = previous.manifest
        slot = before.slot + 1
        _check_rows(epoch.sources)
        tokens: dict[str, SinkToken] = {}
        for sink, parts in epoch.tokens.items():
            if kept := tuple(part for part in parts if part):
                tokens[sink] = self._stopping(
                    lambda sink=sink, kept=kept: store_token(  # type: ignore[misc]
                        self._store, before.attempt, slot, sink, kept, self._clock
                    )
                )
                if (stored := tokens[sink].stored) is not None:
                    self._collector.add_token(stored.key)
        return Manifest(
            incarnation=before.incarnation,
            slot=slot,
            attempt=before.attempt,
            nonce=self._nonce,
            prev=previous.digest,
            kind="epoch",
            sources=dict(epoch.sources),
            tokens=tokens,
            landed=landed,
            heads=heads,
            owners=before.owners,
            floor=max(floor, before.floor),
            state_files=epoch.state_files,
            key_groups=epoch.key_groups,
            plan=self._plan,
            created_us=int(self._clock.now() * 1e6),
            writer=this_writer(),
            last=epoch.last,
            frontiers=epoch.frontiers,
            closed=epoch.closed,
            lookups=epoch.lookups,
            steps=epoch.steps,
        )

    def _pending(self, entry: Entry, sink: str) -> Pending:
        manifest = entry.manifest
        return Pending(
            sink=sink,
            slot=manifest.slot,
            digest=entry.digest,
            attempt=manifest.attempt,
            incarnation=manifest.incarnation,
            parts=patiently(lambda: load_parts(self._store, manifest.tokens[sink]), self._clock),
            sources=manifest.sources,
            created_us=manifest.created_us,
        )

    def _look_for_newer(self, *, after: int | None = None) -> None:
        """After every accepted put: a slot above it means that somebody newer is there."""
        slot = self.newest.slot if after is None else after
        newer = self._stopping(
            lambda: patiently(lambda: list_slots(self._store, after=slot), self._clock)
        )
        if newer:
            entry = patiently(lambda: read_slot(self._store, newer[-1]), self._clock)
            self._fence(entry, newer[-1])

    def _fence(self, by: Entry | None, slot: int | None = None) -> None:
        at = by.slot if by else slot
        error = self._fenced_by(by, at)
        with self._lock:
            self._stopped = error
        self._event("fenced", slot=at)
        raise error

    def _fenced_by(self, by: Entry | None, at: int | None) -> Fenced:
        who = (
            f"attempt {by.manifest.attempt}, pid {by.manifest.writer.pid} on "
            f"{by.manifest.writer.host!r}"
            if by
            else "another process"
        )
        return Fenced(
            f"{self.url}: slot {at} belongs to {who}: it has taken over from attempt "
            f"{self.attempt}",
            "nothing is lost; this process must end and must not be restarted by itself",
        )

    def _stopping(self, call: Callable[[], T]) -> T:
        """Remember an error after which this process does not know the log's end."""
        try:
            return call()
        except CheckpointError as error:
            with self._lock:
                self._stopped = error
            raise

    def _check_running(self) -> None:
        with self._lock:
            if self._stopped is not None:
                raise self._stopped

    def _forget(self, floor: int) -> None:
        """Drop entries below the floor, but the last of them: sources are acknowledged up to it."""
        last = history.last_below(self._entries, floor)
        first = last.slot if last else floor
        self._entries = [entry for entry in self._entries if entry.slot >= first]

    def _event(self, kind: str, **data: Any) -> None:
        if self._events is not None:
            who = {"nonce": self._nonce, "attempt": self.attempt}
            self._events.append({"kind": kind, **who, **data})


def _check_rows(sources: Mapping[str, SourceState]) -> None:
    for source, state in sources.items():
        if (wrong := state.miscounted()) is not None:
            raise CheckpointError(
                f"source {source!r} in this epoch: {wrong}",
                "this is a defect of Frazil; the epoch was not committed",
            )
