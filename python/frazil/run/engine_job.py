"""The engine's job with typed events: the only place that knows the engine's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frazil import _engine
from frazil.errors import FrazilError, from_engine
from frazil.run.slow_calls import WatchedCall
from frazil.run.source_readers import stop_readers

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class SourceCut:
    """A source at a barrier. Rows count from the start of the job."""

    positions: Mapping[str, str]
    lag: Mapping[str, int]  # rows or bytes to the end known now, -1 unknown
    read: int
    good: int
    rejected: int
    dropped: int = 0  # rows that say nothing
    # The same by partition: read, good, rejected, dropped.
    partitions: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    example: str = ""  # the first row that was rejected in this epoch, and why


@dataclass(frozen=True, slots=True)
class StepCut:
    """A step that sets failed rows aside, at a barrier. Rows count from the start of the job."""

    given: int
    good: int
    failed: int
    example: str = ""  # the first row that failed in this epoch, and why


@dataclass(frozen=True, slots=True)
class StateCut:
    """What one worker knows of an operator: what changed since the last epoch, or everything."""

    operator: str
    worker: int
    full: bool
    data: bytes | None  # of a state file, one of several; None: that is all (full only)


@dataclass(frozen=True, slots=True)
class EpochCut:
    """Every worker has answered a barrier: nothing of this epoch is in memory only."""

    epoch: int
    sources: Mapping[str, SourceCut]
    tokens: Mapping[str, tuple[str, ...]]  # by sink, one part per worker that had rows
    frontiers: Mapping[str, Mapping[str, int]]  # by event_time step and partition; microseconds
    late: Mapping[str, int]  # late rows by window step, from the start of the job
    state: tuple[StateCut, ...]  # the rest of it
    seconds: float
    steps: Mapping[str, StepCut] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateMade:
    """State of the epoch that is being cut, ahead of its answer."""

    state: tuple[StateCut, ...]


@dataclass(frozen=True, slots=True)
class SchemasWanted:
    """Rows wait for schemas of registries, by the registry's name and the id."""

    schemas: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """Every bounded source is exhausted, its rows are in the sinks."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The job has stopped."""

    error: FrazilError


@dataclass(frozen=True, slots=True)
class TableWanted:
    """Rows have come for a table that is not open, or that lacks columns they need."""

    sink: str
    table: str  # "": the only one
    columns: Mapping[str, str]  # types by names


Event = StateMade | EpochCut | SchemasWanted | TableWanted | Ended | Failed


@dataclass(frozen=True, slots=True)
class Found:
    """A partition as a source's enumerator sees it; positions are the connector's own JSON."""

    name: str
    start: str
    end: str  # empty: unbounded


@dataclass(frozen=True, slots=True)
class Assigned:
    """A partition for a worker to read."""

    ordinal: int
    name: str
    position: str
    end: str
    worker: int
    frontiers: Mapping[str, int] = field(default_factory=dict)  # by event_time step; microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How the engine runs a plan."""

    workers: int
    attempt: int
    first_epoch: int
    bounded: bool
    memory_bytes: int
    spill_bytes: int = 0
    spill_folder: str = ""
    epoch_deletes: int = 0  # rows an epoch may take away before sources rest until its end; 0: any
    close_windows: bool = False  # the end of the sources is the end of event time
    simulated: bool = False
    seed: int = 0
    clock_us: int = 0  # what the machine's clock says; simulated


