"""What is committed: tokens of the checkpoint log, and the data files they name."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
from frazil.errors import CommitRefused, EngineError
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Landed
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.types import PrimitiveType

# 2 has deletes, which a reader of 1 would leave out.
TOKEN_VERSIONS = (1, 2)
# Tokens that go into one snapshot when several wait, after a start or an outage; and rows that
# several may delete, which are all in memory.
SQUASH_MAX = 64
DELETES_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class SinkIdentity:
    """Who commits: a sink of a pipeline, and the identity of the pipeline's log."""

    pipeline: str
    incarnation: str
    sink: str

    def __str__(self) -> str:
        return f"pipeline {self.pipeline!r}, sink {self.sink!r}"


@dataclass(frozen=True, slots=True)
class PendingToken:
    """A token of an accepted slot of the log.

    Parameters
    ----------
    slot, digest
        Of the manifest. The slot is the epoch.
    parts
        JSON tokens of the data writers, one per worker that had rows. None of them: an empty
        commit, which moves nothing but the proof; a rewind needs it.
    positions
        Source positions at the end of the epoch, by source and partition; for people and audit.
    attempt
        Which attempt of the pipeline wrote the slot; for people.
    """

    slot: int
    digest: str
    parts: tuple[str, ...]
    positions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attempt: int = 0


