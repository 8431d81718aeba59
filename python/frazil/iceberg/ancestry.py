"""Whether a branch still holds what was committed to it: the rollback test (rule T4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frazil.errors import CommitRefused
from pyiceberg.manifest import ManifestEntryStatus, read_manifest_list

if TYPE_CHECKING:
    from frazil.iceberg.proof import Proof
    from frazil.iceberg.token import SinkIdentity
    from pyiceberg.io import FileIO
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot


def check_not_rolled_back(
    metadata: TableMetadata,
    io: FileIO,
    *,
    identity: SinkIdentity,
    branch: str,
    head: int,
    proof: Proof,
    verified: int | None,
) -> None:
    """Refuse a branch whose head does not descend from the snapshot of the proof.

    Parameters
    ----------
    head
        The branch's snapshot.
    verified
        An earlier head in which this very proof was seen: the walk may end there.

    Raises
    ------
    CommitRefused
        Rolled back, or unprovable.
    """
    last: Snapshot | None = None
    current = metadata.snapshot_by_id(head)
    while current is not None:
        if current.snapshot_id in (proof.snapshot, verified):
            return
        if (current.sequence_number or 0) <= proof.sequence:
            raise CommitRefused(
                f"{identity}: branch {branch!r} was rolled back: its snapshot {head} does not "
                f"descend from snapshot {proof.snapshot}, which brought {proof}",
                "rows of committed epochs are gone from the table; going on would lose them",
                "roll forward to that snapshot, or rewind the pipeline to what the table has",
                kind="rolled_back",
            )
        last, parent = current, current.parent_snapshot_id
        current = metadata.snapshot_by_id(parent) if parent is not None else None
    # The chain ends. Some expiry leaves the id of a parent that is gone, PyIceberg's removes it, so
    # a first snapshot of a branch and one whose parents have expired look alike.
    if _has_file_of(metadata, io, head, proof):
        return
    raise CommitRefused(
        f"{identity}: whether branch {branch!r} still has {proof} cannot be proven: its history "
        f"ends at snapshot {last.snapshot_id if last else head}, before snapshot {proof.snapshot}, "
        "and none of that snapshot's files is left in it",
        "if you know that the table was only compacted and its snapshots expired: frazil state "
        f"accept NAMESPACE.TABLE {identity.pipeline} {identity.sink}",
        kind="unprovable",
    )


def _has_file_of(metadata: TableMetadata, io: FileIO, head: int, proof: Proof) -> bool:
    """Whether a live file of the head, of rows or deletes, was *added by* the proof's snapshot.

    Any other file of ours proves nothing: it may be from before the snapshot that was undone.
    """
    snapshot = metadata.snapshot_by_id(head)
    if snapshot is None:
        return False
    for manifest in read_manifest_list(io.new_input(snapshot.manifest_list)):
        if manifest.sequence_number < proof.sequence:
            continue
        if manifest.min_sequence_number > proof.sequence:
            continue
        for entry in manifest.fetch_manifest_entry(io):
            live = entry.status != ManifestEntryStatus.DELETED
            if live and entry.snapshot_id == proof.snapshot:
                return True
    return False
