"""How the systems run a query of the suite: Frazil, and the peers that are asked for."""

from __future__ import annotations

import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.nexmark import flink as flink_queries
from bench.nexmark.files import event_folder
from bench.nexmark.queries import QUERIES
from bench.nexmark.run import table_files
from bench.systems import flink_sql
from bench.systems.flink import FLINK, WARM_EVENTS

if TYPE_CHECKING:
    from bench.nexmark.generator import Config


class Runner(Protocol):
    """A system that runs queries."""

    name: str
    queries: Container[str]

    def prepare(self, config: Config) -> None:
        """Install it if need be; nothing of this is measured."""
        ...

    def events(self, count: int, config: Config) -> Path:
        """The folder of its events, the same ones for each system."""
        ...

    def command(self, query: str, events: Path, out: Path) -> list[str]:
        """How to run a query into an empty folder."""
        ...

    def outputs(self, query: str, out: Path) -> list[Path]:
        """The Parquet files that make up its result."""
        ...


class Frazil:
    """A worker, a checkpoint each second."""

    name = "frazil"
    queries: Container[str] = QUERIES

    def prepare(self, config: Config) -> None:
        """It is installed already."""

    def events(self, count: int, config: Config) -> Path:
        """Files of a quarter of a million events."""
        return event_folder(count, config)

    def command(self, query: str, events: Path, out: Path) -> list[str]:
        """Run the pipeline."""
        program = [sys.executable, "-m", "bench.nexmark.run", "--query", query]
        return [*program, "--events", str(events), "--out", str(out)]

    def outputs(self, query: str, out: Path) -> list[Path]:
        """The files of the table's current snapshot."""
        return table_files(query, out)


class Flink:
    """A slot, a checkpoint each second, in a JVM that has run the same query before."""

    name = "flink"
    queries: Container[str] = flink_queries.QUERIES

    def prepare(self, config: Config) -> None:
        """Fetch it, and make the events to warm up with."""
        FLINK.prepare()
        self._warm = self.events(WARM_EVENTS, config)

    def events(self, count: int, config: Config) -> Path:
        """A file of each kind, as Flink reads several in any order."""
        return event_folder(count, config, file_events=count)

    def command(self, query: str, events: Path, out: Path) -> list[str]:
        """Run the query over a few events, then over all."""
        reads = QUERIES[query].reads
        made = flink_queries.statements(query, reads, events, self._warm, out)
        return FLINK.run_sql(made, out).argv

    def outputs(self, query: str, out: Path) -> list[Path]:
        """The files of the table's current snapshot."""
        return flink_sql.table_files(query, out)


PEERS: dict[str, Runner] = {"flink": Flink()}


def runners(peers: Sequence[str]) -> list[Runner]:
    """Frazil and its peers."""
    unknown = [name for name in peers if name not in PEERS]
    if unknown:
        raise ValueError(f"no peer of Nexmark is called {', '.join(unknown)}; there is flink")
    return [Frazil(), *(PEERS[name] for name in dict.fromkeys(peers))]
