"""Keeping files of deletes few: many about one data file are replaced by one (rule U11)."""

from __future__ import annotations

import io
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from frazil.iceberg.row_delta import PATH_ID, manifest_writer
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestContent

if TYPE_CHECKING:
    from frazil.iceberg.token import FileDeletes
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table

# Files of deletes that a data file may have; a commit that adds one more puts all into one.
FILES_MAX = 8


@dataclass(slots=True)
class Gathered:
    """Deletes of a commit, together with those that are to be replaced.

    Attributes
    ----------
    deletes
        By path of the data file.
    manifests
        Of the head, without the files that are replaced.
    replaced
        Those files.
    """

    deletes: dict[str, FileDeletes]
    manifests: list[ManifestFile]
    replaced: list[DataFile] = field(default_factory=list)


class DeleteFiles:
    """How many files of deletes the data files of a branch have. Each manifest is read once.

    One thread at a time.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}  # by manifest, then data file

    def note(self, manifest: ManifestFile, files: Sequence[DataFile]) -> None:
        """Remember a manifest of delete files that was just written."""
        self._counts[manifest.manifest_path] = _count(files)

    def gather(
        self,
        table: Table,
        manifests: Sequence[ManifestFile],
        deletes: Mapping[str, FileDeletes],
        snapshot_id: int,
        written: list[str],
    ) -> Gathered:
        """Take in the deletes of data files that have many files of them.

        Parameters
        ----------
        table
            As just loaded.
        manifests
            Of the head on which the commit builds.
        deletes
            What the commit deletes.
        snapshot_id
            Of the commit.
        written
            Gets the path of each manifest before it is written.
        """
        gathered = Gathered(dict(deletes), [])
        listed = [each for each in manifests if each.content == ManifestContent.DELETES]
        counts = (
            {each.manifest_path: self._count(table, each) for each in listed} if deletes else {}
        )
        self._counts = dict(counts)
        total: Counter[str] = Counter()
        for each in counts.values():
            total.update({path: count for path, count in each.items() if path in deletes})
        crowded = {path for path, count in total.items() if count >= FILES_MAX}
        for manifest in manifests:
            if crowded.isdisjoint(counts.get(manifest.manifest_path, ())):
                gathered.manifests.append(manifest)
            else:
                made = self._take(table, manifest, crowded, gathered, snapshot_id, written)
                gathered.manifests.append(made)
        for path in crowded:
            gathered.deletes[path] = _ordered(gathered.deletes[path])
        return gathered

    def _count(self, table: Table, manifest: ManifestFile) -> Counter[str]:
        found = self._counts.get(manifest.manifest_path)
        if found is None:
            entries = manifest.fetch_manifest_entry(table.io)
            found = _count([entry.data_file for entry in entries])
        return found

    def _take(
        self,
        table: Table,
        manifest: ManifestFile,
        crowded: set[str],
        gathered: Gathered,
        snapshot_id: int,
        written: list[str],
    ) -> ManifestFile:
        """Write a manifest anew in which files about some data files are deleted."""
        entries = manifest.fetch_manifest_entry(table.io)
        taken = {}
        for entry in entries:
            about = _about(entry.data_file)
            if about in crowded and (rows := _read(table, entry.data_file, about)) is not None:
                old = gathered.deletes[about]
                gathered.deletes[about] = replace(old, rows=pa.concat_arrays([old.rows, rows]))
                gathered.replaced.append(entry.data_file)
                taken[entry.data_file.file_path] = entry
        if not taken:
            return manifest
        spec = table.metadata.specs()[manifest.partition_spec_id]
        path = table.location_provider().new_metadata_location(f"{uuid.uuid4()}-m0.avro")
        written.append(path)
        left = [entry for entry in entries if entry.data_file.file_path not in taken]
        with manifest_writer(table, spec, manifest.content, path, snapshot_id) as writer:
            for entry in left:
                writer.existing(entry)
            for entry in taken.values():
                writer.delete(entry)
        made = writer.to_manifest_file()
        self.note(made, [entry.data_file for entry in left])
        return made


def _count(files: Sequence[DataFile]) -> Counter[str]:
    return Counter(about for file in files if (about := _about(file)) is not None)


def _about(file: DataFile) -> str | None:
    """The data file that a file of deletes seems to be about; None if that is not one alone."""
    if file.content != DataFileContent.POSITION_DELETES or file.file_format != FileFormat.PARQUET:
        return None
    low, high = ((bounds or {}).get(PATH_ID) for bounds in (file.lower_bounds, file.upper_bounds))
    return low.decode(errors="replace") if low is not None and low == high else None


def _read(table: Table, file: DataFile, about: str) -> pa.Int64Array | None:
    """The rows of a file of deletes; None if it is about more than that data file."""
    with table.io.new_input(file.file_path).open() as opened:
        rows = pq.read_table(io.BytesIO(opened.read()), columns=["file_path", "pos"])
    if rows.column("file_path").unique().to_pylist() != [about]:
        return None
    return rows.column("pos").combine_chunks().cast(pa.int64())


def _ordered(deletes: FileDeletes) -> FileDeletes:
    import pyarrow.compute as pc

    rows = pc.unique(deletes.rows)
    return replace(deletes, rows=rows.take(pc.array_sort_indices(rows)))
