"""Removing metadata files that no snapshot needs any more, and only those that we made needless.

When our commit expires our own snapshot, its manifest list is garbage. When our commit replaces
manifests by a merged one, they are garbage once every snapshot with them has expired. Both are left
for a while for readers that loaded the table earlier. What is due when the process ends stays: some
megabytes for the table's own orphan removal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.manifest import read_manifest_list

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

# How long a file is left after the commit that made it needless (seconds).
GRACE_S = 3600.0
# Files remembered for removal; what goes beyond is left to the table's own orphan removal.
FILES_MAX = 20_000
# Retained snapshots whose manifest lists are read to see whether a manifest is needed. A table with
# more keeps its replaced manifests.
SNAPSHOTS_MAX = 1000


@dataclass(frozen=True, slots=True)
class _Due:
    at: float
    path: str
    snapshot: int | None  # whose manifest list it is; None: a manifest, or a file of deletes
    before: int | None = None  # of a file of deletes: snapshots with lower numbers need it


class Sweeper:
    """Files of one table that are to be removed."""

    def __init__(self) -> None:
        self._due: deque[_Due] = deque(maxlen=FILES_MAX)
        self._lists: dict[int, frozenset[str]] = {}  # manifests by retained snapshot

    def expired(self, snapshots: Iterable[Snapshot], now: float) -> None:
        """Our commit has removed these snapshots."""
        for snapshot in snapshots:
            self._due.append(_Due(now + GRACE_S, snapshot.manifest_list, snapshot.snapshot_id))

    def replaced(self, manifests: Iterable[str], now: float) -> None:
        """Our commit has replaced these manifests."""
        for path in manifests:
            self._due.append(_Due(now + GRACE_S, path, None))

    def superseded(self, paths: Iterable[str], sequence: int, now: float) -> None:
        """Our commit with this sequence number has files that stand for these files of deletes."""
        for path in paths:
            self._due.append(_Due(now + GRACE_S, path, None, sequence))

    def sweep(self, table: Table, now: float) -> list[str]:
        """Remove what is due; the paths that were removed."""
        due: list[_Due] = []
        while self._due and self._due[0].at <= now:
            due.append(self._due.popleft())
        if not due:
            return []
        there = {snapshot.snapshot_id for snapshot in table.metadata.snapshots}
        removed = [each.path for each in due if each.snapshot and each.snapshot not in there]
        manifests = [each for each in due if each.snapshot is None and each.before is None]
        if manifests and len(there) <= SNAPSHOTS_MAX:
            needed = self._needed(table)
            for each in manifests:
                if each.path not in needed:
                    removed.append(each.path)
                else:  # a snapshot still has it: look again later
                    self._due.append(_Due(now + GRACE_S, each.path, None))
        for each in due:
            if each.before is None:
                continue
            if _is_needed(table.metadata, each.before):
                self._due.append(_Due(now + GRACE_S, each.path, None, each.before))
            else:
                removed.append(each.path)
        for path in removed:
            remove_quietly(table, path)
        return removed

    def _needed(self, table: Table) -> set[str]:
        """Manifests of all snapshots of the table."""
        lists = {}
        for snapshot in table.metadata.snapshots:
            found = self._lists.get(snapshot.snapshot_id)
            if found is None:
                read = read_manifest_list(table.io.new_input(snapshot.manifest_list))
                found = frozenset(each.manifest_path for each in read)
            lists[snapshot.snapshot_id] = found
        self._lists = lists
        return set().union(*lists.values())


def _is_needed(metadata: TableMetadata, before: int) -> bool:
    """Whether a snapshot from before that number may be read, or descended from by a branch."""
    branches = [ref for ref in metadata.refs.values() if ref.snapshot_ref_type == "branch"]
    return len(branches) > 1 or any(
        (snapshot.sequence_number or 0) < before for snapshot in metadata.snapshots
    )


def remove_old_metadata(table: Table, after: TableMetadata) -> None:
    """Remove metadata.json files that a commit dropped from the log of them, if the table asks for
    it. A catalog's `commit_table` leaves that to its caller.
    """
    wanted = after.properties.get("write.metadata.delete-after-commit.enabled", "false")
    if wanted.lower() == "true":
        kept = {entry.metadata_file for entry in after.metadata_log}
        for entry in table.metadata.metadata_log:
            if entry.metadata_file not in kept:
                remove_quietly(table, entry.metadata_file)


def remove_quietly(table: Table, path: str) -> None:
    """Remove a file of the table if that works."""
    try:
        table.io.delete(path)
    except OSError:
        return  # an orphan of a few kilobytes, for the table's own orphan removal
