"""Ids of sinks in the log. One that writes to many tables is a sink of its own for each of them."""

from __future__ import annotations

_SEPARATOR = "/"


def table_sink(sink: str, table: str) -> str:
    """The id under which the log knows a table of a sink with many."""
    return sink + _SEPARATOR + table


def step_of(sink: str) -> str:
    """The step of the plan that writes for a sink of the log."""
    return sink.partition(_SEPARATOR)[0]


def table_of(sink: str) -> str | None:
    """Which table of its step it is; None for a sink that is all of its step."""
    step, separator, table = sink.partition(_SEPARATOR)
    return table if separator and step else None
