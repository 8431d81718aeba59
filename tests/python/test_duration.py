"""Durations and sizes."""

from datetime import timedelta

import frazil as fz
import pytest
from frazil.duration import duration_ms, duration_text, size_bytes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10s", 10_000),
        ("500ms", 500),
        ("5m", 300_000),
        ("1 day", 86_400_000),
        ("1h30m", 5_400_000),
        ("2 h", 7_200_000),
        (timedelta(minutes=5), 300_000),
    ],
)
def test_durations(value: str | timedelta, expected: int) -> None:
    assert duration_ms(value, "x") == expected


@pytest.mark.parametrize(
    "value", ["", "10", "s", "ten s", "10 parsecs", "0s", "-1s", "1s!", 10, None, timedelta(0)]
)
def test_no_durations(value: str) -> None:
    with pytest.raises(fz.PlanError, match=r"checkpoint_every=.* is not a duration"):
        duration_ms(value, "checkpoint_every")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("64MB", 64_000_000), ("1GiB", 1 << 30), ("10kB", 10_000), (4096, 4096), ("7b", 7)],
)
def test_sizes(value: str | int, expected: int) -> None:
    assert size_bytes(value, "x") == expected


@pytest.mark.parametrize("value", ["64", "MB", 0, -1, True, None, "1.5GB"])
def test_no_sizes(value: str) -> None:
    with pytest.raises(fz.PlanError, match=r"memory_limit=.* is not a size"):
        size_bytes(value, "memory_limit")


@pytest.mark.parametrize(("value", "expected"), [(1500, "1500ms"), (60_000, "1m"), (0, "0ms")])
def test_shown(value: int, expected: str) -> None:
    assert duration_text(value) == expected
