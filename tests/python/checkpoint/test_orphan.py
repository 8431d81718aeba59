"""Orphans are found by name and owners (G3)."""

from __future__ import annotations

import pytest
from frazil.checkpoint import file_scope, find_orphans, is_orphan, parse_file_name
from frazil.checkpoint.manifest import OWNERS_MAX, Owner

UUID = "0123abcd-4567-89ab-cdef-0123456789ab"
OWNERS = (Owner(1, 0), Owner(2, 4), Owner(3, 5), Owner(4, 9))


@pytest.mark.parametrize(
    ("attempt", "slot", "orphan"),
    [
        (1, 1, False),
        (1, 3, False),
        (1, 4, True),  # the fence of attempt 2
        (1, 0, True),  # its own fence has no files
        (2, 5, True),
        (3, 6, False),
        (3, 8, False),
        (3, 9, True),
        (4, 10, False),  # mine
        (5, 11, False),  # later than me: not mine to judge
    ],
)
def test_is_orphan(attempt: int, slot: int, orphan: bool) -> None:
    assert is_orphan(attempt, slot, OWNERS, 4) is orphan


def test_attempts_that_never_had_a_slot_and_those_forgotten() -> None:
    assert is_orphan(2, 5, (Owner(1, 0), Owner(3, 5)), 3)
    late = tuple(Owner(n, n * 10) for n in range(100, 100 + OWNERS_MAX))
    assert not is_orphan(99, 5, late, late[-1].attempt)
    assert not is_orphan(1, 5, (), 3)


def test_file_names() -> None:
    name = parse_file_name(f"s3://b/t/data/day=1/3-000000000008-2-{UUID}.parquet")
    assert name is not None
    assert (name.attempt, name.epoch, name.worker, name.scope) == (3, 8, 2, "0123abcd")
    assert parse_file_name(f"3-000000000008-2-{UUID.replace('-', '')}.parquet") is not None
    for other in (
        "00000-0-abc.parquet",
        f"3-8-2-{UUID}.parquet",
        f"3-000000000008-2-{UUID}",
        f"x3-000000000008-2-{UUID}.parquet",
        f"{'9' * 30}-000000000008-2-{UUID}.parquet",
    ):
        assert parse_file_name(other) is None


def test_files_of_other_logs_are_not_looked_at() -> None:
    mine, other = file_scope("log", "sink"), file_scope("other log", "sink")
    assert mine != other
    paths = [
        f"1-{9:012d}-0-{mine}-4567-89ab-cdef-0123456789ab.parquet",
        f"1-{2:012d}-0-{mine}-4567-89ab-cdef-0123456789ab.parquet",
        f"1-{9:012d}-0-{other}-4567-89ab-cdef-0123456789ab.parquet",
        "part-0.parquet",
    ]
    assert find_orphans(paths, scope=mine, owners=OWNERS, me=4) == paths[:1]
