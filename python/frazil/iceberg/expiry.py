"""Which of a sink's own snapshots a commit expires, so that metadata does not grow for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frazil.iceberg.proof import is_of, parse_proof_name

if TYPE_CHECKING:
    from frazil.iceberg.token import SinkIdentity
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

# Snapshots of a sink that its table keeps. Each is 0.7 KB of every metadata.json and makes every
# commit 0.15 ms dearer; at one commit a second this is history of nearly two minutes.
KEEP_SNAPSHOTS = 100
# The last snapshot of another sink must stay reachable from the head, so that it can prove that it
# was not rolled back. A sink that has not committed for this many times KEEP_SNAPSHOTS loses that.
OTHERS_FACTOR = 10
# Snapshots that one commit expires at most, when much has piled up.
EXPIRE_MAX = 500


def to_expire(
    metadata: TableMetadata, identity: SinkIdentity, branch: str, keep: int | None
) -> list[Snapshot]:
    """Snapshots that may go: made by this sink, oldest first, none that a branch or tag is on.

    Snapshots of others are theirs to expire. Nothing of a sink is removed that was committed after
    the last snapshot of another sink.
    """
    if keep is None:
        return []
    held = {ref.snapshot_id for ref in metadata.refs.values()}
    mine = [each for each in metadata.snapshots if is_of(each, identity, branch)]
    mine.sort(key=lambda each: each.sequence_number or 0)
    old = mine[: max(0, len(mine) + 1 - keep)]  # the one that is about to come counts
    limit = _oldest_proof(metadata)
    hard = max(0, len(mine) + 1 - keep * OTHERS_FACTOR)
    return [
        each
        for i, each in enumerate(old)
        if each.snapshot_id not in held and (i < hard or (each.sequence_number or 0) <= limit)
    ][:EXPIRE_MAX]


def _oldest_proof(metadata: TableMetadata) -> int:
    """Sequence number of the oldest snapshot that is some sink's proof."""
    found = []
    for name, ref in metadata.refs.items():
        snapshot = metadata.snapshot_by_id(ref.snapshot_id)
        if parse_proof_name(name) is not None and snapshot is not None:
            found.append(snapshot.sequence_number or 0)
    return min(found, default=metadata.next_sequence_number())
