"""Removing slots, token objects and state files that nobody needs (rule G4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frazil.checkpoint.history import slot_key
from frazil.checkpoint.orphan import is_orphan
from frazil.checkpoint.reader import list_slots, read_slot
from frazil.checkpoint.state_files import parse_state_key
from frazil.checkpoint.tokens import parse_token_key

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Manifest
    from frazil.checkpoint.store import Store

# Objects removed in one call at most, so that an epoch after a long pause is not held up.
BATCH_MAX = 1000


class Collector:
    """Remembers how far it got, so that a running process does not list the store each time.

    Lowest slots go first: what a crash leaves is still one stretch, or lacks its beginning and is
    then ignored below the floor.
    """

    def __init__(self, store: Store, retain: int) -> None:
        self._store = store
        self._retain = retain
        self._slots: list[int] | None = None  # there and not yet removed, rising
        self._tokens: list[str] | None = None
        self._states: list[str] = []
        self._named: dict[int, frozenset[str]] = {}  # state files by slot that is kept

    def collect(self, newest: Manifest) -> list[str]:
        """Remove what is below the floor of `newest`, our newest accepted manifest."""
        bound = newest.floor - self._retain
        if bound <= 0 and self._tokens is not None and not self._states:
            return []
        if self._slots is None or self._tokens is None:
            self._slots = list_slots(self._store)
            self._tokens = self._store.list("tokens/")
            self._states = self._store.list("state/")
            self._read_names(bound, newest)
        elif (last := self._slots[-1] if self._slots else newest.slot - 1) < newest.slot:
            self._slots.extend(range(last + 1, newest.slot + 1))
        removed = [slot_key(slot) for slot in self._slots if slot < bound]
        removed += [key for key in self._tokens if self._is_garbage(key, newest, bound)]
        removed += self._dead_states(newest, bound)
        removed = removed[:BATCH_MAX]
        for key in removed:
            self._store.delete(key)
        gone = set(removed)
        self._slots = [slot for slot in self._slots if slot_key(slot) not in gone]
        self._tokens = [key for key in self._tokens if key not in gone]
        self._states = [key for key in self._states if key not in gone]
        return removed

    def add_state(self, key: str) -> None:
        """Say that a state file was put after the store was listed."""
        if self._tokens is not None:
            self._states.append(key)

    def add_manifest(self, manifest: Manifest) -> None:
        """Say that a manifest was accepted after the store was listed."""
        if self._tokens is not None:
            self._named[manifest.slot] = frozenset(file.path for file in manifest.state_files)

    def _read_names(self, bound: int, newest: Manifest) -> None:
        if not self._states:
            return
        for slot in self._slots or ():
            if bound <= slot <= newest.slot:
                entry = read_slot(self._store, slot)
                if entry is not None:
                    self._named[slot] = frozenset(f.path for f in entry.manifest.state_files)

    def _dead_states(self, newest: Manifest, bound: int) -> list[str]:
        """State files that no slot names that is kept, and that none will."""
        if not self._states:
            return []
        self.add_manifest(newest)
        self._named = {slot: names for slot, names in self._named.items() if slot >= bound}
        needed = frozenset[str]().union(*self._named.values())
        dead = []
        for key in self._states:
            named = parse_state_key(key)
            if named is None or key in needed:
                continue
            attempt, slot = named
            if slot <= newest.slot or is_orphan(attempt, slot, newest.owners, newest.attempt):
                dead.append(key)
        return dead

    def add_token(self, key: str) -> None:
        """Say that a token object was put after the store was listed."""
        if self._tokens is not None:
            self._tokens.append(key)

    @staticmethod
    def _is_garbage(key: str, newest: Manifest, bound: int) -> bool:
        named = parse_token_key(key)
        if named is None:
            return False
        attempt, slot = named
        return slot < bound or is_orphan(attempt, slot, newest.owners, newest.attempt)
