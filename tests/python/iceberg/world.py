"""A table, a log and a committer for tests, with everything that can happen to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from frazil import _engine
from frazil.checkpoint.slot_put import Clock
from frazil.iceberg.catalog import embedded_catalog
from frazil.iceberg.commit import TableCommitter
from frazil.iceberg.table import WriterOptions, prepare_table, writer_options
from frazil.iceberg.token import CommitResult, PendingToken, SinkIdentity
from pyiceberg.catalog import Catalog, load_catalog

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Landed
    from pyiceberg.table import Table

NAME = "shop.orders"
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("user", pa.string()),
    ]
)


def rows(ids: Sequence[int]) -> pa.Table:
    """Rows with these ids."""
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "at": pa.array([1_767_225_600_000_000 + i * 3_600_000_000 for i in ids], pa.int64())
            .cast(pa.timestamp("us"))
            .cast(pa.timestamp("us", tz="UTC")),
            "user": pa.array([f"user-{i % 7}" for i in ids]),
        },
        schema=SCHEMA,
    )


@dataclass
class Log:
    """The checkpoint log of one sink, as its committer sees it."""

    tokens: list[PendingToken] = field(default_factory=list)
    landed: Landed | None = None
    head: int | None = None
    newer: int | None = None
    forgotten: set[int] = field(default_factory=set)

    def contains(self, slot: int, digest: str) -> bool:
        return any((t.slot, t.digest) == (slot, digest) for t in self.tokens)

    def newer_attempt(self) -> int | None:
        return self.newer

    def pending(self) -> list[PendingToken]:
        done = self.landed.slot if self.landed else -1
        return [token for token in self.tokens if token.slot > done]

    def record(self, result: CommitResult) -> None:
        if result.landed is not None:
            self.landed, self.head = result.landed, result.head


class World:
    """One embedded catalog, one table."""

    def __init__(self, folder: Path, *, partition_by: Sequence[str] = (), name: str = NAME) -> None:
        self.folder = folder
        self.set_up(embedded_catalog(folder), name, partition_by=partition_by)

    def set_up(self, catalog: Catalog, name: str, *, partition_by: Sequence[str] = ()) -> None:
        """Make the table."""
        self.name = name
        self.catalog = catalog
        self.table = prepare_table(catalog, name, SCHEMA, partition_by=partition_by)
        self.options: WriterOptions = writer_options(self.table)
        self.slept: list[float] = []
        self.now = 1_800_000_000.0

    # -- our side --------------------------------------------------------------------------------

    def identity(self, sink: str = "orders", incarnation: str = "inc-1") -> SinkIdentity:
        return SinkIdentity("shop", incarnation, sink)

    def committer(
        self,
        identity: SinkIdentity | None = None,
        catalog: Catalog | None = None,
        **options: Any,
    ) -> TableCommitter:
        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.now += seconds

        return TableCommitter(
            catalog or self.catalog,
            self.name,
            identity or self.identity(),
            table_uuid=self.options["table_uuid"],
            clock=Clock(now=lambda: self.now, sleep=sleep),
            **options,
        )

    def token(self, slot: int, ids: Sequence[int], *, attempt: int = 1) -> PendingToken:
        """Write rows as the engine does; no rows make an empty commit."""
        parts: tuple[str, ...] = ()
        if ids:
            options = {**self.options, "attempt": attempt}
            parts = (_engine.write_sink("iceberg", json.dumps(options), rows(ids), epoch=slot),)
        return self.make_token(slot, ids, parts, attempt)

    def make_token(
        self, slot: int, ids: Sequence[int], parts: tuple[str, ...], attempt: int
    ) -> PendingToken:
        """A token of files that were written."""
        digest = hashlib.sha256(f"{slot} {attempt} {parts}".encode()).hexdigest()
        positions = {"kafka:orders": {"orders-0": str(max(ids, default=0) + 1)}}
        return PendingToken(slot, digest, parts, positions, attempt)

    # -- others ----------------------------------------------------------------------------------

    def foreign(self) -> Table:
        """The table as somebody else's PyIceberg loads it."""
        properties = {k: v for k, v in self.catalog.properties.items() if k != "py-io-impl"}
        return load_catalog("embedded", **properties).load_table(self.name)

    def append(self, ids: Sequence[int]) -> None:
        """A foreign append."""
        self.foreign().append(rows(ids))

    def rollback(self, snapshot: int) -> None:
        """Somebody sets main back, and nothing else."""
        self.foreign().manage_snapshots().set_current_snapshot(snapshot_id=snapshot).commit()

    def expire(self, *snapshots: int) -> None:
        """Somebody expires snapshots."""
        self.foreign().maintenance.expire_snapshots().by_ids(list(snapshots)).commit()

    def compact(self) -> None:
        """Somebody rewrites the whole table into one file."""
        table = self.foreign()
        table.overwrite(table.scan().to_arrow())

    # -- looking ---------------------------------------------------------------------------------

    def load(self) -> Table:
        return self.catalog.load_table(self.name)

    def head(self) -> int:
        snapshot = self.load().current_snapshot()
        assert snapshot is not None
        return snapshot.snapshot_id

    def ids(self, snapshot: int | None = None) -> list[int]:
        """All ids in the table, sorted, doubles included."""
        table = self.foreign()
        if table.current_snapshot() is None:
            return []
        scan = table.scan(snapshot_id=snapshot, selected_fields=("id",))
        return sorted(scan.to_arrow()["id"].to_pylist())

    def metadata_files(self) -> set[str]:
        folder = self.load().location_provider().metadata_path.removeprefix("file://")
        return {str(path) for path in Path(folder).iterdir()}


def duckdb_rows(table: Table, columns: str = "id") -> list[Any]:
    """Read a table with DuckDB."""
    connection = duckdb.connect()
    for extension in ("avro", "iceberg"):
        module = __import__(f"duckdb_extension_{extension}")
        [path] = Path(module.__file__).parent.glob("**/*.duckdb_extension")
        connection.execute(f"LOAD '{path}'")
    location = table.metadata_location.removeprefix("file://")
    found = connection.execute(f"select {columns} from iceberg_scan('{location}') order by all")
    return found.fetchall()


class Broken(Exception):
    """What a catalog raises when it does not answer."""


class Faulty:
    """A catalog whose commits go wrong as told."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.plan: list[str] = []  # per commit: "ok", "lost_reply", "lost_request", "late"
        self.error: Callable[[], Exception] = lambda: Broken("no answer")
        self.late: list[tuple[Any, ...]] = []
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> Any:
        self.commits += 1
        step = self.plan.pop(0) if self.plan else "ok"
        if step == "lost_request":
            raise self.error()
        if step == "late":
            self.late.append((table, requirements, updates))
            raise self.error()
        answer = self._catalog.commit_table(table, requirements, updates)
        if step == "lost_reply":
            raise self.error()
        return answer

    def land(self) -> list[Exception | None]:
        """Let late requests arrive now."""
        outcomes: list[Exception | None] = []
        for table, requirements, updates in self.late:
            try:
                self._catalog.commit_table(table, requirements, updates)
                outcomes.append(None)
            except Exception as error:
                outcomes.append(error)
        self.late = []
        return outcomes
