"""Manifests and their lists, in the form of the table's format version.

PyIceberg writes what version 2 has, and of version 3 it reads only that: ids of rows and places of
deletion vectors would be lost where a manifest is written anew. Here all of it is held in the form
of version 3, whatever the table has, and written in the table's.

Rows of a version 3 table have ids. A manifest gets its first one when it is listed for the first
time, a data file when its manifest is read, and neither ever changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from frazil.iceberg.token import schema_of
from pyiceberg.avro.file import AvroFile, AvroOutputFile
from pyiceberg.manifest import (
    DATA_FILE_TYPE,
    MANIFEST_ENTRY_SCHEMAS,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestListWriterV2,
    ManifestWriterV2,
    PartitionFieldSummary,
)
from pyiceberg.schema import Schema
from pyiceberg.table import TableProperties
from pyiceberg.types import IntegerType, ListType, NestedField, StructType

if TYPE_CHECKING:
    from pyiceberg.io import FileIO, InputFile, OutputFile
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.typedef import TableVersion

# The form in which all is held.
_HELD: TableVersion = 3

# Where fields of version 3 stand in a data file's and a manifest's record.
_AT = {field.field_id: i for i, field in enumerate(DATA_FILE_TYPE[_HELD].fields)}
_FIRST_ROW, _ABOUT, _OFFSET, _SIZE = (_AT[field_id] for field_id in (142, 143, 144, 145))
_LIST_FIRST_ROW = len(MANIFEST_LIST_FILE_SCHEMAS[_HELD].fields) - 1

# Field ids of a manifest's entry.
_DATA_FILE_ID, _EQUALITY_IDS_ID, _EQUALITY_ID_ID = 2, 135, 136


class Manifest(ManifestFile):
    """A manifest as its list has it."""

    @property
    def first_row_id(self) -> int | None:
        """Of the first row in it that has no other."""
        return cast("int | None", self._data[_LIST_FIRST_ROW])


def data_file(**fields: Any) -> DataFile:
    """A data file, or a file of deletes."""
    return DataFile.from_args(_table_format_version=_HELD, **fields)


def referenced(file: DataFile) -> str | None:
    """The data file that a file of deletes says it is about; always said by deletion vectors."""
    return cast("str | None", file[_ABOUT])


def content_place(file: DataFile) -> tuple[int, int]:
    """Where in its file a deletion vector stands: offset, length."""
    return file[_OFFSET], file[_SIZE]


def first_row_id(file: DataFile) -> int | None:
    """The id of a data file's first row."""
    return cast("int | None", file[_FIRST_ROW])


def is_vector(file: DataFile) -> bool:
    """Whether a file of deletes is a deletion vector."""
    return bool(file.file_format == FileFormat.PUFFIN)


def read_manifests(file: InputFile) -> list[ManifestFile]:
    """The manifests of a list."""
    with AvroFile[ManifestFile](
        file,
        MANIFEST_LIST_FILE_SCHEMAS[_HELD],
        read_types={-1: Manifest, 508: PartitionFieldSummary},
        read_enums={517: ManifestContent},
    ) as reader:
        return list(reader)


def read_entries(io: FileIO, manifest: ManifestFile) -> list[ManifestEntry]:
    """The live entries of a manifest, with what they inherit from it."""
    with AvroFile[ManifestEntry](
        io.new_input(manifest.manifest_path),
        MANIFEST_ENTRY_SCHEMAS[_HELD],
        read_types={-1: ManifestEntry, 2: DataFile},
        read_enums={0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent},
    ) as reader:
        live = [entry for entry in reader if entry.status != ManifestEntryStatus.DELETED]
    next_row = manifest.first_row_id if isinstance(manifest, Manifest) else None
    for entry in live:
        _inherit(entry, manifest)
        file = entry.data_file
        if next_row is not None and first_row_id(file) is None:
            file[_FIRST_ROW] = next_row
            next_row += file.record_count
    return live


def _inherit(entry: ManifestEntry, manifest: ManifestFile) -> None:
    added = entry.status == ManifestEntryStatus.ADDED
    if entry.snapshot_id is None and manifest.added_snapshot_id is not None:
        entry.snapshot_id = manifest.added_snapshot_id
    if entry.sequence_number is None and (manifest.sequence_number == 0 or added):
        entry.sequence_number = manifest.sequence_number
    if entry.file_sequence_number is None and (manifest.sequence_number == 0 or added):
        entry.file_sequence_number = manifest.sequence_number
    entry.data_file.spec_id = manifest.partition_spec_id


# -- writing -------------------------------------------------------------------------------------


