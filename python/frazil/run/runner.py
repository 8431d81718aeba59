"""From a `Pipeline` to a run."""

from __future__ import annotations

import atexit
import base64
import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import structlog
from frazil.checkpoint import Store, open_store, plan_of
from frazil.checkpoint.reader import read_log
from frazil.checkpoint_folder import checkpoint_folder
from frazil.errors import FrazilError, StoreError
from frazil.keyed_call import KeyedCall
from frazil.processes import refuse_in_child
from frazil.run.coordinator import Coordinator
from frazil.run.event_times import describe_time
from frazil.run.interrupt import on_interrupt
from frazil.run.kafka_target import KafkaTarget
from frazil.run.logs import log_to_stderr
from frazil.run.lookups import lookup_tables
from frazil.run.python_target import PythonTarget
from frazil.run.restarts import Restarts
from frazil.run.runnable import Runnable
from frazil.run.schemas import registries
from frazil.run.settings import RunSettings
from frazil.run.source_readers import SourceReaders
from frazil.run.targets import SinkSpec, make_target
from frazil.secret import resolve_secrets
from frazil.udf_call import run as call_function
from frazil.user_aggregate_call import with_aggregates

if TYPE_CHECKING:
    from frazil import _engine
    from frazil.node import Function
    from frazil.pipeline import Pipeline
    from frazil.report import RunReport
    from frazil.run.runnable import SinkTarget
    from frazil.run.status import Observer, Status

# While engine threads run Python functions, the interpreter hands over this often (seconds).
SWITCH_INTERVAL_S = 0.001

# The end of the interpreter says what it waits for after this long (seconds).
EXIT_QUIET_S = 5.0

log_ = structlog.get_logger("frazil")


def prepare(
    pipeline: Pipeline,
    *,
    hook: Callable[[str], None] = lambda _: None,
    store: Store | None = None,
    pauses: bool = True,
) -> Runnable:
    """Make a pipeline ready: resolve secrets, open its tables and its checkpoint store.

    Everything that can be refused is refused here, before the checkpoint log is touched.

    Parameters
    ----------
    pauses
        False: coroutines are asked again at once, as often as they may be.
    """
    log_to_stderr()
    plan, aggregates = with_aggregates(resolve_secrets(pipeline.plan.json), pipeline.plan.functions)
    nodes = plan["nodes"]
    targets: dict[str, SinkTarget] = {}
    for node in nodes:
        if node["kind"] == "sink":
            spec = SinkSpec(
                id=node["id"],
                name=node["name"],
                pipeline=pipeline.name,
                schema=plan_schema(node["schema"]),
                options=node["options"],
                objects=pipeline.plan.objects.get(node["id"], {}),
                hook=hook,
            )
            targets[node["id"]] = make_target(node["connector"], spec)
    _make_tables(targets, store or _store(pipeline, targets))
    if store is None:
        store = _store(pipeline, targets)
        store.probe()
    for target in targets.values():
        if isinstance(target, KafkaTarget):
            target.stage_at(_store_s3(store.url, targets))
        elif isinstance(target, PythonTarget):
            target.stage_in(store)
    return Runnable(
        name=pipeline.name,
        plan=plan,
        functions={**_calls(pipeline.plan.functions, pauses), **aggregates},
        targets=targets,
        store=store,
        readers=_readers(nodes, pipeline.plan.objects),
        checkpoint_plan=plan_of(pipeline.plan.json, pipeline.plan.function_hashes),
        lookups=lookup_tables(plan, pipeline.plan.objects),
        registries=registries(plan),
        letters=_letters(nodes),
        source_names={node["id"]: node["name"] for node in nodes if node["kind"] == "source"},
        commit_every_s={
            node["id"]: node["options"]["commit_every_ms"] / 1000
            for node in nodes
            if node["kind"] == "sink" and "commit_every_ms" in node["options"]
        },
        diverting=frozenset(
            node["id"]
            for node in nodes
            if "divert" in (node.get("on_bad_row"), node.get("on_error"))
        ),
        apart={
            node["id"]: node.get("name") or node.get("sink") or node["function"].partition("#")[0]
            for node in nodes
            if node.get("on_error") in ("drop", "divert")
        },
    )


