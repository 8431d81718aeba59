"""Random histories: whatever happens to a table, every row is in it once, or the commit is refused.

The machine plays a pipeline that dies and restarts, lost and late messages, and people who append,
expire, compact, and roll back. After each step, a fresh process is asked: it either brings the
table to exactly the rows of the log (and those of others), or refuses, and it may refuse only if
somebody meddled in a way that cannot be told from a loss.
"""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from frazil.errors import CommitRefused, CommitUnknown
from frazil.iceberg.token import PendingToken
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.python.iceberg.world import Faulty, Log, World


class _Killed(BaseException):
    """The process dies here."""


class History(RuleBasedStateMachine):
    """See the module."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder)
        self.log = Log()
        self.slot = 1
        self.foreign: list[int] = []
        self.catalog = Faulty(self.world.catalog)
        self.requests: list[tuple] = []  # type: ignore[type-arg]
        self.rolled_back = False
        self.history_cut = False
        self.restart(False)

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(note=st.booleans())
    def restart(self, note: bool) -> None:
        """The process ends; what it noted of its commits last may be lost with it."""
        if not note and len(self.log.tokens) > 1:
            done = self.log.tokens[0]
            if self.log.landed is not None and self.log.landed.slot > done.slot:
                self.log.landed, self.log.head = None, None
        self.committer = self.world.committer(catalog=self.catalog, keep_snapshots=3, squash_max=2)

    @rule(rows=st.integers(0, 2))
    def epoch(self, rows: int) -> None:
        """An epoch is accepted; without rows only a rewind gives a token."""
        self.slot += 1
        ids = [self.slot * 10 + i for i in range(rows)]
        if ids:
            self.log.tokens.append(self.world.token(self.slot, ids))
        elif self.slot % 4 == 0:
            self.log.tokens.append(PendingToken(self.slot, f"{self.slot:064d}", ()))

    @rule(
        faults=st.lists(st.sampled_from(["ok", "lost_reply", "lost_request", "late"]), max_size=3),
        kill=st.sampled_from(["", "", "after_load", "before_commit", "after_commit"]),
    )
    def commit(self, faults: list[str], kill: str) -> None:
        """A commit, with messages lost, or killed on its way."""
        self.catalog.plan = list(faults)

        def hook(name: str) -> None:
            if name == kill:
                raise _Killed

        self.committer._hook = hook
        try:
            result = self.committer.commit(
                self.log.pending(), landed=self.log.landed, log=self.log, head=self.log.head
            )
        except _Killed:
            self.restart(True)
        except CommitRefused as error:
            self.check_refusal(error)
        else:
            self.log.record(result)
        finally:
            self.catalog.plan = []

    @rule()
    def late_messages_arrive(self) -> None:
        self.catalog.land()

    @rule()
    def maintain(self) -> None:
        self.world.now += 4000
        self.committer.maintain()

    @rule()
    def append(self) -> None:
        self.foreign.append(10_000 + len(self.foreign))
        self.world.append(self.foreign[-1:])

    @precondition(lambda self: self.world.load().current_snapshot() is not None)
    @rule()
    def compact(self) -> None:
        self.world.compact()

    @precondition(lambda self: len(self.world.load().metadata.snapshots) > 2)
    @rule(which=st.integers(0, 10))
    def expire(self, which: int) -> None:
        metadata = self.world.load().metadata
        held = {ref.snapshot_id for ref in metadata.refs.values()}
        old = [s.snapshot_id for s in metadata.snapshots if s.snapshot_id not in held]
        if old:
            self.world.expire(old[which % len(old)])
            self.history_cut = True

    @precondition(lambda self: len(self.world.load().metadata.snapshots) > 1)
    @rule(which=st.integers(0, 10))
    def roll_back(self, which: int) -> None:
        snapshots = self.world.load().metadata.snapshots
        target = snapshots[which % len(snapshots)].snapshot_id
        if target != self.world.head():
            self.world.rollback(target)
            self.rolled_back = True

    def check_refusal(self, error: CommitRefused) -> None:
        """Only for a cause."""
        allowed = set()
        if self.rolled_back:
            allowed |= {"rolled_back", "unprovable"}
        if self.history_cut:
            allowed.add("unprovable")
        assert error.kind in allowed, error

    @invariant()
    def a_fresh_process_makes_it_exact_or_refuses(self) -> None:
        if not hasattr(self, "world"):
            return
        have = self.world.ids()
        ours = [i for i in have if i < 10_000]
        assert len(ours) == len(set(ours)), "a row is there twice"
        accepted = {i for token in self.log.tokens for i in ids_of(token)}
        assert set(ours) <= accepted
        try:
            self.world.committer(keep_snapshots=3).verify(
                self.log.landed, log=self.log, pending=self.log.pending(), head=self.log.head
            )
        except CommitRefused as error:
            self.check_refusal(error)
            return
        except CommitUnknown as error:
            raise AssertionError(str(error)) from error
        # It would go on: then all up to the proof has to be there.
        proof = self.world.committer().read_proof() if not self.history_cut else None
        if proof is not None and not self.rolled_back:
            applied = {
                i for token in self.log.tokens if token.slot <= proof.slot for i in ids_of(token)
            }
            assert set(ours) == applied
            assert sorted(i for i in have if i >= 10_000) == self.foreign
        elif proof is not None:
            applied = {
                i for token in self.log.tokens if token.slot <= proof.slot for i in ids_of(token)
            }
            assert set(ours) == applied, "a rollback went unnoticed"


def ids_of(token: PendingToken) -> list[int]:
    """Ids in a token, by its slot and number of rows."""
    rows = sum(file["rows"] for part in token.parts for file in json.loads(part)["files"])
    return [token.slot * 10 + i for i in range(rows)]


History.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestHistory = pytest.mark.slow(History.TestCase)
