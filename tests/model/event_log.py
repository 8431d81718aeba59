"""Checks the event log that real runs of the code leave (`CheckpointLog.open(events=...)`).

For runs with any sources and sinks: rows are not looked at, only what the log did. Events of
several processes are given in the order in which they happened; a process that was killed just says
no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from frazil.checkpoint.history import slot_of
from frazil.checkpoint.manifest import Landed, Manifest, decode, digest_of

from tests.model.protocol import Protocol
from tests.model.scenarios import Scenario
from tests.model.world import NOTHING, Entry, Owner, Process, Ref


class NotAllowed(AssertionError):
    """The code did what the protocol does not allow."""


@dataclass
class _Known:
    """What a process knows."""

    history: list[Entry]
    landed: list[Ref]
    floor: int = 0
    fenced: bool = False
    asked: Entry | None = None


@dataclass
class EventLog:
    """Replays events against the protocol's rules."""

    sinks: Sequence[str]
    protocol: Protocol = field(init=False)
    log: dict[int, Entry] = field(default_factory=dict)  # accepted; collected ones stay here
    refs: dict[str, Ref] = field(default_factory=dict)  # by digest
    nonces: dict[str, int] = field(default_factory=dict)
    known: dict[str, _Known] = field(default_factory=dict)  # by nonce

    def __post_init__(self) -> None:
        self.protocol = Protocol(Scenario(sinks=tuple(range(len(self.sinks)))))

    def check(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Raise NotAllowed at the first event that no rule allows."""
        for event in events:
            known = self.known.get(event["nonce"])
            if known is not None and known.fenced and event["kind"] not in ("fenced", "landed"):
                raise NotAllowed(f"a fenced process goes on: {event}")
            getattr(self, "_" + event["kind"])(event, known)

    def _fence_put(self, event: Mapping[str, Any], known: _Known | None) -> None:
        manifest = self._learn(event)
        entry = self._entry(manifest)
        self._must(manifest.slot == 0 or entry.prev.slot == manifest.slot - 1, event)
        before = self._before(entry, event)
        history = self._upto(before) if before else []
        if manifest.kind == "fence" and before is not None:
            expected = self.protocol.fence(entry.ref.nonce, before)
            self._must(entry == expected, event, expected)
        self._must(before is None or entry.ref.attempt == before.ref.attempt + 1, event)
        landed = list(entry.landed)
        self.known[event["nonce"]] = _Known(history, landed, entry.floor, asked=entry)

    def _opened(self, event: Mapping[str, Any], known: _Known | None) -> None:
        self._accept(event, known)

    def _put(self, event: Mapping[str, Any], known: _Known | None) -> None:
        assert known is not None
        manifest = self._learn(event)
        entry = self._entry(manifest)
        newest = known.history[-1]
        self._must(entry.prev == newest.ref and entry.slot == newest.slot + 1, event, newest)
        self._must(entry.ref.attempt == newest.ref.attempt, event)
        self._must(entry.owners == newest.owners, event, newest.owners)
        self._must(self._has_known(known, entry.landed), event, known.landed)
        floor = max(newest.floor, self.protocol.floor(known.history, entry.landed, entry.slot))
        self._must(entry.floor == floor, event, floor)
        known.asked = entry

    def _accepted(self, event: Mapping[str, Any], known: _Known | None) -> None:
        self._accept(event, known)

    def _accept(self, event: Mapping[str, Any], known: _Known | None) -> None:
        assert known is not None
        entry = known.asked
        assert entry is not None
        self._must(self.refs[event["digest"]] == entry.ref, event)
        self._must(self.log.setdefault(entry.slot, entry) == entry, event, self.log[entry.slot])
        known.history.append(entry)
        known.floor, known.asked = entry.floor, None

    def _landed(self, event: Mapping[str, Any], known: _Known | None) -> None:
        assert known is not None
        at, ref = self.sinks.index(event["sink"]), self.refs[event["digest"]]
        tokens = [e.ref for e in self.protocol.effective(known.history) if e.tokens[at] is not None]
        self._must(ref in tokens and ref.slot == event["slot"], event, tokens)
        self._must(ref.slot > known.landed[at].slot, event, known.landed)
        known.landed[at] = ref

    def _ack(self, event: Mapping[str, Any], known: _Known | None) -> None:
        assert known is not None
        process = Process(0, 0, "run", None, tuple(known.history), tuple(known.landed), ())
        newest = known.history[-1].slot
        floor = self.protocol.floor(process.history, process.landed, newest + 1)
        self._must(event["slot"] < floor, event, floor)

    def _collected(self, event: Mapping[str, Any], known: _Known | None) -> None:
        assert known is not None
        slots = [slot for key in event["keys"] if (slot := slot_of(key)) is not None]
        self._must(all(slot < known.floor for slot in slots), event, known.floor)

    def _fenced(self, event: Mapping[str, Any], known: _Known | None) -> None:
        assert known is not None
        known.fenced = True

    # -- reading
    # -------------------------------------------------------------------------------------

    def _must(self, holds: bool, event: Mapping[str, Any], expected: object = "") -> None:
        if not holds:
            raise NotAllowed(f"not allowed: {event}; expected {expected}")

    def _has_known(self, known: _Known, landed: Sequence[Ref]) -> bool:
        """What a manifest records as landed was known; what landed meanwhile may miss."""
        return all(a.slot <= b.slot for a, b in zip(landed, known.landed, strict=True))

    def _learn(self, event: Mapping[str, Any]) -> Manifest:
        data = event["manifest"].encode()
        manifest = decode(data)
        number = self.nonces.setdefault(manifest.nonce, len(self.nonces) + 1)
        self.refs[digest_of(data)] = Ref(manifest.slot, manifest.attempt, number)
        return manifest

    def _before(self, entry: Entry, event: Mapping[str, Any]) -> Entry | None:
        """The entry that a fence follows. A killed writer may not have said it was accepted."""
        if entry.slot == 0:
            return None
        for known in self.known.values():
            if known.asked is not None and known.asked.ref == entry.prev:
                asked = known.asked
                self._must(self.log.setdefault(asked.slot, asked) == asked, event)
        before = self.log.get(entry.slot - 1)
        self._must(before is not None and before.ref == entry.prev, event, before)
        return before

    def _upto(self, entry: Entry) -> list[Entry]:
        return [self.log[slot] for slot in sorted(self.log) if entry.floor <= slot <= entry.slot]

    def _ref(self, landed: Landed | None) -> Ref:
        return NOTHING if landed is None else self.refs[landed.digest]

    def _entry(self, manifest: Manifest) -> Entry:
        return Entry(
            ref=Ref(manifest.slot, manifest.attempt, self.nonces[manifest.nonce]),
            prev=self.refs[manifest.prev] if manifest.prev else NOTHING,
            kind=manifest.kind,
            rewind_to=-1 if manifest.rewind_to is None else manifest.rewind_to,
            positions=(),
            tokens=tuple(() if sink in manifest.tokens else None for sink in self.sinks),
            landed=tuple(self._ref(manifest.landed.get(sink)) for sink in self.sinks),
            owners=tuple(Owner(owner.attempt, owner.slot) for owner in manifest.owners),
            floor=manifest.floor,
        )
