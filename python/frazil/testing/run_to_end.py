"""Runs streams over rows that a test gives, in this thread, without clock or services."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, overload

from frazil.errors import ConfigError, on_user_line
from frazil.memory_rows import memory_table
from frazil.node import LookupNode, SourceNode
from frazil.pipeline import Pipeline
from frazil.testing.clock import Clock
from frazil.testing.given import given_source

if TYPE_CHECKING:
    import pyarrow as pa
    from frazil.plan import Plan
    from frazil.stream import Stream
    from frazil.testing.given import Partitions, Rows
    from frazil.write import MemorySink

SECONDS_MAX = 3_600.0
"""Of the simulated clock, between two checkpoints, unless a test asks for more of them."""

# Bounded as they are: a test need not give their rows.
_OWN_ROWS = ("memory", "generator")


@overload
def run_to_end(
    streams: Stream,
    /,
    *,
    inputs: Mapping[str, Rows | Partitions] | None = None,
    lookups: Mapping[str, Any] | None = None,
    close_windows: bool = True,
    workers: int = 1,
    batch_rows: int | None = None,
    seed: int = 0,
    clock: Clock | None = None,
    **rows: Rows | Partitions,
) -> list[dict[str, Any]]: ...


@overload
def run_to_end(
    streams: Mapping[str, Stream],
    /,
    *,
    inputs: Mapping[str, Rows | Partitions] | None = None,
    lookups: Mapping[str, Any] | None = None,
    close_windows: bool = True,
    workers: int = 1,
    batch_rows: int | None = None,
    seed: int = 0,
    clock: Clock | None = None,
    **rows: Rows | Partitions,
) -> dict[str, list[dict[str, Any]]]: ...


@on_user_line
def run_to_end(
    streams: Stream | Mapping[str, Stream],
    /,
    *,
    inputs: Mapping[str, Rows | Partitions] | None = None,
    lookups: Mapping[str, Any] | None = None,
    close_windows: bool = True,
    workers: int = 1,
    batch_rows: int | None = None,
    seed: int = 0,
    clock: Clock | None = None,
    **rows: Rows | Partitions,
) -> list[dict[str, Any]] | dict[str, list[dict[str, Any]]]:
    """Run streams over given rows and return what they give.

    Nothing outside is read or written: rows stand in place of topics and files, event time goes by
    the rows, and the engine works in this thread in an order that follows from `seed`.

    Parameters
    ----------
    streams
        A stream; or several by name (also `late`, `rejected`), which share their sources.
    inputs
        Rows by the whole name of their source ("kafka:orders"), where that is no identifier.
    lookups
        Rows of lookup tables, by name: a table, or dicts.
    close_windows
        Every window closes at the end of the rows; False leaves those open that are.
    workers
        Replicas of each step.
    batch_rows
        Rows of one batch; default as many as there are, up to the engine's own limit.
    seed
        What the order of work follows from.
    clock
        The machine's clock; it says afterwards when the run has ended.
    rows
        Rows by the name of their source: ``orders=`` is for "kafka:orders" or "orders". Each is a
        list of dicts as the reader would have decoded them, a `pyarrow.Table`, a list of messages
        (bytes, text or `Message`) that are decoded, or `partitions` of these; with `wait` in
        between where time is to pass.

    Returns
    -------
    list of dict
        The rows of the stream; of several a list for each name. Of a stream of changes the rows
        that are left. In no order that means anything.

    Raises
    ------
    FrazilError
        What would have ended a run.

    Examples
    --------
    >>> import frazil as fz
    >>> from frazil import testing
    >>> orders = fz.read_kafka(
    ...     "orders", servers="kafka:9092", schema={"id": int, "amount": float}, format="json"
    ... )
    >>> large = orders.filter(fz.col("amount") > 10)
    >>> testing.run_to_end(large, orders=[{"id": 1, "amount": 12.5}, {"id": 2, "amount": 3.0}])
    [{'id': 1, 'amount': 12.5}]
    >>> testing.run_to_end({"bad": orders.rejected}, orders=['{"id": "?"}'])["bad"][0]["column"]
    'id'
    """
    case = Case(
        streams if isinstance(streams, Mapping) else {"rows": streams},
        {**rows, **(inputs or {})},
        lookups or {},
        clock,
    )
    case.run(close_windows=close_windows, workers=workers, batch_rows=batch_rows, seed=seed)
    found = case.rows()
    return found if isinstance(streams, Mapping) else found["rows"]


class Case:
    """Streams, their rows, and a checkpoint log in memory: one pipeline over several processes."""

    def __init__(
        self,
        streams: Mapping[str, Stream],
        inputs: Mapping[str, Rows | Partitions],
        lookups: Mapping[str, Any],
        clock: Clock | None = None,
    ) -> None:
        from frazil.checkpoint.memory_store import MemoryStore

        if not streams:
            raise ConfigError("there is no stream to run", "give a stream, or some by name")
        self._inputs = inputs
        self._lookups = lookups
        self._machine = (clock or Clock())._machine
        self._start_us = self._machine.us
        self._sinks: dict[str, MemorySink] = {
            name: stream.write_memory(name=name) for name, stream in streams.items()
        }
        self._store = MemoryStore()

    def run(
        self,
        *,
        close_windows: bool = True,
        workers: int = 1,
        batch_rows: int | None = None,
        seed: int = 0,
        every_s: float = SECONDS_MAX,
        hook: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Run one process to the end of the rows.

        Parameters
        ----------
        every_s
            Between two checkpoints, of the simulated clock.
        hook
            Called at each step of delivery, with its name.
        """
        from frazil.run.coordinator import Coordinator
        from frazil.run.runner import prepare
        from frazil.run.settings import RunSettings

        pipeline = Pipeline("test", *self._sinks.values(), checkpoint="memory", workers=workers)
        pipeline._plan = self._given(pipeline.plan, batch_rows)
        settings = RunSettings(
            workers=workers,
            bounded=True,
            quiet=True,
            takeover=True,
            checkpoint_every_s=every_s,
            close_windows=close_windows,
            simulated_seed=seed,
            machine=self._machine,
        )
        runnable = prepare(pipeline, hook=hook, store=self._store, pauses=False)
        Coordinator(runnable, settings, hook=hook).run()

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """What has come so far, by stream."""
        return {name: sink.table().to_pylist() for name, sink in self._sinks.items()}

    def _given(self, plan: Plan, batch_rows: int | None) -> Plan:
        """The plan with the given rows in place of what is outside."""
        nodes, objects = copy.deepcopy(plan.json["nodes"]), dict(plan.objects)
        inputs, lookups = self._chosen(plan)
        for number, spec in enumerate(nodes):
            node = plan.nodes[spec["id"]]
            if isinstance(node, SourceNode) and spec["name"] in inputs:
                nodes[number] = given_source(
                    node, spec, inputs[spec["name"]], batch_rows, self._start_us
                )
            elif isinstance(node, SourceNode) and batch_rows and node.connector == "memory":
                spec["options"]["batch_rows"] = batch_rows
            elif isinstance(node, LookupNode) and node.dimension.name in lookups:
                table = _lookup_table(lookups[node.dimension.name], node)
                spec["dimension"] |= {"kind": "memory", "options": {}, "refresh_ms": None}
                objects[spec["id"]] = {"table": table}
        return dataclasses.replace(plan, json={**plan.json, "nodes": nodes}, objects=objects)

    def _chosen(self, plan: Plan) -> tuple[dict[str, Rows | Partitions], dict[str, Any]]:
        sources = [node for node in plan.nodes.values() if isinstance(node, SourceNode)]
        tables = [n.dimension.name for n in plan.nodes.values() if isinstance(n, LookupNode)]
        inputs = _by_source(self._inputs, [str(node.name) for node in sources])
        lookups = _by_source(self._lookups, list(dict.fromkeys(tables)))
        for node in sources:
            if node.connector not in _OWN_ROWS and node.name not in inputs:
                raise ConfigError(
                    f"no rows are given for {node.name}",
                    f"run_to_end(..., {short_name(str(node.name))}=[...])",
                )
        for name in tables:
            if name not in lookups:
                raise ConfigError(
                    f"no rows are given for the lookup table {name}",
                    f"lookups={{{name!r}: [...]}}",
                )
        return inputs, lookups


def short_name(name: str) -> str:
    """The keyword that stands for a source: "kafka:crm.orders" is crm_orders."""
    return re.sub(r"\W+", "_", name.partition(":")[2] or name).strip("_")


def _by_source(given: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """What is given, by whole names."""
    found = {}
    for key, rows in given.items():
        meant = [key] if key in names else [name for name in names if short_name(name) == key]
        if len(meant) != 1:
            what = "is no source" if not meant else f"may be {' or '.join(meant)}"
            known = ", ".join(names) or "none"
            raise ConfigError(f"{key!r} {what}", f"have: {known}", "give its whole name in inputs=")
        found[meant[0]] = rows
    return found


def _lookup_table(rows: Any, node: LookupNode) -> pa.Table:
    return memory_table(rows, node.dimension.schema)
