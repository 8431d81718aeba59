"""The limit: a C++ loop on the libraries that Frazil uses, without an engine (bench/bare)."""

from __future__ import annotations

import os
from pathlib import Path

from bench.systems.system import Command, Input

BUILD = "FRAZIL_BUILD"
"""Environment variable: the build folder; default build/release."""


def _program(workload: str) -> str:
    root = Path(__file__).parents[2]
    program = root / os.environ.get(BUILD, "build/release") / f"bare_{workload}"
    if not program.exists():
        raise FileNotFoundError(
            f"looking for {program}: not built; cmake --build build/release --target bare"
        )
    return str(program)


class Bare:
    """Decodes, computes and writes one Parquet file."""

    name = "bare"
    sources = frozenset({"file", "kafka"})
    workloads = frozenset({"w1", "w2", "w3"})
    exact = False

    def prepare(self) -> None:
        """The build makes it."""

    def command(self, workload: str, given: Input, out: Path) -> Command:
        """Run the loop over all rows."""
        target = str(out / f"{workload}.parquet")
        if given.path is not None:
            return Command([_program(workload), "file", str(given.path), target])
        servers, topic = given.kafka()
        kafka = [servers, topic, str(given.rows)]
        return Command([_program(workload), "kafka", *kafka, target])

    def outputs(self, workload: str, out: Path) -> list[Path]:
        """One file."""
        return sorted(out.glob("*.parquet"))


class Consume(Bare):
    """Librdkafka's own part: takes the messages out of the topic and counts them."""

    name = "consume"
    sources = frozenset({"kafka"})

    def command(self, workload: str, given: Input, out: Path) -> Command:
        """Run the loop that does nothing with a message."""
        servers, topic = given.kafka()
        argv = [_program(workload), "consume", servers, topic, str(given.rows)]
        return Command(argv, result="count")


BARE = Bare()
CONSUME = Consume()
