"""Processes of a pipeline with a lookup table that is another each time it is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
from frazil.checkpoint.memory_store import MemoryStore
from frazil.checkpoint.reader import list_slots, read_slot
from frazil.memory_rows import encoded_rows
from frazil.run import lookups
from frazil.run.coordinator import Coordinator
from frazil.run.lookup_source import Gone, Loaded
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

if TYPE_CHECKING:
    import pytest
    from frazil.checkpoint.manifest import Manifest

KEPT = 10_000  # slots of the log: all manifests are looked at
KEYS = 5
ROWS = 60  # of each partition
SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("k", pa.int64())])


class Outside:
    """A table of versions 1, 2, 3, ...: each look finds the next one, whoever looks."""

    fixed = None

    def __init__(self, *, keeps_versions: bool) -> None:
        self.keeps_versions = keeps_versions
        self.newest = 0
        self.failing: Callable[[int], bool] = lambda look: False
        self.gone: set[str] = set()

    def load(self, columns: pa.Schema, version: str | None, known: str | None) -> Loaded | None:
        """The version, or a new one."""
        if version in self.gone:
            raise Gone(f"{version} is not there any more")
        if version is None:
            self.newest += 1
            if self.failing(self.newest):
                raise fz.ConnectError(f"look {self.newest} finds nobody")
            version = f"v{self.newest}"
        number = int(version.removeprefix("v"))
        table = pa.table({"k": list(range(KEYS)), "v": [number] * KEYS}, columns)
        return Loaded(version, table)


def outside_runs(
    monkeypatch: pytest.MonkeyPatch,
    outside: Outside,
    *,
    refresh: str | None = "5ms",
    partitions: int = 2,
) -> LookupRuns:
    """A pipeline that looks into such a table."""
    monkeypatch.setattr(lookups, "_source", lambda spec, objects: outside)
    schema = {"k": int, "v": int}
    dim = fz.lookup_sql("unused", url="sqlite://", schema=schema, refresh=refresh, name="dim")
    return LookupRuns(dim, lambda version: int(version.removeprefix("v")), partitions=partitions)


class LookupRuns:
    """A pipeline that looks rows up, and its checkpoints.

    Parameters
    ----------
    dim
        With columns k (0 to KEYS - 1) and v, which is another in each version; its name is "dim".
    number
        The v of a version, by what it is known by.
    """

    def __init__(
        self, dim: fz.Lookup, number: Callable[[str], int], *, partitions: int = 2
    ) -> None:
        self.partitions = [
            pa.table(
                {"id": range(p * ROWS, (p + 1) * ROWS), "k": [n % KEYS for n in range(ROWS)]},
                SCHEMA,
            )
            for p in range(partitions)
        ]
        rows = fz.read_memory(pa.concat_tables(self.partitions), partitions=partitions, name="rows")
        self.sink = rows.join_lookup(dim, on="k").write_memory()
        self.store = MemoryStore()
        self._number = number

    def run(
        self,
        *,
        seed: int = 1,
        workers: int = 1,
        every_s: float = 0.01,
        rows: int = ROWS,
        hook: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """One process, to the end of the rows; what it says of its lookup table."""
        pipeline = fz.Pipeline("lookups", self.sink, checkpoint="unused")
        runnable = prepare(pipeline, hook=hook, store=self.store)
        for node in runnable.plan["nodes"]:
            if node["kind"] == "source":  # the reader would deal the rows to partitions in turn
                node["options"]["partitions"] = [
                    encoded_rows(part.slice(0, rows), 1)[0] for part in self.partitions
                ]
                node["options"]["batch_rows"] = 3
        settings = RunSettings(
            workers=workers,
            bounded=True,
            quiet=True,
            takeover=True,
            retain=KEPT,
            checkpoint_every_s=every_s,
            simulated_seed=seed,
        )
        coordinator = Coordinator(runnable, settings, hook=hook)
        coordinator.run()
        return dict(coordinator.status.lookups)

    def manifests(self) -> list[Manifest]:
        """The log, oldest first."""
        entries = [read_slot(self.store, slot) for slot in list_slots(self.store)]
        return [entry.manifest for entry in entries if entry is not None]

    def check(self) -> set[int]:
        """Each row is there once, looked up in the version that its epoch's manifest names, which
        the manifest before it has announced. Gives the versions.
        """
        table = self.sink.table().to_pylist()
        found = {row["id"]: row["v"] for row in table}
        assert len(found) == len(table) == ROWS * len(self.partitions)
        seen: set[int] = set()
        for first, last, used in self._epochs():
            for row in range(first, last):
                assert found[row] == self._number(used), (row, found[row], used)
                seen.add(found[row])
        return seen

    def _epochs(self) -> Iterator[tuple[int, int, str]]:
        """Rows from, to, and the version that the manifest says they were looked up in."""
        at = {p: 0 for p in range(len(self.partitions))}
        announced = None
        for manifest in self.manifests():
            state = manifest.lookups.get("dim")
            for source in manifest.sources.values():
                for name, position in source.positions().items():
                    p, now = int(name.rpartition("-")[2]), json.loads(position)["row"]
                    if now > at[p]:
                        assert state is not None
                        assert state.used is not None
                        assert announced is not None
                        assert state.used.version == announced.version
                        yield p * ROWS + at[p], p * ROWS + now, state.used.version
                    at[p] = now
            if state is not None:
                announced = state.next
        assert list(at.values()) == [ROWS] * len(self.partitions)
