"""Tables that obey the table rules (T), driven through what the real log offers to committers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from frazil.checkpoint import CheckpointLog, Landed
from frazil.errors import CommitRefused, Fenced

from tests.model.protocol import Protocol
from tests.model.scenarios import Scenario
from tests.model.steps import initial
from tests.model.world import Commit, File, Row, Table

NEVER = Landed(-1, "")


class FakeTables:
    """The catalog: one table for each sink, commits are compare-and-swap on head and tag."""

    def __init__(self, sinks: Sequence[str]) -> None:
        self.sinks = list(sinks)
        self.rules = Protocol(Scenario(sinks=tuple(range(len(sinks)))))
        self.tables: list[Table] = list(initial(self.rules.scenario).tables)
        self.files: set[File] = set()
        self.gone: set[File] = set()

    def rows(self, sink: str) -> list[Row]:
        """Rows at the head."""
        table = self.tables[self.sinks.index(sink)]
        head = table.snap(table.head)
        assert head is not None
        assert not head.files & self.gone, f"{sink} names deleted files {head.files & self.gone}"
        return sorted(head.rows)

    def proof(self, sink: str) -> Landed | None:
        """What the table shows was committed last by the sink."""
        at = self.sinks.index(sink)
        shown = self.tables[at].prop[at]
        return shown[0] if shown else None  # type: ignore[return-value]

    def commit(self, commit: Commit) -> bool:
        """Apply a commit if the table is as it requires."""
        table = self.tables[commit.sink]
        if not self.rules.matches(table, commit):
            return False
        self.tables[commit.sink] = self.rules.apply(table, commit)
        return True

    def roll_back(self, sink: str) -> None:
        """Put head, tag and property back to the snapshot before, as our command does."""
        at = self.sinks.index(sink)
        table = self.tables[at]
        head = table.snap(table.head)
        assert head is not None
        parent = table.snap(head.parent)
        assert parent is not None
        proof = None if parent.proof is None else (parent.proof[1], parent.id)
        self.tables[at] = table._replace(
            head=parent.id,
            prop=(*table.prop[:at], proof, *table.prop[at + 1 :]),
            tag=(*table.tag[:at], parent.id, *table.tag[at + 1 :]),
        )


@dataclass
class Load:
    """What one round of a committer decided: nothing to do, or a commit to send."""

    seen: Landed | None = None  # the table has this, and more need not be done
    commit: Commit | None = None
    slot: int = -1


class FakeCommitter:
    """Commits the tokens of one sink, by the rules T1 to T7."""

    def __init__(self, tables: FakeTables, log: CheckpointLog, sink: str) -> None:
        self.tables = tables
        self.log = log
        self.sink = sink
        self.view = log.view(sink)
        self.at = tables.sinks.index(sink)

    def load(self) -> Load:
        """Load, check against this very metadata, and build what to send.

        Raises
        ------
        Fenced
            A newer process is there.
        CommitRefused
            The table and the log disagree.
        """
        table = self.tables.tables[self.at]
        proof = self.tables.proof(self.sink)
        landed = self.view.landed
        shown, known = proof or NEVER, landed or NEVER
        ours = shown == known or self.view.contains(shown.slot, shown.digest)
        if shown.slot < known.slot or not ours:
            if (newer := self.view.newer_attempt()) is not None:
                raise Fenced(f"attempt {newer} is there")
            raise CommitRefused(f"{self.sink} shows {shown}, the log knows {known}")
        todo = [token for token in self.log.pending(self.sink) if token.slot > shown.slot]
        if not todo:
            return Load(seen=proof)
        token = todo[0]
        rows = tuple(tuple(row) for part in token.parts for row in json.loads(part)["rows"])
        files: frozenset[File] = frozenset(
            {("data", token.attempt, token.slot, self.at)} if rows else ()
        )
        commit = Commit(
            0,
            self.at,
            table.head,
            table.tag[self.at],
            Landed(token.slot, token.digest),  # type: ignore[arg-type]
            rows,  # type: ignore[arg-type]
            files,
            (),
        )
        return Load(commit=commit, slot=token.slot)

    def run(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Commit all that is pending."""
        while not stop():
            load = self.load()
            if load.commit is None:
                if load.seen is not None:
                    self.log.record_landed(self.sink, load.seen.slot, load.seen.digest)
                return
            if self.tables.commit(load.commit):
                done = load.commit.ref
                self.log.record_landed(self.sink, done.slot, done.digest)  # type: ignore[attr-defined]


def token(rows: Sequence[Row]) -> list[str]:
    """A token of rows, as one worker would give it."""
    return [json.dumps({"v": 1, "rows": [list(row) for row in rows]})]
