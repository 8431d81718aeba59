"""How many rows may be rejected before a run ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from frazil.checkpoint.plan_fit import REPLAY_PREFIX
from frazil.errors import ConfigError, TooManyRejected

if TYPE_CHECKING:
    from frazil.run.engine_job import EpochCut

BLOCK_ROWS = 1_000
"""Rows of a reader of which a share is taken, at least: of few rows a share says nothing."""


def checked_limit(limit: int | float | None) -> int | float | None:
    """Check `max_rejected` of a pipeline: a number of rows, or a share of them.

    Raises
    ------
    ConfigError
        It is neither.
    """
    if limit is None:
        return None
    whole = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0
    if whole or (isinstance(limit, float) and 0 < limit < 1):
        return limit
    raise ConfigError(
        f"max_rejected={limit!r}", "a number of rows (100), or a share between 0 and 1 (0.01)"
    )


class RejectLimit:
    """Adds up what is rejected, and ends the run where that is too much.

    Parameters
    ----------
    limit
        Rows of an epoch, or a share; None: none.
    names
        Sources, and steps in which rows may fail, by id.
    """

    def __init__(self, limit: int | float | None, names: Mapping[str, str]) -> None:
        self._limit = limit
        self._names = names
        self._before: dict[str, tuple[int, int]] = {}  # counted from the start of the job
        self._blocks: dict[str, tuple[int, int]] = {}  # rows read and rejected

    def check(self, cut: EpochCut) -> None:
        """Take the counts of an epoch that is to be committed.

        Raises
        ------
        TooManyRejected
            With the first row that was rejected in it, or failed.
        """
        if self._limit is None:
            return
        counted = [
            (source, of.read, of.rejected, of.example, "were rejected")
            for source, of in cut.sources.items()
        ] + [
            (step, rows.given, rows.failed, rows.example, "failed")
            for step, rows in cut.steps.items()
        ]
        for source, now_read, now_rejected, example, what in counted:
            if source.startswith(REPLAY_PREFIX):
                continue  # letters that are tried again were counted when they were rejected
            was_read, was_rejected = self._before.get(source, (0, 0))
            self._before[source] = (now_read, now_rejected)
            read, rejected = now_read - was_read, now_rejected - was_rejected
            allowed = float(self._limit)
            if isinstance(self._limit, float):
                before, bad = self._blocks.get(source, (0, 0))
                read, rejected = before + read, bad + rejected
                allowed = self._limit * max(read, BLOCK_ROWS)
                self._blocks[source] = (0, 0) if read >= BLOCK_ROWS else (read, rejected)
            if rejected > allowed:
                rows = f"{rejected} of {read} rows {what}"
                self._refuse(cut.epoch, self._names[source], rows, example)

    def _refuse(self, epoch: int, source: str, rows: str, example: str) -> None:
        raise TooManyRejected(
            f"{source}: {rows} up to epoch {epoch}, more than max_rejected={self._limit!r}",
            *([f"the first: {example}"] if example else []),
            "that epoch was not committed: mend the schema or what is sent and run again, or allow "
            "more",
        )
