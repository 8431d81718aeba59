"""DuckDB: a batch query, one thread, into a Parquet file; no stream, no table, no checkpoints."""

from __future__ import annotations

from pathlib import Path

from bench.systems.system import PROGRAMS, Command, Input
from bench.systems.venv import make_venv

PACKAGES = ("duckdb==1.5.5",)


class Duckdb:
    """What a query over the file at rest costs."""

    name = "duckdb"
    sources = frozenset({"file"})
    workloads = frozenset({"w1", "w2", "w3"})
    exact = False

    def prepare(self) -> None:
        """Make its venv."""
        self._python = make_venv(self.name, PACKAGES)

    def command(self, workload: str, given: Input, out: Path) -> Command:
        """Run COPY (SELECT ... FROM read_json) TO a Parquet file."""
        program = [str(PROGRAMS / "run_duckdb.py"), "--workload", workload]
        return Command([str(self._python), *program, *given.arguments(), "--out", str(out)])

    def outputs(self, workload: str, out: Path) -> list[Path]:
        """One file."""
        return sorted(out.glob("*.parquet"))


DUCKDB = Duckdb()
