"""One try of a commit: its files are written, its request is made (rule T6)."""

# PyIceberg's models take their field names too, which only pydantic's mypy plugin would know.
# mypy: disable-error-code="call-arg"

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frazil.iceberg.brought_back import BroughtBack, find_brought_back
from frazil.iceberg.delete_files import DeleteFiles, Gathered
from frazil.iceberg.live_files import LiveFiles, Relocated
from frazil.iceberg.manifests import (
    ManifestWriter,
    content_place,
    is_vector,
    next_row_id,
    write_manifest_list,
)
from frazil.iceberg.positional_deletes import write_deletes
from frazil.iceberg.proof import (
    TAG_AGE_MAX_MS,
    Claim,
    Proof,
    claim_name,
    proof_name,
    property_name,
)
from frazil.iceberg.row_delta import write_vectors
from frazil.iceberg.sweep import remove_quietly
from frazil.iceberg.token import Contents, PendingToken, SinkIdentity, contents_of
from pyiceberg.manifest import (
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
)
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary, update_snapshot_summaries
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
)

if TYPE_CHECKING:
    from frazil.iceberg.merge import Merged
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableRequirement, TableUpdate

# Positions in a snapshot's summary (bytes of JSON). All summaries are in every metadata.json.
POSITIONS_BYTES_MAX = 16 * 1024


@dataclass(slots=True)
class Staged:
    """A commit that can be sent, and the files it is made of."""

    snapshot_id: int
    slot: int  # of the last token in it
    tag_was: int | None  # the tag it is conditional on
    proof: Proof
    requirements: tuple[TableRequirement, ...]
    updates: tuple[TableUpdate, ...]
    manifests: list[ManifestFile]
    expired: list[Snapshot]
    files: list[str] = field(default_factory=list)  # written for it; nothing else names them
    replaced: tuple[str, ...] = ()  # manifests that a merged one stands for
    superseded: tuple[str, ...] = ()  # files of deletes that others stand for
    spent: tuple[str, ...] = ()  # files that tokens name, needed until they have landed


