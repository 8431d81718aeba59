"""State that is several times the memory of a pipeline: the same rows as with enough of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import frazil as fz
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.errors import FrazilError

ROWS = 350_000
KEYS = 3_000_000
START_US = 1_767_225_600_000_000
HALF_HOUR_US = 1_800_000_000
LITTLE = 24 << 20
"""Bytes of memory of a worker."""

Build = Callable[[fz.Stream], fz.Stream]


def write_visits(folder: Path, number: int) -> None:
    """Visits of the first or second half of an hour, out of order by up to a second."""
    random = np.random.default_rng(number)
    times = START_US + number * HALF_HOUR_US + np.arange(ROWS) * HALF_HOUR_US // ROWS
    table = pa.table(
        {
            "at": pa.array(times - random.integers(0, 1_000_000, ROWS), pa.timestamp("us", "UTC")),
            "key": random.integers(0, KEYS, ROWS),
            "n": np.arange(ROWS) + number * ROWS,
        }
    )
    pq.write_table(table, folder / f"{number}.parquet", row_group_size=50_000)


def visits(folder: Path, name: str) -> fz.Stream:
    """The files of a folder."""
    files = fz.read_files(f"{folder}/*.parquet", format="parquet", name=name)
    return files.event_time("at", out_of_order="10m")


class Numbers(fz.KeyedFunction):
    """The number of rows of a key up to each."""

    rows: fz.State[int]

    def on_groups(
        self, batch: pa.RecordBatch, offsets: pa.Int32Array, state: fz.GroupStates, out: fz.Out
    ) -> None:
        at = offsets.to_numpy()
        before = np.repeat(state.rows.to_numpy() - at[:-1], np.diff(at))
        rows = before + np.arange(1, batch.num_rows + 1)
        state.rows = pa.array(rows[at[1:] - 1])
        columns = [batch.column("n"), pa.array(rows)]
        out.batch(pa.RecordBatch.from_arrays(columns, names=["n", "rows"]))


CASES: dict[str, Build] = {
    "tumbling": lambda s: (
        s.group_by("key").window(fz.tumbling("1d")).agg(rows=fz.count(), total=col("n").sum())
    ),
    "hopping": lambda s: (
        s.group_by("key").window(fz.hopping("30m", every="10m")).agg(rows=fz.count())
    ),
    "session": lambda s: (
        s.group_by("key").window(fz.session(gap="20m")).agg(rows=fz.count(), most=col("n").max())
    ),
    "on_change": lambda s: s.group_by("key").agg(rows=fz.count(), total=col("n").sum()),
    "deduplicate": lambda s: s.deduplicate("key", within="2h", keep="any").select("key"),
    "last": lambda s: s.deduplicate("key", within="2h", keep="last").select("key", "n"),
    "running": lambda s: s.group_by("key").running({"rows": fz.count()}).select("n", "rows"),
    "process": lambda s: s.group_by("key").process(
        Numbers, schema={"n": pa.int64(), "rows": pa.int64()}
    ),
    "top_n": lambda s: (
        s.assign_window(fz.tumbling("1d")).group_by("key").top_n(2, by="n").select("n")
    ),
    "join": lambda s: s.join(
        s.filter(col("n") % 3 == 0).select("at", "key", m=col("n")), on="key", within="10m"
    ).select("n", "m"),
}


def run(build: Build, folder: Path, *, at_once: bool, memory: int, **options: object) -> pa.Table:
    """What a case gives, in order; of one run, or of two with other numbers of workers."""
    source = folder / "in"
    source.mkdir(parents=True)
    write_visits(source, 0)
    given = build(visits(source, "visits"))
    sink = given.filter(col(given.schema.names[0]) % 16 == 3).write_memory()  # it has a bound

    def go_on(workers: int, *, last: bool) -> None:
        pipeline = fz.Pipeline(
            "spill",
            sink,
            checkpoint=str(folder / "checkpoint"),
            workers=workers,
            memory_limit=memory * workers,
            **options,  # type: ignore[arg-type]
        )
        pipeline.run(until="now", close_windows=last, quiet=True)

    if not at_once:
        go_on(1, last=False)
    write_visits(source, 1)
    go_on(1 if at_once else 2, last=True)
    table = sink.table()
    return table.sort_by([(name, "ascending") for name in table.column_names])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_same_rows(name: str, tmp_path: Path) -> None:
    """And without a disk to spill to, the memory is too little."""
    build = CASES[name]
    plenty = run(build, tmp_path / "plenty", at_once=True, memory=1 << 30)
    assert plenty.num_rows > ROWS // 64
    with pytest.raises(FrazilError, match="raise memory_limit="):
        run(build, tmp_path / "none", at_once=True, memory=LITTLE, spill_limit=None)
    little = run(build, tmp_path / "little", at_once=False, memory=LITTLE, checkpoint_every="200ms")
    assert little.equals(plenty)
