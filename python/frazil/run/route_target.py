"""The outside half of a sink with many tables: each is a target of its own, opened when its first
row comes, or at the start if the log knows it.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from frazil.checkpoint.sink_ids import step_of, table_of, table_sink
from frazil.errors import CheckpointError, CommitRefused, FrazilError, PlanError, SinkError
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.table import s3_options
from frazil.route import TABLE_NAME_CHARS_MAX, table_name, written_schema
from frazil.run.commit_loop import Committed
from frazil.run.iceberg_target import IcebergTarget, refuse_to_make
from frazil.run.routes import OPEN_THREADS
from frazil.run.runnable import TablePlace

if TYPE_CHECKING:
    from frazil.checkpoint import CheckpointLog, LogView, Pending
    from frazil.checkpoint.manifest import Entry
    from frazil.iceberg.further_columns import Wanted
    from frazil.run.targets import SinkSpec


class RoutedTable:
    """One table of a sink with many.

    What is wrong with it is told when it is opened, and again when something is committed: nothing
    of it holds up other tables.
    """

    missing = False

    def __init__(self, spec: SinkSpec, refusal: PlanError | None) -> None:
        self.name = spec.name
        self._spec = spec
        self.refusal = refusal  # why there can be no such table
        self._log: CheckpointLog | None = None
        self._lock = threading.Lock()
        self._target: IcebergTarget | None = None
        self._written = False  # the engine may write to it

    def open(self, log: CheckpointLog, wanted: Wanted | None = None) -> Mapping[str, Any]:
        """Open or make it, with columns for these fields; what its writers have to know. Any
        thread; may be asked again.

        Raises
        ------
        FrazilError
            It cannot be opened or written to, for now or for good.
        """
        with self._lock:
            self._log = log
            target = self._opened(log)
            target.try_to_write()
            options = target.open(log, wanted or {})
            self._written = True
            return options

    def lost(self) -> bool:
        """Whether it was open, and cannot be written to any more."""
        if not self._written or self._target is None:
            return False
        try:
            self._target.try_to_write()
        except SinkError:
            return True
        except FrazilError:
            return False  # its place is away: beginning anew would not help
        return False

    def existing(self) -> IcebergTarget:
        """The table, if it is there: for a rollback. Raises CommitRefused if it is not."""
        with self._lock:
            target = self._target or IcebergTarget(self._spec)
            if target.missing:
                raise refuse_to_make(self._spec, "has epochs")
            self._target = target
            return target

    def _opened(self, log: CheckpointLog) -> IcebergTarget:
        if self.refusal is not None:
            raise self.refusal
        if self._target is None:
            target = IcebergTarget(self._spec)
            if target.missing:
                if self._spec.id in log.sinks() or log.landed(self._spec.id) is not None:
                    raise refuse_to_make(self._spec, "has epochs")
                target.make(())
            target.tie(log)
            if log.attempt > 1:
                target.clean(log)
            self._target = target
        return self._target

    def _tied(self) -> IcebergTarget:
        with self._lock:
            assert self._log is not None
            return self._opened(self._log)

    def make(self, log: Sequence[Entry]) -> None:
        """Nothing: it is made when it is opened."""

    def options(self, log: CheckpointLog) -> Mapping[str, Any]:
        """What its writers have to know."""
        return self.open(log)

    def recover(self, log: CheckpointLog) -> None:
        """Know the log; the table is opened when it is needed."""
        self._log = log

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Commit all tokens, in order."""
        return self._tied().commit(pending, log)

    def verify(self, log: LogView) -> int | None:
        """Check that what landed is still there."""
        return self._tied().verify(log) if log.landed is not None else None

    def maintain(self) -> None:
        """Merge manifests, remove metadata nobody needs."""
        self._tied().maintain()

    def place(self) -> TablePlace | None:
        """That of its sink."""
        return None

    def close(self) -> None:
        """Put it away."""
        if self._target is not None:
            self._target.close()