@dataclass(slots=True)
class _Members:
    """What a manifest gets."""

    new: list[DataFile] = field(default_factory=list)
    left: list[ManifestEntry] = field(default_factory=list)
    gone: list[ManifestEntry] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Makes commits of one sink to one branch.

    Parameters
    ----------
    identity, branch
        Whose commit, and where to.
    now_ms
        The time of the snapshot.
    live, gone
        Of a sink whose rows replace each other: what is known of the table's data files, and of
        its files of deletes.
    """

    identity: SinkIdentity
    branch: str
    now_ms: int
    live: LiveFiles | None = None
    gone: DeleteFiles | None = None

    def build(
        self,
        table: Table,
        manifests: Sequence[ManifestFile],
        tokens: Sequence[PendingToken],
        proof: Proof | None,
        expired: Sequence[Snapshot] = (),
        merged: Merged | None = None,
    ) -> Staged:
        """Write the files of a commit that adds tokens to the branch's head.

        Parameters
        ----------
        table
            As just loaded.
        manifests
            Of the branch's head.
        tokens
            Next ones after the proof, in order; all go into one snapshot.
        proof
            What the table has.
        expired
            Snapshots to remove in the same commit.
        merged
            A manifest that is to take the place of some others. It belongs to this try then.
        """
        metadata = table.metadata
        head = metadata.refs.get(self.branch)
        tag_name = proof_name(self.identity.pipeline, self.identity.sink, self.branch)
        tag = metadata.refs.get(tag_name)
        staged = Staged(
            snapshot_id=metadata.new_snapshot_id(),
            slot=tokens[-1].slot,
            tag_was=tag.snapshot_id if tag else None,
            proof=Proof("", 0, "", 0, 0),
            requirements=(),
            updates=(),
            manifests=[],
            expired=list(expired),
        )
        contents = contents_of(tokens, table)
        staged.spent = tuple(contents.spent)
        back = self._brought_back(table, proof, contents)
        relocated = self._relocated(table, manifests, contents)
        kept = list(manifests)
        if merged is not None:
            replaced = merged.replace(kept, staged.snapshot_id)
            if replaced is None:
                remove_quietly(table, merged.manifest.manifest_path)
            else:
                kept, staged.replaced = replaced, merged.inputs
                staged.files.append(merged.manifest.manifest_path)
        gathered = self._gathered(table, manifests, staged, kept, relocated)
        kept = gathered.manifests
        deletes = self._write_deletes(table, staged, gathered, tokens[-1])
        staged.manifests = [
            *self._write_manifests(table, staged, contents.files),
            *self._write_manifests(table, staged, deletes, ManifestContent.DELETES, gathered),
            *kept,
        ]
        files = [*contents.files, *deletes]
        parent = head.snapshot_id if head else None
        superseded = [entry.data_file for entry in gathered.replaced]
        summary = _summary(metadata, parent, files, superseded)
        summary.additional_properties.update(self._marks(tokens, proof))
        summary.additional_properties.update(_delete_marks(contents, relocated, back))
        snapshot = self._write_list(table, staged, summary)
        last = tokens[-1]
        staged.proof = Proof(
            self.identity.incarnation,
            last.slot,
            last.digest,
            snapshot.snapshot_id,
            metadata.next_sequence_number(),
        )
        staged.updates = self._updates(metadata, snapshot, staged)
        staged.requirements = (
            AssertTableUUID(uuid=metadata.table_uuid),
            AssertRefSnapshotId(ref=self.branch, snapshot_id=head.snapshot_id if head else None),
        )
        # A table without snapshots has no tags, and PyIceberg refuses to be asked: there the branch
        # alone stands for both.
        if metadata.snapshots:
            staged.requirements += (AssertRefSnapshotId(ref=tag_name, snapshot_id=staged.tag_was),)
        return staged

    def _brought_back(self, table: Table, proof: Proof | None, contents: Contents) -> BroughtBack:
        """Rows that are back by others' doing; they go with the others that are deleted."""
        if self.live is None:
            return BroughtBack()
        since = proof.snapshot if proof is not None else None
        found = find_brought_back(table, self.branch, since, self.live)
        for path, each in found.deletes.items():
            known = contents.deletes.get(path)
            contents.deletes[path] = each if known is None else known.joined(each)
        return found

    def _relocated(
        self, table: Table, manifests: Sequence[ManifestFile], contents: Contents
    ) -> Relocated:
        """The deletes, each of a row in a data file that is live."""
        if not contents.deletes:
            return Relocated({})
        assert self.live is not None  # only sinks by key make deletes
        new = [file.file_path for file in contents.files]
        return self.live.relocate(table, manifests, contents.deletes, new)

    def _gathered(
        self,
        table: Table,
        manifests: Sequence[ManifestFile],
        staged: Staged,
        kept: list[ManifestFile],
        relocated: Relocated,
    ) -> Gathered:
        """The deletes with older ones, where these are in many files."""
        # A merged manifest is not in the table yet, and it has nothing that is needed now.
        fresh = [each for each in kept if each.manifest_path in staged.files]
        old = [each for each in kept if each.manifest_path not in staged.files]
        found = (self.gone or DeleteFiles()).gather(
            table,
            old,
            relocated.deletes,
            lambda paths: self.live.missing(table, manifests, paths) if self.live else set(),
        )
        staged.superseded = found.superseded
        found.manifests += fresh
        return found

    def _write_deletes(
        self, table: Table, staged: Staged, gathered: Gathered, last: PendingToken
    ) -> list[DataFile]:
        name = f"{last.attempt}-{last.slot:012d}-deletes"
        if table.metadata.format_version < 3:
            deletes = gathered.deletes.values()
            return write_deletes(table, deletes, gathered.older, name, staged.files)
        keep = (self.gone or DeleteFiles()).keep
        return write_vectors(table, gathered.deletes, gathered.vectors, name, staged.files, keep)

    def _write_manifests(
        self,
        table: Table,
        staged: Staged,
        files: Sequence[DataFile],
        content: ManifestContent = ManifestContent.DATA,
        gathered: Gathered | None = None,
    ) -> list[ManifestFile]:
        """A manifest for each spec: of new files, and of entries of manifests written anew."""
        by_spec: dict[int, _Members] = defaultdict(_Members)
        for file in files:
            by_spec[file.spec_id].new.append(file)
        if gathered is not None:
            for entry in gathered.left:
                by_spec[entry.data_file.spec_id].left.append(entry)
            for entry in gathered.replaced:
                by_spec[entry.data_file.spec_id].gone.append(entry)
        written = []
        for spec_id, members in by_spec.items():
            spec = table.metadata.specs()[spec_id]
            path = table.location_provider().new_metadata_location(f"{uuid.uuid4()}-m0.avro")
            staged.files.append(path)
            with ManifestWriter(table, spec, content, path, staged.snapshot_id) as writer:
                for file in members.new:
                    writer.add(
                        ManifestEntry.from_args(
                            status=ManifestEntryStatus.ADDED,
                            snapshot_id=staged.snapshot_id,
                            sequence_number=None,
                            file_sequence_number=None,
                            data_file=file,
                        )
                    )
                for entry in members.left:
                    writer.existing(entry)
                for entry in members.gone:
                    writer.delete(entry)
            written.append(writer.to_manifest_file())
            known = self.live if content == ManifestContent.DATA else self.gone
            if known is not None:
                left = [entry.data_file for entry in members.left]
                known.note(written[-1], [*members.new, *left])
        return written

    def _write_list(self, table: Table, staged: Staged, summary: Summary) -> Snapshot:
        metadata = table.metadata
        head = metadata.refs.get(self.branch)
        snapshot, listed = write_snapshot(
            table,
            snapshot_id=staged.snapshot_id,
            parent=head.snapshot_id if head else None,
            manifests=staged.manifests,
            summary=summary,
            now_ms=self.now_ms,
            files=staged.files,
        )
        # What only says that files are gone is not needed by the next snapshot.
        staged.manifests = [
            each for each in listed if each.has_added_files() or each.has_existing_files()
        ]
        return snapshot

    def _marks(self, tokens: Sequence[PendingToken], proof: Proof | None) -> dict[str, str]:
        last = tokens[-1]
        marks = {
            "frazil.pipeline": self.identity.pipeline,
            "frazil.sink": self.identity.sink,
            "frazil.branch": self.branch,
            "frazil.incarnation": self.identity.incarnation,
            "frazil.slot": str(last.slot),
            "frazil.digest": last.digest,
            "frazil.attempt": str(last.attempt),
            "frazil.slots": ",".join(str(token.slot) for token in tokens),
            "frazil.previous-slot": str(proof.slot) if proof else "",
        }
        positions = json.dumps(
            {source: dict(parts) for source, parts in last.positions.items()},
            separators=(",", ":"),
            ensure_ascii=False,
        )
        size = len(positions.encode())
        if size <= POSITIONS_BYTES_MAX:
            marks["frazil.positions"] = positions
        else:
            marks["frazil.positions-left-out-bytes"] = str(size)
        return marks

    def _updates(
        self, metadata: TableMetadata, snapshot: Snapshot, staged: Staged
    ) -> tuple[TableUpdate, ...]:
        names = (self.identity.pipeline, self.identity.sink, self.branch)
        properties = {property_name(*names): staged.proof.to_json()}
        if self.live is not None:
            properties[claim_name(self.branch)] = Claim.of(self.identity).to_json()
        updates: list[Any] = [
            AddSnapshotUpdate(snapshot=snapshot),
            set_branch(metadata, self.branch, snapshot.snapshot_id),
            set_tag(proof_name(*names), snapshot.snapshot_id),
            SetPropertiesUpdate(updates=properties),
        ]
        if staged.expired:
            updates.append(
                RemoveSnapshotsUpdate(snapshot_ids=[each.snapshot_id for each in staged.expired])
            )
        return tuple(updates)


