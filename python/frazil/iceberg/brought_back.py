"""Rows that a rewrite by others brought back (rule U4).

A program that compacts a table reads its rows, writes them anew, and puts the new files in the
place of those it has read. If rows of these were deleted meanwhile it has to begin again, and
Iceberg's own libraries do. One that does not brings those rows back: then a key is there that is
deleted, or twice.

What a rewrite may have is known: the rows that its files had right before it. So after each rewrite
that is between our last commit and the next one, rows that were deleted before it are looked for in
its files by their keys. Those that are there and were in none of its old files are deleted again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
from frazil.iceberg.delete_files import DeletedRows
from frazil.iceberg.manifests import read_entries, read_manifests
from frazil.iceberg.token import FileDeletes
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table.snapshots import Operation

if TYPE_CHECKING:
    from frazil.iceberg.live_files import LiveFiles, Place
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


@dataclass(slots=True)
class BroughtBack:
    """Rows that are to go again.

    Attributes
    ----------
    deletes
        By path of the data file.
    unchecked
        Rewrites whose old files, or history, are gone: what they brought back cannot be told.
    """

    deletes: dict[str, FileDeletes] = field(default_factory=dict)
    unchecked: int = 0

    @property
    def rows(self) -> int:
        """How many."""
        return sum(len(each.rows) for each in self.deletes.values())


def find_brought_back(table: Table, branch: str, since: int | None, live: LiveFiles) -> BroughtBack:
    """Look at the rewrites by others since a snapshot.

    Parameters
    ----------
    table
        As just loaded.
    branch
        Of it.
    since
        Our last snapshot; None: there is none, and nothing was deleted.
    live
        What is known of the data files of the branch.
    """
    found = BroughtBack()
    if since is None:
        return found
    metadata = table.metadata
    ref = metadata.refs.get(branch)
    current = metadata.snapshot_by_id(ref.snapshot_id) if ref is not None else None
    while current is not None and current.snapshot_id != since:
        before = metadata.snapshot_by_id(current.parent_snapshot_id or -1)
        if before is None:  # what was between has expired
            found.unchecked += 1
        elif current.summary is not None and current.summary.operation == Operation.REPLACE:
            try:
                _check(table, before, current, live, found)
            except FileNotFoundError:
                found.unchecked += 1
        current = before
    return found


def _check(
    table: Table, before: Snapshot, after: Snapshot, live: LiveFiles, found: BroughtBack
) -> None:
    """Look at one rewrite."""
    manifests = _manifests(table, before)
    old, new = live.files(table, manifests), live.files(table, _manifests(table, after))
    gone, added = old.keys() - new.keys(), new.keys() - old.keys()
    if not gone or not added:
        return
    deleted = dict(_deleted(table, manifests, gone, old))
    if not deleted:
        return
    suspects = pa.concat_arrays(
        [
            live.keys_of(table, path).take(pa.array(rows, pa.int64()))
            for path, rows in deleted.items()
        ]
    )
    values = live.values(table, suspects)
    hits = {
        path: live.find(table, path, suspects)
        for path in sorted(added)
        if values.may_be_in(new[path].bounds)
    }
    hits = {path: hit for path, hit in hits.items() if len(hit.rows)}
    if not hits:
        return
    hit_keys = pa.concat_arrays([hit.keys for hit in hits.values()])
    there = _live_keys(table, sorted(gone), deleted, live, hit_keys)
    for path, hit in hits.items():
        _note(path, new[path], hit.rows, hit.keys, there, found)


def _manifests(table: Table, snapshot: Snapshot) -> list[ManifestFile]:
    return read_manifests(table.io.new_input(snapshot.manifest_list))


def _deleted(
    table: Table, manifests: list[ManifestFile], gone: set[str], old: dict[str, Place]
) -> Iterator[tuple[str, list[int]]]:
    """The deleted rows of some data files, as some manifests have them."""
    entries = [
        entry
        for each in manifests
        if each.content == ManifestContent.DELETES
        for entry in read_entries(table.io, each)
    ]
    rows = DeletedRows(table, entries)
    for path in sorted(gone):
        place = old[path]
        file = DataFile.from_args(file_path=path, partition=place.partition)
        file.spec_id = place.spec_id
        if numbers := list(rows.of(file)):
            yield path, numbers


def _live_keys(
    table: Table,
    paths: list[str],
    deleted: dict[str, list[int]],
    live: LiveFiles,
    keys: pa.BinaryArray,
) -> pa.Array:
    """Those of some keys that rows of some data files have which were not deleted."""
    import pyarrow.compute as pc

    parts = []
    for path in paths:
        own = live.keys_of(table, path)
        if path in deleted:
            numbers = pa.array(range(len(own)), pa.int64())
            gone = pc.is_in(numbers, value_set=pa.array(deleted[path], pa.int64()))
            own = own.filter(pc.invert(gone))
        parts.append(own.filter(pc.is_in(own, value_set=keys)))
    return pa.concat_arrays(parts)


def _note(
    path: str,
    place: Place,
    rows: pa.Int64Array,
    keys: pa.BinaryArray,
    there: pa.Array,
    found: BroughtBack,
) -> None:
    """Note those of some rows whose keys were in no old file."""
    import pyarrow.compute as pc

    back = pc.invert(pc.is_in(keys, value_set=there))
    rows, keys = rows.filter(back), keys.filter(back)
    if len(rows):
        found.deletes[path] = FileDeletes(path, place.spec_id, place.partition, rows, keys)
