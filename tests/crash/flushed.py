"""A function that gives rows by the machine's clock, and is killed within that."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import frazil as fz


class Flushed(fz.KeyedFunction):
    """Gives the rows of a user some time after the first; is killed within that, if it is said.

    Parameters
    ----------
    kill_at
        A file with the number of calls of timers up to that.
    """

    ids: fz.State[list[int]]

    def __init__(self, kill_at: Path) -> None:
        self._kill_at = kill_at

    def open(self) -> None:
        self._left = int(self._kill_at.read_text()) if self._kill_at.exists() else 0

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        if not self.ids.value:
            out.clock_timer(out.now + timedelta(milliseconds=20))
        self.ids.value.extend(row.id for row in rows)

    def on_clock_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        for number, id in enumerate(self.ids.value):
            out.emit(id=id, country=key)
            if number == len(self.ids.value) // 2:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        self.ids.clear()