def write_snapshot(
    table: Table,
    *,
    snapshot_id: int,
    parent: int | None,
    manifests: Sequence[ManifestFile],
    summary: Summary,
    now_ms: int,
    files: list[str],
) -> tuple[Snapshot, list[ManifestFile]]:
    """Write a manifest list: the snapshot, and the manifests as the list has them.

    Parameters
    ----------
    files
        Gets the path of the list before it is written.
    """
    metadata = table.metadata
    sequence = metadata.next_sequence_number()
    path = table.location_provider().new_metadata_location(
        f"snap-{snapshot_id}-0-{uuid.uuid4()}.avro"
    )
    files.append(path)
    listed, next_row = write_manifest_list(
        table,
        path,
        snapshot_id=snapshot_id,
        parent=parent,
        sequence_number=sequence,
        manifests=manifests,
    )
    first_row = next_row_id(metadata) if next_row is not None else None
    snapshot = Snapshot(
        snapshot_id=snapshot_id,
        parent_snapshot_id=parent,
        manifest_list=path,
        sequence_number=sequence,
        # Other clocks may be ahead of ours; time must not run backwards in the table.
        timestamp_ms=max(now_ms, metadata.last_updated_ms),
        summary=summary,
        schema_id=metadata.current_schema_id,
        first_row_id=first_row,
        added_rows=next_row - first_row if next_row is not None and first_row is not None else None,
    )
    return snapshot, listed


