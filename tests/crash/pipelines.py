"""The pipelines that are crashed. Every row has an `id` of 0 to n-1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import frazil as fz

# So many that a run at RATE does not come to the end while it is to be killed.
ROWS = 12_000
RATE = 1_500.0

Catalog = Mapping[str, str]
Build = Callable[[Path, Catalog, float | None], fz.Pipeline]


def catalog_properties(folder: Path) -> Catalog:
    """SQLite and local files. A locked database is an answer after 0.2 s, not after 5."""
    return {
        "type": "sql",
        "uri": f"sqlite:///{folder / 'catalog.db'}?timeout=0.2",
        "warehouse": f"file://{folder / 'warehouse'}",
    }


def ids(rate: float | None, *, seed: int = 0) -> fz.Stream:
    """Rows 0 to ROWS-1; with a rate there are several epochs."""
    return fz.read_generator(rows=ROWS, rate=rate, partitions=2, seed=seed).select("id", "country")


def _pipeline(name: str, folder: Path, *sinks: fz.Sink) -> fz.Pipeline:
    return fz.Pipeline(name, *sinks, checkpoint=str(folder / "checkpoints"))


def one_table(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """One source into one table."""
    return _pipeline("one", folder, ids(rate).write_iceberg("t.one", catalog=catalog))


PIPELINES: Mapping[str, Build] = {
    "one_table": one_table,
}
