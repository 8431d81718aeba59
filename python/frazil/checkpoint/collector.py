"""Removing slots and token objects that nobody needs (rule G4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frazil.checkpoint.history import slot_key
from frazil.checkpoint.orphan import is_orphan
from frazil.checkpoint.reader import list_slots
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

    def collect(self, newest: Manifest) -> list[str]:
        """Remove what is below the floor of `newest`, our newest accepted manifest."""
        bound = newest.floor - self._retain
        if bound <= 0 and self._tokens is not None:
            return []
        if self._slots is None or self._tokens is None:
            self._slots = list_slots(self._store)
            self._tokens = self._store.list("tokens/")
        elif (last := self._slots[-1] if self._slots else newest.slot - 1) < newest.slot:
            self._slots.extend(range(last + 1, newest.slot + 1))
        removed = [slot_key(slot) for slot in self._slots if slot < bound]
        removed += [key for key in self._tokens if self._is_garbage(key, newest, bound)]
        removed = removed[:BATCH_MAX]
        for key in removed:
            self._store.delete(key)
        gone = set(removed)
        self._slots = [slot for slot in self._slots if slot_key(slot) not in gone]
        self._tokens = [key for key in self._tokens if key not in gone]
        return removed

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
