"""The limit: a C++ loop on the libraries that Frazil uses, without an engine (bench/bare/w1.cc)."""

from __future__ import annotations

import os
from pathlib import Path

from bench.systems.system import Command, Input

BUILD = "FRAZIL_BUILD"
"""Environment variable: the build folder; default build/release."""


def _program() -> Path:
    root = Path(__file__).parents[2]
    return root / os.environ.get(BUILD, "build/release") / "bare_w1"


class Bare:
    """Decodes, filters, projects and writes one Parquet file."""

    name = "bare"
    sources = frozenset({"file", "kafka"})

    def prepare(self) -> None:
        """The build makes it."""
        if not _program().exists():
            raise FileNotFoundError(
                f"looking for {_program()}: not built; cmake --build build/release --target bare_w1"
            )

    def command(self, given: Input, out: Path) -> Command:
        """Run the loop over all rows."""
        target = str(out / "w1.parquet")
        if given.path is not None:
            return Command([str(_program()), "file", str(given.path), target])
        servers, topic = given.kafka()
        kafka = [servers, topic, str(given.rows)]
        return Command([str(_program()), "kafka", *kafka, target])

    def outputs(self, out: Path) -> list[Path]:
        """One file."""
        return sorted(out.glob("*.parquet"))


class Consume(Bare):
    """Librdkafka's own part: takes the messages out of the topic and counts them."""

    name = "consume"
    sources = frozenset({"kafka"})

    def command(self, given: Input, out: Path) -> Command:
        """Run the loop that does nothing with a message."""
        servers, topic = given.kafka()
        argv = [str(_program()), "consume", servers, topic, str(given.rows)]
        return Command(argv, result="count")


BARE = Bare()
CONSUME = Consume()
