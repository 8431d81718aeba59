"""Windows over lanes of files: event time runs on from file to file, and from run to run."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import frazil as fz
import pytest

from tests.pipelines.events import (
    CUTS,
    EVENT_SCHEMA,
    Event,
    counted,
    draw_partitions,
    draw_query,
)

if TYPE_CHECKING:
    from pathlib import Path

FILES = 3  # of a lane


def write(folder: Path, lane: int, file: int, events: list[Event]) -> list[Event]:
    """One file; its events with their offsets."""
    path = folder / f"{lane}" / f"{file}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**event, "at": event["at"].isoformat()}) + "\n" for event in events]
    path.write_text("".join(lines))
    offsets = [sum(map(len, lines[:n])) for n in range(len(lines))]
    return [{**event, "place": at} for event, at in zip(events, offsets, strict=True)]


@pytest.mark.parametrize("seed", range(8))
def test_lanes_of_files_as_duckdb(tmp_path: Path, seed: int) -> None:
    """Each run finds one more file in every lane; the last one closes all windows."""
    rng = Random(seed)
    partitions = draw_partitions(rng, rows=45, whole=True)
    folder = tmp_path / "in"
    query = draw_query(
        rng,
        partitions,
        cut=CUTS[seed % len(CUTS)],
        names=[str(folder / str(lane)) for lane in range(len(partitions))],
    )
    read: list[list[Event]] = [[] for _ in partitions]
    rows: list[Event] = []
    late: list[Event] = []
    for file in range(FILES):
        for lane, events in enumerate(partitions):
            size = len(events) // FILES
            read[lane] += write(folder, lane, file, events[file * size : (file + 1) * size])
        source = fz.read_files(
            f"{folder}/**", format="json", schema=EVENT_SCHEMA, lanes="by_folder", name="events"
        )
        windows = query.stream(source)
        results, lates = (
            windows.write_memory(name="results"),
            windows.late.write_memory(name="late"),
        )
        pipeline = fz.Pipeline(
            "files",
            results,
            lates,
            checkpoint=str(tmp_path / "checkpoint"),
            workers=rng.choice([1, 2, 4]),
        )
        pipeline.run(until="now", quiet=True, close_windows=file == FILES - 1)
        rows += results.table().to_pylist()
        late += lates.table().to_pylist()
        expected = query.oracle(read)
        assert counted(rows) == counted(expected.results(all_closed=file == FILES - 1)), query
        assert counted(late) == counted(expected.late), query


def test_late_rows_say_their_file(tmp_path: Path) -> None:
    """The partition is the lane; a row's file is a column of it, read for late rows only."""
    begin = {"id": 0, "user": None, "n": None, "x": None}
    for name, seconds in (("a", [0, 90]), ("b", [95, 10])):
        lines = [
            json.dumps({**begin, "at": f"2026-01-01T00:{s // 60:02}:{s % 60:02}Z"}) for s in seconds
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    source = fz.read_files(
        f"{tmp_path}/*.jsonl", format="json", schema=EVENT_SCHEMA, metadata=["path"], name="lane"
    )
    timed = source.event_time("at", out_of_order="5s")
    windows = timed.group_by().window(fz.tumbling("1m")).agg(rows=fz.count())
    late = windows.late.write_memory(name="late")
    fz.Pipeline("files", windows.write_memory(), late, checkpoint=str(tmp_path / "state")).run(
        until="now", quiet=True
    )
    (row,) = late.table().to_pylist()
    assert row["_path"] == str(tmp_path / "b.jsonl")
    assert row["position"] > 0