class LogView(Protocol):
    """What a committer asks of the log. `frazil.checkpoint.LogView` is one."""

    def contains(self, slot: int, digest: str) -> bool:
        """Whether the log gave this sink a token in this slot, with this digest."""

    def newer_attempt(self) -> int | None:
        """Look into the store for a newer process; its attempt, or None."""


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What is in the table now.

    Parameters
    ----------
    landed
        The last token that is in the table; None if there never was one.
    head
        The branch's snapshot in which that was seen: the end of the next rollback test's walk.
    snapshot_id
        The last snapshot this call made, None if it made none.
    attempts
        How many commits were sent.
    tokens
        How many tokens landed in this call.
    """

    landed: Landed | None
    head: int | None
    snapshot_id: int | None
    attempts: int
    tokens: int


@dataclass(slots=True)
class FileDeletes:
    """Rows of one data file that are to be deleted."""

    path: str
    spec_id: int
    partition: Record
    rows: pa.Int64Array  # their numbers; ordered, none twice
    keys: pa.BinaryArray  # their keys, as the engine encodes them

    def joined(self, other: FileDeletes) -> FileDeletes:
        """These and others of the same file; ordered, none twice."""
        import pyarrow.compute as pc  # only here: it takes time and memory

        new = pc.invert(pc.is_in(other.rows, value_set=self.rows))
        rows = pa.concat_arrays([self.rows, other.rows.filter(new)])
        keys = pa.concat_arrays([self.keys, other.keys.filter(new)])
        order = pc.array_sort_indices(rows)
        return FileDeletes(
            self.path, self.spec_id, self.partition, rows.take(order), keys.take(order)
        )


@dataclass(slots=True)
class Contents:
    """What tokens bring to a table."""

    files: list[DataFile] = field(default_factory=list)  # each with its spec id set
    deletes: dict[str, FileDeletes] = field(default_factory=dict)  # by path of the data file
    unknown: int = 0  # deletes of keys that were not there
    older: int = 0  # rows that were older than what was there
    spent: list[str] = field(default_factory=list)  # files beside them, needed until they land

    @property
    def deleted_rows(self) -> int:
        """Rows that they delete."""
        return sum(len(each.rows) for each in self.deletes.values())


def together(tokens: Sequence[PendingToken], tokens_max: int) -> Sequence[PendingToken]:
    """The first of some tokens, as many as may go into one snapshot; at least one."""
    deletes = 0
    for number, token in enumerate(tokens[:tokens_max]):
        parts = [json.loads(part) for part in token.parts]
        deletes += sum(part.get("deletes", {}).get("count", 0) for part in parts)
        if number and deletes > DELETES_MAX:
            return tokens[:number]
    return tokens[:tokens_max]


def contents_of(tokens: Sequence[PendingToken], table: Table) -> Contents:
    """What tokens bring together, if they go into one snapshot."""
    metadata = table.metadata
    contents = Contents()
    for token in tokens:
        for part in token.parts:
            parsed = _parsed(token, part, metadata)
            contents.files += [_data_file(file, metadata) for file in parsed["files"]]
            contents.unknown += parsed.get("unknown", 0)
            contents.older += parsed.get("older", 0)
            if "deletes" in parsed:
                _add_deletes(parsed["deletes"], table, contents)
    return contents


def _parsed(token: PendingToken, part: str, metadata: TableMetadata) -> Mapping[str, Any]:
    parsed: Mapping[str, Any] = json.loads(part)
    if parsed.get("v") not in TOKEN_VERSIONS:
        raise EngineError(
            f"epoch {token.slot}: its token has version {parsed.get('v')!r}, this Frazil reads "
            f"versions {', '.join(map(str, TOKEN_VERSIONS))}",
            "commit it with the version of Frazil that wrote it",
        )
    written_for = parsed.get("table", str(metadata.table_uuid))
    if written_for != str(metadata.table_uuid):
        raise CommitRefused(
            f"epoch {token.slot}: its files were written for table {written_for}, and the "
            f"table of that name is {metadata.table_uuid}",
            "somebody dropped and made it anew: put the old one back, or start the pipeline "
            "under a new name",
            kind="table_replaced",
        )
    return parsed


def _add_deletes(deletes: Mapping[str, Any], table: Table, contents: Contents) -> None:
    """Add the rows that a token deletes; they are ordered by file and row."""
    import pyarrow.compute as pc  # only here: it takes time and memory

    metadata, found = table.metadata, contents.deletes
    if (path := deletes.get("rows_path")) is not None:
        contents.spent.append(path)
        with table.io.new_input(path).open() as file:
            data = file.read()
    else:
        data = base64.b64decode(deletes["rows"])
    listed = pa.ipc.open_stream(data).read_all().combine_chunks()
    numbers = listed.column("file").combine_chunks()
    rows = listed.column("row").combine_chunks().cast(pa.int64())
    keys = listed.column("key").combine_chunks()
    counts = {each["values"].as_py(): each["counts"].as_py() for each in numbers.value_counts()}
    begin = 0
    for number in sorted(counts):
        file = deletes["files"][number]
        own = rows.slice(begin, counts[number]), keys.slice(begin, counts[number])
        begin += counts[number]
        if (known := found.get(file["path"])) is not None:  # by an earlier epoch
            all_rows = pa.concat_arrays([known.rows, own[0]])
            order = pc.array_sort_indices(all_rows)
            known.rows = all_rows.take(order)
            known.keys = pa.concat_arrays([known.keys, own[1]]).take(order)
            continue
        spec = metadata.specs()[file["spec_id"]]
        partition = _partition(file["partition"], spec, metadata)
        found[file["path"]] = FileDeletes(file["path"], file["spec_id"], partition, *own)


def _data_file(file: Mapping[str, Any], metadata: TableMetadata) -> DataFile:
    spec_id = file["spec_id"]
    data_file = DataFile.from_args(
        _table_format_version=3,  # as all are held, see `frazil.iceberg.manifests`
        content=DataFileContent.DATA,
        file_path=file["path"],
        file_format=FileFormat.PARQUET,
        partition=_partition(file["partition"], metadata.specs()[spec_id], metadata),
        record_count=file["rows"],
        file_size_in_bytes=file["bytes"],
        column_sizes=_by_id(file["column_sizes"]),
        value_counts=_by_id(file["value_counts"]),
        null_value_counts=_by_id(file["null_counts"]),
        nan_value_counts=_by_id(file["nan_counts"]),
        lower_bounds=_bounds(file["lower"]),
        upper_bounds=_bounds(file["upper"]),
        split_offsets=file["split_offsets"] or None,
        sort_order_id=None,
    )
    data_file.spec_id = spec_id
    return data_file


def _partition(values: list[str | None], spec: PartitionSpec, metadata: TableMetadata) -> Record:
    if not values:
        return Record()
    kinds = [f.field_type for f in spec.partition_type(schema_of(spec, metadata)).fields]
    return Record(
        *(
            None if value is None else _value(kind, bytes.fromhex(value))  # type: ignore[arg-type]
            for value, kind in zip(values, kinds, strict=True)
        )
    )


def _value(kind: PrimitiveType, data: bytes) -> Any:
    return from_bytes(kind, data)


def schema_of(spec: PartitionSpec, metadata: TableMetadata) -> Schema:
    """The newest schema that has all columns of a spec: later ones may have dropped one."""
    current = metadata.schema()
    others = sorted(metadata.schemas, key=lambda schema: -schema.schema_id)
    sources = {field.source_id for field in spec.fields}
    for schema in (current, *others):
        if sources <= schema._lazy_id_to_name.keys():
            return schema
    return current


def _by_id(counts: Mapping[str, int]) -> dict[int, int]:
    return {int(field_id): count for field_id, count in counts.items()}


def _bounds(bounds: Mapping[str, str]) -> dict[int, bytes]:
    return {int(field_id): bytes.fromhex(bound) for field_id, bound in bounds.items()}
