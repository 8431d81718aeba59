"""Processes of a pipeline over events, one after the other, in the simulated scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
from frazil.checkpoint.memory_store import MemoryStore
from frazil.checkpoint.reader import list_slots, read_slot
from frazil.memory_rows import encoded_rows
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import DRAIN_S, RunSettings

from tests.pipelines.events import EVENT_SCHEMA, Event, counted

if TYPE_CHECKING:
    from collections import Counter
    from random import Random

    from frazil.checkpoint.manifest import Manifest
    from frazil.report import RunReport
    from frazil.run.runnable import Runnable


class Processes:
    """A pipeline and its checkpoints.

    Parameters
    ----------
    partitions
        Their events; the source's name is "events".
    build
        Makes the streams whose rows are to be kept, by name, of the stream of events.

    Attributes
    ----------
    options
        Others of the pipeline.
    """

    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        partitions: Sequence[Sequence[Event]],
        build: Callable[[fz.Stream], dict[str, fz.Stream]],
    ) -> None:
        self.partitions = list(partitions)
        table = pa.Table.from_pylist([e for part in partitions for e in part], EVENT_SCHEMA)
        streams = build(fz.read_memory(table, partitions=len(partitions), name="events"))
        self.sinks = {name: stream.write_memory(name=name) for name, stream in streams.items()}
        self.store = MemoryStore()

    def run(self, **options: Any) -> RunReport:
        """One process, to the end of the rows; options are those of `coordinator`."""
        return self.coordinator(**options).run()

    def coordinator(
        self,
        *,
        seed: int | None = 1,
        workers: int = 1,
        batch_rows: int = 16_384,
        every_s: float = 10.0,
        close_windows: bool = False,
        reopen: bool = False,
        partitions: int | None = None,
        retain: int = 0,
        drain_s: float = DRAIN_S,
        hook: Callable[[str], None] = lambda _: None,
    ) -> Coordinator:
        """Of one process, to the end of the rows.

        Parameters
        ----------
        seed
            Of the order of work; None: with threads.
        partitions
            How many of them there are by now.
        retain
            Slots of the log that are kept though nobody needs them.
        """
        pipeline = fz.Pipeline("events", *self.sinks.values(), checkpoint="unused", **self.options)
        runnable = prepare(pipeline, hook=hook, store=self.store)
        self.give(runnable, batch_rows, partitions)
        settings = RunSettings(
            workers=workers,
            bounded=True,
            quiet=True,
            takeover=True,
            retain=retain,
            drain_s=drain_s,
            checkpoint_every_s=every_s,
            simulated_seed=seed,
            close_windows=close_windows,
            reopen=reopen,
        )
        return Coordinator(runnable, settings, hook=hook)

    def give(self, runnable: Runnable, batch_rows: int, partitions: int | None = None) -> None:
        """Put the events into the plan: the reader would deal them to partitions in turn."""
        for node in runnable.plan["nodes"]:
            if node["kind"] == "source":
                given = self.partitions_of(node["name"])[:partitions]
                parts = [pa.Table.from_pylist(events, EVENT_SCHEMA) for events in given]
                node["options"]["partitions"] = [encoded_rows(part, 1)[0] for part in parts]
                node["options"]["batch_rows"] = batch_rows

    def partitions_of(self, source: str) -> Sequence[Sequence[Event]]:
        """The events of a source."""
        return self.partitions

    def run_drawn(self, rng: Random, **options: object) -> RunReport:
        """One process, in any order of work."""
        drawn = {
            "seed": rng.randrange(2**31),
            "workers": rng.choice([1, 2, 4]),
            "batch_rows": rng.choice([1, 2, 7, 16_384]),
            "every_s": rng.choice([0.01, 0.05, 10.0]),
        }
        return self.run(**{**drawn, **options})  # type: ignore[arg-type]

    def table(self, name: str = "results") -> list[Event]:
        """The rows that a sink has."""
        return self.sinks[name].table().to_pylist()

    def rows(self, name: str) -> Counter[tuple[tuple[str, str], ...]]:
        """What a sink has, as a multiset."""
        return counted(self.table(name))

    def manifests(self) -> list[Manifest]:
        """The log, oldest first."""
        entries = [read_slot(self.store, slot) for slot in list_slots(self.store)]
        return [entry.manifest for entry in entries if entry is not None]
