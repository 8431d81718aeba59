"""Bytewax, written as its documentation does: a Python object per row, Parquet files by a sink."""

from __future__ import annotations

from pathlib import Path

from bench.systems.system import PROGRAMS, Command, Input
from bench.systems.venv import make_venv

# Its Kafka connector also wants the two packages of the schema registry, which nothing here uses.
PACKAGES = ("bytewax==0.21.1", "pyarrow==26.0.1", "confluent-kafka==2.16.1", "fastavro", "requests")


class Bytewax:
    """A row-by-row stream processor in Python with a Rust engine."""

    name = "bytewax"
    sources = frozenset({"file", "kafka"})
    # Its watermark is per key, so in W2 other rows are late; in W1 and W3 none is, whatever it is.
    workloads = frozenset({"w1", "w3", "totals"})
    exact = False

    def prepare(self) -> None:
        """Make its venv."""
        self._python = make_venv(self.name, PACKAGES)

    def command(self, workload: str, given: Input, out: Path) -> Command:
        """Run the dataflow with recovery on, a snapshot each second."""
        program = [str(PROGRAMS / "run_bytewax.py"), "--workload", workload]
        return Command([str(self._python), *program, *given.arguments(), "--out", str(out)])

    def outputs(self, _workload: str, out: Path) -> list[Path]:
        """The files that its sink has written."""
        return sorted(out.glob("*.parquet"))


BYTEWAX = Bytewax()