def settings_of(
    pipeline: Pipeline,
    *,
    bounded: bool,
    takeover: bool = False,
    close_windows: bool = False,
    reopen: bool = False,
    quiet: bool = False,
) -> RunSettings:
    """The settings that a pipeline declares."""
    return RunSettings(
        workers=pipeline.workers,
        memory_bytes=pipeline.memory_bytes,
        spill_bytes=pipeline.spill_bytes,
        spill_folder=pipeline.spill_folder,
        checkpoint_every_s=pipeline.checkpoint_every_ms / 1000,
        bounded=bounded,
        takeover=takeover,
        retain=pipeline.retain,
        max_rejected=pipeline.max_rejected,
        close_windows=close_windows,
        reopen=reopen,
        quiet=quiet,
    )


def run(
    pipeline: Pipeline,
    *,
    bounded: bool,
    takeover: bool = False,
    close_windows: bool = False,
    reopen: bool = False,
    metrics_port: int | None = None,
    quiet: bool = False,
    hook: Callable[[str], None] = lambda _: None,
) -> RunReport:
    """Run a pipeline in this thread until it ends, is asked to, or fails."""
    refuse_in_child("pipeline.run()")
    with _observers(metrics_port, quiet) as observer:

        def make(again: bool) -> Coordinator:
            return Coordinator(
                prepare(pipeline, hook=hook),
                settings_of(
                    pipeline,
                    bounded=bounded,
                    takeover=takeover or again,
                    close_windows=close_windows,
                    reopen=reopen,
                    quiet=quiet,
                ),
                observer=observer,
                hook=hook,
            )

        coordinator = Restarts(make)
        with _running(coordinator), on_interrupt(coordinator.stop, coordinator.abort):
            return coordinator.run()


class Handle:
    """A pipeline that runs in the background, for notebooks, web programs and tests."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        bounded: bool,
        takeover: bool = False,
        close_windows: bool = False,
        reopen: bool = False,
        quiet: bool = False,
    ) -> None:
        refuse_in_child("pipeline.start()")
        self._coordinator = Restarts(
            lambda again: Coordinator(
                prepare(pipeline),
                settings_of(
                    pipeline,
                    bounded=bounded,
                    takeover=takeover or again,
                    close_windows=close_windows,
                    reopen=reopen,
                    quiet=quiet,
                ),
            )
        )
        self._report: RunReport | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="frazil-control", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with _running(self._coordinator):
                self._report = self._coordinator.run()
        except BaseException as error:
            self._error = error

    @property
    def status(self) -> Status:
        """Where the run stands: rows, lag, epochs, commits."""
        return self._coordinator.status

    def describe_time(self) -> str:
        """Say where event time stands: each partition's frontier, the watermark, who holds it.

        Late rows and the state of windows too. A frontier is the largest event time of a
        partition; the watermark is the least of them, less `out_of_order`.
        """
        status = self._coordinator.status
        return describe_time(status.metrics, status.times, datetime.now(UTC))

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def stop(self) -> RunReport:
        """Ask for a last checkpoint and its commit, and wait for the end."""
        self._coordinator.stop()
        return self.wait()

    def abort(self) -> None:
        """Ask for the end at once; uncommitted rows are read again by the next run."""
        self._coordinator.abort()

    def wait(self, timeout: float | None = None) -> RunReport:
        """Wait for the end.

        Parameters
        ----------
        timeout
            Seconds; None waits without end.

        Raises
        ------
        TimeoutError
            It is still running.
        FrazilError
            What ended the run.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the pipeline is still running after {timeout} s")
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report


_coordinators: weakref.WeakSet[Restarts] = weakref.WeakSet()


@atexit.register
def _abort_all() -> None:
    """Engine threads must be gone before the interpreter is."""
    for coordinator in list(_coordinators):
        coordinator.abort()
        if not coordinator.join(EXIT_QUIET_S):
            # A thread that came back into an interpreter that is gone would crash the process.
            log_.warning("exit", waiting_for="a Python function that is still running")
            coordinator.join()


# A forked child has neither the engine's threads nor the control thread to wait for.
os.register_at_fork(after_in_child=_coordinators.clear)


@contextmanager
def _running(coordinator: Restarts) -> Iterator[None]:
    interval = sys.getswitchinterval()
    _coordinators.add(coordinator)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        _coordinators.discard(coordinator)


class _All:
    """Several observers as one."""

    def __init__(self, observers: list[Any]) -> None:
        self._observers = observers

    def update(self, status: Status) -> None:
        for observer in self._observers:
            observer.update(status)


