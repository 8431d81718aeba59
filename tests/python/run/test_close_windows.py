"""The end of event time: what close_windows does, refuses, and what goes on after it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import frazil as fz
import pyarrow as pa
import pytest

if TYPE_CHECKING:
    from pathlib import Path

TIME = pa.timestamp("us", "UTC")
START = datetime(2026, 1, 1, tzinfo=UTC)


def pipeline(folder: Path, seconds: list[int]) -> tuple[fz.Pipeline, fz.MemorySink]:
    """Count the rows of each minute; the file has grown since an earlier run."""
    rows = [{"at": (START + timedelta(seconds=second)).isoformat()} for second in seconds]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = fz.read_files(str(folder / "rows.jsonl"), format="json", schema={"at": TIME})
    timed = read.event_time("at", out_of_order="0s")
    sink = timed.group_by().window(fz.tumbling("1m")).agg(n=fz.count()).write_memory(name="out")
    return fz.Pipeline("minutes", sink, checkpoint=str(folder / "checkpoint")), sink


def counts(sink: fz.MemorySink) -> list[int]:
    return [row["n"] for row in sorted(sink.table().to_pylist(), key=lambda r: r["window_start"])]


def test_windows_stay_open_over_runs_until_they_are_closed(tmp_path: Path) -> None:
    first, given = pipeline(tmp_path, [1, 2, 61])
    first.run(until="now", quiet=True)
    assert counts(given) == [2]
    second, given = pipeline(tmp_path, [1, 2, 61, 62])
    second.run(until="now", quiet=True, close_windows=True)
    assert counts(given) == [2]


def test_a_run_that_closed_all_windows_is_the_last(tmp_path: Path) -> None:
    first, given = pipeline(tmp_path, [1])
    first.run(until="now", quiet=True, close_windows=True)
    assert counts(given) == [1]
    second, given = pipeline(tmp_path, [1, 2])
    with pytest.raises(fz.PlanError, match=r"finished with close_windows=True(.|\n)*reopen=True"):
        second.run(until="now", quiet=True)
    assert given.table().num_rows == 0
    second.run(until="now", quiet=True, reopen=True, close_windows=True)
    assert counts(given) == [1]  # of the row that came since


def test_closing_needs_an_end(tmp_path: Path) -> None:
    rows = fz.read_generator(rate=100, partitions=1)
    timed = rows.event_time("at", out_of_order="10s")
    sink = timed.group_by().window(fz.tumbling("1m")).agg(n=fz.count()).write_memory()
    with pytest.raises(fz.PlanError, match="have no end"):
        fz.Pipeline("endless", sink, checkpoint=str(tmp_path)).run(quiet=True, close_windows=True)
