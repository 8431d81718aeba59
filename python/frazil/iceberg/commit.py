"""Committing tokens to a table, each exactly once (rules T1 to T11).

The log of the pipeline is the truth; the table is a copy of it that carries proof of how far it has
applied the log (`frazil.iceberg.proof`). Every try loads the table anew, compares proof and log,
and then sends one request that is conditional on the table, the branch and our own tag, and that
moves the branch, the tag and the proof together. Whatever the answer is but success, the next try
starts from the beginning: a commit without an answer may land later, and the next one that lands
kills it. When table and log disagree nothing is guessed: the commit is refused and both sides are
named.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frazil.checkpoint.slot_put import Clock
from frazil.errors import CommitRefused, CommitUnknown, Fenced, FrazilError
from frazil.iceberg.ancestry import check_not_rolled_back
from frazil.iceberg.delete_files import DeleteFiles
from frazil.iceberg.expiry import KEEP_SNAPSHOTS, to_expire
from frazil.iceberg.live_files import LiveFiles
from frazil.iceberg.manifests import read_manifests
from frazil.iceberg.merge import MERGE_COUNT, Merged, choose, merge
from frazil.iceberg.proof import (
    Proof,
    check_claim,
    is_of,
    proof_in_summary,
    proof_name,
    read_proof,
)
from frazil.iceberg.staging import Stage, Staged
from frazil.iceberg.sweep import Sweeper, remove_old_metadata, remove_quietly
from frazil.iceberg.table import split_name
from frazil.iceberg.token import (
    SQUASH_MAX,
    CommitResult,
    LogView,
    PendingToken,
    SinkIdentity,
    together,
)
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table.refs import MAIN_BRANCH

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Landed
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata

# How often one call tries to make progress, and the pauses between (seconds, doubled).
TRIES_MAX = 12
PAUSE_S = 0.05
PAUSE_MAX_S = 5.0
# A commit merges manifests itself when this many times MERGE_COUNT have gathered.
LATE_FACTOR = 4
# Failed tries whose files are remembered for cleaning.
FAILED_MAX = 256


@dataclass(frozen=True, slots=True)
class _Seen:
    """A table as it was loaded, checked against the log."""

    table: Table
    head: int | None
    proof: Proof | None

    @property
    def metadata(self) -> TableMetadata:
        return self.table.metadata


class TableCommitter:
    """Commits the tokens of one sink to one branch of one table.

    Threads: any; calls wait for each other, but `verify` does not wait for a commit.

    Parameters
    ----------
    catalog
        From `open_catalog`.
    name
        namespace.table.
    identity
        Whose tokens.
    table_uuid
        Of the table the data files were written for.
    branch
        Where to.
    key
        Columns by which its rows replace each other; none: they are appended.
    keep_snapshots
        Snapshots of this sink that the table keeps; older ones are expired with a commit. None
        keeps all.
    squash_max
        Tokens that one snapshot may bring when several wait; fewer if they delete many rows.
    clock
        For tests.
    hook
        Called with "after_load", "before_commit", "after_commit"; what it raises at the last counts
        as a lost answer, unless it is no Exception. For crash tests.
    """

    def __init__(
        self,
        catalog: Catalog,
        name: str,
        identity: SinkIdentity,
        *,
        table_uuid: str,
        branch: str = MAIN_BRANCH,
        key: Sequence[str] = (),
        keep_snapshots: int | None = KEEP_SNAPSHOTS,
        squash_max: int = SQUASH_MAX,
        clock: Clock | None = None,
        hook: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._catalog = catalog
        self._name = name
        self._parts = split_name(name)
        self._identity = identity
        self._uuid = uuid.UUID(table_uuid)
        self._branch = branch
        self._keep = keep_snapshots
        self._squash = squash_max
        self._clock = clock or Clock()
        self._hook = hook
        self._lock = threading.RLock()  # all below
        self._failed: list[Staged] = []
        # Heads in which a proof was seen, and the manifests of a head that is ours.
        self._verified: tuple[Landed, int] | None = None
        self._manifests: tuple[int, list[ManifestFile]] | None = None
        self._schema: Schema | None = None
        self._merged: Merged | None = None
        self._sweeper = Sweeper()
        self._live = LiveFiles(key) if key else None
        self._gone = DeleteFiles() if key else None

    @property
    def name(self) -> str:
        """namespace.table."""
        return self._name

    @property
    def schema(self) -> Schema | None:
        """The table's, as it was when it was looked at last."""
        return self._schema

    # -- what a coordinator calls ----------------------------------------------------------------

    def commit(
        self,
        pending: Sequence[PendingToken],
        *,
        landed: Landed | None,
        log: LogView,
        head: int | None = None,
    ) -> CommitResult:
        """Bring all tokens into the table that are not there yet, in order.

        Parameters
        ----------
        pending
            Every token of the log above `landed`, in order: never some of them, never the newest
            alone.
        landed
            The last token known to be in the table, from the log.
        log
            The log.
        head
            The head snapshot that was verified together with `landed`, from the log.

        Raises
        ------
        CommitRefused
            Table and log disagree. Trying again will not help.
        Fenced
            A newer process has the log.
        CommitUnknown
            The catalog does not answer, or others are always faster. Call again later, with the
            same or with more tokens.
        """
        _check_order(pending, landed)
        with self._lock:
            return self._commit(pending, landed, log, head)

    def _commit(
        self,
        pending: Sequence[PendingToken],
        landed: Landed | None,
        log: LogView,
        head: int | None,
    ) -> CommitResult:
        made: int | None = None
        sent = done = 0
        last = ""
        for attempt in range(TRIES_MAX):
            if attempt:
                self._pause(attempt)
            while True:
                seen = self._look(pending, landed, log, head)
                if isinstance(seen, str):
                    last = seen
                    break
                todo = [t for t in pending if seen.proof is None or t.slot > seen.proof.slot]
                self._clean(seen)
                if not todo:
                    return CommitResult(self._landed(seen), seen.head, made, sent, done)
                sent += 1
                batch = together(todo, self._squash)
                answer = self._try(seen, batch)
                if isinstance(answer, str):
                    last = answer
                    break
                made, done = answer.snapshot_id, done + len(batch)
                if len(batch) == len(todo):
                    self._maintain_late(answer.manifests)
                    head_now = answer.snapshot_id
                    return CommitResult(answer.proof.landed, head_now, made, sent, done)
        raise CommitUnknown(
            f"{self._identity}: committing epoch {pending[-1].slot if pending else '-'} to "
            f"{self._name}: no success in {TRIES_MAX} tries",
            f"last: {last}",
            "nothing is lost: the epochs are in the log and will be committed later",
        )

    def verify(
        self,
        landed: Landed | None,
        *,
        log: LogView,
        pending: Sequence[PendingToken] = (),
        head: int | None = None,
    ) -> int | None:
        """Test that the table still has what was committed to it; the head in which it was seen.

        To be called at every checkpoint, also when idle: history that was seen need not be
        provable later. While a commit runs, which tests the same, the answer is the head seen last.
        Raises as `commit` does.
        """
        if not self._lock.acquire(blocking=False):
            known = self._verified
            return known[1] if known is not None else None
        try:
            return self._verify(pending, landed, log, head)
        finally:
            self._lock.release()

    def _verify(
        self,
        pending: Sequence[PendingToken],
        landed: Landed | None,
        log: LogView,
        head: int | None,
    ) -> int | None:
        last = ""
        for attempt in range(TRIES_MAX):
            if attempt:
                self._pause(attempt)
            seen = self._look(pending, landed, log, head)
            if not isinstance(seen, str):
                self._clean(seen)
                return seen.head
            last = seen
        raise CommitUnknown(f"{self._identity}: looking at {self._name}: {last}")

    def maintain(self) -> None:
        """Do what keeps the table's metadata small: merge manifests, remove needless files.

        To be called between commits, when nothing waits; it reads and writes files, but commits
        nothing: a merged manifest goes with the next commit. Without it tables grow slow.

        Raises
        ------
        CommitUnknown
            The catalog or its files cannot be reached now.
        """
        with self._lock:
            self._maintain()

    def _maintain(self) -> None:
        try:
            table = self._catalog.load_table(self._parts)
            self._sweeper.sweep(table, self._clock.now())
            branch = table.metadata.refs.get(self._branch)
            if self._merged is None and branch is not None:
                seen = _Seen(table, branch.snapshot_id, None)
                if inputs := choose(self._head_manifests(seen)):
                    self._merged = merge(table, inputs)
        except Exception as error:  # depends on the catalog and its FileIO
            raise CommitUnknown(f"maintaining {self._name}: {_first_line(error)}") from error

    def _maintain_late(self, manifests: Sequence[ManifestFile]) -> None:
        """Merge here if nobody calls `maintain` in time."""
        if self._merged is None and choose(manifests, LATE_FACTOR * MERGE_COUNT):
            try:
                self.maintain()
            except CommitUnknown:
                return  # what was committed has landed; there will be another time

    def read_proof(self) -> Landed | None:
        """What the table says was committed last; for a rewind. Raises as `commit` does."""
        try:
            table = self._catalog.load_table(self._parts)
        except NoSuchTableError:
            return None
        except Exception as error:
            raise CommitUnknown(f"looking at {self._name}: {_first_line(error)}") from error
        seen = self._check_table(table)
        if seen.proof is not None:
            self._check_rolled_back(seen, seen.proof, None)
        return seen.proof.landed if seen.proof else None

    def check_empty(self, log: LogView, *, adopt: bool = False) -> None:
        """Refuse a branch with rows: of a sink that replaces rows, and has prepared none yet.

        Parameters
        ----------
        log
            The log.
        adopt
            Whether it takes over rows that are there. Those of another sink it never does.

        Raises
        ------
        CommitRefused
            It has rows, or is another sink's.
        CommitUnknown
            The catalog or its files cannot be reached now.
        """
        try:
            table = self._catalog.load_table(self._parts)
            seen = self._check_table(table)
            self._check_log(seen, (), None, log)
            self._check_claim(seen)
            manifests = self._head_manifests(seen)
        except FrazilError:
            raise
        except Exception as error:
            raise CommitUnknown(f"looking at {self._name}: {_first_line(error)}") from error
        if manifests and not adopt:
            raise CommitRefused(
                f"{self._identity}: table {self._name} has rows that this sink did not write",
                "it could not replace them, as it does not know where they are: take them over by "
                'existing="adopt", write to a new table, or empty this one',
                kind="not_empty",
            )

    # -- one try ---------------------------------------------------------------------------------

    def _look(
        self,
        pending: Sequence[PendingToken],
        landed: Landed | None,
        log: LogView,
        head: int | None,
    ) -> _Seen | str:
        """Load and check the table (T1 to T4). A text says why it could not be looked at."""
        try:
            table = self._catalog.load_table(self._parts)
            self._hook("after_load")
            seen = self._check_table(table)
            self._schema = table.schema()
            self._check_log(seen, pending, landed, log)
            self._check_claim(seen)
            if seen.proof is not None:
                known = head if landed is not None and seen.proof.landed == landed else None
                self._check_rolled_back(seen, seen.proof, known)
        except NoSuchTableError as error:
            raise CommitRefused(
                f"{self._identity}: table {self._name} is not there any more, the log has landed "
                f"{_say(landed)} in it",
                "put the table back",
                kind="table_missing",
            ) from error
        except FrazilError:
            raise
        except Exception as error:  # depends on the catalog and its FileIO
            return f"looking at the table: {_first_line(error)}"
        return seen

    def _check_table(self, table: Table) -> _Seen:
        metadata = table.metadata
        if metadata.table_uuid != self._uuid:
            raise CommitRefused(
                f"{self._identity}: table {self._name} is another one: its uuid is "
                f"{metadata.table_uuid}, the files were written for {self._uuid}",
                "somebody dropped and made it anew: put the old one back, or start the pipeline "
                "under a new name",
                kind="table_replaced",
            )
        proof = read_proof(metadata, self._identity, self._branch)
        branch = metadata.refs.get(self._branch)
        if branch is None and (proof is not None or self._branch != MAIN_BRANCH):
            raise CommitRefused(
                f"{self._identity}: table {self._name} has no branch {self._branch!r}, "
                + (f"its proof says {proof}" if proof else "and Frazil does not make branches"),
                "put the branch back",
                kind="branch_missing",
            )
        return _Seen(table, branch.snapshot_id if branch else None, proof)

    def _check_log(
        self, seen: _Seen, pending: Sequence[PendingToken], landed: Landed | None, log: LogView
    ) -> None:
        proof = seen.proof
        if proof is None:
            self._check_no_proof(seen, landed)
            return
        if proof.incarnation != self._identity.incarnation:
            raise CommitRefused(
                f"{self._identity}: table {self._name} was written by another log: "
                f"{proof} of incarnation {proof.incarnation}, this log is "
                f"{self._identity.incarnation}",
                "give back the old checkpoint folder; or, to accept duplicates, use another name "
                "for the pipeline",
                kind="other_incarnation",
            )
        if landed is not None and proof.slot < landed.slot:
            raise CommitRefused(
                f"{self._identity}: table {self._name} went back from {_say(landed)} to {proof}",
                "an older state of the table or of its catalog was restored; going on would lose "
                "the epochs between",
                "restore the newer; if a `frazil rollback` did not end, ask for it again",
                kind="table_behind",
            )
        if proof.landed == landed or any(
            (token.slot, token.digest) == (proof.slot, proof.digest) for token in pending
        ):
            return
        newer_than_landed = landed is None or proof.slot > landed.slot
        if newer_than_landed and log.contains(proof.slot, proof.digest):
            return
        if newer := log.newer_attempt():
            raise Fenced(
                f"{self._identity}: table {self._name} has {proof}, which attempt {newer} wrote: "
                "it has taken over",
                "nothing is lost; this process must end and must not be restarted by itself",
            )
        newest = pending[-1].slot if pending else landed.slot if landed else None
        behind = newest is None or proof.slot > newest
        raise CommitRefused(
            f"{self._identity}: table {self._name} and checkpoint store disagree: the table has "
            f"{proof}, the log has landed {_say(landed)} and knows no such token",
            "the store lost an epoch or is another one: give back the store that wrote the table",
            kind="log_behind" if behind else "diverged",
        )

    def _check_claim(self, seen: _Seen) -> None:
        if self._live is not None:
            check_claim(seen.metadata, self._identity, self._branch, self._name)

    def _check_no_proof(self, seen: _Seen, landed: Landed | None) -> None:
        found = None
        for snapshot in seen.metadata.snapshots:
            if is_of(snapshot, self._identity, self._branch):
                mine = proof_in_summary(snapshot)
                if mine is not None and mine.incarnation == self._identity.incarnation:
                    found = mine
        if landed is None and found is None:
            return
        had = f"the log has landed {_say(landed)}" if landed else f"its history has {found}"
        raise CommitRefused(
            f"{self._identity}: table {self._name} has no proof of it (tag and property are gone), "
            f"but {had}",
            "put the tag back on the sink's last snapshot: "
            f"{proof_name(self._identity.pipeline, self._identity.sink, self._branch)}",
            "if a `frazil rollback` did not end, ask for it again",
            kind="proof_removed",
        )

    def _check_rolled_back(self, seen: _Seen, proof: Proof, known: int | None) -> None:
        if seen.head is None:
            return  # _check_table refused it
        if self._verified is not None and self._verified[0] == proof.landed:
            known = self._verified[1]
        check_not_rolled_back(
            seen.metadata,
            seen.table.io,
            identity=self._identity,
            branch=self._branch,
            head=seen.head,
            proof=proof,
            verified=known,
        )
        self._verified = (proof.landed, seen.head)

    def _try(self, seen: _Seen, tokens: Sequence[PendingToken]) -> Staged | str:
        """Send one commit (T6). A text says why it is not known to have landed."""
        stage = Stage(
            identity=self._identity,
            branch=self._branch,
            now_ms=int(self._clock.now() * 1000),
            live=self._live,
            gone=self._gone,
        )
        staged: Staged | None = None
        try:
            staged = stage.build(
                seen.table,
                self._head_manifests(seen),
                tokens,
                seen.proof,
                to_expire(seen.metadata, self._identity, self._branch, self._keep),
                self._merged,
            )
            self._merged = None
            self._hook("before_commit")
            answer = self._catalog.commit_table(seen.table, staged.requirements, staged.updates)
            self._hook("after_commit")
        except FrazilError:
            raise
        except Exception as error:  # conflict, no answer, locked: all mean "look again" (T7)
            if staged is not None:
                self._failed = [*self._failed[1 - FAILED_MAX :], staged]
            return f"{type(error).__name__}: {_first_line(error)}"
        remove_old_metadata(seen.table, answer.metadata)
        self._sweeper.expired(staged.expired, self._clock.now())
        self._sweeper.replaced((*staged.replaced, *staged.spent), self._clock.now())
        self._sweeper.superseded(staged.superseded, staged.proof.sequence, self._clock.now())
        self._manifests = (staged.snapshot_id, staged.manifests)
        self._verified = (staged.proof.landed, staged.snapshot_id)
        return staged

    def _head_manifests(self, seen: _Seen) -> list[ManifestFile]:
        if seen.head is None:
            return []
        if self._manifests is not None and self._manifests[0] == seen.head:
            return self._manifests[1]
        snapshot = seen.metadata.snapshot_by_id(seen.head)
        if snapshot is None:
            raise ValueError(f"snapshot {seen.head} is not in the table's metadata")
        found = read_manifests(seen.table.io.new_input(snapshot.manifest_list))
        # Manifests without live files say what a snapshot removed; the next one does not need them.
        return [each for each in found if each.has_added_files() or each.has_existing_files()]

    # -- afterwards ------------------------------------------------------------------------------

    def _landed(self, seen: _Seen) -> Landed | None:
        return seen.proof.landed if seen.proof is not None else None

    def _clean(self, seen: _Seen) -> None:
        """Remove files of tries that cannot land any more (T9).

        Such a try is behind the proof, the tag has moved from where the try needs it, and its
        sequence number is another snapshot's. That is seen, not inferred: a snapshot that landed
        and has expired since would be missing just like one that never did.
        """
        if seen.proof is None or not self._failed:
            return
        tag = seen.metadata.refs.get(
            proof_name(self._identity.pipeline, self._identity.sink, self._branch)
        )
        by_sequence = {each.sequence_number: each for each in seen.metadata.snapshots}
        kept = []
        for staged in self._failed:
            if seen.proof.slot < staged.slot or tag is None or tag.snapshot_id == staged.tag_was:
                kept.append(staged)
                continue
            taken_by = by_sequence.get(staged.proof.sequence)
            if taken_by is not None and taken_by.snapshot_id != staged.snapshot_id:
                for path in staged.files:
                    remove_quietly(seen.table, path)
        self._failed = kept

    def _pause(self, attempt: int) -> None:
        longest = min(PAUSE_S * 2 ** (attempt - 1), PAUSE_MAX_S)
        self._clock.sleep(longest * random.uniform(0.5, 1.0))  # writers must not march in step


def _check_order(pending: Sequence[PendingToken], landed: Landed | None) -> None:
    slots = [token.slot for token in pending]
    if slots != sorted(set(slots)) or (slots and landed and slots[0] <= landed.slot):
        raise ValueError(f"tokens out of order: {slots} after {_say(landed)}")


def _say(landed: Landed | None) -> str:
    return f"epoch {landed.slot} ({landed.digest[:12]})" if landed else "nothing"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
