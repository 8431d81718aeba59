"""Restoring an older slot on purpose (rules R1 to R3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from frazil.checkpoint.history import effective, with_token
from frazil.checkpoint.manifest import Entry, Landed, Manifest, SourceState
from frazil.errors import RewindRefused


@dataclass(frozen=True, kw_only=True)
class Rewind:
    """An order to restore a slot.

    Parameters
    ----------
    to
        The slot to go back to.
    proofs
        Reads, for a sink, what its table says was last committed to it; None if nothing. Raises if
        the table itself is not as it should be (rolled back without its proof, replaced).
    forgotten
        Says, for positions to go back to, what the sources no longer have; empty if all is there.
    """

    to: int
    proofs: Callable[[str], Landed | None]
    forgotten: Callable[[Mapping[str, SourceState]], Sequence[str]] = lambda _: ()


def find_base(url: str, entries: Sequence[Entry], to: int) -> Entry:
    """The entry to go back to."""
    if to == entries[-1].slot:
        raise RewindRefused(f"{url}: slot {to} is the newest: there is nothing to go back over")
    for entry in effective(entries):
        if entry.slot == to:
            return entry
    raise RewindRefused(
        f"{url}: slot {to} cannot be restored: the log has slots {entries[0].slot} to "
        f"{entries[-1].slot}, "
        "less those that an earlier rewind cancelled"
    )


def sinks_of(entries: Sequence[Entry], manifest: Manifest) -> list[str]:
    """Sinks that a rewind has to do with: those of the log and of its plan."""
    sinks = {sink for entry in entries for sink in entry.manifest.tokens}
    sinks |= set(manifest.landed)
    if manifest.plan:
        sinks |= {operator.id for operator in manifest.plan.operators if operator.kind == "sink"}
    return sorted(sinks)


def last_token(entries: Sequence[Entry], base: Entry, sink: str) -> Landed | None:
    """The token that a sink's table shows when it is at `base` exactly."""
    kept = [entry for entry in effective(entries) if entry.slot <= base.slot]
    tokens = with_token(kept, sink)
    known = base.manifest.landed.get(sink)
    if tokens and (known is None or tokens[-1].slot > known.slot):
        return Landed(tokens[-1].slot, tokens[-1].digest)
    return known


def expected_proofs(
    url: str, entries: Sequence[Entry], order: Rewind, sinks: Sequence[str]
) -> dict[str, Landed | None]:
    """What each table must show, checked against what it shows.

    Raises
    ------
    RewindRefused
        A table is not at the slot that is to be restored, or a source has forgotten its rows.
    """
    base = find_base(url, entries, order.to)
    wanted: dict[str, Landed | None] = {}
    wrong = []
    for sink in sinks:
        want = last_token(entries, base, sink)
        have = order.proofs(sink)
        if have != want:
            wrong.append(f"sink {sink!r} shows {_say(have)}, slot {order.to} needs {_say(want)}")
        wanted[sink] = want
    if wrong:
        raise RewindRefused(
            f"{url}: going back from slot {entries[-1].slot} to {order.to} is refused: "
            + "; ".join(wrong),
            "`frazil rollback` puts the tables back too",
        )
    forgotten = order.forgotten(base.manifest.sources)
    if forgotten:
        raise RewindRefused(
            f"{url}: going back from slot {entries[-1].slot} to {order.to} is refused: "
            "the sources no longer have the rows: " + "; ".join(forgotten)
        )
    return wanted


def _say(proof: Landed | None) -> str:
    return "nothing" if proof is None else f"epoch {proof.slot} ({proof.digest[:12]})"
