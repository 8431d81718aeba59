"""Tables that rows wait for: those of sinks with many, which are opened beside the flow, and those
that have to be given columns.

A table that cannot be opened holds up nobody: its rows wait in the engine, and in checkpoints, and
it is tried again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import structlog
from frazil.checkpoint.sink_ids import table_sink
from frazil.errors import CheckpointError, CommitError, ConnectError, FrazilError, PlanError

if TYPE_CHECKING:
    from frazil.checkpoint import CheckpointLog
    from frazil.iceberg.further_columns import Wanted
    from frazil.run.engine_job import EngineJob, TableWanted
    from frazil.run.iceberg_target import IcebergTarget
    from frazil.run.route_target import RoutedTable, RouteTarget
    from frazil.run.runnable import SinkTarget

# How long after a table could not be opened it is tried again (seconds, doubled).
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 30.0
# How long the end of the rows waits for tables that nobody refuses (seconds).
PATIENCE_S = 600.0

# Tables that are made or opened at a time.
OPEN_THREADS = 8

log_ = structlog.get_logger("frazil")


class _Openable(Protocol):
    name: str

    def open(self, log: CheckpointLog, wanted: Wanted) -> Mapping[str, Any]: ...


@dataclass
class _Opening:
    """A table that rows wait for."""

    table: _Openable
    since: float
    alone: bool  # it is the only one of its sink
    wanted: dict[str, list[str]] = field(default_factory=dict)  # types of fields
    asked: dict[str, list[str]] = field(default_factory=dict)  # those that the future is about
    future: Future[Mapping[str, Any]] | None = None
    error: FrazilError | None = None
    failures: int = 0
    retry_at: float = 0.0

    @property
    def failed(self) -> bool:
        """It cannot be opened as things are; not because somebody is away."""
        if self.error is None or self.error.retryable:
            return False
        return not isinstance(self.error, ConnectError) or _is_refusal(self.error.__cause__)


class Routes:
    """All sinks with many tables, or whose table may be given columns. One thread, the
    coordinator's.

    Parameters
    ----------
    targets
        By sink id; gets an entry for each table.
    plan
        Says which of them have many tables.
    log
        The checkpoint log.
    threaded
        False: tables are opened in the calling thread (the simulated scheduler).
    """

    def __init__(
        self,
        targets: dict[str, SinkTarget],
        plan: Mapping[str, Any],
        log: CheckpointLog,
        *,
        threaded: bool,
    ) -> None:
        self._targets = targets
        self._log = log
        self._sinks = {
            node["id"]: cast("RouteTarget", targets[node["id"]])
            for node in plan["nodes"]
            if node["kind"] == "sink" and "route" in node["options"]
        }
        self._alone = {
            node["id"]: cast("IcebergTarget", targets[node["id"]])
            for node in plan["nodes"]
            if node["kind"] == "sink"
            and "route" not in node["options"]
            and "expand" in node["options"].get("drift", {})
        }
        self._openings: dict[tuple[str, str], _Opening] = {}
        # The engine was told of a table since the last barrier: rows that waited for it are in the
        # next epoch, which is cut behind that.
        self.told = False
        needed = threaded and (self._sinks or self._alone)
        self._pool = ThreadPoolExecutor(OPEN_THREADS, "frazil-tables") if needed else None
        for target in self._sinks.values():
            for sink, table in target.tables.items():
                self._add(sink, table)

    def want(self, wanted: TableWanted, now: float) -> None:
        """Have a table opened, or given columns: the engine has rows of it.

        Raises
        ------
        PlanError
            There would be too many of them.
        """
        sink, key = wanted.sink, wanted.table
        table: _Openable
        if alone := sink in self._alone:
            table = self._alone[sink]
        else:
            table = routed = self._sinks[sink].table(key)
            self._add(table_sink(sink, key), routed)
        opening = self._openings.setdefault((sink, key), _Opening(table, now, alone))
        for name, type_ in wanted.columns.items():
            types = opening.wanted.setdefault(name, [])
            if type_ not in types:
                types.append(type_)

    def look(self, job: EngineJob, now: float, *, cutting: bool) -> None:
        """Tell the engine which tables are open by now, and try those again that are due.

        One that has rows to be taken over is opened between barriers: then all workers' parts of
        these are in the checkpoint that has the first token of it.

        Raises
        ------
        CheckpointError
            A newer process has the log.
        FrazilError
            The only table of a sink cannot be given columns.
        """
        for (sink, key), opening in list(self._openings.items()):
            if opening.future is None and now >= opening.retry_at:
                opening.asked = {name: list(types) for name, types in opening.wanted.items()}
                opening.future = self._begin(opening)
            if opening.future is None or not opening.future.done():
                continue
            error = opening.future.exception()
            if error is None:
                options = opening.future.result()
                if cutting and options.get("seed"):
                    continue
                job.open_table(sink, key, json.dumps(options))
                self.told = True
                opening.future = None
                if opening.asked == opening.wanted:
                    del self._openings[sink, key]
                continue  # else more was asked for meanwhile
            if not isinstance(error, FrazilError) or isinstance(error, CheckpointError):
                raise error
            self._note(opening, error, now)
            if opening.failed and opening.alone:
                raise error
            if opening.failed:
                job.fail_table(sink, key, str(error))

    def opening(self, now: float) -> bool:
        """Whether a table is being opened, or has been tried for less than PATIENCE_S."""
        return any(
            not each.failed and now < each.since + PATIENCE_S for each in self._openings.values()
        )

    def trouble(self) -> dict[str, str]:
        """Tables that cannot be opened, and why."""
        return {
            each.table.name: str(each.error)
            for each in self._openings.values()
            if each.error is not None
        }

    def require_open(self) -> None:
        """Refuse to be at the end while rows wait.

        Raises
        ------
        CommitError
            With the tables that cannot be opened; their rows are in the checkpoint.
        """
        trouble = self.trouble()
        if not trouble:
            return
        raise CommitError(
            f"opening {', '.join(sorted(trouble))}: rows wait for it",
            next(iter(trouble.values())).splitlines()[0],
            "nothing is lost: they stay in the checkpoint, and the next run writes them first",
        )

    def split(self, tokens: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Tokens by the sinks of the log: those of a sink with many are told apart by table."""
        apart: dict[str, tuple[str, ...]] = {}
        for sink, parts in tokens.items():
            if sink not in self._sinks:
                apart[sink] = parts
                continue
            for part in parts:
                for key, token in json.loads(part)["tables"].items():
                    own = table_sink(sink, key)
                    apart[own] = (*apart.get(own, ()), token)
        return apart

    def close(self) -> None:
        """Wait for the tables that are being opened."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _add(self, sink: str, table: RoutedTable) -> None:
        if sink in self._targets or table.refusal is not None:
            return
        if any(other.name == table.name for other in self._targets.values()):
            raise PlanError(
                f"two sinks are called {table.name!r}",
                "give the sink with many tables a name=, or route no rows to that table",
            )
        self._targets[sink] = table

    def _begin(self, opening: _Opening) -> Future[Mapping[str, Any]]:
        table, asked = opening.table, opening.asked
        if self._pool is not None:
            return self._pool.submit(table.open, self._log, asked)
        done: Future[Mapping[str, Any]] = Future()
        try:
            done.set_result(table.open(self._log, asked))
        except FrazilError as error:
            done.set_exception(error)
        return done

    def _note(self, opening: _Opening, error: FrazilError, now: float) -> None:
        if opening.error is None or str(opening.error) != str(error):
            log_.warning("table", name=opening.table.name, error=str(error))
        opening.error, opening.future = error, None
        opening.failures += 1
        pause = min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** min(opening.failures - 1, 16))
        opening.retry_at = now + pause


def _is_refusal(error: BaseException | None) -> bool:
    """Whether a catalog is there and does not want to."""
    from pyiceberg import exceptions as known

    refusals = (known.BadRequestError, known.ForbiddenError, known.UnauthorizedError)
    return isinstance(error, (*refusals, known.ValidationError))
