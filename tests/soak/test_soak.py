"""Long runs: every row once, and no more memory at the end than in the middle."""

import os
import random
from pathlib import Path

import duckdb
import pytest

from tests.soak.watched import watch

ROWS = int(os.environ["SOAK_ROWS"])
FILE_ROWS = 100_000
KEYS = 10_000
KEY_ROWS = 20 * KEYS
TIMEOUT_S = 4 * 3600
# What the second half may have above the first: pages of the allocator, lists of files read.
GROWTH, GROWTH_MB = 1.10, 24

FILES = """
import frazil as fz
from frazil import col

class Event(fz.Schema):
    id: int
    user: str
    amount: float

events = fz.read_files("in/*.jsonl", format="json", schema=Event)
kept = events.filter(col("amount") >= 25).select("id", "amount")
pipeline = fz.Pipeline("soak", kept.write_iceberg("soak.kept"), checkpoint_every="1s", workers=2)
report = pipeline.run(until="now")
print(*[sink.rows for sink in report.sinks.values()])
"""

GENERATED = """
import frazil as fz

rows = fz.read_generator(rows={rows}, partitions=4).select("id", "user", "amount")
pipeline = fz.Pipeline("soak", rows.write_iceberg("soak.kept"), checkpoint_every="1s", workers=2)
report = pipeline.run(until="now")
print(*[sink.rows for sink in report.sinks.values()])
"""

KEYED = """
import frazil as fz

class Row(fz.Schema):
    id: int
    key: int

rows = fz.read_files("in/*.jsonl", format="json", schema=Row)
sink = rows.write_iceberg("soak.keyed", partition_by=["key"])
report = fz.Pipeline("keyed", sink, checkpoint_every="30s").run(until="now")
print(*[sink.rows for sink in report.sinks.values()])
"""


def table_rows(folder: Path, query: str) -> tuple[object, ...]:
    """A query's only row; its `kept` are the rows of the data files."""
    files = f"{folder}/warehouse/**/*.parquet"
    view = f"with kept as (from read_parquet('{files}', hive_partitioning=false))"
    row = duckdb.sql(f"{view} {query}").fetchone()
    assert row is not None
    return row


def check_flat(halves: tuple[float, float]) -> None:
    first, second = halves
    print(f"memory: {first:.0f} MB in the first half, {second:.0f} MB in the second")
    assert second <= first * GROWTH + GROWTH_MB, halves


def test_links_to_one_file(tmp_path: Path) -> None:
    """Many files that are one on disk: far more bytes than memory, each row as often as linked."""
    links = max(ROWS // FILE_ROWS, 1)
    rows = random.Random(7)
    first = tmp_path / "rows"
    kept = 0
    with first.open("w") as out:
        for number in range(FILE_ROWS):
            amount = rows.randrange(10_000) / 100
            kept += amount >= 25
            out.write(f'{{"id": {number}, "user": "user {number % 977}", "amount": {amount}}}\n')
    (tmp_path / "in").mkdir()
    for number in range(links):
        (tmp_path / "in" / f"{number:06}.jsonl").hardlink_to(first)
    run = watch(FILES, tmp_path, TIMEOUT_S)
    assert run.said == str(kept * links)
    count, ids, most, least = table_rows(
        tmp_path,
        "select sum(n), count(*), max(n), min(n)"
        " from (select id, count(*) as n from kept group by id)",
    )
    assert (count, ids, most, least) == (kept * links, kept, links, links)
    check_flat(run.halves_mb())


def test_generated(tmp_path: Path) -> None:
    run = watch(GENERATED.format(rows=ROWS), tmp_path, TIMEOUT_S)
    assert run.said == str(ROWS)
    found = table_rows(tmp_path, "select count(*), count(distinct id), min(id), max(id) from kept")
    assert found == (ROWS, ROWS, 0, ROWS - 1)
    check_flat(run.halves_mb())


@pytest.mark.parametrize("order", ["sorted", "mixed"])
def test_key_of_many_values(tmp_path: Path, order: str) -> None:
    """A partition each: open files are bounded, whatever the order of the keys."""
    (tmp_path / "in").mkdir()
    keys = [number % KEYS for number in range(KEY_ROWS)]
    if order == "sorted":
        keys.sort()
    else:
        random.Random(3).shuffle(keys)
    with (tmp_path / "in" / "rows.jsonl").open("w") as out:
        for number, key in enumerate(keys):
            out.write(f'{{"id": {number}, "key": {key}}}\n')
    run = watch(KEYED, tmp_path, TIMEOUT_S)
    assert run.said == str(KEY_ROWS)
    assert table_rows(
        tmp_path, "select count(*), count(distinct id), count(distinct key) from kept"
    ) == (KEY_ROWS, KEY_ROWS, KEYS)
    print(f"memory: {max(run.resident) / (1 << 20):.0f} MB")
