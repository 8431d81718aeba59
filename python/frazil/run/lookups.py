"""The lookup tables of a run: loaded at the start, refreshed beside it, switched at barriers.

A version is in the log before a row is looked up in it: an epoch without rows says so at a start,
and later the manifest of the epoch before it. So an epoch that is computed again after a crash is
looked up in the same version, as long as that can be had.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import structlog
from frazil.checkpoint import LookupState, LookupVersion
from frazil.errors import EngineError, FrazilError, LookupChanged
from frazil.run.lookup_source import (
    Gone,
    Loaded,
    LookupSource,
    MemoryLookup,
    ParquetLookup,
    SqlLookup,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from frazil.run.engine_job import EngineJob

# How long the end of a run waits for a table that is being loaded (seconds).
END_PATIENCE_S = 30.0

log_ = structlog.get_logger("frazil")


@dataclass
class LookupStatus:
    """A lookup table of a run, for people and metrics."""

    version: str
    loaded_us: int  # wall clock, microseconds since 1970
    rows: int
    bytes: int  # in memory, with its indexes
    refreshes: int = 0  # versions that came later
    failures: int = 0  # refreshes that did not succeed
    error: str = ""  # of the last one, if it did not


@dataclass(frozen=True, kw_only=True)
class LookupTable:
    """What a run has to know of a lookup table."""

    name: str
    source: LookupSource
    columns: pa.Schema  # that steps use
    refresh_s: float | None
    takes_changes: bool  # without refresh: a start takes another version


@dataclass
class _Table:
    """A table as it is used."""

    spec: LookupTable
    version: LookupVersion | None = None  # of the rows that are read now
    waiting: LookupVersion | None = None  # loaded, for the next barrier
    next: LookupVersion | None = None  # for the rows behind the barrier that is under way
    due: float = 0.0
    stale: bool = False  # a newer version may be there already
    loaded: Loaded | None = field(default=None, repr=False)  # at the start, for the engine
    refresh: _Refresh | None = None
    refreshes: int = 0
    failures: int = 0
    error: str = ""


class Lookups:
    """All lookup tables of a run. The control thread calls it.

    Parameters
    ----------
    tables
        What there is.
    restored
        What the log says of them.
    threaded
        False: refreshes are done in the calling thread (the simulated scheduler).
    hook
        Called with the names of steps, for crash tests.
    """

    def __init__(
        self,
        tables: Iterable[LookupTable],
        restored: Mapping[str, LookupState],
        *,
        pipeline: str,
        threaded: bool,
        hook: Callable[[str], None],
    ) -> None:
        self._tables = {table.name: _Table(table) for table in tables}
        self._restored = restored
        self._pipeline, self._threaded, self._hook = pipeline, threaded, hook

    # -- start -----------------------------------------------------------------------------------

    def load(self) -> bool:
        """Load all tables, in the versions that the log asks for; True if it has to be told more.

        Raises
        ------
        LookupChanged
            A version that was to stay is not there any more.
        FrazilError
            A table cannot be loaded.
        """
        changed = False
        for name, table in self._tables.items():
            known = self._restored.get(name, LookupState())
            self._hook("before_lookup_load")
            table.loaded, table.stale = self._first(table.spec, known.next)
            version = table.loaded.version
            if known.next is not None and known.next.version == version:
                table.version = known.next
            else:
                changed = True
                table.version = LookupVersion(
                    version, _now_us(), table.loaded.table.num_rows, table.loaded.table.nbytes
                )
        return changed

    def give(self, job: EngineJob, now: float) -> None:
        """Give the tables to the engine, before it starts, and before the log is told: one that
        cannot be used must not be what a later start has to have.
        """
        for table in self._tables.values():
            assert table.loaded is not None
            assert table.version is not None
            size = job.load(table.spec.name, table.loaded.table)
            table.version = LookupVersion(table.version.version, table.version.loaded_us, *size)
            table.loaded = None
            table.due = now if table.stale else now + (table.spec.refresh_s or 0.0)

    def _first(self, spec: LookupTable, pinned: LookupVersion | None) -> tuple[Loaded, bool]:
        """The version to begin with, and whether a newer one may be there already."""
        source = spec.source
        wanted = source.fixed or (pinned.version if pinned is not None else None)
        stale = spec.refresh_s is not None and wanted is not None and source.keeps_versions
        try:
            found = _loaded(source, spec.columns, wanted if source.keeps_versions else None)
        except Gone as gone:
            if spec.refresh_s is None:
                raise LookupChanged(
                    f"lookup {spec.name}: {gone}, and this pipeline goes by it",
                    "name another by snapshot=, or let it change: refresh=",
                ) from None
            found, stale = _loaded(source, spec.columns, None), False
        if pinned is not None and found.version != pinned.version:
            if spec.refresh_s is None and not source.fixed and not spec.takes_changes:
                raise LookupChanged(
                    f"lookup {spec.name}: its content is another than at the start of this "
                    f"pipeline: was {pinned.version[:19]}, is {found.version[:19]}",
                    "put the old content back; or take the new one from here on: "
                    'on_change="take", or refresh=',
                )
            log_.warning(
                "lookup",
                pipeline=self._pipeline,
                lookup=spec.name,
                was=pinned.version,
                now=found.version,
                reason="rows from here on are looked up in another version",
            )
        return found, stale

    # -- while running ---------------------------------------------------------------------------

    def look(self, job: EngineJob, now: float) -> None:
        """Begin refreshes that are due, and take those that are done."""
        for table in self._tables.values():
            if table.refresh is not None and table.refresh.done:
                self._take(table, table.refresh, now)
            elif self._may_refresh(table) and now >= table.due:
                assert table.version is not None
                self._hook("before_lookup_refresh")
                table.refresh = _Refresh(table.spec, table.version.version, job, self._threaded)

    def _may_refresh(self, table: _Table) -> bool:
        busy = table.refresh is not None or table.waiting is not None or table.next is not None
        return table.spec.refresh_s is not None and not busy

    def _take(self, table: _Table, refresh: _Refresh, now: float) -> None:
        table.refresh = None
        table.due = now + (table.spec.refresh_s or 0.0)
        if refresh.error is not None:
            table.failures += 1
            table.error = str(refresh.error)
            log_.warning(
                "lookup refresh",
                pipeline=self._pipeline,
                lookup=table.spec.name,
                failures=table.failures,
                error=table.error,
            )
            return
        table.error = ""
        if refresh.version is not None:
            table.waiting = refresh.version
            self._hook("lookup_refreshed")

    @property
    def waiting(self) -> bool:
        """Whether a newer version waits for a barrier."""
        return any(table.waiting is not None for table in self._tables.values())

    def switch(self) -> list[str]:
        """A barrier is cut: the tables whose newer version is for the rows behind it."""
        for table in self._tables.values():
            table.next, table.waiting = table.waiting, None
        return [name for name, table in self._tables.items() if table.next is not None]

    def state(self, *, cut: bool, last: bool) -> dict[str, LookupState]:
        """What a manifest says of the tables.

        Parameters
        ----------
        cut
            It is that of an epoch with rows.
        last
            Nothing comes after it: where there is a refresh the next start takes the newest.
        """
        said = {}
        for name, table in self._tables.items():
            free = last and table.spec.refresh_s is not None
            said[name] = LookupState(
                used=table.version if cut else None,
                next=None if free else table.next or table.version,
            )
        return said

    def switched(self) -> None:
        """The manifest of the barrier is accepted."""
        for table in self._tables.values():
            if table.next is not None:
                table.version, table.next = table.next, None
                table.refreshes += 1
                log_.info(
                    "lookup",
                    pipeline=self._pipeline,
                    lookup=table.spec.name,
                    version=table.version.version,
                    rows=table.version.rows,
                )

    def status(self) -> dict[str, LookupStatus]:
        """Where the tables stand."""
        return {
            name: LookupStatus(
                table.version.version,
                table.version.loaded_us,
                table.version.rows,
                table.version.bytes,
                table.refreshes,
                table.failures,
                table.error,
            )
            for name, table in self._tables.items()
            if table.version is not None
        }

    def trouble(self) -> dict[str, str]:
        """Tables that could not be refreshed, and why."""
        return {
            name: f"refreshing the lookup: {table.error}"
            for name, table in self._tables.items()
            if table.error
        }

    def close(self) -> None:
        """Wait for what is being loaded; what does not end in time is left alone."""
        for table in self._tables.values():
            if table.refresh is not None and not table.refresh.close(END_PATIENCE_S):
                log_.warning(
                    "lookup",
                    pipeline=self._pipeline,
                    lookup=table.spec.name,
                    reason="its refresh does not end; it is left alone",
                )


class _Refresh:
    """One look for a newer version, and its way into the engine."""

    def __init__(self, spec: LookupTable, known: str, job: EngineJob, threaded: bool) -> None:
        self.version: LookupVersion | None = None
        self.error: FrazilError | None = None
        self._spec, self._known, self._job = spec, known, job
        self._lock = threading.Lock()  # held while the engine is called
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="frazil-lookup", daemon=True)
        if threaded:
            self._thread.start()
        else:
            self._thread.run()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def close(self, timeout_s: float) -> bool:
        """Give the engine nothing from here on; False if it does not end in time."""
        with self._lock:
            self._closed = True
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return self.done

    def _run(self) -> None:
        spec = self._spec
        try:
            found = spec.source.load(spec.columns, None, self._known)
            if found is None:
                return
            with self._lock:
                if self._closed:
                    return
                size = self._job.load(spec.name, found.table)
            self.version = LookupVersion(found.version, _now_us(), *size)
        except FrazilError as error:
            self.error = error
        except Exception as error:  # a defect of a loader must not end the run either
            self.error = EngineError(f"loading lookup {spec.name}: {type(error).__name__}: {error}")


def lookup_tables(
    plan: Mapping[str, Any], objects: Mapping[str, Mapping[str, Any]]
) -> dict[str, LookupTable]:
    """The lookup tables of a plan whose secrets are resolved, by name.

    Parameters
    ----------
    plan
        The JSON plan.
    objects
        Live objects by id of the step.
    """
    found: dict[str, LookupTable] = {}
    for node in plan["nodes"]:
        if node["kind"] != "lookup":
            continue
        spec = node["dimension"]
        columns = list(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(node["schema"]))))
        if spec["name"] in found:
            known = found[spec["name"]].columns
            columns = [*known, *(each for each in columns if each.name not in known.names)]
        refresh_ms = spec["refresh_ms"]
        found[spec["name"]] = LookupTable(
            name=spec["name"],
            source=_source(spec, objects.get(node["id"], {})),
            columns=pa.schema(columns),
            refresh_s=None if refresh_ms is None else refresh_ms / 1000,
            takes_changes=spec["on_change"] == "take",
        )
    return found


def _source(spec: Mapping[str, Any], objects: Mapping[str, Any]) -> LookupSource:
    name, options, max_bytes = spec["name"], spec["options"], spec["max_bytes"]
    if spec["kind"] == "parquet":
        return ParquetLookup(name, options, max_bytes)
    if spec["kind"] == "sql":
        return SqlLookup(name, options, max_bytes)
    if spec["kind"] == "memory":  # by `frazil.testing`
        return MemoryLookup(objects["table"])
    from frazil.run.iceberg_lookup import IcebergLookup  # imports PyIceberg

    return IcebergLookup(name, options, objects, max_bytes)


def _loaded(source: LookupSource, columns: pa.Schema, version: str | None) -> Loaded:
    found = source.load(columns, version, None)
    assert found is not None  # nothing is known yet
    return found


def _now_us() -> int:
    return time.time_ns() // 1000
