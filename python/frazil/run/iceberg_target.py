"""A table as a sink's outside half: prepared before the run, committed to epoch by epoch."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import structlog
from frazil.checkpoint.history import unlanded
from frazil.checkpoint.orphan import file_scope, find_orphans
from frazil.drift import Drift
from frazil.errors import CommitRefused, ConnectError, Fenced, FrazilError
from frazil.iceberg.adopt import write_seed
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.commit import TableCommitter
from frazil.iceberg.drift import changes_of, evolve, unreadable
from frazil.iceberg.embeddings import properties_of, say, unsaid
from frazil.iceberg.fileio import SmallFileIO
from frazil.iceberg.further_columns import add_columns
from frazil.iceberg.probe import try_to_write
from frazil.iceberg.restate import PutBack, way_back
from frazil.iceberg.table import (
    find_table,
    prepare_table,
    s3_options,
    split_name,
    writer_options,
    writer_s3,
)
from frazil.iceberg.token import PendingToken, SinkIdentity
from frazil.run.commit_loop import Committed
from frazil.run.runnable import TablePlace
from frazil.upsert import table_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from frazil.checkpoint import CheckpointLog, LogView, Pending
    from frazil.checkpoint.manifest import Entry, Landed
    from frazil.iceberg.further_columns import Wanted
    from frazil.run.targets import SinkSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

log_ = structlog.get_logger("frazil")


class IcebergTarget:
    """One branch of one Iceberg table."""

    def __init__(self, spec: SinkSpec) -> None:
        options = spec.options
        self.name = spec.name
        self._spec = spec
        self._unsaid: Mapping[str, str] = {}  # properties that the table lacks
        self._catalog = open_catalog(spec.objects.get("catalog") or options.get("catalog"))
        self._found = find_table(self._catalog, options["table"])
        if self._found is not None:
            self._open()
        self._committer: TableCommitter | None = None
        self._cleaner: threading.Thread | None = None
        self._scratch: TemporaryDirectory[str] | None = None
        self._seeded = False  # workers were given the rows that are taken over

    @property
    def missing(self) -> bool:
        """Whether there is no such table yet."""
        return self._found is None

    def make(self, log: Sequence[Entry]) -> None:
        """Make the table, unless epochs of the log have gone into it or are to go.

        Raises
        ------
        CommitRefused
            It was dropped.
        """
        sink = self._spec.id
        landed = log[-1].manifest.landed if log else {}
        if sink in landed or unlanded(log, sink, landed):
            raise refuse_to_make(
                self._spec,
                f"has landed epoch {landed[sink].slot}" if sink in landed else "has epochs",
            )
        self._open()

    def _open(self) -> None:
        """Load or make the table, and check that it takes the stream."""
        options = self._spec.options
        fields = [_field_text(field) for field in options.get("partition_by", ())]
        embeddings = options.get("embeddings", {})
        properties = {**options.get("properties", {}), **properties_of(embeddings)}
        if options.get("compression", "zstd") != "zstd":
            properties["write.parquet.compression-codec"] = options["compression"]
        self._found = prepare_table(
            self._catalog,
            options["table"],
            self._schema,
            partition_by=fields or None,
            branch=options["branch"],
            properties=properties,
            key=self._key,
            format_version=options.get("format_version"),
            drift=self._drift,
        )
        self._unsaid = unsaid(self._found, options["table"], embeddings)

    @property
    def _drift(self) -> Drift:
        """What may differ between the stream and the table."""
        return Drift._from_json(self._spec.options.get("drift"))

    def _evolve(self) -> None:
        """End the differences in a commit of its own, before a file is written that needs it."""
        self._found, done = evolve(self._catalog, self._load, self._schema, self._drift)
        for change in done:
            table = self._spec.options["table"]
            log_.info("schema", sink=self.name, table=table, change=str(change))
        if self._unsaid:
            say(self._catalog, self._load, self._unsaid)

    def _load(self) -> Table:
        """The table as it is now; as it was, if it is not there."""
        table = find_table(self._catalog, self._spec.options["table"])
        return self._table if table is None else table

    def _differences(self) -> dict[str, Any]:
        """Columns of the stream that the table lacks, or has a narrower type for."""
        found = changes_of(self._table, self._schema, self._drift)
        paths = {
            kind: [change.path for change in found if change.kind == kind]
            for kind in ("ignore", "set_aside", "narrow")
        }
        return {
            "left_out": [".".join(path) for path in paths["ignore"] + paths["set_aside"]],
            "set_aside": paths["set_aside"],
            "narrowed": [".".join(path) for path in paths["narrow"]],
        }

    @property
    def _key(self) -> Sequence[str]:
        """By which rows replace each other; none if they are appended."""
        return tuple(self._spec.options.get("key", ()))

    @property
    def _schema(self) -> pa.Schema:
        """Of the table: the stream's, and the column that marks rows that are gone."""
        return table_schema(self._spec.schema, self._spec.options)

    @property
    def _table(self) -> Table:
        assert self._found is not None
        return self._found

    def place(self) -> TablePlace | None:
        """The catalog's warehouse."""
        properties = self._catalog.properties
        warehouse = properties.get("warehouse")
        if self._found is None:
            return TablePlace(warehouse, s3_options(warehouse or "", properties))
        return TablePlace(warehouse, writer_s3(self._found))

    def options(self, log: CheckpointLog) -> Mapping[str, Any]:
        """For the data writer: the table's schema, spec, place, and whose files these are."""
        return {**self._writer_options(log), "seed": self._seed(log)}

    def open(self, log: CheckpointLog, wanted: Wanted) -> Mapping[str, Any]:
        """Give the table columns for these fields; what its writers have to know then. Any thread.

        Raises
        ------
        FrazilError
            It cannot be given them, for now or for good.
        """
        if not wanted:
            return self._first_options(log)
        name = self._spec.options["table"]

        def still_owner() -> None:
            if (newer := log.newer_attempt()) is not None:
                raise Fenced(
                    f"{log.url}: attempt {newer} has taken over from attempt {log.attempt}",
                    "nothing is lost; this process must end and must not be restarted by itself",
                )
            self._spec.hook("before_columns")

        try:
            table, further, done = add_columns(
                self._catalog, self._load, wanted, self._drift, before_commit=still_owner
            )
        except FrazilError:
            raise
        except Exception as error:  # depends on the catalog: requests, sqlalchemy, boto, ...
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConnectError(f"adding columns to table {name}: {said}") from error
        for change in done:
            log_.info("schema", sink=self.name, table=name, change=str(change))
        self._spec.hook("after_columns")
        if (why := unreadable(self._table.schema(), table.schema())) is not None:
            raise self._schema_changed(why)
        self._found = table
        return {**self._first_options(log), **further.answer(wanted)}

    def _first_options(self, log: CheckpointLog) -> dict[str, Any]:
        """For the data writer; the first time with the rows that are taken over."""
        seed = "" if self._seeded else self._seed(log)
        self._seeded = True
        return {**self._writer_options(log), "seed": seed}

    def _writer_options(self, log: CheckpointLog) -> dict[str, Any]:
        return {
            **writer_options(self._table),
            "key": list(self._key),
            **self._differences(),
            "attempt": log.attempt,
            "scope": file_scope(log.incarnation, self._spec.id),
            "s3": self._spec.options.get("s3") or writer_s3(self._table),
        }

    @property
    def _adopts(self) -> bool:
        """Whether rows that the table has already are taken over."""
        return self._spec.options.get("existing") == "adopt"

    def _seed(self, log: CheckpointLog) -> str:
        """A local file with the rows of a table that is taken over; none once they are state."""
        sink = self._spec.id
        known = any(file.operator == sink for file in log.newest.manifest.state_files)
        if not self._adopts or known or log.landed(sink) is not None or log.pending(sink):
            return ""
        if self._scratch is not None:  # a worker may be about to read it
            return f"{self._scratch.name}/rows.arrow"
        options = self._spec.options
        scratch = TemporaryDirectory(prefix="frazil-")
        path = f"{scratch.name}/rows.arrow"
        table = self._catalog.load_table(split_name(options["table"]))
        order_by = options.get("order_by")
        try:
            count = write_seed(table, options["branch"], self._key, order_by, path, log.attempt)
        except BaseException:
            scratch.cleanup()
            raise
        self._scratch = scratch
        log_.info("adopted", sink=self.name, rows=count)
        return path

    def recover(self, log: CheckpointLog) -> None:
        """Tie the committer to the log, remove what dead attempts wrote in vain, fit the table."""
        self.tie(log)
        if log.attempt > 1:
            self._cleaner = threading.Thread(
                target=self.clean, args=(log,), name="frazil-orphans", daemon=True
            )
            self._cleaner.start()

    def tie(self, log: CheckpointLog) -> None:
        """Have it commit what is in this log, and fit the table."""
        self._evolve()
        self._committer = TableCommitter(
            self._catalog,
            self._spec.options["table"],
            SinkIdentity(self._spec.pipeline, log.incarnation, self._spec.name),
            table_uuid=str(self._table.metadata.table_uuid),
            branch=self._spec.options["branch"],
            key=self._key,
            hook=self._spec.hook,
        )
        if self._key and log.landed(self._spec.id) is None and not log.pending(self._spec.id):
            self._committer.check_empty(log.view(self._spec.id), adopt=self._adopts)

    def try_to_write(self) -> None:
        """Raise why no file can be written to the table, if so; see `frazil.iceberg.probe`."""
        try_to_write(self._table)

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Commit all tokens, in order."""
        assert self._committer is not None
        tokens = [_token(each) for each in pending]
        written = self._table.schema()  # it may get columns meanwhile
        result = self._committer.commit(tokens, landed=log.landed, log=log, head=log.head)
        done = result.landed
        assert done is not None
        rows = sum(
            file["rows"]
            for token in tokens
            if token.slot <= done.slot
            for part in token.parts
            for file in json.loads(part)["files"]
        )
        made = () if result.snapshot_id is None else (result.snapshot_id,)
        self._check_schema(written)
        return Committed(done.slot, done.digest, head=result.head, snapshots=made, rows=rows)

    def _check_schema(self, written: Schema) -> None:
        """End the run if others changed the schema so that what is written is not seen (S3).

        Only when all that was prepared has landed: rows of the columns that are still there are.
        """
        assert self._committer is not None
        now = self._committer.schema
        if now is None or now.schema_id == written.schema_id:
            return
        if (why := unreadable(written, now)) is not None:
            raise self._schema_changed(why)

    def _schema_changed(self, why: str) -> CommitRefused:
        return CommitRefused(
            f"pipeline {self._spec.pipeline!r}, sink {self.name!r}: table "
            f"{self._spec.options['table']} was changed while it was written to: {why}",
            "what was prepared is committed; the next start takes the table as it is then, or "
            "says what does not fit",
            kind="schema_changed",
        )

    def way_back(self, incarnation: str, want: Landed | None) -> PutBack | None:
        """Find how the table gets back to a token; None if it shows that one. For a rollback.

        Raises
        ------
        RewindRefused, CommitRefused
            It cannot be put back; see `frazil.iceberg.restate.way_back`.
        """
        name, branch = self._spec.options["table"], self._spec.options["branch"]
        table = find_table(self._catalog, name)
        assert table is not None  # this target has opened it
        identity = SinkIdentity(self._spec.pipeline, incarnation, self._spec.name)
        return way_back(table, identity, branch, want)

    def verify(self, log: LogView) -> int | None:
        """Check that what landed is still there."""
        assert self._committer is not None
        return self._committer.verify(log.landed, log=log, head=log.head)

    def maintain(self) -> None:
        """Merge manifests, remove metadata nobody needs."""
        assert self._committer is not None
        self._committer.maintain()

    def close(self) -> None:
        """Wait for the cleaning, and remove local files."""
        if self._scratch is not None:
            self._scratch.cleanup()
        if self._cleaner is not None:
            self._cleaner.join()

    def clean(self, log: CheckpointLog) -> None:
        """Remove orphans. Failing leaves files that cost space only; the next start retries."""
        try:
            files = self._table.io
            if not isinstance(files, SmallFileIO):
                return  # a place that cannot be listed here; its files stay
            folder = self._table.location_provider().data_path
            scope = file_scope(log.incarnation, self._spec.id)
            orphans = find_orphans(
                files.list(folder), scope=scope, owners=log.owners, me=log.attempt
            )
            for path in orphans:
                self._spec.hook("before_orphan")
                files.delete(path)
            if orphans:
                log_.info("orphans", sink=self.name, removed=len(orphans))
        except (FrazilError, OSError) as error:
            log_.warning("orphans", sink=self.name, error=str(error))


def refuse_to_make(spec: SinkSpec, has: str) -> CommitRefused:
    """A table that is not there, and of which the log knows."""
    return CommitRefused(
        f"pipeline {spec.pipeline!r}, sink {spec.name!r}: table {spec.options['table']} is not "
        f"there any more, the log {has} for it",
        "put the table back; or start anew under another name of the pipeline",
        kind="table_missing",
    )


def _token(pending: Pending) -> PendingToken:
    positions = {source: state.positions() for source, state in pending.sources.items()}
    return PendingToken(pending.slot, pending.digest, pending.parts, positions, pending.attempt)


def _field_text(field: Mapping[str, Any]) -> str:
    """A partition field of the plan as `prepare_table` reads it: "day(ts)", "bucket(16, user)"."""
    transform, source = field["transform"], field["source"]
    if transform == "identity":
        return str(source)
    if field.get("param"):
        return f"{transform}({field['param']}, {source})"
    return f"{transform}({source})"
