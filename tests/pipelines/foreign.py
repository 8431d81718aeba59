"""What others do to tables. PyIceberg does not write format version 3, so it is done by hand."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from frazil import _engine
from frazil.iceberg.deletion_vectors import rows_of
from frazil.iceberg.manifests import (
    ManifestWriter,
    data_file,
    read_entries,
    read_manifests,
    referenced,
)
from frazil.iceberg.positional_deletes import PATH_ID, ROW_ID
from frazil.iceberg.row_delta import write_vectors
from frazil.iceberg.schema import to_arrow
from frazil.iceberg.staging import set_branch, with_totals, write_snapshot
from frazil.iceberg.table import writer_options
from frazil.iceberg.token import FileDeletes, PendingToken, contents_of
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
)
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, AssertTableUUID
from pyiceberg.typedef import Record

if TYPE_CHECKING:
    from pyiceberg.table import Table


def rewrite(
    table: Table, rows: pa.Table, files: Collection[str] | None = None, each: int | None = None
) -> None:
    """Write rows to new data files, which take the place of others; deletes of these go.

    Parameters
    ----------
    table
        Of a catalog that `open_catalog` gave.
    rows
        The rows.
    files
        Data files whose place they take: all by default. With those that were there some time ago,
        and their rows then, this is a program that does not look at what was deleted since.
    each
        Rows of a new data file; None: all in one of each partition.
    """
    head = table.current_snapshot()
    assert head is not None
    snapshot_id = table.metadata.new_snapshot_id()
    size = each or max(rows.num_rows, 1)
    parts = [rows.slice(begin, size) for begin in range(0, rows.num_rows, size)]
    made = [file for part in parts for file in write_rows(table, part)]
    manifests = [_manifest(table, made, ManifestContent.DATA, snapshot_id)] if made else []
    left: dict[ManifestContent, list[ManifestEntry]] = {kind: [] for kind in ManifestContent}
    if files is not None:
        for manifest in read_manifests(table.io.new_input(head.manifest_list)):
            for entry in read_entries(table.io, manifest):
                if _about(entry.data_file) not in files:
                    left[manifest.content].append(entry)
    for content, entries in left.items():
        for spec_id in sorted({entry.data_file.spec_id for entry in entries}):
            own = [entry for entry in entries if entry.data_file.spec_id == spec_id]
            manifests.append(_manifest(table, own, content, snapshot_id, spec_id))
    count = str(rows.num_rows)
    totals = {"total-records": count, "total-delete-files": "0", "total-position-deletes": "0"}
    summary = Summary(Operation.REPLACE, **{"added-records": count, **totals})
    _commit(table, snapshot_id, manifests, summary)


def live_files(table: Table) -> set[str]:
    """The data files of a table."""
    return {task.file.file_path for task in table.scan().plan_files()}


def _about(file: DataFile) -> str | None:
    """The data file that it is, or that it is about; None if these are several."""
    if file.content == DataFileContent.DATA:
        return str(file.file_path)
    if (path := referenced(file)) is not None:
        return path
    low, high = (bounds[PATH_ID].decode() for bounds in (file.lower_bounds, file.upper_bounds))
    return str(low) if low == high else None


def delete_rows(table: Table, rows: Sequence[tuple[str, int]]) -> None:
    """Delete rows of data files by one file of positional deletes for all, as some writers do."""
    paths, numbers = zip(*sorted(rows), strict=True)
    sink = pa.BufferOutputStream()
    ids = {"file_path": PATH_ID, "pos": ROW_ID}
    fields = [
        pa.field(name, type_, nullable=False, metadata={"PARQUET:field_id": str(ids[name])})
        for name, type_ in (("file_path", pa.string()), ("pos", pa.int64()))
    ]
    pq.write_table(pa.table([list(paths), list(numbers)], schema=pa.schema(fields)), sink)
    data = sink.getvalue().to_pybytes()
    path = f"{table.location_provider().data_path}/others-{uuid.uuid4()}.parquet"
    with table.io.new_output(path).create() as output:
        output.write(data)
    file = data_file(
        content=DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=len(rows),
        file_size_in_bytes=len(data),
    )
    file.spec_id = table.spec().spec_id
    _commit_deletes(table, file, len(rows))


def delete_by_vector(table: Table, path: str, rows: Sequence[int]) -> None:
    """Delete rows of a data file that has no deletion vector, by one."""
    numbers, none = pa.array(rows, pa.int64()), pa.array([b""] * len(rows), pa.binary())
    deletes = {path: FileDeletes(path, table.spec().spec_id, Record(), numbers, none)}
    vectors = {path: rows_of(numbers)}
    [file] = write_vectors(table, deletes, vectors, "others", [], lambda *_: None)
    _commit_deletes(table, file, len(rows))


def _commit_deletes(table: Table, file: DataFile, count: int) -> None:
    snapshot_id = table.metadata.new_snapshot_id()
    head = table.current_snapshot()
    assert head is not None
    made = [_manifest(table, [file], ManifestContent.DELETES, snapshot_id)]
    made += read_manifests(table.io.new_input(head.manifest_list))
    added = {"added-delete-files": "1", "added-position-deletes": str(count)}
    summary = with_totals(Summary(Operation.DELETE, **added), head)
    _commit(table, snapshot_id, made, summary)


def upgrade(table: Table) -> None:
    """Make a table one of version 3, as catalogs of others can."""
    raw = json.loads(table.metadata.model_dump_json())
    raw |= {"format-version": 3, "next-row-id": 0}
    folder = table.metadata_location.rpartition("/")[0]
    path = f"{folder}/00099-{uuid.uuid4()}.metadata.json"
    Path(path.removeprefix("file://")).write_text(json.dumps(raw))
    table.catalog.drop_table(table.name())
    table.catalog.register_table(table.name(), path)


def _manifest(
    table: Table,
    files: Sequence[DataFile | ManifestEntry],
    content: ManifestContent,
    snapshot_id: int,
    spec_id: int | None = None,
) -> ManifestFile:
    """A manifest of new files, and of entries that are there."""
    path = table.location_provider().new_metadata_location(f"{uuid.uuid4()}-m0.avro")
    spec = table.spec() if spec_id is None else table.metadata.specs()[spec_id]
    with ManifestWriter(table, spec, content, path, snapshot_id) as writer:
        for file in files:
            if isinstance(file, ManifestEntry):
                writer.existing(file)
            else:
                added = ManifestEntryStatus.ADDED
                writer.add(ManifestEntry.from_args(status=added, data_file=file))
    return writer.to_manifest_file()


def _commit(
    table: Table, snapshot_id: int, manifests: Sequence[ManifestFile], summary: Summary
) -> None:
    metadata = table.metadata
    head = metadata.current_snapshot_id
    snapshot, _ = write_snapshot(
        table,
        snapshot_id=snapshot_id,
        parent=head,
        manifests=manifests,
        summary=summary,
        now_ms=int(time.time() * 1000),
        files=[],
    )
    updates: Any = (AddSnapshotUpdate(snapshot=snapshot), set_branch(metadata, "main", snapshot_id))
    requirements: Any = (
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertRefSnapshotId(ref="main", snapshot_id=head),
    )
    table.catalog.commit_table(table, requirements, updates)


def write_rows(table: Table, rows: pa.Table) -> list[DataFile]:
    """Data files with these rows, with names that are not of Frazil."""
    if not rows.num_rows:
        return []
    options = {**writer_options(table), "attempt": 1}
    rows = rows.cast(to_arrow(table.schema()))
    part = json.loads(_engine.write_sink("iceberg", json.dumps(options), rows, epoch=1))
    for file in part["files"]:
        old = file["path"]
        file["path"] = f"{old.rpartition('/')[0]}/others-{uuid.uuid4()}.parquet"
        with table.io.new_input(old).open() as source:
            data = source.read()
        with table.io.new_output(file["path"]).create() as output:
            output.write(data)
        table.io.delete(old)
    return contents_of([PendingToken(1, "", (json.dumps(part),))], table).files
