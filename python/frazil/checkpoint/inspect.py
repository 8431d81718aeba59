"""Looking at a log, removing it, and going back in it: what `frazil state` does, without the
printing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frazil.checkpoint.history import effective, slot_key
from frazil.checkpoint.log import PATIENCE_S, CheckpointLog
from frazil.checkpoint.reader import list_slots, read_slot
from frazil.checkpoint.rewind import Rewind
from frazil.checkpoint.slot_put import Clock
from frazil.checkpoint.takeover import wait_until_quiet
from frazil.errors import CheckpointError

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Entry, Landed, SourceState
    from frazil.checkpoint.store import Store


@dataclass(frozen=True, kw_only=True)
class SlotInfo:
    """A slot as it is found, readable or not."""

    slot: int
    entry: Entry | None
    error: str = ""  # why it cannot be read
    status: str = ""  # "newest", "", "kept" below the floor, "cancelled" by a rewind


def list_state(store: Store) -> list[SlotInfo]:
    """All slots that are there, oldest first, also those that readers ignore."""
    found: list[SlotInfo] = []
    for slot in list_slots(store):
        try:
            entry = read_slot(store, slot)
        except CheckpointError as error:
            found.append(SlotInfo(slot=slot, entry=None, error=str(error), status="unreadable"))
            continue
        if entry is not None:
            found.append(SlotInfo(slot=slot, entry=entry))
    entries = [info.entry for info in found if info.entry is not None]
    if not entries:
        return found
    newest = entries[-1]
    counting = {entry.slot for entry in effective(entries)}

    def status(info: SlotInfo) -> str:
        if info.status or info.slot == newest.slot:
            return info.status or "newest"
        if info.slot < newest.manifest.floor:
            return "kept"
        return "" if info.slot in counting else "cancelled"

    return [
        SlotInfo(slot=info.slot, entry=info.entry, error=info.error, status=status(info))
        for info in found
    ]


def show_state(store: Store, slot: int | None = None) -> Entry:
    """One slot, the newest if none is given."""
    slots = list_slots(store)
    if not slots:
        raise CheckpointError(f"{store.url}: there is no checkpoint log")
    wanted = slots[-1] if slot is None else slot
    entry = read_slot(store, wanted)
    if entry is None:
        raise CheckpointError(
            f"{store.url}: there is no slot {wanted}; there are {slots[0]} to {slots[-1]}"
        )
    return entry


def remove_state(
    store: Store, *, patience_s: float = PATIENCE_S, clock: Clock | None = None
) -> list[str]:
    """Remove a log with everything that belongs to it, lowest slot first.

    A removal that is interrupted leaves a log without its beginning, which readers refuse, or do
    not need; never an older one that looks whole.

    Raises
    ------
    LogAdvancing
        A process is writing to it.
    """
    slots = list_slots(store)
    if slots:
        newest = read_slot(store, slots[-1])
        if newest is not None:
            wait_until_quiet(store, newest, patience_s, clock or Clock())
    keys = [slot_key(slot) for slot in list_slots(store)]
    for folder in ("tokens/", "state/", "probe/"):
        keys.extend(store.list(folder))
    for key in keys:
        store.delete(key)
    return keys


def rewind_state(
    store: Store,
    to: int,
    proofs: Callable[[str], Landed | None],
    *,
    forgotten: Callable[[Mapping[str, SourceState]], Sequence[str]] = lambda _: (),
    takeover: bool = False,
    patience_s: float = PATIENCE_S,
    clock: Clock | None = None,
) -> Entry:
    """Write into the log that it goes back to slot `to`; the next run restores it.

    Parameters
    ----------
    store, to
        The log and the slot.
    proofs
        What a sink's table says was last committed to it. Every table must be at `to` exactly.
    forgotten
        Which rows the sources no longer have.
    takeover, patience_s, clock
        As for `CheckpointLog.open`.

    Raises
    ------
    RewindRefused
        Rows would be lost or doubled; the text names both epochs and the sinks.
    """
    order = Rewind(to=to, proofs=proofs, forgotten=forgotten)
    log = CheckpointLog.open(
        store, rewind=order, takeover=takeover, patience_s=patience_s, clock=clock
    )
    return log.newest
