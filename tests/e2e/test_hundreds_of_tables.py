"""One sink with 200 tables, behind a REST catalog, in S3."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import frazil as fz
import pytest
from frazil import col
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

from tests.e2e.lake import CHECKPOINT, Lake

if TYPE_CHECKING:
    from frazil.run.status import Status

TABLES = 200
ROWS = 200_000
KEYS = 300
# What writers of a worker may hold, and rows that wait for tables.
SINK_BYTES_MAX = 2 * 128 * 1024 * 1024


class Most:
    """The most bytes that sinks held at any time."""

    def __init__(self) -> None:
        self.bytes = 0

    def update(self, status: Status) -> None:
        """A look at the run."""
        self.bytes = max(self.bytes, status.metrics.get("memory", {}).get("sink", 0))


def expected(mode: str) -> dict[int, list[int]]:
    """Ids of the rows of each table."""
    tables: dict[int, dict[int, int]] = {number: {} for number in range(TABLES)}
    for id_ in range(ROWS):
        tables[id_ * 7919 % TABLES][id_ if mode == "append" else id_ // TABLES % KEYS] = id_
    return {number: sorted(rows.values()) for number, rows in tables.items()}


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_hundreds_of_tables(lake: Lake, mode: Literal["append", "upsert"]) -> None:
    """Made, written over several checkpoints, read by DuckDB; what the sink holds is bounded."""
    rows = fz.read_generator(rows=ROWS, partitions=2).select("id")
    named = rows.with_columns(
        name=((col("id") * 7919) % TABLES).cast(str), k=col("id") // TABLES % KEYS
    )
    options = {"mode": "upsert", "key": ["k"], "order_by": "id"} if mode == "upsert" else {}
    sink = named.write_iceberg(
        fz.route(f"hundreds.{mode}_{{name}}", keep=False),
        catalog=lake.catalog,
        name="many",
        **options,
    )
    pipeline = fz.Pipeline(f"hundreds-{mode}", sink, checkpoint=CHECKPOINT, workers=2)
    most = Most()
    settings = RunSettings(workers=2, bounded=True, quiet=True, checkpoint_every_s=2.0)
    begun = time.monotonic()
    report = Coordinator(prepare(pipeline), settings, observer=most).run()
    seconds = time.monotonic() - begun
    assert sum(each.rows for each in report.sinks.values()) >= ROWS / 4
    print(f"{mode}: {seconds:.1f} s, {most.bytes >> 20} MB in sinks")
    assert most.bytes < SINK_BYTES_MAX
    catalog = lake.reader()
    for number, ids in expected(mode).items():
        location = catalog.load_table(f"hundreds.{mode}_{number}").metadata_location
        found = lake.by_duckdb(location)
        assert sorted(found.column("id").to_pylist()) == ids, number
