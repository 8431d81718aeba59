"""Frazil itself, from the environment that runs the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.systems.system import PROGRAMS, Command, Input


class Frazil:
    """Writes Iceberg, exactly once, with a checkpoint each second."""

    name = "frazil"
    sources = frozenset({"file", "kafka"})
    workloads = frozenset({"w1", "w2", "w3"})
    exact = True

    def prepare(self) -> None:
        """It is installed already."""

    def command(self, workload: str, given: Input, out: Path) -> Command:
        """Run the pipeline up to what is there at its start."""
        program = [str(PROGRAMS / "run_frazil.py"), "--workload", workload]
        return Command([sys.executable, *program, *given.arguments(), "--out", str(out)])

    def outputs(self, workload: str, out: Path) -> list[Path]:
        """The files of the table's current snapshot; others in its folder are not the result."""
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog(
            "default", uri=f"sqlite:///{out}/catalog.db", warehouse=f"file://{out}"
        )
        try:
            tasks = catalog.load_table(f"bench.{workload}").scan().plan_files()
            return [Path(task.file.file_path.removeprefix("file://")) for task in tasks]
        finally:
            catalog.engine.dispose()


FRAZIL = Frazil()
