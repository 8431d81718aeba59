"""The protocol's rules as pure functions of the model's world. A bug (bugs.py) overrides one of
them.

Names in brackets are the rules of docs/formats/checkpoint.md and docs of the table commit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tests.model.world import (
    NOTHING,
    Commit,
    Entry,
    File,
    Owner,
    Process,
    Put,
    Ref,
    Row,
    Snap,
    Table,
    World,
)

if TYPE_CHECKING:
    from tests.model.scenarios import Scenario


class Protocol:
    """The correct protocol."""

    fences = True  # L2: a process puts a fence before anything else
    guards_tables = True  # T3: the proof has to be ours and not older than what landed
    looks_after_put = True  # L4
    acks_when = "landed"  # G2
    removes_staged_early = False  # T9
    moves_head_on_rewind = True  # R3

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.sinks = range(len(scenario.sinks))

    def table_of(self, world: World, sink: int) -> Table:
        return world.tables[self.scenario.sinks[sink]]

    # -- log
    # -----------------------------------------------------------------------------------------

    def key(self, entry: Entry) -> object:
        """[L1] The slot and nothing else."""
        return entry.slot

    def newest(self, world: World) -> Entry:
        return max(world.log, key=lambda entry: entry.ref)

    def history(self, world: World) -> tuple[Entry, ...]:
        """[L5] What readers take for the log: from the newest's floor."""
        floor = self.newest(world).floor
        return tuple(sorted((e for e in world.log if e.slot >= floor), key=lambda e: e.ref))

    def is_linked(self, history: Sequence[Entry]) -> bool:
        """[L6]"""
        pairs = itertools.pairwise(history)
        return history[0].slot == history[-1].floor and all(b.prev == a.ref for a, b in pairs)

    def restored(self, history: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """What a new process takes over of the tokens: all [T5]."""
        return history

    def start(self, world: World, nonce: int) -> tuple[World, Process]:
        """[L2] List, then own the next slot; nothing else happens before that put is accepted."""
        nothing = (NOTHING,) * len(self.sinks)
        attempt = self.newest(world).ref.attempt + 1 if world.log else 1
        if not world.log:
            zero = (0,) * self.scenario.sources
            none = (None,) * len(self.sinks)
            fence = Entry(
                Ref(0, 1, nonce), NOTHING, "fence", -1, zero, none, nothing, (Owner(1, 0),), 0
            )
            history: tuple[Entry, ...] = ()
        else:
            history = self.history(world)
            if not self.is_linked(history):
                return world, Process(
                    nonce, attempt, "refused", None, history, history[-1].landed, ()
                )
            history = self.restored(history)
            fence = self.fence(nonce, history[-1])
        landed = history[-1].landed if history else nothing
        if not self.fences and history:
            return world, Process(nonce, attempt, "run", None, history, landed, ())
        put = Put(nonce, fence)
        return world._replace(net=world.net | {put}), Process(
            nonce, attempt, "put", put, history, landed, ()
        )

    def fence(self, nonce: int, newest: Entry) -> Entry:
        ref = Ref(newest.slot + 1, newest.ref.attempt + 1, nonce)
        return newest._replace(
            ref=ref,
            prev=newest.ref,
            kind="fence",
            rewind_to=-1,
            tokens=(None,) * len(self.sinks),
            owners=(*newest.owners, Owner(ref.attempt, ref.slot)),
        )

    def start_rewind(self, world: World, nonce: int, to: int) -> tuple[World, Process]:
        """[R2, R3] Only if every table holds exactly what slot `to` says; moves every head."""
        history = self.history(world)
        base = next((entry for entry in self.effective(history) if entry.slot == to), None)
        expected = self.expected_proofs(world, history, base) if base else None
        if base is None or expected is None:
            return world, Process(nonce, 0, "declined", None, history, history[-1].landed, ())
        entry = self.fence(nonce, history[-1])._replace(
            kind="rewind",
            rewind_to=to,
            positions=base.positions,
            landed=expected,
            tokens=(() if self.moves_head_on_rewind else None,) * len(self.sinks),
        )
        put = Put(nonce, entry)
        return (
            world._replace(net=world.net | {put}, meddled=True),
            Process(nonce, entry.ref.attempt, "put", put, history, expected, ()),
        )

    def expected_proofs(
        self, world: World, history: Sequence[Entry], base: Entry
    ) -> tuple[Ref, ...] | None:
        """The last token up to `base` of each sink; None if a table shows another."""
        kept = [entry for entry in self.effective(history) if entry.slot <= base.slot]
        expected = []
        for sink in self.sinks:
            tokens = [entry.ref for entry in kept if entry.tokens[sink] is not None]
            expected.append(max([*tokens, base.landed[sink]]))
        shown = [self.proof(self.table_of(world, sink), sink)[0] for sink in self.sinks]
        return tuple(expected) if shown == expected else None

    def effective(self, history: Sequence[Entry]) -> list[Entry]:
        """Entries whose tokens count: a rewind cancels what it went back over."""
        out: list[Entry] = []
        for entry in history:
            if entry.kind == "rewind":
                out = [earlier for earlier in out if earlier.slot <= entry.rewind_to]
            out.append(entry)
        return out

    def floor(self, history: Sequence[Entry], landed: Sequence[Ref], slot: int) -> int:
        """[L5] Recovery needs every slot from here on."""
        waiting = [
            entry.slot
            for entry in self.effective(history)
            for sink in self.sinks
            if entry.tokens[sink] is not None and entry.slot > landed[sink].slot
        ]
        return min([*waiting, slot])

    def is_orphan(self, world: World, process: Process, file: File) -> bool:
        """[G3] By name and owners, never because no manifest names it."""
        attempt, slot = file[1], file[2]
        assert isinstance(attempt, int)
        assert isinstance(slot, int)
        owners = process.history[-1].owners
        if attempt >= process.attempt:
            return False
        for at, owner in enumerate(owners):
            if owner.attempt == attempt:
                end = owners[at + 1].slot if at + 1 < len(owners) else None
                return not (owner.slot < slot and (end is None or slot < end))
        return True

    # -- sources
    # -------------------------------------------------------------------------------------

    def rows_between(
        self, start: Sequence[int], end: Sequence[int]
    ) -> tuple[tuple[Row, ...] | None, ...]:
        """Rows of an epoch by sink."""
        out: list[list[Row]] = [[] for _ in self.sinks]
        for source, (low, high) in enumerate(zip(start, end, strict=True)):
            for position in range(low, high):
                out[(source + position) % len(out)].append((source, position))
        return tuple(tuple(rows) or None for rows in out)

    def next_epoch(self, process: Process, start: Sequence[int], end: Sequence[int]) -> Entry:
        """The manifest of the next epoch."""
        newest = process.history[-1]
        slot = newest.slot + 1
        return newest._replace(
            ref=Ref(slot, process.attempt, process.nonce),
            prev=newest.ref,
            kind="epoch",
            rewind_to=-1,
            positions=tuple(end),
            tokens=self.rows_between(start, end),
            landed=process.landed,
            floor=max(newest.floor, self.floor(process.history, process.landed, slot)),
        )

    def ready(self, process: Process) -> tuple[int, ...] | None:
        """[G2] Positions that may be acknowledged: those of the last slot below the floor."""
        floor = self.floor(process.history, process.landed, process.history[-1].slot + 1)
        below = [e for e in self.effective(process.history) if e.slot < floor]
        return below[-1].positions if below else None

    # -- tables
    # --------------------------------------------------------------------------------------

    def carrier(self, sink: int) -> int:
        """[T10] Proof and tag are per sink."""
        return sink

    def proof(self, table: Table, sink: int) -> tuple[Ref, int]:
        """[T1] The last commit of a sink that the table shows: manifest and snapshot."""
        at = self.carrier(sink)
        shown = table.prop[at]
        if shown is not None:
            return shown
        tagged = table.snap(table.tag[at]) if table.tag[at] else None
        if tagged is not None and tagged.proof is not None:
            return tagged.proof[1], tagged.id
        return NOTHING, 0

    def rolled_back(self, table: Table, ref: Ref, snap: int) -> bool | None:
        """[T4] Is our last snapshot off the branch? None: history has expired, nobody can say."""
        if ref == NOTHING:
            return False
        at: int | None = table.head
        while at is not None and (found := table.snap(at)) is not None and at >= snap:
            if at == snap:
                return False
            at = found.parent
        if at is None or (at < snap and table.snap(at) is not None):
            return True
        return self.broken_chain(table, ref, snap)

    def broken_chain(self, table: Table, ref: Ref, snap: int) -> bool | None:
        """Live files that were added by our very snapshot prove that it is still in the branch."""
        ours, head = table.snap(snap), table.snap(table.head)
        assert head is not None
        added = {f for f in ours.files if f[0] == "data" and f[2] == ref.slot} if ours else set()
        return False if added & head.files else None

    def may_commit(self, world: World, process: Process, sink: int) -> bool:
        """[T3, T4] Whether the table is as the log says it should be."""
        if not self.guards_tables:
            return True
        table = self.table_of(world, sink)
        ref, snap = self.proof(table, sink)
        known = process.landed[sink]
        mine = {e.ref for e in self.effective(process.history) if e.tokens[sink] is not None}
        if ref.slot < known.slot or ref not in mine | {known}:
            return False
        return self.rolled_back(table, ref, snap) is False

    def batches(self, todo: Sequence[Entry]) -> list[Sequence[Entry]]:
        """[T5] What may go into the next commit: the first token, or a prefix of them."""
        squashed = self.scenario.squash and len(todo) > 1
        return [todo[:1], todo] if squashed else [todo[:1]]

    def commits(self, world: World, process: Process, sink: int) -> Iterator[Commit]:
        """[T6] Commits that may be sent next; none if the table has all."""
        table = self.table_of(world, sink)
        ref, _ = self.proof(table, sink)
        tokens = [e for e in self.effective(process.history) if e.tokens[sink] is not None]
        todo = [entry for entry in tokens if entry.slot > ref.slot]
        for batch in self.batches(todo) if todo else ():
            rows = tuple(row for entry in batch for row in entry.tokens[sink] or ())
            files: frozenset[File] = frozenset(
                ("data", e.ref.attempt, e.slot, sink) for e in batch if e.tokens[sink]
            )
            last = batch[-1].ref
            staged: File = ("staged", process.nonce, sink, table.head, last.slot)
            if self.scenario.faults.get("clean"):
                files |= {staged}
            tag = table.tag[self.carrier(sink)]
            yield Commit(process.nonce, sink, table.head, tag, last, rows, files, staged)

    def matches(self, table: Table, commit: Commit) -> bool:
        """[T6] What the catalog compares."""
        return table.head == commit.head and table.tag[self.carrier(commit.sink)] == commit.tag

    def moved_tag(self, table: Table, commit: Commit) -> tuple[int, ...]:
        at = self.carrier(commit.sink)
        return (*table.tag[:at], table.next, *table.tag[at + 1 :])

    def apply(self, table: Table, commit: Commit) -> Table:
        """The table after a commit has landed."""
        head = table.snap(table.head)
        assert head is not None
        snap = Snap(
            table.next,
            table.head,
            tuple(sorted(head.rows + commit.rows)),
            head.files | commit.files,
            (commit.sink, commit.ref),
        )
        at = self.carrier(commit.sink)
        prop = (*table.prop[:at], (commit.ref, snap.id), *table.prop[at + 1 :])
        tag = self.moved_tag(table, commit)
        return Table((*table.snaps, snap), snap.id, prop, tag, snap.id + 1)
