"""How long DuckDB reads a table changed in so many epochs, beside a copy written afresh."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cache import scratch_dir
from bench.cdc import truth
from bench.cdc.log import SCHEMA, Size, log_file, rows_left
from bench.cdc.run import Order, copy_pipeline, sqlite_catalog
from bench.cdc.systems import FRAZIL

SCANS = 5
"""Of each table, in turn; medians."""


@dataclass(frozen=True)
class Scan:
    """Of a table.

    Attributes
    ----------
    epochs
        In which the changes were committed, a snapshot each, behind one with all inserts.
    data_files, delete_files
        That its newest snapshot names.
    seconds, fresh_seconds
        DuckDB with one thread, for all columns of all rows; of the table and of the copy.
    """

    inserts: int
    changes: int
    epochs: int
    data_files: int
    delete_files: int
    seconds: float
    fresh_seconds: float
    rows_ok: bool


def measure_scans(events: int, epochs: Sequence[int]) -> list[Scan]:
    """Copy `events` inserts and as many changes, the latter in so many epochs; then read."""
    return [_measure(Size(events, events), number) for number in epochs]


def _measure(size: Size, epochs: int) -> Scan:
    if epochs > size.changes:
        raise ValueError(f"{size.changes} changes cannot be parted in {epochs} epochs")
    out = scratch_dir("cdc-scan")
    try:
        _fill(size, epochs, out)
        _copy(size, out)
        changed = FRAZIL.table(out)
        places = (changed, FRAZIL.table(out, "copy"))
        right = truth.expected(size)
        times: list[tuple[float, ...]] = []
        with truth.opened() as database:
            for _ in range(SCANS):
                of_round = []
                for place in places:
                    before = time.monotonic()
                    rows = truth.rows(database, f"iceberg_scan('{place}')")
                    of_round.append(time.monotonic() - before)
                    if rows != right:
                        raise ValueError(f"{place} has other rows than the log leaves")
                times.append(tuple(of_round))
        seconds, fresh = (statistics.median(column) for column in zip(*times, strict=True))
        data, deletes = _files(changed)
        return Scan(size.inserts, size.changes, epochs, data, deletes, seconds, fresh, True)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _fill(size: Size, epochs: int, out: Path) -> None:
    """An epoch with the inserts, then the others, each with its part of the changes."""
    folder = out / "log"
    folder.mkdir()
    with log_file(size).open("rb") as lines:
        for number, part in enumerate(_parts(size, epochs)):
            with (folder / f"{number:06d}.jsonl").open("wb") as file:
                file.writelines(islice(lines, part))
            copy_pipeline(_changes(folder), out, checkpoint_every="10m").run(
                until="now", quiet=True
            )


def _changes(folder: Path) -> fz.Stream:
    return fz.read_files(f"{folder}/*.jsonl", format=fz.DebeziumJson(), schema=Order, key=["id"])


def _parts(size: Size, epochs: int) -> Iterator[int]:
    yield size.inserts
    for number in range(epochs):
        yield size.changes * (number + 1) // epochs - size.changes * number // epochs


def _copy(size: Size, out: Path) -> None:
    rows = out / "rows.parquet"
    pq.write_table(pa.Table.from_batches(rows_left(size), SCHEMA), rows)
    copied = fz.read_files(str(rows), format="parquet", schema=Order)
    fz.Pipeline(
        "copy",
        copied.write_iceberg("bench.copy", catalog=sqlite_catalog(out)),
        checkpoint=f"{out}/copied",
        checkpoint_every="10m",
    ).run(until="now", quiet=True)


def _files(metadata_location: str) -> tuple[int, int]:
    from pyiceberg.table import StaticTable

    tasks = list(StaticTable.from_metadata(metadata_location).scan().plan_files())
    deletes = {file.file_path for task in tasks for file in task.delete_files}
    return len(tasks), len(deletes)


def table(scans: Sequence[Scan]) -> str:
    """The figures as text."""
    lines = [
        "| epochs | data files | files of deletes | s | copy s | ratio |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.epochs:,} | {each.data_files} | {each.delete_files} | {each.seconds:.2f} | "
        f"{each.fresh_seconds:.2f} | {each.seconds / each.fresh_seconds:.1f} |"
        for each in scans
    ]
    return "\n".join(lines)


def as_json(scans: Sequence[Scan]) -> list[dict[str, object]]:
    """The figures as a list of plain dicts."""
    return [asdict(each) for each in scans]