class RouteTarget:
    """All tables of a sink."""

    missing = False

    def __init__(self, spec: SinkSpec) -> None:
        self.name = spec.name
        self._route: Mapping[str, Any] = spec.options["route"]
        self._catalog = open_catalog(spec.objects.get("catalog") or spec.options.get("catalog"))
        self._spec = dataclasses.replace(
            spec,
            schema=written_schema(spec.schema, dict(self._route)),
            objects={**spec.objects, "catalog": self._catalog},
        )
        self._tables: dict[str, RoutedTable] = {}  # by their values
        self._names: dict[str, str] = {}  # values by names of tables, in lower case
        self._opened: dict[str, Mapping[str, Any]] = {}

    @property
    def tables(self) -> Mapping[str, RoutedTable]:
        """Those known by now, by their ids in the log."""
        return {table_sink(self._spec.id, key): table for key, table in self._tables.items()}

    def table(self, key: str) -> RoutedTable:
        """A table by its values, with slashes between.

        Raises
        ------
        PlanError
            There would be more of them than the program allows.
        """
        if key in self._tables:
            return self._tables[key]
        if len(self._tables) >= self._route["tables_max"]:
            raise PlanError(
                f"sink {self.name}: {key!r} would be one more than its "
                f"{self._route['tables_max']} tables",
                "if so many are meant, say fz.route(..., tables_max=)",
            )
        options = self._spec.options
        name = table_name(self._route["pieces"], key.split("/"))
        made = self._tables[key] = RoutedTable(
            dataclasses.replace(
                self._spec,
                id=table_sink(self._spec.id, key),
                name=name if self.name == options["table"] else f"{self.name}/{name}",
                options={**options, "table": name},
            ),
            self._refusal(key, name),
        )
        return made

    def _refusal(self, key: str, name: str) -> PlanError | None:
        """Why there can be no table of that name; None if there can."""
        if len(name) > TABLE_NAME_CHARS_MAX:
            return PlanError(
                f"sink {self.name}: table {name[:40]}... has a name of {len(name)} characters",
                f"up to {TABLE_NAME_CHARS_MAX}: compute a shorter one before write_iceberg",
            )
        # Catalogs may take names that differ in case for one.
        other = self._names.setdefault(name.lower(), key)
        if other == key:
            return None
        return PlanError(
            f"sink {self.name}: rows of {other!r} and of {key!r} would both go to table {name}",
            "write a pattern that tells them apart, or names that differ in more than case",
        )

    def known(self, sinks: Iterable[str]) -> None:
        """Take the tables that a log knows."""
        for sink in sorted(sinks):
            key = table_of(sink)
            if step_of(sink) == self._spec.id and key is not None:
                self.table(key)

    def recover(self, log: CheckpointLog) -> None:
        """Open the tables that the log knows. One that cannot be is tried again with its rows."""
        self.known({*log.sinks(), *log.newest.manifest.landed})
        with ThreadPoolExecutor(OPEN_THREADS, "frazil-tables") as pool:
            options = pool.map(lambda table: _try_to_open(table, log), self._tables.values())
            self._opened = {
                key: each
                for key, each in zip(self._tables, options, strict=True)
                if each is not None
            }

    def lost(self) -> list[str]:
        """Tables that were open, and cannot be written to any more."""
        with ThreadPoolExecutor(OPEN_THREADS, "frazil-tables") as pool:
            found = pool.map(
                lambda table: table.name if table.lost() else None, self._tables.values()
            )
            return [name for name in found if name is not None]

    def options(self, log: CheckpointLog) -> Mapping[str, Any]:
        """What the writers of those tables have to know that were opened at the start."""
        return {"tables": self._opened}

    def place(self) -> TablePlace | None:
        """The catalog's warehouse. One that does not say where it is may be on S3."""
        properties = self._catalog.properties
        warehouse = properties.get("warehouse")
        return TablePlace(warehouse, s3_options(warehouse or "s3://", properties))

    def make(self, log: Sequence[Entry]) -> None:
        """Nothing: tables are made with their first row."""

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Nothing is committed here: each table has tokens of its own. A rewind has empty ones."""
        if any(each.parts for each in pending):
            raise CommitRefused(f"sink {self.name}: a token of no table")
        return Committed(pending[-1].slot, pending[-1].digest)

    def verify(self, log: LogView) -> int | None:
        """Each table for itself."""
        return None

    def maintain(self) -> None:
        """Each table for itself."""

    def close(self) -> None:
        """Each table for itself."""


def _try_to_open(table: RoutedTable, log: CheckpointLog) -> Mapping[str, Any] | None:
    table.recover(log)
    try:
        return table.open(log)
    except CheckpointError:
        raise
    except FrazilError:
        return None  # told when something is committed, or when rows come