@contextmanager
def _observers(metrics_port: int | None, quiet: bool) -> Iterator[Observer | None]:
    from frazil.run import live

    observers: list[Any] = [] if quiet else [live.observer()]
    try:
        if metrics_port is not None:
            from frazil.run.prometheus import PrometheusEndpoint

            observers.append(PrometheusEndpoint(metrics_port))
        yield _All(observers) if observers else None
    finally:
        for observer in observers:
            observer.close()


def _readers(
    nodes: Sequence[Mapping[str, Any]], objects: Mapping[str, Mapping[str, Any]]
) -> list[SourceReaders]:
    """Sources in Python; their nodes are given the number by which the engine finds them."""
    made = []
    for node in nodes:
        if node["kind"] == "source" and node["connector"] == "python":
            source = objects[node["id"]]["source"]
            made.append(SourceReaders(source, plan_schema(node["schema"]), node["name"]))
            node["options"]["handle"] = made[-1].number
    return made


def _calls(
    functions: Mapping[str, Function],
    pauses: bool,
) -> dict[str, Callable[[_engine.ArrowBatch], object]]:
    """What the engine calls, but for aggregates."""
    calls: dict[str, Callable[[_engine.ArrowBatch], object]] = {}
    for reference, function in functions.items():
        if function.kind == "keyed":
            calls[reference] = KeyedCall(function)
        elif function.kind == "async":
            from frazil.async_call import AsyncCall  # with asyncio, which others need not have

            calls[reference] = AsyncCall(function, pauses=pauses)
        elif function.kind == "embed":
            from frazil.embed_call import EmbedCall  # with NumPy, which others need not have

            calls[reference] = EmbedCall(function)
        elif function.processes is not None:
            from frazil.processes.call import ProcessCall  # with what starts processes

            calls[reference] = ProcessCall(function)
        elif function.kind != "aggregate":
            calls[reference] = functools.partial(_call, function)
    return calls


def _call(function: Function, batch: _engine.ArrowBatch) -> pa.RecordBatch:
    return call_function(function, pa.record_batch(batch))


def plan_schema(text: str) -> pa.Schema:
    """The schema of a node of a plan."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def _letters(nodes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Sources and steps by the table that gets what they set aside as it is, and nothing
    else.
    """
    unions = {node["id"]: node["inputs"] for node in nodes if node["kind"] == "union"}

    def sources(step: str, output: str) -> list[str | None]:
        if output in ("rejected", "failed"):
            return [step]
        return [each for port in unions.get(step, ()) for each in sources(*port)] or [None]

    found = {
        node["id"]: sources(*node["input"])
        for node in nodes
        if node["kind"] == "sink" and node["connector"] == "iceberg"
    }
    return {sink: tuple(map(str, each)) for sink, each in found.items() if None not in each}


_S3_KEYS = ("endpoint", "region", "access_key_id", "secret_access_key", "session_token")


def _make_tables(targets: Mapping[str, SinkTarget], store: Store) -> None:
    """Make tables that are not there, unless the log says that they were."""
    missing = [target for target in targets.values() if target.missing]
    if not missing:
        return
    try:
        log = read_log(store)
    except StoreError:
        # A table's own credentials may be needed to reach the store, and there is no table yet. If
        # it cannot be reached with them either, the start is refused then.
        log = ()
    for target in missing:
        target.make(log)


def _store(pipeline: Pipeline, targets: Mapping[str, SinkTarget]) -> Store:
    """The checkpoint store. S3 is reached as the first table's is, else as the environment says."""
    tables = [target.place() for target in targets.values()]
    warehouses = [place.warehouse for place in tables if place is not None]
    folder = checkpoint_folder(pipeline.name, pipeline.checkpoint, warehouses)
    return open_store(folder, _store_s3(folder, targets))


def _store_s3(folder: str, targets: Mapping[str, SinkTarget]) -> dict[str, str]:
    """How the checkpoint store is reached, if it is on S3 and a table says it."""
    tables = [target.place() for target in targets.values()]
    s3 = next((place.s3 for place in tables if place is not None and place.s3), None)
    if not folder.startswith("s3://") or not s3:
        return {}
    return {key: str(s3[key]) for key in _S3_KEYS if key in s3}


__all__ = ["FrazilError", "Handle", "plan_schema", "prepare", "run", "settings_of"]