class ManifestWriter(ManifestWriterV2):
    """Writes a manifest of data files, or of files of deletes."""

    def __init__(
        self,
        table: Table,
        spec: PartitionSpec,
        content: ManifestContent,
        path: str,
        snapshot_id: int,
    ) -> None:
        metadata = table.metadata
        super().__init__(
            spec,
            schema_of(spec, metadata),
            table.io.new_output(path),
            snapshot_id,
            compression_of(metadata),
        )
        self._content = content
        self._version = metadata.format_version

    def content(self) -> ManifestContent:
        """What the entries are."""
        return self._content

    @property
    def version(self) -> TableVersion:
        """The form in which it is written."""
        return self._version

    @property
    def _meta(self) -> dict[str, str]:
        content = "deletes" if self._content == ManifestContent.DELETES else "data"
        return {**super()._meta, "content": content}

    def _with_partition(self, format_version: TableVersion) -> Schema:
        return _with_int_equality_ids(super()._with_partition(format_version))

    def new_writer(self) -> AvroOutputFile[ManifestEntry]:
        """Open the file."""
        return AvroOutputFile[ManifestEntry](
            output_file=self._output_file,
            file_schema=self._with_partition(self._version),
            record_schema=self._with_partition(_HELD),
            schema_name="manifest_entry",
            metadata=self._meta,
        )

    def to_manifest_file(self) -> ManifestFile:
        """The manifest, for a list. Its rows get ids there."""
        return Manifest(*super().to_manifest_file()._data, None)


def _with_int_equality_ids(schema: Schema) -> Schema:
    """The schema of entries with equality ids as the format has them: PyIceberg's are longs, and
    Java cannot read those.
    """

    def fixed(field: NestedField) -> NestedField:
        if field.field_id != _EQUALITY_IDS_ID:
            return field
        ids = ListType(_EQUALITY_ID_ID, IntegerType(), element_required=True)
        return NestedField(_EQUALITY_IDS_ID, field.name, ids, required=False, doc=field.doc)

    fields = []
    for field in schema.fields:
        if field.field_id == _DATA_FILE_ID:
            assert isinstance(field.field_type, StructType)
            members = StructType(*(fixed(each) for each in field.field_type.fields))
            field = NestedField(_DATA_FILE_ID, field.name, members, required=True)
        fields.append(field)
    return Schema(*fields)


def in_snapshot(manifest: ManifestFile, snapshot_id: int) -> ManifestFile:
    """A manifest that was written before its snapshot was known."""
    fields = MANIFEST_LIST_FILE_SCHEMAS[_HELD].fields
    at = next(i for i, field in enumerate(fields) if field.name == "added_snapshot_id")
    values = list(manifest._data)
    values[at] = snapshot_id
    return Manifest(*values)


class _ListWriter(ManifestListWriterV2):
    """Writes a list of manifests; in version 3 it gives ids to rows that have none."""

    def __init__(
        self,
        metadata: TableMetadata,
        output_file: OutputFile,
        snapshot_id: int,
        parent: int | None,
        sequence_number: int,
    ) -> None:
        super().__init__(
            output_file, snapshot_id, parent, sequence_number, compression_of(metadata)
        )
        self.next_row_id: int | None = None
        if metadata.format_version >= 3:
            self.next_row_id = next_row_id(metadata)
            self._format_version = _HELD
            self._meta = {
                **self._meta,
                "format-version": str(_HELD),
                "first-row-id": str(self.next_row_id),
            }

    def __enter__(self) -> _ListWriter:
        self._writer = AvroOutputFile[ManifestFile](
            output_file=self._output_file,
            record_schema=MANIFEST_LIST_FILE_SCHEMAS[_HELD],
            file_schema=MANIFEST_LIST_FILE_SCHEMAS[self._format_version],
            schema_name="manifest_file",
            metadata=self._meta,
        )
        self._writer.__enter__()
        return self

    def prepare_manifest(self, manifest_file: ManifestFile) -> ManifestFile:
        """Give a new manifest the sequence number of the commit, and its rows ids."""
        made = super().prepare_manifest(Manifest(*manifest_file._data))
        if (
            self.next_row_id is not None
            and made.content == ManifestContent.DATA
            and made[_LIST_FIRST_ROW] is None
        ):
            made[_LIST_FIRST_ROW] = self.next_row_id
            self.next_row_id += (made.added_rows_count or 0) + (made.existing_rows_count or 0)
        return made


def write_manifest_list(
    table: Table,
    path: str,
    *,
    snapshot_id: int,
    parent: int | None,
    sequence_number: int,
    manifests: Sequence[ManifestFile],
) -> tuple[list[ManifestFile], int | None]:
    """Write a list of manifests: these as it has them, and the next row's id after it."""
    writer = _ListWriter(
        table.metadata, table.io.new_output(path), snapshot_id, parent, sequence_number
    )
    with writer:
        listed = [writer.prepare_manifest(each) for each in manifests]
        if listed:
            writer.add_manifests(listed)
    return listed, writer.next_row_id


def next_row_id(metadata: TableMetadata) -> int:
    """The id that the next row of a version 3 table gets."""
    known = getattr(metadata, "next_row_id", None)
    if known is not None:
        return int(known)
    # A writer has left it out: all ids that were given are below the end of a snapshot's.
    ends = [(each.first_row_id or 0) + (each.added_rows or 0) for each in metadata.snapshots]
    return max(ends, default=0)


def compression_of(metadata: TableMetadata) -> Any:
    """The codec of the table's Avro files."""
    return metadata.properties.get(
        TableProperties.WRITE_AVRO_COMPRESSION, TableProperties.WRITE_AVRO_COMPRESSION_DEFAULT
    )
