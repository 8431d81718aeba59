"""What slots mean together: pure functions over a stretch of the log, oldest slot first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from frazil.errors import CheckpointError

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Entry, Landed

_SLOT_KEY = re.compile(r"log/([0-9]{12})\.json")


def slot_key(slot: int) -> str:
    """Key of a slot. It holds nothing but the number: two processes must want the same key."""
    return f"log/{slot:012d}.json"


def slot_of(key: str) -> int | None:
    """The slot of a key, None for keys that are not slots."""
    match = _SLOT_KEY.fullmatch(key)
    return int(match.group(1)) if match else None


def effective(entries: Iterable[Entry]) -> list[Entry]:
    """Entries that still count: a rewind cancels those it went back over."""
    out: list[Entry] = []
    for entry in entries:
        to = entry.manifest.rewind_to
        if to is not None:
            out = [earlier for earlier in out if earlier.slot <= to]
        out.append(entry)
    return out


def with_token(entries: Iterable[Entry], sink: str) -> list[Entry]:
    """Effective entries in which the sink has a token, in log order."""
    return [entry for entry in effective(entries) if sink in entry.manifest.tokens]


def unlanded(entries: Iterable[Entry], sink: str, landed: Mapping[str, Landed]) -> list[Entry]:
    """Entries whose token of the sink is not known to be in its table, in log order."""
    done = landed.get(sink)
    return [entry for entry in with_token(entries, sink) if done is None or entry.slot > done.slot]


def waiting(entries: Iterable[Entry], landed: Mapping[str, Landed]) -> list[tuple[Entry, str]]:
    """All tokens that are not known to be in their tables: entry and sink, in log order."""
    return [
        (entry, sink)
        for entry in effective(entries)
        for sink in entry.manifest.tokens
        if (done := landed.get(sink)) is None or entry.slot > done.slot
    ]


def floor_of(entries: Sequence[Entry], landed: Mapping[str, Landed], slot: int) -> int:
    """The floor of a manifest for `slot` that records `landed`.

    Recovery needs every slot from here on: below it each token is in its table, and this very
    manifest says so.
    """
    return min([slot, *(entry.slot for entry, _ in waiting(entries, landed))])


def contains(entries: Iterable[Entry], sink: str, slot: int, digest: str) -> bool:
    """Whether the log gave this sink a token in this slot, with this digest."""
    return any(entry.slot == slot and entry.digest == digest for entry in with_token(entries, sink))


def last_below(entries: Sequence[Entry], floor: int) -> Entry | None:
    """The highest effective entry below `floor`: every table has all of it."""
    below = [entry for entry in effective(entries) if entry.slot < floor]
    return below[-1] if below else None


def check_links(url: str, entries: Sequence[Entry]) -> None:
    """Refuse a stretch of the log that is not one history."""
    for before, after in itertools.pairwise(entries):
        if after.slot != before.slot + 1:
            raise CheckpointError(f"{url}: the checkpoint store lost slot {before.slot + 1}")
        if after.manifest.prev != before.digest:
            raise CheckpointError(
                f"{url}: slot {after.slot} does not follow the slot {before.slot} that is there: "
                f"it expects digest {after.manifest.prev[:12]}, found {before.digest[:12]}",
                "the store lost or mixed up manifests: restore it from its backup",
            )
        if after.manifest.incarnation != before.manifest.incarnation:
            raise CheckpointError(
                f"{url}: slots {before.slot} and {after.slot} are of two different logs"
            )
