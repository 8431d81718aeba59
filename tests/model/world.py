"""The state of the model's world: everything is a value, so that states can be compared and kept in
sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Ref(NamedTuple):
    """A manifest, named as a digest names it: who put it, with what attempt, and where."""

    slot: int
    attempt: int
    nonce: int


# Stands for "nothing was committed yet"; sorts before every manifest.
NOTHING = Ref(-1, 0, 0)

Row = tuple[int, int]  # source, position
File = tuple[object, ...]  # ("data", attempt, slot, sink), ("staged", ...), ("foreign", n)


class Owner(NamedTuple):
    """An attempt and its fence."""

    attempt: int
    slot: int


class Entry(NamedTuple):
    """One manifest."""

    ref: Ref
    prev: Ref
    kind: str  # fence, epoch, rewind
    rewind_to: int
    positions: tuple[int, ...]  # per source: next to read
    tokens: tuple[tuple[Row, ...] | None, ...]  # per sink; () is an empty commit
    landed: tuple[Ref, ...]  # per sink
    owners: tuple[Owner, ...]
    floor: int

    @property
    def slot(self) -> int:
        return self.ref.slot


class Snap(NamedTuple):
    """A snapshot of a table. Ids rise with time: they stand for sequence numbers too."""

    id: int
    parent: int | None
    rows: tuple[Row, ...]
    files: frozenset[File]
    proof: tuple[int, Ref] | None  # the summary: sink and manifest


class Table(NamedTuple):
    """A table's metadata. The property and the tag are per sink."""

    snaps: tuple[Snap, ...]
    head: int
    prop: tuple[tuple[Ref, int] | None, ...]  # manifest and snapshot; None: removed, or never set
    tag: tuple[int, ...]  # our last snapshot; 0 is none
    next: int

    def snap(self, id: int | None) -> Snap | None:
        """The snapshot with that id, if it has not expired."""
        return next((snap for snap in self.snaps if snap.id == id), None)


class Put(NamedTuple):
    """A manifest on its way to the store."""

    nonce: int
    entry: Entry
    copy: int = 0  # sent again: an earlier copy may still be on its way


class Commit(NamedTuple):
    """A commit on its way to the catalog, with what it requires of the table."""

    nonce: int
    sink: int
    head: int
    tag: int
    ref: Ref
    rows: tuple[Row, ...]
    files: frozenset[File]
    staged: File
    copy: int = 0  # sent again, the same: an earlier copy may still be on its way


class Process(NamedTuple):
    """A process. One that is never scheduled again has crashed; one that goes on is a zombie."""

    nonce: int
    attempt: int
    # run; put and commit: waits for the answer to `request`; read: asks what became of its put;
    # list: has to take another slot for its fence; fenced, refused, declined: has ended
    doing: str
    request: Put | Commit | None
    history: tuple[Entry, ...]
    landed: tuple[Ref, ...]
    staged: tuple[File, ...]


class Budget:
    """How much may still go wrong: counts by name; hashable."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = dict(counts)
        self._hash = hash(tuple(sorted(counts.items())))

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def less(self, name: str) -> Budget:
        return Budget({**self._counts, name: self._counts[name] - 1})

    def nothing(self) -> Budget:
        return Budget(dict.fromkeys(self._counts, 0))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Budget) and self._counts == other._counts


class World(NamedTuple):
    """One state."""

    log: frozenset[Entry]
    processes: tuple[Process, ...]
    tables: tuple[Table, ...]
    files: frozenset[File]  # data files that are there
    gone: frozenset[File]  # files that were deleted
    net: frozenset[Put | Commit]  # may arrive at any later time, or never
    acked: tuple[int, ...]  # per source: rows below may be forgotten
    left: Budget
    meddled: bool  # an operator took something away, so refusing is right

    def process(self, process: Process) -> World:
        """With another state of one process."""
        at = next(i for i, old in enumerate(self.processes) if old.nonce == process.nonce)
        return self._replace(processes=(*self.processes[:at], process, *self.processes[at + 1 :]))

    def table(self, at: int, table: Table) -> World:
        """With another state of one table."""
        return self._replace(tables=(*self.tables[:at], table, *self.tables[at + 1 :]))

    def spend(self, name: str) -> World:
        """With one less of something that may go wrong."""
        return self._replace(left=self.left.less(name))
