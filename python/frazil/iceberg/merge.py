"""Merging manifests, so that a table's manifest list does not grow with every commit.

A commit adds one manifest of a few entries. Manifests of similar size are merged when many have
gathered, so an entry is rewritten a few times in its life, whatever the number of commits. Merging
reads and writes; that is done between commits. The next commit only puts the result in the place of
what it was made of, if all of that is still there: manifests never change.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frazil.iceberg.manifests import ManifestWriter, in_snapshot, read_entries

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table

# Manifests of one spec and size class that are merged into one; also the ratio between the classes.
MERGE_COUNT = 32
# Manifests with this many entries are left as they are.
ENTRIES_MAX = MERGE_COUNT**3


@dataclass(frozen=True, slots=True)
class Merged:
    """A manifest that was written, and the manifests whose live entries it has."""

    manifest: ManifestFile
    inputs: tuple[str, ...]

    def replace(
        self, manifests: Sequence[ManifestFile], snapshot_id: int
    ) -> list[ManifestFile] | None:
        """Put the result in the place of its inputs; None if one of them is gone."""
        inputs = set(self.inputs)
        if not inputs <= {manifest.manifest_path for manifest in manifests}:
            return None
        rest = [each for each in manifests if each.manifest_path not in inputs]
        return [*rest, in_snapshot(self.manifest, snapshot_id)]


def choose(manifests: Sequence[ManifestFile], gathered: int | None = None) -> list[ManifestFile]:
    """Manifests to merge next, oldest first; none if fewer than `gathered` are alike."""
    classes: dict[tuple[int, int, int], list[ManifestFile]] = defaultdict(list)
    for manifest in manifests:
        entries = (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)
        if entries < ENTRIES_MAX:
            kind = manifest.content, manifest.partition_spec_id, _size_class(entries)
            classes[kind].append(manifest)
    for _, members in sorted(classes.items()):
        if len(members) >= (gathered or MERGE_COUNT):
            members.sort(key=lambda each: each.sequence_number)
            return members[:MERGE_COUNT]
    return []


def merge(table: Table, inputs: Sequence[ManifestFile]) -> Merged:
    """Write one manifest with the live entries of others.

    Every entry keeps the snapshot that added it, its sequence numbers and the ids of its rows.
    """
    spec = table.metadata.specs()[inputs[0].partition_spec_id]
    path = table.location_provider().new_metadata_location(f"{uuid.uuid4()}-m0.avro")
    # The snapshot is not known yet, and only new entries would need it.
    with ManifestWriter(table, spec, inputs[0].content, path, snapshot_id=0) as writer:
        for manifest in inputs:
            for entry in read_entries(table.io, manifest):
                writer.existing(entry)
    return Merged(writer.to_manifest_file(), tuple(each.manifest_path for each in inputs))


def _size_class(entries: int) -> int:
    size = 0
    while entries >= MERGE_COUNT:
        entries //= MERGE_COUNT
        size += 1
    return size
