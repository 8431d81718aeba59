"""Everything that can happen next in a world: steps of processes, arrivals of requests, faults."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.model.world import (
    Budget,
    Commit,
    Process,
    Put,
    Snap,
    Table,
    World,
)

if TYPE_CHECKING:
    from tests.model.protocol import Protocol
    from tests.model.scenarios import Scenario

# What happened, for people and for matching with the code: a word, then who and what.
Label = tuple[object, ...]
Step = tuple[Label, World]


def initial(scenario: Scenario) -> World:
    """An empty store, empty tables, nobody running."""
    sinks = len(scenario.sinks)
    table = Table((Snap(0, None, (), frozenset(), None),), 0, (None,) * sinks, (0,) * sinks, 1)
    return World(
        log=frozenset(),
        processes=(),
        tables=(table,) * scenario.tables,
        files=frozenset(),
        gone=frozenset(),
        net=frozenset(),
        acked=(0,) * scenario.sources,
        left=Budget(scenario.budget()),
        meddled=False,
    )


class Steps:
    """The next-state relation of a protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.scenario = protocol.scenario

    def all(self, world: World) -> Iterator[Step]:
        """Every step, with the state after it."""
        for process in world.processes:
            yield from self.of_process(world, process)
        yield from self.arrivals(world)
        if world.left["starts"]:
            yield from self.starts(world)
        yield from self.faults(world)

    # -- requests
    # ------------------------------------------------------------------------------------

    def arrivals(self, world: World) -> Iterator[Step]:
        """A request gets to the store or the catalog; if somebody waits, it gets its answer."""
        for request in sorted(world.net, key=repr):
            after, accepted = self.arrive(world._replace(net=world.net - {request}), request)
            for process in after.processes:
                if process.doing in ("put", "commit") and process.request == request:
                    after = self.answer(after, process, request, accepted)
            if isinstance(request, Put):
                label: Label = ("put lands", request.nonce, request.entry.slot, accepted)
            else:
                label = ("commit lands", request.nonce, request.sink, request.ref.slot, accepted)
            yield label, after

    def arrive(self, world: World, request: Put | Commit) -> tuple[World, bool]:
        protocol = self.protocol
        if isinstance(request, Put):
            key = protocol.key(request.entry)
            if any(protocol.key(entry) == key for entry in world.log):
                return world, False
            return world._replace(log=world.log | {request.entry}), True
        at = self.scenario.sinks[request.sink]
        table = world.tables[at]
        if not protocol.matches(table, request):
            return world, False
        return world.table(at, protocol.apply(table, request)), True

    def answer(
        self, world: World, process: Process, request: Put | Commit, accepted: bool
    ) -> World:
        if isinstance(request, Commit):  # [T7] anything but success: load and check again
            landed = process.landed
            if accepted:
                at = request.sink
                landed = (*landed[:at], request.ref, *landed[at + 1 :])
            return world.process(process._replace(doing="run", request=None, landed=landed))
        if accepted:
            return self.accepted(world, process, request)
        # [L3] "It exists" may mean an earlier try of ours: ask.
        return world.process(process._replace(doing="read"))

    def accepted(self, world: World, process: Process, put: Put) -> World:
        """[L4] Our put was accepted; a slot above it means that somebody newer is there."""
        newer = self.protocol.newest(world).slot > put.entry.slot
        if newer and self.protocol.looks_after_put:
            return world.process(process._replace(doing="fenced", request=None))
        if self.scenario.acks and self.protocol.acks_when == "accepted":
            world = world._replace(acked=tuple(map(max, world.acked, put.entry.positions)))
        history = (*process.history, put.entry)
        return world.process(process._replace(doing="run", request=None, history=history))

    # -- processes
    # -----------------------------------------------------------------------------------

    def starts(self, world: World) -> Iterator[Step]:
        nonce = len(world.processes) + 1
        after, process = self.protocol.start(world, nonce)
        after = after._replace(processes=(*after.processes, process)).spend("starts")
        yield ("start", nonce), after
        if world.left["rewind"] and world.log:
            for entry in self.protocol.effective(self.protocol.history(world))[:-1]:
                after, process = self.protocol.start_rewind(world, nonce, entry.slot)
                after = after._replace(processes=(*after.processes, process))
                yield ("rewind", nonce, entry.slot), after.spend("starts").spend("rewind")

    def of_process(self, world: World, process: Process) -> Iterator[Step]:
        if process.doing in ("put", "commit") and world.left["timeouts"]:
            yield ("time out", process.nonce), self.time_out(world, process)
        if process.doing == "read":
            yield self.read_slot(world, process)
        if process.doing == "list":
            yield from self.start_again(world, process)
        if process.doing == "run":
            yield from self.commits(world, process)
            yield from self.acks(world, process)
            yield from self.epochs(world, process)
            yield from self.cleaning(world, process)

    def time_out(self, world: World, process: Process) -> World:
        request = process.request
        after = world.spend("timeouts")
        if isinstance(request, Put):
            return after.process(process._replace(doing="read"))
        assert request is not None
        if self.protocol.removes_staged_early:
            table = self.protocol.table_of(world, request.sink)
            if self.protocol.proof(table, request.sink)[0].slot < request.ref.slot:
                after = after._replace(gone=after.gone | {request.staged})
        return after.process(process._replace(doing="run", request=None))

    def read_slot(self, world: World, process: Process) -> Step:
        """[L3] A put that was not accepted, or nobody knows: read the slot, if it is free put
        again.
        """
        put = process.request
        assert isinstance(put, Put)
        key = self.protocol.key(put.entry)
        if put.entry in world.log:
            return ("read", process.nonce), self.accepted(world, process, put)
        if any(self.protocol.key(entry) == key for entry in world.log):
            doing = "fenced" if put.entry.kind == "epoch" else "list"
            return ("read", process.nonce), world.process(process._replace(doing=doing))
        again = put._replace(copy=put.copy + 1)
        after = world._replace(net=world.net | {again})
        waits = process._replace(doing="put", request=again)
        return ("put again", process.nonce), after.process(waits)

    def start_again(self, world: World, process: Process) -> Iterator[Step]:
        """[L2] Somebody took the slot that our fence wanted: list again, next slot."""
        assert isinstance(process.request, Put)
        entry = process.request.entry
        if entry.kind == "rewind":
            after, again = self.protocol.start_rewind(world, process.nonce, entry.rewind_to)
            yield ("rewind", process.nonce, entry.rewind_to), after.process(again)
        else:
            after, again = self.protocol.start(world, process.nonce)
            yield ("start", process.nonce), after.process(again)

    def commits(self, world: World, process: Process) -> Iterator[Step]:
        protocol = self.protocol
        for sink in protocol.sinks:
            if not protocol.may_commit(world, process, sink):
                fenced = protocol.newest(world).ref.attempt > process.attempt
                after = world
                if not fenced:
                    after = world._replace(meddled=world.meddled or self.excuse(world))
                doing = "fenced" if fenced else "refused"
                yield (doing, process.nonce, sink), after.process(process._replace(doing=doing))
                continue
            sent = list(protocol.commits(world, process, sink))
            shown = max(
                protocol.proof(protocol.table_of(world, sink), sink)[0], process.landed[sink]
            )
            if not sent and shown != process.landed[sink]:
                landed = (*process.landed[:sink], shown, *process.landed[sink + 1 :])
                yield ("seen", process.nonce, sink), world.process(process._replace(landed=landed))
            for commit in sent:
                while commit in world.net:
                    commit = commit._replace(copy=commit.copy + 1)
                staged = process.staged
                if self.scenario.faults.get("clean"):
                    staged = (*staged, commit.staged)
                waiting = process._replace(doing="commit", request=commit, staged=staged)
                after = world._replace(net=world.net | {commit})
                yield ("send", process.nonce, sink, commit.ref.slot), after.process(waiting)

    def acks(self, world: World, process: Process) -> Iterator[Step]:
        ready = self.protocol.ready(process) if self.scenario.acks else None
        if ready is not None:
            acked = tuple(map(max, world.acked, ready))
            if acked != world.acked:
                yield ("ack", process.nonce, ready), world._replace(acked=acked)

    def epochs(self, world: World, process: Process) -> Iterator[Step]:
        protocol, scenario = self.protocol, self.scenario
        history = protocol.effective(process.history)
        waiting = sum(
            any(
                entry.tokens[sink] is not None and entry.slot > process.landed[sink].slot
                for sink in protocol.sinks
            )
            for entry in history
        )
        if waiting >= scenario.pending:
            return
        start = process.history[-1].positions
        if scenario.acks:  # acknowledged rows are gone from the source
            start = tuple(map(max, start, world.acked))
        for more in itertools.product(range(scenario.step + 1), repeat=scenario.sources):
            end = tuple(a + b for a, b in zip(start, more, strict=True))
            empty = end == start
            if max(end) > scenario.rows or sum(more) > scenario.step:
                continue
            if empty and not world.left["empties"]:
                continue
            entry = protocol.next_epoch(process, start, end)
            files = {
                ("data", entry.ref.attempt, entry.slot, sink)
                for sink in protocol.sinks
                if entry.tokens[sink]
            }
            put = Put(process.nonce, entry)
            after = world.spend("empties") if empty else world
            if protocol.acks_when == "prepared":
                after = after._replace(acked=tuple(map(max, after.acked, end)))
            after = after._replace(files=after.files | files, net=after.net | {put})
            waits = process._replace(doing="put", request=put)
            yield ("prepare", process.nonce, entry.slot, end), after.process(waits)

    def cleaning(self, world: World, process: Process) -> Iterator[Step]:
        protocol = self.protocol
        if world.left["orphans"]:
            dead = {file for file in world.files if protocol.is_orphan(world, process, file)}
            if dead:
                after = world._replace(files=world.files - dead, gone=world.gone | dead)
                yield ("orphans", process.nonce), after.spend("orphans")
        if world.left["gc"]:
            floor = process.history[-1].floor
            drop = {entry for entry in world.log if entry.slot < floor}
            if drop:
                yield ("collect", process.nonce), world._replace(log=world.log - drop).spend("gc")
        if world.left["clean"]:
            for file in process.staged:
                sink, slot = file[2], file[4]
                assert isinstance(sink, int)
                assert isinstance(slot, int)
                named = any(file in snap.files for snap in protocol.table_of(world, sink).snaps)
                if process.landed[sink].slot >= slot and file not in world.gone and not named:
                    after = world._replace(gone=world.gone | {file})
                    yield ("staged", process.nonce, file), after.spend("clean")

    # -- others
    # --------------------------------------------------------------------------------------

    def faults(self, world: World) -> Iterator[Step]:
        for at in range(len(world.tables)):
            yield from self.table_faults(world, at)
        if world.left["lose"] and len(world.log) > 1:
            lost = self.protocol.newest(world)
            after = world._replace(log=world.log - {lost}, meddled=True)
            yield ("store loses", lost.slot), after.spend("lose")

    def table_faults(self, world: World, at: int) -> Iterator[Step]:
        table = world.tables[at]
        head = table.snap(table.head)
        assert head is not None
        if world.left["foreign"]:
            added = frozenset({("foreign", table.next)})
            for what, files in (("append", head.files | added), ("compact", added)):
                snap = Snap(table.next, table.head, head.rows, files, None)
                after = Table((*table.snaps, snap), snap.id, table.prop, table.tag, snap.id + 1)
                yield (what, at), world.table(at, after).spend("foreign")
        if world.left["unset"] and any(table.prop):
            after = table._replace(prop=(None,) * len(table.prop))
            yield ("unset", at), world.table(at, after).spend("unset")
        kept = tuple(s for s in table.snaps if s.id == table.head or (s.id and s.id in table.tag))
        if world.left["expire"] and len(kept) < len(table.snaps):
            lost = frozenset().union(*(s.files for s in table.snaps))
            lost -= frozenset().union(*(s.files for s in kept))
            changed = world.table(at, table._replace(snaps=kept))
            changed = changed._replace(gone=world.gone | lost, files=world.files - lost)
            yield ("expire", at), changed.spend("expire")
        if world.left["rollback"] and table.snap(head.parent) is not None:
            assert head.parent is not None
            changed = world.table(at, table._replace(head=head.parent))
            changed = changed._replace(meddled=world.meddled or head.proof is not None)
            yield ("roll back", at), changed.spend("rollback")

    def excuse(self, world: World) -> bool:
        """Whether a refusal is right: somebody took rows away, or history cannot be proved."""
        if world.meddled:
            return True
        for sink in self.protocol.sinks:
            table = self.protocol.table_of(world, sink)
            if self.protocol.rolled_back(table, *self.protocol.proof(table, sink)) is None:
                return True
        return False
