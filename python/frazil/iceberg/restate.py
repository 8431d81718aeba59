"""Making an older or unprovable state of a table a provable one again (rule R2).

Both commands here add one snapshot that changes no rows of the state it is made from, and move
branch, tag and property to it in one commit. The snapshot is always a new one: were the old one put
under branch and tag again, a request of a dead process that waits for just these would still fit.
"""

# PyIceberg's models take their field names too, which only pydantic's mypy plugin would know.
# mypy: disable-error-code="call-arg"

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frazil.errors import CommitRefused, CommitUnknown, ConfigError, RewindRefused
from frazil.iceberg.ancestry import check_not_rolled_back
from frazil.iceberg.manifests import read_manifests
from frazil.iceberg.proof import (
    Proof,
    is_of,
    proof_in_summary,
    proof_name,
    property_name,
    read_proof,
)
from frazil.iceberg.staging import set_branch, set_tag, with_totals, write_snapshot
from frazil.iceberg.token import SinkIdentity
from pyiceberg.manifest import read_manifest_list
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
)

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Landed
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class PutBack:
    """A way back that was found, and can be committed.

    Parameters
    ----------
    target
        The snapshot whose rows the table will have; None: it will be empty.
    landed
        The snapshot that brought the token the table will show, None for no token.
    undone
        Snapshots of the sink whose rows go, newest first.
    """

    table: Table
    identity: SinkIdentity
    branch: str
    target: Snapshot | None
    landed: Snapshot | None
    undone: tuple[Snapshot, ...]

    @property
    def rows(self) -> int:
        """Rows that go."""
        return sum(
            int((each.summary and each.summary["added-records"]) or 0) for each in self.undone
        )

    def commit(self) -> None:
        """Move the branch with its proof.

        Raises
        ------
        CommitUnknown
            Somebody was faster, or the catalog does not answer. Look again.
        """
        _commit(self.table, self.identity, self.branch, self.target, self.landed)


def way_back(
    table: Table, identity: SinkIdentity, branch: str, want: Landed | None
) -> PutBack | None:
    """Find the state in which a table had all tokens up to `want` and none after.

    Parameters
    ----------
    table
        As just loaded.
    identity, branch
        Whose tokens, and where.
    want
        The token that is to be the last one; None: there must be none.

    Returns
    -------
    PutBack or None
        None if the table is in that state.

    Raises
    ------
    RewindRefused
        It cannot be put back: rows of others would go, history has expired, or there never was such
        a state.
    CommitRefused
        The proof is damaged.
    """
    where = f"{identity}: table {'.'.join(table.name())}"
    proof = read_proof(table.metadata, identity, branch)
    if proof is not None and proof.incarnation != identity.incarnation:
        raise RewindRefused(f"{where} was written by another log: {proof}")
    have = proof.landed if proof else None
    head = _head(table, branch)
    if proof is not None and head is None:
        raise RewindRefused(f"{where} has no branch {branch!r}", "put the branch back")
    if have == want:
        if proof is not None and head is not None:
            _check_not_rolled_back(table, identity, branch, head.snapshot_id, proof)
        return None
    if proof is None or (want is not None and proof.slot < want.slot):
        raise RewindRefused(
            f"{where} shows {proof or 'nothing'}, and is to go back to {_say(want)}",
            "it does not have that epoch: run the pipeline, which commits what waits, or go back "
            "further",
        )
    undone, found = _undone(table, identity, branch, want, where)
    if found is not None and _landed(found, identity, branch) != want:
        raise RewindRefused(
            f"{where} cannot go back to {_say(want)}: there was a commit of epochs "
            f"{_slots(found)}, and none that ends with this one",
            "several epochs were committed at once: go back to the last of them",
        )
    target = _parent(table, undone[-1]) if undone else head
    known = found is not None or (want is None and bool(undone))
    if not known or (target is None and not _is_first(table, undone[-1])):
        raise RewindRefused(
            f"{where} cannot go back to {_say(want)}: the branch {branch!r} does not have that "
            "in its history",
            "the snapshots have expired, or somebody made the branch anew",
        )
    return PutBack(table, identity, branch, target, found, tuple(undone))


