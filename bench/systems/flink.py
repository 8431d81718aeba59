"""Apache Flink: SQL in a warm JVM, rows from JSON into an Iceberg table."""

from __future__ import annotations

from pathlib import Path

from bench import events
from bench.systems import flink_sql
from bench.systems.flink_install import install_flink
from bench.systems.system import PROGRAMS, Command, Input

WARM_EVENTS = 400_000
"""Of the job that each run does first, `flink_sql.WARM_JOBS` times."""


class Flink:
    """The table API, with a checkpoint each second; a JVM that has run the same job before."""

    name = "flink"
    sources = frozenset({"file", "kafka"})
    workloads = frozenset({"w1", "w2", "w3"})
    exact = False

    def prepare(self) -> None:
        """Fetch it, and make the events to warm up with."""
        self._installed = install_flink()
        self._warm = events.event_file(WARM_EVENTS)

    def command(self, workload: str, given: Input, out: Path) -> Command:
        """Run the job over a few events, then over all; the few are a file for Kafka too."""
        return self.run_sql(flink_sql.statements(workload, given, self._warm, out), out)

    def run_sql(self, statements: list[str], out: Path) -> Command:
        """Run statements one after the other in one JVM."""
        program = [str(self._installed.python), str(PROGRAMS / "run_flink.py")]
        where = ["--lib", str(self._installed.lib), "--out", str(out)]
        return Command([*program, *where, *statements])

    def outputs(self, workload: str, out: Path) -> list[Path]:
        """The files of the table's current snapshot."""
        return flink_sql.table_files(workload, out)


FLINK = Flink()
