"""Durations and sizes as people write them: "10s", timedelta(minutes=5), "64MB"."""

import re
from datetime import timedelta

from frazil.errors import PlanError

Duration = str | timedelta
"""A time span: text with a unit ("500ms", "10s", "5m", "1h", "1d") or a timedelta."""

Size = str | int
"""A number of bytes: text with a unit ("64MB", "1GiB") or an int."""

MILLISECONDS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "day": 86_400_000,
    "days": 86_400_000,
}

BYTES = {
    "b": 1,
    "kb": 1_000,
    "mb": 1_000_000,
    "gb": 1_000_000_000,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}

_PART = re.compile(r"(\d+)\s*([A-Za-z]+)")


def duration_ms(value: Duration, option: str, *, least: int = 1) -> int:
    """Milliseconds of a duration.

    Parameters
    ----------
    value
        Text with units, or a timedelta. "1h30m" adds up.
    option
        Name of the option, for the error.
    least
        The shortest that is allowed, in milliseconds.

    Raises
    ------
    PlanError
        If it is no duration, or is shorter than `least`.

    Examples
    --------
    >>> duration_ms("1m30s", "checkpoint_every")
    90000
    """
    if isinstance(value, timedelta):
        total, rest = divmod(value, timedelta(milliseconds=1))
        total = -1 if rest else total
    elif isinstance(value, str):
        total = _sum_of_parts(value, MILLISECONDS)
    else:
        total = -1
    if total < least:
        raise PlanError(
            f"{option}={value!r} is not a duration",
            'write a text with a unit (ms, s, m, h, d) like "10s", or a timedelta of '
            f"{least} ms or more",
        )
    return total


def size_bytes(value: Size, option: str) -> int:
    """Bytes of a size.

    Raises
    ------
    PlanError
        If it is no size, or not positive.

    Examples
    --------
    >>> size_bytes("64MB", "memory_limit"), size_bytes("1KiB", "memory_limit")
    (64000000, 1024)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        total = value
    elif isinstance(value, str):
        total = _sum_of_parts(value, BYTES)
    else:
        total = 0
    if total <= 0:
        raise PlanError(
            f"{option}={value!r} is not a size",
            'write a text with a unit (kB, MB, GB, KiB, MiB, GiB) like "64MB", or a whole number',
        )
    return total


def duration_text(milliseconds: int) -> str:
    """Shortest text of a duration.

    Examples
    --------
    >>> duration_text(90_000), duration_text(10_000)
    ('90s', '10s')
    """
    for unit in ("d", "h", "m", "s"):
        if milliseconds and milliseconds % MILLISECONDS[unit] == 0:
            return f"{milliseconds // MILLISECONDS[unit]}{unit}"
    return f"{milliseconds}ms"


def _sum_of_parts(text: str, units: dict[str, int]) -> int:
    """Sum of "<number><unit>" parts; -1 if the text is anything else."""
    position = total = 0
    text = text.strip()
    while match := _PART.match(text, position):
        unit = units.get(match[2].lower())
        if unit is None:
            return -1
        total += int(match[1]) * unit
        position = match.end()
    return total if text and position == len(text) else -1
