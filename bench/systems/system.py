"""What the harness needs to know of a system: how to install it, run it, and find its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Input:
    """The same events for every system, as a file or as a topic."""

    rows: int
    path: Path | None = None
    servers: str | None = None
    topic: str | None = None

    def arguments(self) -> list[str]:
        """The input as arguments of a program."""
        if self.path is not None:
            return ["--path", str(self.path)]
        servers, topic = self.kafka()
        return ["--servers", servers, "--topic", topic]

    def kafka(self) -> tuple[str, str]:
        """Its servers and topic."""
        if self.servers is None or self.topic is None:
            raise ValueError("this input is a file")
        return self.servers, self.topic


@dataclass(frozen=True)
class Command:
    """A command line and what comes of it."""

    argv: list[str]
    result: str = "rows"  # "rows": Parquet files; "count": it prints how many rows it has seen


class System(Protocol):
    """A system under measurement."""

    name: str
    sources: frozenset[str]  # "file", "kafka"
    workloads: frozenset[str]
    exact: bool  # its sums of floats are correctly rounded; else they are compared in cents

    def prepare(self) -> None:
        """Install it if need be; nothing of this is measured."""
        ...

    def command(self, workload: str, given: Input, out: Path) -> Command:
        """How to run a workload into an empty folder."""
        ...

    def outputs(self, workload: str, out: Path) -> list[Path]:
        """The Parquet files that make up its result."""
        ...