def set_branch(metadata: TableMetadata, name: str, snapshot_id: int) -> TableUpdate:
    """Move a branch; how long it keeps its history stays as it is."""
    ref = metadata.refs.get(name)
    return SetSnapshotRefUpdate(
        ref_name=name,
        type=SnapshotRefType.BRANCH,
        snapshot_id=snapshot_id,
        max_ref_age_ms=ref.max_ref_age_ms if ref else None,
        max_snapshot_age_ms=ref.max_snapshot_age_ms if ref else None,
        min_snapshots_to_keep=ref.min_snapshots_to_keep if ref else None,
    )


def set_tag(name: str, snapshot_id: int) -> TableUpdate:
    """Move the tag of a proof."""
    return SetSnapshotRefUpdate(
        ref_name=name,
        type=SnapshotRefType.TAG,
        snapshot_id=snapshot_id,
        max_ref_age_ms=TAG_AGE_MAX_MS,
        max_snapshot_age_ms=None,
        min_snapshots_to_keep=None,
    )


def _delete_marks(contents: Contents, relocated: Relocated, back: BroughtBack) -> dict[str, str]:
    """What is to be said of deletes that were not of a row where its token says."""
    counts = {
        "frazil.unknown-deletes": contents.unknown,
        "frazil.older-rows": contents.older,
        "frazil.relocated-deletes": relocated.rows,
        "frazil.deleted-by-others": relocated.gone,
        "frazil.brought-back-by-others": back.rows,
        "frazil.unchecked-rewrites": back.unchecked,
    }
    return {mark: str(count) for mark, count in counts.items() if count}


def _summary(
    metadata: TableMetadata,
    parent: int | None,
    files: Sequence[DataFile],
    replaced: Sequence[DataFile],
) -> Summary:
    data = [file for file in files if file.content == DataFileContent.DATA]
    deletes = [file for file in files if file.content != DataFileContent.DATA]
    vectors, old_vectors = _vectors(deletes), _vectors(replaced)
    added = {
        "added-data-files": len(data),
        "added-records": sum(file.record_count for file in data),
        "added-delete-files": len(deletes),
        "added-dvs": vectors,
        "added-position-delete-files": len(deletes) - vectors,
        "added-position-deletes": sum(file.record_count for file in deletes),
        "removed-delete-files": len(replaced),
        "removed-dvs": old_vectors,
        "removed-position-delete-files": len(replaced) - old_vectors,
        "removed-position-deletes": sum(file.record_count for file in replaced),
        "added-files-size": sum(map(_size, files)),
        "removed-files-size": sum(map(_size, replaced)),
        "changed-partition-count": len(
            {(file.spec_id, repr(file.partition)) for file in files if len(file.partition)}
        ),
    }
    operation = Operation.APPEND
    if deletes:
        operation = Operation.OVERWRITE if data else Operation.DELETE
    summary = Summary(operation, **{key: str(n) for key, n in added.items() if n})
    return with_totals(summary, metadata.snapshot_by_id(parent) if parent is not None else None)


def _vectors(files: Sequence[DataFile]) -> int:
    """How many of some files of deletes are deletion vectors."""
    return sum(map(is_vector, files))


def _size(file: DataFile) -> int:
    return content_place(file)[1] if is_vector(file) else file.file_size_in_bytes


def with_totals(summary: Summary, before: Snapshot | None) -> Summary:
    """Add what the table has in all after this."""
    previous = before.summary if before is not None else None
    return update_snapshot_summaries(summary, previous)
