"""Who copies the table: Frazil, and Flink's upsert sink for `--peers flink`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.cdc import truth
from bench.cdc.log import Size, log_file
from bench.cdc.run import sqlite_catalog
from bench.systems import flink_sql
from bench.systems.flink import FLINK, WARM_EVENTS
from bench.systems.system import Input


class Copier(Protocol):
    """A system that copies a table by its log of changes."""

    name: str

    def prepare(self) -> None:
        """Install it if need be; nothing of this is measured."""
        ...

    def command(self, given: Input, out: Path) -> list[str]:
        """How to copy into an empty folder."""
        ...

    def found(self, out: Path) -> truth.Rows:
        """The rows of its table."""
        ...


class Frazil:
    """A worker, a checkpoint and a commit each second."""

    name = "frazil"

    def prepare(self) -> None:
        """It is installed already."""

    def command(self, given: Input, out: Path) -> list[str]:
        """Run the pipeline."""
        return [sys.executable, "-m", "bench.cdc.run", *given.arguments(), "--out", str(out)]

    def found(self, out: Path) -> truth.Rows:
        """As DuckDB reads them."""
        return truth.found(self.table(out))

    def table(self, out: Path, name: str = "orders") -> str:
        """Ask its catalog."""
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog("default", **sqlite_catalog(out))
        try:
            return catalog.load_table(f"bench.{name}").metadata_location.removeprefix("file://")
        finally:
            catalog.engine.dispose()


FRAZIL = Frazil()

COLUMNS = (
    *("id BIGINT", "customer STRING", "product STRING", "status STRING"),
    *("amount DOUBLE", "quantity BIGINT", "PRIMARY KEY (id) NOT ENFORCED"),
)

UPSERT = {"write.upsert.enabled": "true"}


class Flink:
    """A slot, a checkpoint each second, in a JVM that has done the same over fewer events."""

    name = "flink"

    def prepare(self) -> None:
        """Fetch it, and make the changes to warm up with."""
        FLINK.prepare()
        self._warm = log_file(Size(WARM_EVENTS // 2, WARM_EVENTS // 2))

    def command(self, given: Input, out: Path) -> list[str]:
        """Copy a few changes from a file into another table, then all."""
        made = flink_sql.catalog(out)
        for name, table, source, times in (
            ("few", "warm", Input(0, path=self._warm), flink_sql.WARM_JOBS),
            ("changes", "orders", given, 1),
        ):
            options = {**flink_sql.source_options(source), "format": "debezium-json"}
            options.pop("scan.watermark.emit.strategy", None)
            made.append(flink_sql.events_table(name, COLUMNS, options))
            made.append(flink_sql.iceberg_table(table, COLUMNS, UPSERT))
            made += [flink_sql.insert(table, f"SELECT * FROM {name}")] * times
        return FLINK.run_sql(made, out).argv

    def found(self, out: Path) -> truth.Rows:
        """Its catalog is a folder."""
        metadata = out / "warehouse" / "bench" / "orders" / "metadata"
        version = int((metadata / "version-hint.text").read_text())
        return truth.found_by_sequence(str(metadata / f"v{version}.metadata.json"))


PEERS: dict[str, Copier] = {"flink": Flink()}


def copiers(peers: Sequence[str]) -> list[Copier]:
    """Frazil and its peers."""
    unknown = [name for name in peers if name not in PEERS]
    if unknown:
        raise ValueError(f"no peer of cdc is called {', '.join(unknown)}; there is flink")
    return [FRAZIL, *(PEERS[name] for name in dict.fromkeys(peers))]
