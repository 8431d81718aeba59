"""Runs a query over a folder of events into an Iceberg table: python -m bench.nexmark.run."""

from __future__ import annotations

import argparse
from pathlib import Path

import frazil as fz

from bench.nexmark.queries import QUERIES
from bench.nexmark.query import Events


def pipeline(
    name: str, events: Path, out: Path, *, workers: int = 1, checkpoint_every: str = "1s"
) -> fz.Pipeline:
    """A query's pipeline; catalog, table and checkpoints are in the folder `out`."""
    query = QUERIES[name]
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{out}/catalog.db",
        "warehouse": f"file://{out}",
    }
    sink = query.build(Events(events)).write_iceberg(
        f"nexmark.{name}", catalog=catalog, partition_by=list(query.partition_by)
    )
    return fz.Pipeline(
        name,
        sink,
        checkpoint=f"{out}/checkpoint",
        checkpoint_every=checkpoint_every,
        workers=workers,
    )


def table_files(name: str, out: Path) -> list[Path]:
    """The files of the table's current snapshot."""
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("default", uri=f"sqlite:///{out}/catalog.db", warehouse=f"file://{out}")
    try:
        tasks = catalog.load_table(f"nexmark.{name}").scan().plan_files()
        return [Path(task.file.file_path.removeprefix("file://")) for task in tasks]
    finally:
        catalog.engine.dispose()


def main() -> None:
    """Read all events there are, close all windows."""
    parser = argparse.ArgumentParser(prog="python -m bench.nexmark.run")
    parser.add_argument("--query", choices=QUERIES, required=True)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    made = pipeline(given.query, given.events, given.out, workers=given.workers)
    print(made.run(until="now", close_windows=True, quiet=True))


if __name__ == "__main__":
    main()
