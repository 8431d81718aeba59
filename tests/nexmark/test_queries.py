"""Every query gives what DuckDB gives, in order with one worker and out of order with two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from bench.nexmark.queries import QUERIES
from bench.nexmark.run import pipeline, table_files

if TYPE_CHECKING:
    from bench.nexmark.oracle import Oracle


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("workers", [1, 2])
def test_as_duckdb(
    name: str,
    workers: int,
    event_folders: dict[int, Path],
    oracles: dict[int, Oracle],
    tmp_path: Path,
) -> None:
    made = pipeline(name, event_folders[workers], tmp_path, workers=workers)
    report = made.run(until="now", close_windows=True, quiet=True)
    assert not any(report.late.values())
    rows, difference = oracles[workers].compare(QUERIES[name], table_files(name, tmp_path))
    assert not difference
    assert rows > 0
    given = report.sinks[f"nexmark.{name}"].rows
    assert given >= rows if QUERIES[name].changes else given == rows


def test_the_oracle_notices(
    event_folders: dict[int, Path], oracles: dict[int, Oracle], tmp_path: Path
) -> None:
    """A comparison that cannot fail compares nothing."""
    query = QUERIES["q12"]
    pipeline("q12", event_folders[1], tmp_path).run(until="now", close_windows=True, quiet=True)
    (file,) = table_files("q12", tmp_path)
    rows = pq.read_table(file)
    count, difference = oracles[1].compare(query, [file])
    assert (count, difference) == (rows.num_rows, "")
    lost, one, other = (tmp_path / f"{name}.parquet" for name in ("lost", "one", "other"))
    pq.write_table(rows.slice(1), lost)
    pq.write_table(rows.slice(0, 1), one)
    changed = rows.slice(0, 1).set_column(rows.schema.names.index("bids"), "bids", [[10**6]])
    pq.write_table(changed, other)
    assert oracles[1].compare(query, [lost, one])[1] == ""
    assert "not there: [(" in oracles[1].compare(query, [lost])[1]
    assert "not expected: [(" in oracles[1].compare(query, [file, one])[1]
    assert "(1000000,)" not in oracles[1].compare(query, [lost, other])[1]
    assert "1000000" in oracles[1].compare(query, [lost, other])[1]
    assert oracles[1].compare(query, [])[1]
