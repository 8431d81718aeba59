"""Frazil itself, from the environment that runs the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.systems.system import PROGRAMS, Command, Input


class Frazil:
    """Reads, filters, projects, writes Iceberg with a checkpoint each second."""

    name = "frazil"
    sources = frozenset({"file", "kafka"})

    def prepare(self) -> None:
        """It is installed already."""

    def command(self, given: Input, out: Path) -> Command:
        """Run the pipeline up to what is there at its start."""
        program = str(PROGRAMS / "frazil_w1.py")
        return Command([sys.executable, program, *given.arguments(), "--out", str(out)])

    def outputs(self, out: Path) -> list[Path]:
        """The files of the table's current snapshot; others in its folder are not the result."""
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog(
            "default", uri=f"sqlite:///{out}/catalog.db", warehouse=f"file://{out}"
        )
        try:
            tasks = catalog.load_table("bench.w1").scan().plan_files()
            return [Path(task.file.file_path.removeprefix("file://")) for task in tasks]
        finally:
            catalog.engine.dispose()


FRAZIL = Frazil()
