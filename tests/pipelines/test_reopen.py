"""What is no state of event time goes on where a run has closed all windows, and another comes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import frazil as fz
import pytest
from frazil import col


class Event(fz.Schema):
    """A row."""

    id: int
    at: datetime
    n: int


@pytest.mark.parametrize("version", [2, 3])
def test_rows_by_key_and_totals_go_on(tmp_path: Path, version: Any) -> None:
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/c.db",
        "warehouse": f"file://{tmp_path}/w",
    }
    folder = tmp_path / "in"
    folder.mkdir()

    def run(name: str, rows: str, workers: int, **how: Any) -> list[Any]:
        (folder / f"{name}.jsonl").write_text(rows)
        events = fz.read_files(f"{folder}/*.jsonl", format="json", schema=Event)
        timed = events.event_time("at", out_of_order="1s")
        minutes = timed.group_by("id").window(fz.tumbling("1m")).agg(rows=fz.count())
        totals = events.group_by("id").agg(rows=fz.count(), total=col("n").sum())
        windows = minutes.write_memory()
        tables = [
            stream.write_iceberg(
                table, catalog=catalog, mode="upsert", key=["id"], format_version=version
            )
            for table, stream in (("s.latest", events.select("id", "n")), ("s.totals", totals))
        ]
        checkpoint = f"{tmp_path}/checkpoint"
        pipeline = fz.Pipeline("p", *tables, windows, checkpoint=checkpoint, workers=workers)
        pipeline.run(until="now", quiet=True, **how)
        return sorted(tuple(row.values()) for row in windows.table().to_pylist())

    first = '{"id": 1, "at": "2026-01-01T00:00:00Z", "n": 1}\n'
    first += '{"id": 2, "at": "2026-01-01T00:00:01Z", "n": 1}\n'
    assert len(run("0", first, 2, close_windows=True)) == 2
    # Event time begins anew: a row of a minute that was closed is in a window of its own again.
    again = '{"id": 1, "at": "2026-01-01T00:00:02Z", "n": 5}\n'
    assert [row[0] for row in run("1", again, 3, reopen=True, close_windows=True)] == [1]
    assert run("2", '{"id": 2, "at": "2026-01-02T00:00:00Z", "n": 7}\n', 1, reopen=True) == []

    from frazil.iceberg.catalog import open_catalog

    def read(name: str) -> list[Any]:
        rows = open_catalog(catalog).load_table(name).scan().to_arrow().to_pylist()
        return sorted(tuple(row.values()) for row in rows)

    assert read("s.latest") == [(1, 5), (2, 7)]
    assert read("s.totals") == [(1, 2, 6), (2, 2, 8)]
