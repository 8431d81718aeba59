"""Which data files a table has, and where rows went whose data file it has no more (rule U2).

A token says of a row that is to be deleted in which data file it is, and what its key is. Others
may have rewritten that file since: a delete that names a data file which is not live is read by
nobody, and the old row would be back. So each try of a commit looks, in the very snapshot that it
builds on, whether the files are there. Rows of those that are not are looked for by their keys in
data files that this sink did not write.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from frazil.checkpoint.orphan import parse_file_name
from frazil.iceberg.key_bounds import Bounds, FirstValues, bounds_of
from frazil.iceberg.key_columns import encode_keys, read_columns
from frazil.iceberg.manifests import read_entries
from frazil.iceberg.token import FileDeletes
from pyiceberg.manifest import ManifestContent

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.typedef import Record

# Bytes of keys of data files by others that are kept between commits.
KEYS_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Spec and partition of a data file, and of one by others the bounds of its keys."""

    spec_id: int
    partition: Record
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Relocated:
    """Deletes of rows where these are now.

    Attributes
    ----------
    deletes
        By path of the data file.
    rows
        How many of them are elsewhere than their token says.
    gone
        How many rows are nowhere: others have deleted them.
    """

    deletes: Mapping[str, FileDeletes]
    rows: int = 0
    gone: int = 0


class Found(NamedTuple):
    """Rows of a file, and their keys."""

    rows: pa.Int64Array
    keys: pa.BinaryArray


class LiveFiles:
    """The data files of a branch. Manifests never change, so each is read once.

    One thread at a time.

    Parameters
    ----------
    key
        Columns of the key.
    """

    def __init__(self, key: Sequence[str]) -> None:
        self._key = tuple(key)
        self._places: dict[str, dict[str, Place]] = {}  # of live data files, by manifest
        self._keys: OrderedDict[str, pa.BinaryArray] = OrderedDict()  # of files of others

    def note(self, manifest: ManifestFile, files: Sequence[DataFile]) -> None:
        """Remember a manifest of new files that was just written."""
        self._places[manifest.manifest_path] = {
            file.file_path: Place(file.spec_id, file.partition) for file in files
        }

    def relocate(
        self,
        table: Table,
        manifests: Sequence[ManifestFile],
        deletes: Mapping[str, FileDeletes],
        new: Iterable[str],
    ) -> Relocated:
        """Say where rows are that are to be deleted.

        Parameters
        ----------
        table
            As just loaded.
        manifests
            Of the head on which the commit builds.
        deletes
            As tokens have them.
        new
            Data files that the commit adds.
        """
        missing = self.missing(table, manifests, set(deletes) - set(new))
        if not missing:
            return Relocated(deletes)
        lost = [deletes[path] for path in sorted(missing)]
        keys = pa.concat_arrays([each.keys for each in lost])
        made = {path: each for path, each in deletes.items() if path not in missing}
        rows, seen = 0, set()
        values = self.values(table, keys)
        for path, place in self._others(manifests):
            if not values.may_be_in(place.bounds):
                continue
            found = self.find(table, path, keys)
            if len(found.rows):
                here = FileDeletes(path, place.spec_id, place.partition, *found)
                known = made.get(path)
                made[path] = here if known is None else known.joined(here)
                rows += len(found.rows)
                seen.update(found.keys.to_pylist())
        return Relocated(made, rows, len(keys) - len(seen))

    def missing(self, table: Table, manifests: Sequence[ManifestFile], paths: set[str]) -> set[str]:
        """Those of some data files that are not live. New manifests are read first."""
        data = [each for each in manifests if each.content == ManifestContent.DATA]
        here = {each.manifest_path for each in data}
        self._places = {path: live for path, live in self._places.items() if path in here}
        for manifest in sorted(data, key=lambda each: -each.sequence_number):
            if not paths:
                break
            paths = paths - self._live(table, manifest).keys()
        return paths

    def _live(self, table: Table, manifest: ManifestFile) -> dict[str, Place]:
        found = self._places.get(manifest.manifest_path)
        if found is None:
            found = self._places[manifest.manifest_path] = self._read(table, manifest)
        return found

    def _read(self, table: Table, manifest: ManifestFile) -> dict[str, Place]:
        first = table.schema().find_field(self._key[0]).field_id
        found = {}
        for entry in read_entries(table.io, manifest):
            file = entry.data_file
            ours = parse_file_name(file.file_path) is not None
            bounds = None if ours else bounds_of(file, first)
            found[file.file_path] = Place(manifest.partition_spec_id, file.partition, bounds)
        return found

    def _others(self, manifests: Sequence[ManifestFile]) -> Iterator[tuple[str, Place]]:
        """Live data files that no sink of Frazil's wrote; all manifests have been read."""
        for manifest in manifests:
            for path, place in self._places.get(manifest.manifest_path, {}).items():
                if parse_file_name(path) is None:
                    yield path, place

    def files(self, table: Table, manifests: Sequence[ManifestFile]) -> dict[str, Place]:
        """The live data files of some manifests."""
        found: dict[str, Place] = {}
        for manifest in manifests:
            if manifest.content == ManifestContent.DATA:
                known = self._places.get(manifest.manifest_path)
                found |= self._read(table, manifest) if known is None else known
        return found

    def values(self, table: Table, keys: pa.BinaryArray) -> FirstValues:
        """What some keys begin with."""
        return FirstValues(table, self._key, keys)

    def find(self, table: Table, path: str, keys: pa.BinaryArray) -> Found:
        """The rows of a file that have one of these keys."""
        import pyarrow.compute as pc

        own = self.keys_of(table, path)
        rows = pc.indices_nonzero(pc.is_in(own, value_set=keys)).cast(pa.int64())
        return Found(rows, own.take(rows))

    def keys_of(self, table: Table, path: str) -> pa.BinaryArray:
        """The encoded keys of all rows of a file."""
        found = self._keys.pop(path, None)
        if found is None:
            found = self._read_keys(table, path)
        self._keys[path] = found  # the newest stands last
        while len(self._keys) > 1 and sum(each.nbytes for each in self._keys.values()) > (
            KEYS_BYTES_MAX
        ):
            self._keys.popitem(last=False)
        return found

    def _read_keys(self, table: Table, path: str) -> pa.BinaryArray:
        columns = read_columns(table, path, self._key)
        if not isinstance(columns, pa.Table):  # no row has a key
            return pa.nulls(columns, pa.binary())
        return encode_keys(columns).column("key")