def _is_first(table: Table, snapshot: Snapshot) -> bool:
    """Whether the table was empty before it. A parent that has expired looks like none."""
    listed = read_manifest_list(table.io.new_input(snapshot.manifest_list))
    return all(each.added_snapshot_id == snapshot.snapshot_id for each in listed)


def _undone(
    table: Table, identity: SinkIdentity, branch: str, want: Landed | None, where: str
) -> tuple[list[Snapshot], Snapshot | None]:
    """Snapshots to undo, newest first, and the sink's last one before them."""
    undone: list[Snapshot] = []
    others: list[Snapshot] = []
    between: list[Snapshot] = []
    current = _head(table, branch)
    while current is not None:
        landed = _landed(current, identity, branch)
        if landed is not None:
            if want is not None and landed.slot <= want.slot:
                break
            undone.append(current)
            others += between
            between = []
        elif current.summary is None or current.summary.operation != Operation.REPLACE:
            between.append(current)  # kept, unless something older has to be undone
        current = _parent(table, current)
    if others:
        which = ", ".join(str(each.snapshot_id) for each in others[:5])
        raise RewindRefused(
            f"{where} cannot go back to {_say(want)}: others have committed since, snapshots "
            f"{which}",
            "their rows would go too",
        )
    return undone, current


def _head(table: Table, branch: str) -> Snapshot | None:
    ref = table.metadata.refs.get(branch)
    return table.metadata.snapshot_by_id(ref.snapshot_id) if ref is not None else None


def _parent(table: Table, snapshot: Snapshot) -> Snapshot | None:
    parent = snapshot.parent_snapshot_id
    return table.metadata.snapshot_by_id(parent) if parent is not None else None


def accept(table: Table, pipeline: str, sink: str, branch: str = MAIN_BRANCH) -> bool:
    """Take a table as it is, whose history is too short to prove that nothing was rolled back.

    Only for somebody who knows that it was compacted and its snapshots expired. Whatever else is
    wrong is refused as before.

    Returns
    -------
    bool
        False if there was nothing to accept: it can be proven.

    Raises
    ------
    ConfigError
        The table has no proof of it.
    CommitRefused
        Something else is wrong with it: it was rolled back, or the proof is damaged.
    CommitUnknown
        Somebody was faster, or the catalog does not answer. Look again.
    """
    metadata = table.metadata
    identity = SinkIdentity(pipeline, "", sink)
    proof = read_proof(metadata, identity, branch)
    ref = metadata.refs.get(branch)
    if proof is None or ref is None:
        raise ConfigError(
            f"table {'.'.join(table.name())} has no proof of {identity} on branch {branch!r}",
            "`frazil audit` lists what it has",
        )
    shown = metadata.snapshot_by_id(proof.snapshot)
    if _is_proven(table, identity, branch, ref.snapshot_id, proof):
        return False
    if shown is None or not is_of(shown, identity, branch):
        raise ConfigError(
            f"table {'.'.join(table.name())}: the snapshot {proof.snapshot} of {identity} is gone",
            "its tag was removed: put it back from an older metadata.json",
        )
    _commit(table, identity, branch, metadata.snapshot_by_id(ref.snapshot_id), shown)
    return True


def _is_proven(table: Table, identity: SinkIdentity, branch: str, head: int, proof: Proof) -> bool:
    try:
        _check_not_rolled_back(table, identity, branch, head, proof)
    except CommitRefused as error:
        if error.kind != "unprovable":
            raise
        return False
    return True


def _check_not_rolled_back(
    table: Table, identity: SinkIdentity, branch: str, head: int, proof: Proof
) -> None:
    check_not_rolled_back(
        table.metadata,
        table.io,
        identity=identity,
        branch=branch,
        head=head,
        proof=proof,
        verified=None,
    )


