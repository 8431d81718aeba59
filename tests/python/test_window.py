"""Windows: how they are written, compared, and refused."""

from collections.abc import Callable
from datetime import timedelta

import frazil as fz
import pytest


@pytest.mark.parametrize(
    ("window", "text", "json"),
    [
        (
            fz.tumbling("1m"),
            'tumbling("1m")',
            {"kind": "tumbling", "size_us": 60_000_000, "offset_us": 0},
        ),
        (
            fz.tumbling(timedelta(days=1), offset="6h"),
            'tumbling("1d", offset="6h")',
            {"kind": "tumbling", "size_us": 86_400_000_000, "offset_us": 21_600_000_000},
        ),
        (
            fz.hopping("1m", every="10s", offset="5s"),
            'hopping("1m", every="10s", offset="5s")',
            {
                "kind": "hopping",
                "size_us": 60_000_000,
                "every_us": 10_000_000,
                "offset_us": 5_000_000,
            },
        ),
        (
            fz.cumulating("1d", every="1h"),
            'cumulating("1d", every="1h")',
            {
                "kind": "cumulating",
                "size_us": 86_400_000_000,
                "every_us": 3_600_000_000,
                "offset_us": 0,
            },
        ),
        (
            fz.session(gap="5m"),
            'session(gap="5m")',
            {"kind": "session", "gap_us": 300_000_000},
        ),
        (
            fz.tumbling("1 day", zone="Europe/Berlin"),
            'tumbling("1 day", zone="Europe/Berlin")',
            {"kind": "calendar", "unit": "day", "count": 1, "zone": "Europe/Berlin"},
        ),
        (
            fz.tumbling("2 weeks", zone="UTC"),
            'tumbling("2 weeks", zone="UTC")',
            {"kind": "calendar", "unit": "week", "count": 2, "zone": "UTC"},
        ),
        (
            fz.tumbling("1q", zone="Asia/Tokyo"),
            'tumbling("1 quarter", zone="Asia/Tokyo")',
            {"kind": "calendar", "unit": "quarter", "count": 1, "zone": "Asia/Tokyo"},
        ),
    ],
)
def test_made(window: fz.Window, text: str, json: dict[str, object]) -> None:
    assert repr(window) == text
    assert window.to_json() == json
    assert eval(f"fz.{window!r}") == window


def test_named_in_words() -> None:
    assert str(fz.hopping("1m", every="10s")) == "hopping 1m, every 10s"
    assert str(fz.session(gap="5m")) == "session gap 5m"
    assert str(fz.tumbling("1 day", zone="Europe/Berlin")) == "tumbling 1 day, zone Europe/Berlin"


def test_equal_if_they_cut_time_in_the_same_way() -> None:
    assert fz.tumbling("60s") == fz.tumbling("1m") == fz.tumbling(timedelta(minutes=1))
    assert fz.tumbling("1d", zone="UTC") == fz.tumbling("1 day", zone="UTC")
    assert fz.tumbling("1m") != fz.tumbling("1m", offset="1s")
    assert fz.tumbling("1m") != fz.hopping("1m", every="1m")
    assert len({fz.tumbling("60s"), fz.tumbling("1m"), fz.tumbling("1h")}) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fz.tumbling("0s"), "size='0s' is not a duration"),
        (lambda: fz.tumbling("1 moon"), "size='1 moon' is not a duration"),
        (lambda: fz.tumbling(60), "size=60 is not a duration"),  # type: ignore[arg-type]
        (lambda: fz.tumbling(timedelta(microseconds=1500)), "is not a duration"),
        (lambda: fz.tumbling("4000d"), "up to 3660d"),
        (lambda: fz.tumbling("1m", offset="1m"), "shorter than 1m"),
        (lambda: fz.tumbling("1 week"), 'zone="UTC"'),
        (lambda: fz.tumbling("1 month"), "needs a zone"),
        (lambda: fz.tumbling("1h", zone="Europe/Berlin"), 'a zone is for "1 day"'),
        (lambda: fz.tumbling("1 day", zone="Europe/Berln"), "no time zone 'Europe/Berln'"),
        (lambda: fz.tumbling("1 day", zone=""), "no time zone ''"),
        (lambda: fz.tumbling("0 days", zone="UTC"), "1 to 1000 days"),
        (lambda: fz.tumbling("1 day", zone="UTC", offset="1h"), "have no offset"),
        (lambda: fz.hopping("1m", every="7s"), "is no multiple of every='7s'"),
        (lambda: fz.hopping("10s", every="1m"), "is no multiple"),
        (lambda: fz.hopping("1m", every="10s", offset="10s"), "shorter than 10s"),
        (lambda: fz.cumulating("1d", every="1s"), "has 86400 times every='1s'"),
        (lambda: fz.cumulating("1 month", every="1d"), "needs a zone"),
        (lambda: fz.session(gap="-1s"), "gap='-1s' is not a duration"),
    ],
)
def test_refused(make: Callable[[], fz.Window], message: str) -> None:
    with pytest.raises(fz.PlanError) as caught:
        make()
    assert message in str(caught.value)
