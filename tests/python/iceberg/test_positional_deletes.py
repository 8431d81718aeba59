"""Files of positional deletes: their rows stay what they are, and they stay few."""

from collections import Counter
from random import Random

import pyarrow as pa
import pytest
from frazil.iceberg import delete_files
from frazil.iceberg.delete_files import FILES_MAX, SIZES, _choose, _Listed, _orderable
from frazil.iceberg.positional_deletes import (
    ROW_MAX,
    Place,
    by_path,
    ordered,
    paths_of,
    positions_of,
    without,
)
from frazil.iceberg.token import FileDeletes
from pyiceberg.typedef import Record

HERE = Place(0, Record())


def draw_deletes(rng: Random, files: int) -> dict[str, list[int]]:
    """Rows of some of so many data files."""
    paths = rng.sample(range(files), rng.randint(1, files))
    return {
        f"s3://é/{path:02d}.parquet": sorted(rng.sample(range(200), rng.randint(1, 50)))
        for path in paths
    }


def rows_of(deletes: dict[str, list[int]]) -> pa.Table:
    made = []
    for path, rows in deletes.items():
        keys = pa.nulls(len(rows), pa.binary())
        # Slices, as tokens give them.
        numbers = pa.array([-1, *rows, -1], pa.int64()).slice(1, len(rows))
        made.append(FileDeletes(path, 0, Record(), numbers, keys))
    return positions_of(made)


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_several_in_order(seed: int) -> None:
    rng = Random(seed)
    drawn = [draw_deletes(rng, 12) for _ in range(rng.randint(1, 5))]
    expected = {(path, row) for each in drawn for path, rows in each.items() for row in rows}
    found = ordered([rows_of(each) for each in drawn])
    pairs = list(zip(*(found.column(name).to_pylist() for name in found.column_names), strict=True))
    assert pairs == sorted(expected)
    assert paths_of(found) == {path for path, _ in expected}
    apart = by_path(found)
    assert {(path, row) for path, rows in apart.items() for row in rows.to_pylist()} == expected
    # Others do not keep their rows in order: a data file's stand in several places.
    mixed = pa.concat_tables([rows_of(each) for each in drawn])
    assert by_path(mixed).keys() == apart.keys()
    assert sum(map(len, by_path(mixed).values())) == mixed.num_rows
    gone = set(rng.sample(sorted(apart), len(apart) // 2))
    left = without(found, gone)
    assert paths_of(left) == apart.keys() - gone
    assert left.num_rows == sum(len(rows) for path, rows in apart.items() if path not in gone)


def test_nothing_at_all() -> None:
    assert by_path(positions_of([])) == {}
    assert paths_of(positions_of([])) == set()
    assert _orderable(positions_of([]))


def test_rows_that_no_data_file_has_are_left_alone() -> None:
    assert _orderable(rows_of({"a": [ROW_MAX - 1]}))
    assert not _orderable(rows_of({"a": [1, ROW_MAX]}))


@pytest.mark.parametrize("largest", [3, 300, 20_000, 600_000])
def test_many_commits_leave_few_files(largest: int) -> None:
    """Whatever the sizes of commits; and each row is written anew a few times only."""
    rng = Random(largest)
    files: dict[str, int] = {}
    written = deleted = 0
    for commit in range(1500):
        listed = _Listed(
            frozenset(),
            {path: (HERE, rows) for path, rows in files.items()},
            frozenset(),
            frozenset(),
            False,
        )
        own = rng.randint(1, largest)
        chosen = _choose([listed], {HERE})
        files[str(commit)] = own + sum(files.pop(path) for path in chosen)
        deleted += own
        written += files[str(commit)]
        counts = Counter(sum(rows >= each for each in SIZES) for rows in files.values())
        assert all(counts[size] <= FILES_MAX + 1 for size in range(len(SIZES)))
    assert sum(files.values()) == deleted
    # The smallest size holds files of few rows, which may be written anew often; that is little.
    assert written <= 5 * deleted + 1500 * SIZES[0]


def test_other_partitions_are_left_alone() -> None:
    there = Place(0, Record("there"))
    sizes = {str(i): (there if i % 2 else HERE, 5) for i in range(4 * FILES_MAX)}
    listed = _Listed(frozenset(), sizes, frozenset(), frozenset(), False)
    assert _choose([listed], {HERE}) == {str(i) for i in range(0, 4 * FILES_MAX, 2)}
    assert _choose([listed], set()) == set()


def test_what_one_commit_reads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a table that others left with very many files."""
    sizes = {str(i): (HERE, 100) for i in range(5000)}
    listed = _Listed(frozenset(), sizes, frozenset(), frozenset(), False)
    assert len(_choose([listed], {HERE})) == delete_files.TAKEN_MAX
    monkeypatch.setattr(delete_files, "ROWS_MAX", 1234)
    assert len(_choose([listed], {HERE})) == 12