def _commit(
    table: Table,
    identity: SinkIdentity,
    branch: str,
    target: Snapshot | None,
    landed: Snapshot | None,
) -> None:
    metadata = table.metadata
    tag, text = (
        name(identity.pipeline, identity.sink, branch) for name in (proof_name, property_name)
    )
    summary = with_totals(Summary(Operation.APPEND), target)
    if landed is not None and landed.summary is not None:
        marks = landed.summary.additional_properties
        summary.additional_properties.update(
            {name: value for name, value in marks.items() if name.startswith("frazil.")}
        )
    summary.additional_properties["frazil.restates"] = str(target.snapshot_id if target else "")
    source = table.io.new_input(target.manifest_list) if target is not None else None
    snapshot, _ = write_snapshot(
        table,
        snapshot_id=metadata.new_snapshot_id(),
        parent=target.snapshot_id if target is not None else None,
        manifests=read_manifests(source) if source is not None else [],
        summary=summary,
        now_ms=int(time.time() * 1000),
        files=[],
    )
    updates: list[Any] = [
        AddSnapshotUpdate(snapshot=snapshot),
        set_branch(metadata, branch, snapshot.snapshot_id),
    ]
    proof = proof_in_summary(snapshot) if landed is not None else None
    if proof is not None:
        updates.append(set_tag(tag, snapshot.snapshot_id))
        updates.append(SetPropertiesUpdate(updates={text: proof.to_json()}))
    else:
        updates += _without_proof(table, identity, branch, tag, text)
    requirements: Any = (
        AssertTableUUID(uuid=metadata.table_uuid),
        _assert_ref(table, branch),
        _assert_ref(table, tag),
    )
    try:
        table.catalog.commit_table(table, requirements, tuple(updates))
    except Exception as error:  # conflict, no answer, locked: what it is depends on the catalog
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CommitUnknown(
            f"{identity}: putting back {'.'.join(table.name())}: {first}",
            "ask again: it looks first at what is there",
        ) from error


def _without_proof(
    table: Table, identity: SinkIdentity, branch: str, tag: str, text: str
) -> list[Any]:
    """Remove what says that a sink ever committed, its snapshots too: they would count as proof."""
    metadata = table.metadata
    mine = [each.snapshot_id for each in metadata.snapshots if _landed(each, identity, branch)]
    held = {name for name, ref in metadata.refs.items() if ref.snapshot_id in mine}
    if held - {tag, branch}:
        raise RewindRefused(
            f"{identity}: table {'.'.join(table.name())} cannot go back to nothing: "
            f"{', '.join(sorted(held - {tag, branch}))} keeps what was committed",
            "remove that branch or tag first",
        )
    updates: list[Any] = []
    if tag in metadata.refs:
        updates.append(RemoveSnapshotRefUpdate.model_validate({"ref-name": tag}))
    if text in metadata.properties:
        updates.append(RemovePropertiesUpdate(removals=[text]))
    updates.append(RemoveSnapshotsUpdate(snapshot_ids=mine))
    return updates


def _assert_ref(table: Table, name: str) -> AssertRefSnapshotId:
    ref = table.metadata.refs.get(name)
    return AssertRefSnapshotId(ref=name, snapshot_id=ref.snapshot_id if ref else None)


def _landed(snapshot: Snapshot, identity: SinkIdentity, branch: str) -> Landed | None:
    """The last token that a snapshot of this sink and log brought; None for any other snapshot."""
    proof = proof_in_summary(snapshot) if is_of(snapshot, identity, branch) else None
    return proof.landed if proof and proof.incarnation == identity.incarnation else None


def _slots(snapshot: Snapshot) -> str:
    slots = (snapshot.summary and snapshot.summary["frazil.slots"]) or "?"
    return str(slots).replace(",", ", ")


def _say(landed: Landed | None) -> str:
    return f"epoch {landed.slot} ({landed.digest[:12]})" if landed else "nothing"