class EngineJob:
    """A plan at work in this process. One control thread calls it."""

    def __init__(
        self,
        plan: Mapping[str, Any],
        options: JobOptions,
        functions: Mapping[str, Callable[[_engine.ArrowBatch], object]],
    ) -> None:
        fields = {name: getattr(options, name) for name in JobOptions.__dataclass_fields__}
        self._functions = functions
        self._job = _engine.Job(json.dumps(plan), json.dumps(fields), dict(functions))
        self._plan = plan

    def discover(
        self,
        *,
        bounded: bool,
        known: Mapping[str, Mapping[str, str]],
        sources: Collection[str],
    ) -> dict[str, list[Found]]:
        """Partitions of these sources, by source id.

        `known` are those that the checkpoint has, with their positions: others are new since then
        and start at their first row, whatever the source's start says. A source names those of
        them that have rows left also if they are gone: it is refused when they are assigned.
        """
        found = json.loads(
            self._job.discover(
                bounded,
                json.dumps({key: dict(each) for key, each in known.items()}),
                sorted(sources),
            )
        )
        return {
            source: [Found(each["name"], each["start"], each["end"]) for each in partitions]
            for source, partitions in found.items()
        }

    def assign(self, partitions: Mapping[str, list[Assigned]]) -> None:
        """Hand partitions to workers, before `start` or for partitions that came since."""
        self._job.assign(_assigned_text(partitions, self._places()))

    def _places(self) -> dict[tuple[str, str], str]:
        """What partitions of dead letters were called when their rows were set aside."""
        return {
            (node["id"], each["name"]): each["place"]
            for node in self._plan["nodes"]
            if node["kind"] == "source" and node["connector"] == "dead_letter"
            for each in node["options"]["partitions"]
        }

    def expect(self, partitions: Mapping[str, list[Assigned]]) -> None:
        """Announce partitions: they hold the watermark, and the next epoch has their frontiers."""
        self._job.expect(_assigned_text(partitions))

    def end_sources(self, sources: Collection[str]) -> None:
        """Say that sources have been read to their end for ever; those that wait for them begin."""
        self._job.end_sources(sorted(sources))

    def restore(self, operator: str, data: bytes) -> None:
        """Give an operator a state file of an earlier run, in the order of writing; before
        `start`.
        """
        self._job.restore(operator, data)

    def open_table(self, sink: str, table: str, options: str) -> None:
        """Say that a table is there: its rows are written from now on. Options are JSON."""
        self._job.open_table(sink, table, options)

    def fail_table(self, sink: str, table: str, reason: str) -> None:
        """Say that a table cannot be opened for now: its rows wait."""
        self._job.fail_table(sink, table, reason)

    def restored(self) -> None:
        """Wait until operators have the rows of all files."""
        self._job.restored()

    def start(self) -> None:
        """Start the workers."""
        self._job.start()

    def load(self, lookup: str, table: pa.Table) -> tuple[int, int]:
        """Give a version of a lookup table, by its name; the number of its rows, and of its bytes
        with the indexes. Any thread. It is used from `start`, or from the barrier that names it.
        """
        return self._job.load(lookup, table.schema, table)

    def barrier(
        self, epoch: int, full: Collection[str] = (), lookups: Collection[str] = ()
    ) -> None:
        """Cut an epoch; the answer is an `EpochCut` event. Operators in `full` write all of their
        state, the others what changed. Rows behind it are looked up in what was loaded last of
        `lookups`.
        """
        self._job.barrier(epoch, sorted(full), sorted(lookups))

    def give_schema(
        self,
        registry: str,
        id: int,
        *,
        kind: str = "",
        texts: Sequence[str] = (),
        missing: str = "",
    ) -> None:
        """Give a schema that is wanted: its kind, and the texts it refers to before its own; or
        say why there is none. Any thread.
        """
        self._job.give_schema(registry, id, kind, list(texts), missing)

    def note_registry(self, registry: str, trouble: str) -> None:
        """Say what keeps a registry from answering, "" if nothing does. Any thread."""
        self._job.note_registry(registry, trouble)

    def rest(self, now_us: int, others_us: int | None) -> None:
        """Have sources look which of their partitions have nothing to read and hold time up.

        Parameters
        ----------
        now_us
            A steady clock, microseconds.
        others_us
            How far event time has come where it moves; None if that is not known.
        """
        self._job.rest(now_us, others_us)

    def committed(self, positions: Mapping[str, Mapping[str, str]]) -> None:
        """Tell sources what every table has."""
        self._job.committed(
            json.dumps(
                {
                    source: [{"name": name, "position": at} for name, at in partitions.items()]
                    for source, partitions in positions.items()
                }
            )
        )

    def wait(self, timeout_seconds: float) -> list[Event]:
        """Events since the last call; waits up to `timeout_seconds` for one."""
        return [self._event(json.loads(text)) for text in self._job.wait(timeout_seconds)]

    def polled(self) -> int:
        """Chunks read since the start."""
        return self._job.polled()

    def full(self) -> bool:
        """Whether the epoch takes away so many rows that sources rest until `barrier`."""
        return self._job.full()

    def clock_us(self) -> int:
        """What the machine's clock says, microseconds since 1970."""
        return self._job.clock_us()

    def metrics(self) -> dict[str, Any]:
        """Rows by node, bytes by tag and in channels, conditions of sources, event time."""
        metrics: dict[str, Any] = json.loads(self._job.metrics())
        return metrics

    def stop(self) -> None:
        """Stop and join the workers and who reads for them. What is not committed is dropped."""
        watched = [each for each in self._functions.values() if isinstance(each, WatchedCall)]
        for function in watched:
            function.abandon()
        self._job.stop()
        stop_readers(self._plan)
        for function in watched:
            function.close()

    def _taken_state(self) -> tuple[StateCut, ...]:
        return tuple(StateCut(*each) for each in self._job.take_state())

    def _event(self, event: dict[str, Any]) -> Event:
        match event["kind"]:
            case "epoch":
                return EpochCut(
                    event["epoch"],
                    {
                        source: SourceCut(
                            cut["positions"],
                            cut["lag"],
                            cut["read"],
                            cut["good"],
                            cut["rejected"],
                            cut["dropped"],
                            {name: tuple(rows) for name, rows in cut["partitions"].items()},
                            cut["example"],
                        )
                        for source, cut in event["sources"].items()
                    },
                    {sink: tuple(parts) for sink, parts in event["tokens"].items()},
                    event["frontiers"],
                    event["late"],
                    self._taken_state(),
                    event["seconds"],
                    {step: StepCut(*rows) for step, rows in event["steps"].items()},
                )
            case "table":
                return TableWanted(event["sink"], event["table"], event["columns"] or {})
            case "state":
                return StateMade(self._taken_state())
            case "schemas":
                return SchemasWanted(tuple(self._job.take_wanted_schemas()))
            case "ended":
                return Ended()
            case _:
                return Failed(
                    from_engine(event["error"], event["name"], event["message"], event["retryable"])
                )


def _assigned_text(
    partitions: Mapping[str, list[Assigned]], places: Mapping[tuple[str, str], str] | None = None
) -> str:
    def text(source: str, each: Assigned) -> dict[str, Any]:
        fields = {name: getattr(each, name) for name in Assigned.__dataclass_fields__}
        place = (places or {}).get((source, each.name))
        return fields if place is None else {**fields, "place": place}

    return json.dumps(
        {
            source: [text(source, each) for each in assigned]
            for source, assigned in partitions.items()
        }
    )
