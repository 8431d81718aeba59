"""Twenty-one ways to get it wrong. Each overrides one rule; the search must find all of them.

Some also switch the table guard (T3) off, because with it they end in a refusal instead of wrong
rows: the guard is the net under everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tests.model.protocol import Protocol
from tests.model.world import NOTHING, Commit, Entry, File, Process, Ref, Table, World


class AttemptInKey(Protocol):
    """The manifest's key holds the attempt, so two manifests of one epoch exist."""

    fences = False
    guards_tables = False

    def key(self, entry: Entry) -> object:
        return entry.ref

    def history(self, world: World) -> tuple[Entry, ...]:
        best = {entry.slot: entry for entry in super().history(world)}
        return tuple(best[slot] for slot in sorted(best))

    def is_linked(self, history: Sequence[Entry]) -> bool:
        return True

    def is_orphan(self, world: World, process: Process, file: File) -> bool:
        return _unnamed(process, file)


class NoFence(Protocol):
    """A new process starts without a fence; orphans go right after listing."""

    fences = False

    def is_orphan(self, world: World, process: Process, file: File) -> bool:
        return _unnamed(process, file)


class NoCompareAndSwap(Protocol):
    """A conflict is rebased on the new head without a new check."""

    def matches(self, table: Table, commit: Commit) -> bool:
        return True


class HeadOnly(Protocol):
    """The proof is looked for in the head snapshot only."""

    guards_tables = False

    def proof(self, table: Table, sink: int) -> tuple[Ref, int]:
        head = table.snap(table.head)
        if head is not None and head.proof is not None and head.proof[0] == sink:
            return head.proof[1], head.id
        return NOTHING, 0


class WalkOnly(Protocol):
    """The proof is in summaries only, and found by walking the ancestors."""

    guards_tables = False

    def proof(self, table: Table, sink: int) -> tuple[Ref, int]:
        at = table.snap(table.head)
        while at is not None:
            if at.proof is not None and at.proof[0] == sink:
                return at.proof[1], at.id
            at = table.snap(at.parent)
        return NOTHING, 0


class PropertyOnly(Protocol):
    """Nobody checks that our snapshot is still an ancestor of the head."""

    def rolled_back(self, table: Table, ref: Ref, snap: int) -> bool | None:
        return False


class NoTag(Protocol):
    """No tag on our last snapshot: expiry drops it, and only the head is compared."""

    def matches(self, table: Table, commit: Commit) -> bool:
        return table.head == commit.head

    def moved_tag(self, table: Table, commit: Commit) -> tuple[int, ...]:
        return table.tag

    def rolled_back(self, table: Table, ref: Ref, snap: int) -> bool | None:
        return False if table.snap(snap) is None else super().rolled_back(table, ref, snap)


class NoDigest(Protocol):
    """ "The table's epoch is not lower than mine" counts as done, whoever's epoch it is."""

    guards_tables = False


class NewestOnly(Protocol):
    """Recovery commits the tokens of the newest manifest only."""

    guards_tables = False

    def restored(self, history: tuple[Entry, ...]) -> tuple[Entry, ...]:
        none = (None,) * len(self.sinks)
        return (*(entry._replace(tokens=none) for entry in history[:-1]), history[-1])


class NewestFirst(Protocol):
    """Pending epochs are committed out of order; the proof is the highest."""

    guards_tables = False

    def batches(self, todo: Sequence[Entry]) -> list[Sequence[Entry]]:
        return [todo[-1:], todo[:1]]


class CollectPending(Protocol):
    """Manifests are collected although a table has not got their tokens."""

    def floor(self, history: Sequence[Entry], landed: Sequence[Ref], slot: int) -> int:
        return slot


class NoLookAfterPut(Protocol):
    """After a put nobody looks for a newer slot: a collected one can be put again."""

    looks_after_put = False


class OrphansByReference(Protocol):
    """An orphan is a file that no retained manifest names."""

    def is_orphan(self, world: World, process: Process, file: File) -> bool:
        return _unnamed(process, file)


class StagedEarly(Protocol):
    """Staged metadata is removed after a time-out because a read does not show the commit."""

    removes_staged_early = True


class NoFloor(Protocol):
    """Readers take every slot they find, also one that was collected and put again."""

    def history(self, world: World) -> tuple[Entry, ...]:
        return tuple(sorted(world.log, key=lambda entry: entry.ref))

    def is_linked(self, history: Sequence[Entry]) -> bool:
        return all(after.prev == before.ref for before, after in itertools.pairwise(history))


class AckAtPrepare(Protocol):
    """Sources are acknowledged when the epoch is prepared."""

    acks_when = "prepared"


class AckAtManifest(Protocol):
    """Sources are acknowledged when the manifest is accepted."""

    acks_when = "accepted"


class OneProof(Protocol):
    """Two sinks write to a table with one proof."""

    guards_tables = False

    def carrier(self, sink: int) -> int:
        return 0


class RewindBlind(Protocol):
    """An older manifest is restored without asking the tables."""

    guards_tables = False
    moves_head_on_rewind = False

    def expected_proofs(
        self, world: World, history: Sequence[Entry], base: Entry
    ) -> tuple[Ref, ...] | None:
        kept = [entry for entry in self.effective(history) if entry.slot <= base.slot]
        return tuple(
            max([*(e.ref for e in kept if e.tokens[sink] is not None), base.landed[sink]])
            for sink in self.sinks
        )


class NoChain(Protocol):
    """Readers do not check that the slots from the floor to the newest are one chain."""

    def is_linked(self, history: Sequence[Entry]) -> bool:
        return True


class WalkStrict(Protocol):
    """A chain of ancestors that expiry broke counts as a rollback."""

    def broken_chain(self, table: Table, ref: Ref, snap: int) -> bool | None:
        return True


def _unnamed(process: Process, file: File) -> bool:
    return not any(entry.ref[:2] == (file[2], file[1]) for entry in process.history)


# Bug, name of its trace, and the scenarios in which it must show.
BUGS: list[tuple[type[Protocol], str, tuple[str, ...]]] = [
    (NoFence, "V1 V2", ("zombie", "orphans")),
    (AttemptInKey, "V3", ("zombie",)),
    (NoCompareAndSwap, "V4", ("zombie", "late replies")),
    (NewestOnly, "V5", ("pending",)),
    (NewestFirst, "V6", ("pending",)),
    (HeadOnly, "V7", ("foreign",)),
    (WalkOnly, "V7", ("expiry",)),
    (PropertyOnly, "V8", ("rollback",)),
    (NoTag, "V9", ("rollback, expiry", "aba", "property removed")),
    (WalkStrict, "V10b", ("expiry",)),
    (NoLookAfterPut, "V11", ("collection",)),
    (NoFloor, "V12", ("collection",)),
    (OrphansByReference, "V13", ("collection",)),
    (CollectPending, "V14", ("collection",)),
    (AckAtPrepare, "V15", ("zombie",)),
    (AckAtManifest, "V16", ("store loses",)),
    (NoChain, "V17", ("store loses",)),
    (NoDigest, "V18", ("store loses",)),
    (StagedEarly, "V19", ("late replies",)),
    (OneProof, "V20", ("two sinks",)),
    (RewindBlind, "V21", ("rewind",)),
]
