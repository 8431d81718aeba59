"""What a person sees of a run: one live line in a terminal, a log line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from frazil.run.event_times import behind_text, least_watermark

if TYPE_CHECKING:
    from frazil.run.status import Observer, Status
    from rich.live import Live

LIVE_EVERY_S = 0.25
LOG_EVERY_S = 60.0

log_ = structlog.get_logger("frazil")


def observer() -> Observer:
    """The observer that fits standard error."""
    return LiveLine() if sys.stderr.isatty() else LogLines()


def describe(status: Status, now: float) -> str:
    """One line: rows and rate, what was set aside, event time, the last commit, what is wrong."""
    seconds = max(now - status.started, 1e-9)
    read = sum(
        node.get("read", 0) for node in status.metrics.get("nodes", {}).values() if "read" in node
    )
    parts = [
        f"{status.pipeline}: {read:,} rows read",
        f"{read / seconds:,.0f}/s",
        f"epoch {status.epoch}",
    ]
    aside = (
        ("rejected", status.rejected),
        ("dropped", status.dropped),
        ("failed", status.failed),
    )
    for word, counts in aside:
        if total := sum(counts.values()):
            parts.append(f"{total:,} {word}")
    if lag := sum(n for each in status.lag.values() for n in each.values() if n > 0):
        parts.append(f"lag {lag:,}")
    watermark = least_watermark(status.metrics)
    if watermark is not None:
        parts.append(f"watermark {behind_text(watermark, datetime.now(UTC))}")
    if late := sum(node.get("late", 0) for node in status.metrics.get("nodes", {}).values()):
        parts.append(f"{late:,} late")
    if spilled := status.metrics.get("spilled_bytes", 0):
        parts.append(f"{spilled / 2**20:,.0f} MiB of state on disk")
    if status.last_commit:
        committed = sum(status.committed_rows.values())
        parts.append(f"{committed:,} committed {now - status.last_commit:.0f} s ago")
    if status.pending_epochs > 1:
        parts.append(f"{status.pending_epochs} epochs pending")
    parts += [f"{name}: {text.splitlines()[0]}" for name, text in status.trouble.items()]
    parts += conditions(status)
    return " · ".join(parts)


def conditions(status: Status) -> list[str]:
    """What sources say of themselves ("broker is away"), and who holds event time up."""
    nodes = status.metrics.get("nodes", {}).values()
    said = [f"{node['name']}: {node['condition']}" for node in nodes if node.get("condition")]
    return said + status.times.conditions()


class LiveLine:
    """A line that is written over, by rich."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._next = 0.0

    def update(self, status: Status) -> None:
        """Show where the run stands."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LIVE_EVERY_S
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()
        self._live.update(describe(status, now), refresh=True)

    def close(self) -> None:
        """Leave the last line standing."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class LogLines:
    """A summary each minute, and each new condition when it appears."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LOG_EVERY_S
        self._said: set[str] = set()

    def update(self, status: Status) -> None:
        """Log where the run stands, if it is time."""
        now = time.monotonic()
        current = {*conditions(status), *(f"{k}: {v}" for k, v in status.trouble.items())}
        for text in sorted(current - self._said):
            log_.warning("waiting", pipeline=status.pipeline, reason=text)
        self._said = current
        if now < self._next:
            return
        self._next = now + LOG_EVERY_S
        log_.info(
            "checkpoint",
            pipeline=status.pipeline,
            epoch=status.epoch,
            rows=sum(status.rows.values()),
            rejected=sum(status.rejected.values()),
            dropped=sum(status.dropped.values()),
            failed=sum(status.failed.values()),
            committed_rows=sum(status.committed_rows.values()),
            seconds_since_commit=round(now - status.last_commit, 1) if status.last_commit else None,
            pending_epochs=status.pending_epochs,
        )

    def close(self) -> None:
        """Nothing to put away."""
