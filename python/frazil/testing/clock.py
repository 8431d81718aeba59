"""The machine's clock in a test: it stands still while there is work, and nothing waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from frazil.duration import duration_ms
from frazil.errors import ConfigError
from frazil.keyed_out import MICROSECOND
from frazil.python_values import EPOCH
from frazil.run.run_clock import SimulatedMachine

if TYPE_CHECKING:
    from frazil.duration import Duration


class Clock:
    """The machine's clock of a test: what `Out.now` says, and timers by the clock go by.

    It stands still as long as there is something to do. Then it jumps to what is next: a timer that
    was set, or the end of a `wait`. So a test needs no time for either.

    Parameters
    ----------
    start
        What it says at first, with a time zone; default 2000-01-01 in UTC.

    Examples
    --------
    >>> from frazil import testing
    >>> testing.Clock().now
    datetime.datetime(2000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._machine = SimulatedMachine()
        if start is not None:
            if start.utcoffset() is None:
                raise ConfigError(f"Clock got {start!r}", "give a datetime with a time zone")
            self._machine.us = (start - EPOCH) // MICROSECOND

    @property
    def now(self) -> datetime:
        """What it says; after a run, when that has ended.

        Examples
        --------
        >>> from datetime import UTC, datetime
        >>> from frazil import testing
        >>> testing.Clock(datetime(2026, 1, 1, 12, tzinfo=UTC)).now.hour
        12
        """
        return (EPOCH + self._machine.us * MICROSECOND).astimezone(UTC)

    def _copy(self) -> Clock:
        return Clock(self.now)


@dataclass(frozen=True)
class Wait:
    """A pause between rows, by the machine's clock; made by `wait`."""

    us: int


def wait(duration: Duration) -> Wait:
    """Have so much time pass by the machine's clock before the rows that follow in the list.

    It stands among the rows that are given of a source. Each partition is silent until that much
    time has passed since the wait before it, or since the start. At the end of the list it keeps
    the source open.

    Parameters
    ----------
    duration
        As "30s" or a timedelta.

    Returns
    -------
    Wait
        To be given in place of a row.

    Examples
    --------
    >>> import frazil as fz
    >>> from datetime import timedelta
    >>> from frazil import testing
    >>> class Silent(fz.KeyedFunction):
    ...     rows: fz.State[int]
    ...
    ...     def on_rows(self, key, rows, out):
    ...         self.rows.value += len(rows)
    ...         out.clock_timer(out.now + timedelta(seconds=30))
    ...
    ...     def on_clock_timer(self, key, time, out):
    ...         out.emit(user=key, rows=self.rows.value)
    >>> clicks = fz.read_files("clicks.jsonl", format="json", schema={"user": str}, name="clicks")
    >>> silent = clicks.group_by("user").process(Silent, schema={"user": str, "rows": int})
    >>> click = {"user": "ada"}
    >>> testing.run_to_end(silent, clicks=[click, testing.wait("10s"), click, testing.wait("1m")])
    [{'user': 'ada', 'rows': 2}, {'user': 'ada', 'rows': 2}]
    """
    return Wait(duration_ms(duration, "wait", least=1) * 1000)
