"""Frazil itself, from the environment that runs the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.systems.system import PROGRAMS, Command, Input


class Frazil:
    """Writes Iceberg, exactly once, with a checkpoint each second.

    `written` says how the program writes the workload: "" with expressions, "udf" and "batch_udf"
    with a function of Python, "rows" with Python objects from end to end, "keyed" and "groups" with
    a `KeyedFunction`.
    """

    sources = frozenset({"file", "kafka"})

    def __init__(self, name: str, written: str = "") -> None:
        self.name = name
        self.workloads = _WORKLOADS[written]
        self.exact = written != "rows"  # Python's sums are rounded at each step
        self._written = ["--written", written] if written else []

    def prepare(self) -> None:
        """It is installed already."""

    def command(self, workload: str, given: Input, out: Path) -> Command:
        """Run the pipeline up to what is there at its start."""
        program = [str(PROGRAMS / "run_frazil.py"), "--workload", workload]
        program += self._written
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


_WORKLOADS: dict[str, frozenset[str]] = {
    "": frozenset({"w1", "w2", "w3"}),
    "udf": frozenset({"w1"}),
    "batch_udf": frozenset({"w1"}),
    "rows": frozenset({"w1", "w2", "w3", "totals"}),
    "keyed": frozenset({"totals"}),
    "groups": frozenset({"totals"}),
}

FRAZIL = Frazil("frazil")
FRAZIL_UDF = Frazil("frazil @udf", "udf")
FRAZIL_BATCH_UDF = Frazil("frazil @batch_udf", "batch_udf")
FRAZIL_KEYED = Frazil("frazil on_rows", "keyed")
FRAZIL_GROUPS = Frazil("frazil on_groups", "groups")
FRAZIL_ROWS = Frazil("frazil rows()", "rows")
