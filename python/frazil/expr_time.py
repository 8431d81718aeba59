"""`Expr.dt`: functions of times."""

from __future__ import annotations

from typing import Literal

from frazil.expr import Expr, call

Unit = Literal["s", "ms", "us", "ns"]
Ambiguous = Literal["raise", "earliest", "latest"]


class TimeMethods:
    """What can be done with timestamps, dates and durations."""

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def year(self) -> Expr:
        """Year."""
        return call("year", self._expr)

    def quarter(self) -> Expr:
        """Quarter, 1 to 4."""
        return call("quarter", self._expr)

    def month(self) -> Expr:
        """Month, 1 to 12."""
        return call("month", self._expr)

    def week(self) -> Expr:
        """Week of ISO 8601, 1 to 53."""
        return call("week", self._expr)

    def day(self) -> Expr:
        """Day of the month, 1 to 31."""
        return call("day", self._expr)

    def ordinal_day(self) -> Expr:
        """Day of the year, 1 to 366."""
        return call("ordinal_day", self._expr)

    def weekday(self) -> Expr:
        """Day of the week, 1 = Monday to 7 = Sunday."""
        return call("weekday", self._expr)

    def hour(self) -> Expr:
        """Hour, 0 to 23."""
        return call("hour", self._expr)

    def minute(self) -> Expr:
        """Minute, 0 to 59."""
        return call("minute", self._expr)

    def second(self) -> Expr:
        """Second, 0 to 59."""
        return call("second", self._expr)

    def microsecond(self) -> Expr:
        """Microseconds of the second, 0 to 999999."""
        return call("microsecond", self._expr)

    def date(self) -> Expr:
        """Date, in the zone of the timestamp."""
        return call("date", self._expr)

    def truncate(self, every: str) -> Expr:
        """Start of the interval the time lies in, in the zone of the timestamp.

        Parameters
        ----------
        every
            A number and a unit: ``us``, ``ms``, ``s``, ``m``, ``h``, ``d``, ``w`` (from Monday),
            ``mo``, ``q`` or ``y``; "15m", "1mo".
        """
        return call("truncate", self._expr, options={"every": every})

    def convert_time_zone(self, zone: str) -> Expr:
        """Show the same instants in another zone: fields and `truncate` then are of that zone."""
        return call("convert_time_zone", self._expr, options={"zone": zone})

    def replace_time_zone(self, zone: str | None, *, ambiguous: Ambiguous = "raise") -> Expr:
        """Take the wall clock as it is, in another zone.

        Parameters
        ----------
        zone
            Name of a zone, or None for a timestamp without a zone.
        ambiguous
            What to take for times that the clock shows twice; times that it skips are an error
            with "raise", else they become the moment of the change.
        """
        options = {"zone": zone, "ambiguous": ambiguous}
        return call("replace_time_zone", self._expr, options=options)

    def epoch(self, unit: Unit = "us") -> Expr:
        """Whole units since 1970-01-01 UTC, rounded down."""
        return call("epoch", self._expr, options={"unit": unit})

    def strftime(self, format: str) -> Expr:
        """Write as text, as ``strftime`` does in the C locale; without fractions of seconds."""
        return call("strftime", self._expr, format)

    def total_seconds(self) -> Expr:
        """Whole seconds of a duration, rounded towards zero."""
        return call("duration_total", self._expr, options={"unit": "s"})

    def total_milliseconds(self) -> Expr:
        """Whole milliseconds of a duration, rounded towards zero."""
        return call("duration_total", self._expr, options={"unit": "ms"})

    def total_microseconds(self) -> Expr:
        """Whole microseconds of a duration, rounded towards zero."""
        return call("duration_total", self._expr, options={"unit": "us"})
