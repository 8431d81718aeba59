"""Files of deletes that a commit replaces (rule U11).

In format version 2 a data file may have several files of deletes; where these are many, a commit
puts all into one. In version 3 it has one deletion vector: a commit that deletes rows of it puts
another in its place that has the earlier rows too, and those of files of deletes that are left from
version 2. Either is done in each try of a commit anew, for others may delete rows as well.
"""

from __future__ import annotations

import io
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from frazil.errors import CommitRefused
from frazil.iceberg.deletion_vectors import decode, rows_of
from frazil.iceberg.manifests import content_place, is_vector, read_entries, referenced
from frazil.iceberg.row_delta import PATH_ID
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry
from pyroaring import BitMap64

if TYPE_CHECKING:
    from frazil.iceberg.token import FileDeletes
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table

# Files of deletes that a data file may have in version 2; a commit that adds one more puts all into
# one.
FILES_MAX = 8
# Bytes of deletion vectors that are kept between commits.
VECTORS_BYTES_MAX = 64 * 1024 * 1024


@dataclass(slots=True)
class Gathered:
    """Deletes of a commit, together with those that are to be replaced.

    Attributes
    ----------
    deletes
        By path of the data file.
    manifests
        Of the head, without those that have files that are replaced.
    left
        Entries of these that stay.
    replaced
        Entries of these that go.
    vectors
        In version 3: all deleted rows of the data files of `deletes`.
    needed
        Files that entries that stay have their vectors in.
    """

    deletes: dict[str, FileDeletes]
    manifests: list[ManifestFile]
    left: list[ManifestEntry] = field(default_factory=list)
    replaced: list[ManifestEntry] = field(default_factory=list)
    vectors: dict[str, BitMap64] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)

    @property
    def superseded(self) -> tuple[str, ...]:
        """Files that the table does not need after the commit."""
        paths = {entry.data_file.file_path for entry in self.replaced}
        return tuple(sorted(paths - self.needed))


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a manifest of delete files has."""

    about: Counter[str]  # files by the data file that they are about alone
    vectors: frozenset[str]  # data files that have a vector here
    places: frozenset[str]  # files in which the vectors are
    wide: bool  # whether there are files of positional deletes about several data files


class DeleteFiles:
    """The files of deletes of a branch. Each manifest is read once.

    One thread at a time.
    """

    def __init__(self) -> None:
        self._listed: dict[str, _Listed] = {}  # by manifest
        self._vectors: OrderedDict[tuple[str, int], bytes] = OrderedDict()  # by file and offset
        self._vector_bytes = 0

    def note(self, manifest: ManifestFile, files: Iterable[DataFile]) -> None:
        """Remember a manifest of delete files that was just written."""
        self._listed[manifest.manifest_path] = _list(files)

    def gather(
        self,
        table: Table,
        manifests: Sequence[ManifestFile],
        deletes: Mapping[str, FileDeletes],
    ) -> Gathered:
        """Take in the deletes that are to be replaced.

        Parameters
        ----------
        table
            As just loaded.
        manifests
            Of the head on which the commit builds.
        deletes
            What the commit deletes.
        """
        if not deletes:
            return Gathered({}, list(manifests))
        listed = {
            each.manifest_path: self._list(table, each)
            for each in manifests
            if each.content == ManifestContent.DELETES
        }
        self._listed = dict(listed)
        gathered = Gathered(dict(deletes), [])
        if table.metadata.format_version < 3:
            crowded = _crowded(listed.values(), deletes)
        else:
            crowded = set(deletes)
            gathered.vectors = {path: rows_of(each.rows) for path, each in deletes.items()}
            self._take_wide(table, manifests, listed, gathered)
        for manifest in manifests:
            found = listed.get(manifest.manifest_path)
            if found is None or crowded.isdisjoint(found.about):
                gathered.manifests.append(manifest)
                if found is not None:
                    gathered.needed |= found.places
            else:
                self._take(table, manifest, crowded, gathered)
        if not gathered.vectors:
            for path in crowded:
                gathered.deletes[path] = _ordered(gathered.deletes[path])
        return gathered

    def _list(self, table: Table, manifest: ManifestFile) -> _Listed:
        found = self._listed.get(manifest.manifest_path)
        if found is None:
            found = _list(entry.data_file for entry in read_entries(table.io, manifest))
        return found

    def _take(
        self, table: Table, manifest: ManifestFile, crowded: set[str], gathered: Gathered
    ) -> None:
        """Take those files of a manifest that are about some data files."""
        for entry in read_entries(table.io, manifest):
            file = entry.data_file
            about = _about(file)
            if about in crowded and self._take_file(table, file, about, gathered):
                gathered.replaced.append(entry)
            else:
                gathered.left.append(entry)
                if is_vector(file):
                    gathered.needed.add(file.file_path)

    def _take_file(self, table: Table, file: DataFile, about: str, gathered: Gathered) -> bool:
        """Take the rows of a file of deletes; not if it is about more than one data file."""
        if is_vector(file):
            gathered.vectors[about] |= self._read_vector(table, file)
            return True
        rows = _read(table, file, about)
        if rows is None:
            return False
        if gathered.vectors:
            gathered.vectors[about] |= rows_of(rows)
        else:
            old = gathered.deletes[about]
            gathered.deletes[about] = replace(old, rows=pa.concat_arrays([old.rows, rows]))
        return True

    def _take_wide(
        self,
        table: Table,
        manifests: Sequence[ManifestFile],
        listed: Mapping[str, _Listed],
        gathered: Gathered,
    ) -> None:
        """Take the rows of files of deletes about several data files. These files stay: of a data
        file with a vector readers leave them alone, so they are read for its first vector only.
        """
        first = set(gathered.deletes).difference(*(each.vectors for each in listed.values()))
        for manifest in manifests:
            found = listed.get(manifest.manifest_path)
            if not first or found is None or not found.wide:
                continue
            for entry in read_entries(table.io, manifest):
                file = entry.data_file
                if not _is_positions(file) or _about(file) is not None:
                    continue
                paths = {each for each in first if _may_be_about(file, gathered.deletes[each])}
                if paths:
                    for path, rows in _read_wide(table, file, paths).items():
                        gathered.vectors[path] |= rows_of(rows)

    def _read_vector(self, table: Table, file: DataFile) -> BitMap64:
        offset, _ = content_place(file)
        blob = self._vectors.pop((file.file_path, offset), None)  # its successor comes
        if blob is None:
            return read_vector(table, file)
        self._vector_bytes -= len(blob)
        return decode(blob, f"{file.file_path} at {offset}")

    def keep(self, path: str, offset: int, blob: bytes) -> None:
        """Remember a deletion vector that was written: the next one needs it."""
        self._vectors[path, offset] = blob  # the newest stands last
        self._vector_bytes += len(blob)
        while self._vector_bytes > VECTORS_BYTES_MAX:
            self._vector_bytes -= len(self._vectors.popitem(last=False)[1])


class DeletedRows:
    """What the files of positional deletes of a table say of its data files."""

    def __init__(self, table: Table, entries: Iterable[ManifestEntry]) -> None:
        self._table = table
        self._vectors: dict[str, DataFile] = {}
        self._alone: dict[str, list[DataFile]] = {}
        self._wide: list[tuple[DataFile, dict[str, pa.Int64Array]]] = []
        for entry in entries:
            file = entry.data_file
            about = _about(file)
            if about is None:
                self._wide.append((file, {}))
            elif is_vector(file):
                self._vectors[about] = file
            else:
                self._alone.setdefault(about, []).append(file)

    def of(self, file: DataFile) -> BitMap64:
        """The deleted rows of a data file. Where it has a vector, that is all."""
        path = file.file_path
        if (vector := self._vectors.get(path)) is not None:
            return read_vector(self._table, vector)
        found = BitMap64()
        wanted = {path}
        for each in self._alone.get(path, ()):
            for rows in _read_wide(self._table, each, wanted).values():
                found |= rows_of(rows)
        for each, known in self._wide:
            if not _may_be_about(each, file):
                continue
            if not known:  # read once: such a file is about many
                known |= _read_wide(self._table, each, None)
            if path in known:
                found |= rows_of(known[path])
        return found


def read_vector(table: Table, file: DataFile) -> BitMap64:
    """The rows of a deletion vector."""
    offset, length = content_place(file)
    with table.io.new_input(file.file_path).open() as opened:
        blob = opened.read()[offset : offset + length]
    return decode(blob, f"{file.file_path} at {offset}")


def _crowded(listed: Iterable[_Listed], deletes: Mapping[str, FileDeletes]) -> set[str]:
    """Data files that have many files of deletes, and lose rows now."""
    total: Counter[str] = Counter()
    for each in listed:
        total.update({path: count for path, count in each.about.items() if path in deletes})
    return {path for path, count in total.items() if count >= FILES_MAX}


def _list(files: Iterable[DataFile]) -> _Listed:
    positions = [(file, _about(file)) for file in files if _is_positions(file)]
    vectors = [(file, about) for file, about in positions if is_vector(file)]
    return _Listed(
        Counter(about for _, about in positions if about is not None),
        frozenset(about for _, about in vectors if about is not None),
        frozenset(file.file_path for file, _ in vectors),
        any(about is None for _, about in positions),
    )


def _is_positions(file: DataFile) -> bool:
    return bool(file.content == DataFileContent.POSITION_DELETES)


def _about(file: DataFile) -> str | None:
    """The data file that a file of deletes seems to be about; None if that is not one alone."""
    if is_vector(file):
        return referenced(file)
    if not _is_positions(file) or file.file_format != FileFormat.PARQUET:
        return None
    if (path := referenced(file)) is not None:
        return path
    low, high = _path_bounds(file)
    return low.decode(errors="replace") if low is not None and low == high else None


def _may_be_about(file: DataFile, data: FileDeletes | DataFile) -> bool:
    """Whether a file of deletes may have rows of a data file."""
    if (file.spec_id, file.partition) != (data.spec_id, data.partition):
        return False
    name = data.file_path if isinstance(data, DataFile) else data.path
    path, (low, high) = name.encode(), _path_bounds(file)
    return (low is None or low <= path) and (high is None or path <= high)


def _path_bounds(file: DataFile) -> tuple[bytes | None, bytes | None]:
    return (file.lower_bounds or {}).get(PATH_ID), (file.upper_bounds or {}).get(PATH_ID)


def _read(table: Table, file: DataFile, about: str) -> pa.Int64Array | None:
    """The rows of a file of deletes; None if it is about more than that data file."""
    rows = _read_file(table, file)
    if rows.column("file_path").unique().to_pylist() != [about]:
        return None
    return rows.column("pos").combine_chunks().cast(pa.int64())


def _read_wide(table: Table, file: DataFile, paths: set[str] | None) -> dict[str, pa.Int64Array]:
    """The rows of some data files, or of all, in a file of deletes."""
    import pyarrow.compute as pc

    rows = _read_file(table, file)
    found = {}
    there = set(rows.column("file_path").unique().to_pylist())
    for path in there if paths is None else paths & there:
        own = rows.filter(pc.equal(rows.column("file_path"), path))
        found[path] = own.column("pos").combine_chunks().cast(pa.int64())
    return found


def _read_file(table: Table, file: DataFile) -> pa.Table:
    if file.file_format != FileFormat.PARQUET:
        raise CommitRefused(
            f"reading deletes of {file.file_path}: they are not Parquet, and the deletion vectors "
            "of their data files must have them",
            "rewrite the table's positional deletes: Spark's rewrite_position_delete_files",
            kind="unreadable_deletes",
        )
    with table.io.new_input(file.file_path).open() as opened:
        return pq.read_table(io.BytesIO(opened.read()), columns=["file_path", "pos"])


def _ordered(deletes: FileDeletes) -> FileDeletes:
    import pyarrow.compute as pc

    rows = pc.unique(deletes.rows)
    return replace(deletes, rows=rows.take(pc.array_sort_indices(rows)))
