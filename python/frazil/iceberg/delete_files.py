"""Files of deletes that a commit replaces (rule U11).

In format version 2 each commit adds a file of deletes to each partition in which it deletes rows.
Where these are many it puts them into the one that it writes, those of similar size at a time: so a
row is written anew a few times in its life, whatever the number of commits, and a partition has few
files. Rows of data files that are not live any more are left out then.

In version 3 a data file has one deletion vector: a commit that deletes rows of it puts another in
its place that has the earlier rows too, and those of files of deletes that are left from version 2.
Either is done in each try of a commit anew, for others may delete rows as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frazil.iceberg.deletion_vectors import decode, rows_of
from frazil.iceberg.manifests import content_place, is_vector, read_entries, referenced
from frazil.iceberg.positional_deletes import (
    PATH_ID,
    ROW_MAX,
    Place,
    by_path,
    paths_of,
    place_of,
    read_all,
    read_positions,
    without,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry
from pyroaring import BitMap64

if TYPE_CHECKING:
    import pyarrow as pa
    from frazil.iceberg.token import FileDeletes
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table

# Files of deletes of one size that a partition may have in version 2; a commit that adds one more
# puts all into one.
FILES_MAX = 8
# Rows at which the sizes end. What is larger stays as it is.
SIZES = (4096, 32 * 1024, 256 * 1024)
# Files, and rows of a partition, that one commit puts together. More of them than that are there
# only where others have made them.
TAKEN_MAX = 256
ROWS_MAX = 4 * 1024 * 1024
# Bytes of deletion vectors that are kept between commits.
VECTORS_BYTES_MAX = 64 * 1024 * 1024

# Tells which of some data files are not live.
FindMissing = Callable[[set[str]], set[str]]


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
    older
        In version 2: rows of the files that are replaced.
    vectors
        In version 3: all deleted rows of the data files of `deletes`.
    needed
        Files that entries that stay have their vectors in.
    """

    deletes: dict[str, FileDeletes]
    manifests: list[ManifestFile]
    left: list[ManifestEntry] = field(default_factory=list)
    replaced: list[ManifestEntry] = field(default_factory=list)
    older: dict[Place, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
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

    about: frozenset[str]  # data files that have files of their own here
    sizes: Mapping[str, tuple[Place, int]]  # where files of positional deletes are, and their rows
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
        missing: FindMissing,
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
        missing
            Tells which data files this head does not have.
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
            self._gather_positions(table, manifests, listed, gathered, missing)
        else:
            self._gather_vectors(table, manifests, listed, gathered)
        return gathered

    def _gather_positions(
        self,
        table: Table,
        manifests: Sequence[ManifestFile],
        listed: Mapping[str, _Listed],
        gathered: Gathered,
        missing: FindMissing,
    ) -> None:
        places = {place_of(each) for each in gathered.deletes.values()}
        chosen = _choose(listed.values(), places)
        found: list[ManifestEntry] = []
        for manifest in manifests:
            known = listed.get(manifest.manifest_path)
            if known is None or chosen.isdisjoint(known.sizes):
                gathered.manifests.append(manifest)
                continue
            for entry in read_entries(table.io, manifest):
                wanted = entry.data_file.file_path in chosen
                (found if wanted else gathered.left).append(entry)
        parts = read_all(table, [entry.data_file for entry in found])
        dead = missing(set().union(*map(paths_of, parts)) - gathered.deletes.keys())
        for entry, rows in zip(found, parts, strict=True):
            if _orderable(rows):
                gathered.replaced.append(entry)
                gathered.older[place_of(entry.data_file)].append(without(rows, dead))
            else:
                gathered.left.append(entry)

    def _gather_vectors(
        self,
        table: Table,
        manifests: Sequence[ManifestFile],
        listed: Mapping[str, _Listed],
        gathered: Gathered,
    ) -> None:
        gathered.vectors = {path: rows_of(each.rows) for path, each in gathered.deletes.items()}
        self._take_wide(table, manifests, listed, gathered)
        for manifest in manifests:
            found = listed.get(manifest.manifest_path)
            if found is None or found.about.isdisjoint(gathered.deletes):
                gathered.manifests.append(manifest)
                if found is not None:
                    gathered.needed |= found.places
            else:
                self._take(table, manifest, gathered)

    def _list(self, table: Table, manifest: ManifestFile) -> _Listed:
        found = self._listed.get(manifest.manifest_path)
        if found is None:
            found = _list(entry.data_file for entry in read_entries(table.io, manifest))
        return found

    def _take(self, table: Table, manifest: ManifestFile, gathered: Gathered) -> None:
        """Take those files of a manifest that are about the data files."""
        for entry in read_entries(table.io, manifest):
            file = entry.data_file
            about = _about(file)
            if about in gathered.vectors and self._take_file(table, file, about, gathered):
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
        rows = by_path(read_positions(table, file))
        if rows.keys() != {about}:
            return False
        gathered.vectors[about] |= rows_of(rows[about])
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
                    rows = by_path(read_positions(table, file))
                    for path in paths & rows.keys():
                        gathered.vectors[path] |= rows_of(rows[path])

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
        for each in self._alone.get(path, ()):
            rows = by_path(read_positions(self._table, each))
            if path in rows:
                found |= rows_of(rows[path])
        for each, known in self._wide:
            if not _may_be_about(each, file):
                continue
            if not known:  # read once: such a file is about many
                known |= by_path(read_positions(self._table, each))
            if path in known:
                found |= rows_of(known[path])
        return found


def read_vector(table: Table, file: DataFile) -> BitMap64:
    """The rows of a deletion vector."""
    offset, length = content_place(file)
    with table.io.new_input(file.file_path).open() as opened:
        blob = opened.read()[offset : offset + length]
    return decode(blob, f"{file.file_path} at {offset}")


def _choose(listed: Iterable[_Listed], places: set[Place]) -> set[str]:
    """Files of deletes of some partitions that are to be put into one: there are many of a size."""
    sizes: dict[Place, list[tuple[int, str]]] = defaultdict(list)
    for each in listed:
        for path, (place, rows) in each.sizes.items():
            if place in places:
                sizes[place].append((rows, path))
    chosen: set[str] = set()
    for files in sizes.values():
        counts = Counter(bisect_right(SIZES, rows) for rows, _ in files)
        full = [size for size in range(len(SIZES)) if counts[size] >= FILES_MAX]
        limit = SIZES[full[-1]] if full else 0  # what is smaller goes with them
        taken = 0
        for rows, path in sorted(files):
            if rows >= limit or taken + rows > ROWS_MAX or len(chosen) >= TAKEN_MAX:
                break
            taken += rows
            chosen.add(path)
    return chosen


def _orderable(rows: pa.Table) -> bool:
    """Whether the rows of a file of deletes can be put in order with others."""
    import pyarrow.compute as pc

    ends = pc.min_max(rows.column("pos")).as_py()
    return rows.num_rows == 0 or bool(ends["min"] >= 0 and ends["max"] < ROW_MAX)


def _list(files: Iterable[DataFile]) -> _Listed:
    positions = [(file, _about(file)) for file in files if _is_positions(file)]
    vectors = [(file, about) for file, about in positions if is_vector(file)]
    return _Listed(
        frozenset(about for _, about in positions if about is not None),
        {
            file.file_path: (place_of(file), file.record_count)
            for file, _ in positions
            if file.file_format == FileFormat.PARQUET
        },
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
