"""Reading the log from a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from frazil.checkpoint.history import check_links, slot_key, slot_of
from frazil.checkpoint.manifest import Entry, decode, digest_of
from frazil.errors import CheckpointError, ManifestError, RewindRefused

if TYPE_CHECKING:
    from frazil.checkpoint.store import Store

# The log may move while it is read: how often reading starts again (times).
READ_TRIES = 20
# More unlanded slots than this are not held in memory (slots).
HISTORY_SLOTS_MAX = 100_000


def list_slots(store: Store, *, after: int | None = None) -> list[int]:
    """Slots that are there, rising, those above `after` only."""
    keys = store.list("log/", "" if after is None else slot_key(after))
    return [slot for key in keys if (slot := slot_of(key)) is not None]


def read_slot(store: Store, slot: int) -> Entry | None:
    """Read one slot; None if it is not there."""
    data = store.get(slot_key(slot))
    return None if data is None else parse_slot(store, slot, data)


def parse_slot(store: Store, slot: int, data: bytes) -> Entry:
    """Decode the bytes found in a slot."""
    try:
        manifest = decode(data)
    except ManifestError as error:
        raise ManifestError(
            f"{store.url}: reading {slot_key(slot)}: {error.what}", *error.lines
        ) from error
    if manifest.slot != slot:
        raise ManifestError(
            f"{store.url}: {slot_key(slot)} holds the manifest of slot {manifest.slot}: "
            "objects were renamed or copied"
        )
    return Entry(manifest, digest_of(data))


def read_log(
    store: Store, *, hook: Callable[[str], None] | None = None, below: int | None = None
) -> tuple[Entry, ...]:
    """Read the slots that count, from the newest's floor to the newest, and check their links.

    Parameters
    ----------
    store
        Where the log is.
    hook
        Called with "after_list".
    below
        Begin at this slot's own floor if that is lower: slots kept for a rewind.

    Returns
    -------
    tuple of Entry
        Oldest first; empty if there is no log.

    Raises
    ------
    CheckpointError
        A slot is missing or is not the one its successor names.
    """
    for _ in range(READ_TRIES):
        slots = list_slots(store)
        if hook:
            hook("after_list")
        if not slots:
            return ()
        newest = read_slot(store, slots[-1])
        if newest is None:
            continue  # the newest slot is never removed, except with the whole log
        first = newest.manifest.floor
        if below is not None:
            base = read_slot(store, below)
            if base is None:
                raise _not_kept(store, below, slots)
            first = min(first, base.manifest.floor, below)
        if newest.slot - first > HISTORY_SLOTS_MAX:
            raise CheckpointError(
                f"{store.url}: {newest.slot - first} slots have tokens that are in no table, "
                f"the limit is {HISTORY_SLOTS_MAX}"
            )
        entries = [newest]
        missing = None
        for slot in range(newest.slot - 1, first - 1, -1):
            entry = read_slot(store, slot)
            if entry is None:
                missing = slot
                break
            entries.append(entry)
        if missing is None:
            entries.reverse()
            check_links(store.url, entries)
            return tuple(entries)
        if not list_slots(store, after=newest.slot):
            if missing < newest.manifest.floor:
                raise _not_kept(store, missing, slots)
            raise _lost(store, missing, slots)
        # Its owner moved on and collected what we were reading: once more from the new end.
    raise CheckpointError(
        f"{store.url}: the log moved {READ_TRIES} times while it was read: another process "
        "writes to it"
    )


def _not_kept(store: Store, slot: int, slots: list[int]) -> RewindRefused:
    return RewindRefused(
        f"{store.url}: going back needs slot {slot}, which is not there (there are slots "
        f"{slots[0]} "
        f"to {slots[-1]})",
        "slots that every table has are removed, unless the pipeline retains some",
    )


def _lost(store: Store, slot: int, slots: list[int]) -> CheckpointError:
    there = f"{slots[0]} to {slots[-1]}, {len(slots)} of them"
    return CheckpointError(
        f"{store.url}: the checkpoint store lost slot {slot} (there are slots {there})",
        "restore the store from its backup; nothing was changed",
    )
