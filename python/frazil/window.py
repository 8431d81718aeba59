"""Windows: which spans of event time rows are put into."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from frazil import _engine
from frazil.duration import MILLISECONDS, Duration, duration_ms, duration_text
from frazil.errors import ConfigError, PlanError, on_user_line

if TYPE_CHECKING:
    from frazil.node import Json

WINDOW_MS_MAX = 3_660 * MILLISECONDS["d"]
"""The longest window, or gap of a session: ten years."""
PANES_MAX = 10_000
"""Windows that overlap at a moment: size / every."""
CALENDAR_COUNT_MAX = 1_000
"""Calendar units of one window."""

FILLED_WINDOWS_MAX = 100_000
"""Windows without rows, one after the other, that `fill_gaps` gives a row for."""

CalendarUnit = Literal["day", "week", "month", "quarter", "year"]

_CALENDAR = re.compile(r"\s*(\d+)\s*([A-Za-z]+)\s*")
_UNITS: dict[str, CalendarUnit] = {
    "d": "day",
    "day": "day",
    "days": "day",
    "w": "week",
    "week": "week",
    "weeks": "week",
    "mo": "month",
    "month": "month",
    "months": "month",
    "q": "quarter",
    "quarter": "quarter",
    "quarters": "quarter",
    "y": "year",
    "year": "year",
    "years": "year",
}

# Months and days of a unit: one of them is 0.
_LENGTHS: dict[str, tuple[int, int]] = {
    "day": (0, 1),
    "week": (0, 7),
    "month": (1, 0),
    "quarter": (3, 0),
    "year": (12, 0),
}


@dataclass(frozen=True)
class Window:
    """How event time is cut; made by `tumbling`, `hopping`, `cumulating` and `session`.

    Two windows are equal if they cut time in the same way.
    """

    kind: Literal["tumbling", "hopping", "cumulating", "session", "calendar"]
    options: tuple[tuple[str, int | str], ...]
    text: str = field(compare=False)

    def to_json(self) -> Json:
        """Give the WINDOW of the plan; times in it are microseconds."""
        return {"kind": self.kind, **dict(self.options)}

    def __repr__(self) -> str:
        return self.text

    def __str__(self) -> str:
        """Name it in words: ``tumbling 1m``."""
        name, _, arguments = self.text.removesuffix(")").partition("(")
        return f"{name} " + arguments.replace('"', "").replace("=", " ")


@on_user_line
def tumbling(size: Duration, *, offset: Duration | None = None, zone: str | None = None) -> Window:
    """Cut time into windows that follow one another.

    They begin at multiples of their size after 1970-01-01 00:00 UTC, or with a zone at the
    beginnings of its days, weeks (Mondays), months, quarters or years: days of 23 and 25 hours are
    days then. Windows of several are counted from 1970-01-01, weeks from Monday 1970-01-05.

    Parameters
    ----------
    size
        "1m", "10s"; with a zone "1 day", "1 week", "1 month", "1 quarter", "1 year", or several.
    offset
        How much later each begins; shorter than the size, and not with a zone.
    zone
        A time zone: "Europe/Berlin". Without one a day is 24 hours of UTC.

    Returns
    -------
    Window
        For `Grouped.window`.

    Raises
    ------
    PlanError
        If it is no size, or the engine knows no such zone.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.tumbling("1m")
    tumbling("1m")
    >>> fz.tumbling("1 day", zone="Europe/Berlin")
    tumbling("1 day", zone="Europe/Berlin")
    """
    if zone is not None:
        return _calendar(size, offset, zone)
    _no_calendar(size)
    size_ms = _span(size, "size")
    offset_ms = _offset(offset, size_ms)
    return Window(
        "tumbling",
        (("size_us", size_ms * 1_000), ("offset_us", offset_ms * 1_000)),
        _text("tumbling", size_ms, offset=offset_ms),
    )


@on_user_line
def hopping(size: Duration, *, every: Duration, offset: Duration | None = None) -> Window:
    """Cut time into windows that overlap: one of `size` begins at each multiple of `every`.

    A row is in size / every of them.

    Parameters
    ----------
    size
        How long a window is: a multiple of `every`.
    every
        How far apart they begin.
    offset
        How much later each begins; shorter than `every`.

    Returns
    -------
    Window
        For `Grouped.window`.

    Raises
    ------
    PlanError
        If `size` is no multiple of `every`, or too large a one.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.hopping("1m", every="10s")
    hopping("1m", every="10s")
    """
    return _panes("hopping", size, every, offset)


@on_user_line
def cumulating(size: Duration, *, every: Duration, offset: Duration | None = None) -> Window:
    """Cut time into windows that grow: all those of a `size` begin together, and end every `every`.

    ``cumulating("1d", every="1h")`` gives the day so far, each hour.

    Parameters
    ----------
    size
        How long the longest is: a multiple of `every`.
    every
        How far apart they end.
    offset
        How much later each begins; shorter than the size.

    Returns
    -------
    Window
        For `Grouped.window`.

    Raises
    ------
    PlanError
        If `size` is no multiple of `every`, or too large a one.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.cumulating("1d", every="1h")
    cumulating("1d", every="1h")
    """
    return _panes("cumulating", size, every, offset)


@on_user_line
def session(*, gap: Duration) -> Window:
    """Put rows of a key together that are at most `gap` apart.

    A session begins at its first row and ends a gap after its last one; a row at just that time
    still belongs to it. Rows come in any order: one between two sessions makes them one.

    Parameters
    ----------
    gap
        How long nothing has to come for a session to end.

    Returns
    -------
    Window
        For `Grouped.window`.

    Raises
    ------
    PlanError
        If it is no duration.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.session(gap="5m")
    session(gap="5m")
    """
    gap_ms = _span(gap, "gap")
    text = f'session(gap="{duration_text(gap_ms)}")'
    return Window("session", (("gap_us", gap_ms * 1_000),), text)


@dataclass(frozen=True)
class Lasting:
    """How many windows, one after the other, and how that was said."""

    windows: int
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


def lasting_of(window: Window, lasting: Duration) -> Lasting:
    """How many whole windows are in a time: of the calendar, if the windows are of one.

    Raises
    ------
    PlanError
        If it is no duration, shorter than a window, or too long.
    """
    options = dict(window.options)
    if window.kind == "calendar":
        unit, count = _calendar_span(window, lasting)
        length, (months, days) = int(options["count"]), _LENGTHS[unit]
        of_months, of_days = _LENGTHS[str(options["unit"])]
        windows = count * (months or days) // (length * (of_months or of_days))
        long = count * (months * 31 + days) > WINDOW_MS_MAX // MILLISECONDS["d"]
        text = f"{count} {unit}" + "s" * (count != 1)
    else:
        span_ms = duration_ms(lasting, "lasting")
        # Windows that hop follow each other by less than their size.
        windows = span_ms * 1_000 // int(options.get("every_us", options["size_us"]))
        long = span_ms > WINDOW_MS_MAX
        text = duration_text(span_ms)
    if long or windows > FILLED_WINDOWS_MAX:
        most = duration_text(WINDOW_MS_MAX)
        raise PlanError(
            f"lasting={lasting!r} of {window} is too long",
            f"up to {most}, and up to {FILLED_WINDOWS_MAX} windows",
        )
    if windows == 0:
        gap = "from one window to the next" if window.kind == "hopping" else "a window"
        raise PlanError(
            f"lasting={lasting!r} is shorter than {gap} of {window}", "one window at least"
        )
    return Lasting(windows, text)


def _calendar_span(window: Window, lasting: Duration) -> tuple[CalendarUnit, int]:
    """A time in the units that windows of a calendar can be counted by."""
    found = _CALENDAR.fullmatch(lasting) if isinstance(lasting, str) else None
    unit = _UNITS.get(found[2].lower()) if found else None
    count = int(found[1]) if found else 0
    if unit is None:
        days, rest = divmod(duration_ms(lasting, "lasting"), MILLISECONDS["d"])
        unit, count = ("day", days) if rest == 0 else (None, 0)
    of = str(dict(window.options)["unit"])
    if unit is None or bool(_LENGTHS[unit][0]) != bool(_LENGTHS[of][0]):
        like = "months, quarters or years" if _LENGTHS[of][0] else "days or weeks"
        raise PlanError(
            f"lasting={lasting!r} of {window}",
            f'windows of a calendar are counted by it: say it in {like}, like "3 {of}s"',
        )
    return unit, count


def _panes(
    kind: Literal["hopping", "cumulating"], size: Duration, every: Duration, offset: Duration | None
) -> Window:
    _no_calendar(size)
    size_ms = _span(size, "size")
    every_ms = _span(every, "every")
    if size_ms % every_ms:
        raise PlanError(
            f"{kind}: size={size!r} is no multiple of every={every!r}",
            "windows are put together of pieces as long as `every`",
        )
    if size_ms // every_ms > PANES_MAX:
        raise PlanError(
            f"{kind}: size={size!r} has {size_ms // every_ms} times every={every!r}",
            f"up to {PANES_MAX}: a longer every, or a shorter size",
        )
    offset_ms = _offset(offset, every_ms if kind == "hopping" else size_ms)
    return Window(
        kind,
        (
            ("size_us", size_ms * 1_000),
            ("every_us", every_ms * 1_000),
            ("offset_us", offset_ms * 1_000),
        ),
        _text(kind, size_ms, every=every_ms, offset=offset_ms),
    )


def _calendar(size: Duration, offset: Duration | None, zone: str) -> Window:
    found = _CALENDAR.fullmatch(size) if isinstance(size, str) else None
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise PlanError(
            f"tumbling: size={size!r} with zone={zone!r}",
            'a zone is for "1 day", "1 week", "1 month", "1 quarter", "1 year" and several of them',
            "leave it away: shorter windows are the same in every zone, but for their offset",
        )
    if offset is not None:
        raise PlanError(
            f"tumbling: offset={offset!r} with zone={zone!r}",
            "windows of a calendar have no offset",
        )
    count = int(found[1])
    if not 1 <= count <= CALENDAR_COUNT_MAX:
        raise PlanError(f"tumbling: size={size!r}", f"1 to {CALENDAR_COUNT_MAX} {unit}s")
    _check_zone(zone)
    plural = "" if count == 1 else "s"
    return Window(
        "calendar",
        (("unit", unit), ("count", count), ("zone", zone)),
        f'tumbling("{count} {unit}{plural}", zone="{zone}")',
    )


def _check_zone(zone: object) -> None:
    """Ask the engine, whose time zones are those that count."""
    if not isinstance(zone, str):
        raise PlanError(f"no time zone {zone!r}", 'write a name like "Europe/Berlin" or "UTC"')
    try:
        _engine.time_zone_version(zone)
    except ConfigError as error:
        raise PlanError(
            f"no time zone {zone!r}", str(error), 'write a name like "Europe/Berlin" or "UTC"'
        ) from None


def _no_calendar(size: Duration) -> None:
    """A week has no beginning that everybody agrees on, and a month no length."""
    found = _CALENDAR.fullmatch(size) if isinstance(size, str) else None
    unit = _UNITS.get(found[2].lower()) if found else None
    if unit is not None and unit != "day":
        raise PlanError(
            f"a window of {size!r} needs a zone",
            f'write fz.tumbling({size!r}, zone="UTC"), or a zone like "Europe/Berlin"',
        )


def _span(value: Duration, option: str) -> int:
    span = duration_ms(value, option)
    if span > WINDOW_MS_MAX:
        raise PlanError(f"{option}={value!r} is too long", f"up to {duration_text(WINDOW_MS_MAX)}")
    return span


def _offset(offset: Duration | None, below_ms: int) -> int:
    if offset is None:
        return 0
    offset_ms = duration_ms(offset, "offset", least=0)
    if offset_ms >= below_ms:
        raise PlanError(f"offset={offset!r}", f"shorter than {duration_text(below_ms)}")
    return offset_ms


def _text(kind: str, size_ms: int, **options: int) -> str:
    said = [f'"{duration_text(size_ms)}"']
    said += [f'{name}="{duration_text(ms)}"' for name, ms in options.items() if ms]
    return f"{kind}({', '.join(said)})"
