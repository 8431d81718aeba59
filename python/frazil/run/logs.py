"""Where logs go if the program has not said it."""

from __future__ import annotations

import sys

import structlog


def log_to_stderr() -> None:
    """Send logs to standard error, as JSON unless a person reads it; a set-up of its own stays."""
    if structlog.is_configured():
        return
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
