"""What a run has read and committed: kept for its status, and told by its report."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from frazil.checkpoint import StepRows
from frazil.errors import CheckpointError
from frazil.report import RunReport, SinkReport

if TYPE_CHECKING:
    from frazil.checkpoint import SourceState
    from frazil.run.commit_loop import Committed
    from frazil.run.engine_job import EpochCut, StepCut
    from frazil.run.status import Status


class Account:
    """Counts of a run.

    Parameters
    ----------
    status
        Is kept up to date.
    diverting
        Sources whose rejected rows are written, and steps whose failed rows are.
    """

    def __init__(self, status: Status, diverting: Collection[str]) -> None:
        self._status = status
        self._diverting = diverting
        self._read: dict[str, int] = {}
        self._snapshots: dict[str, list[int]] = {}
        self._given: dict[str, tuple[int, int, int]] = {}  # to steps, up to the last epoch

    def count(self, cut: EpochCut) -> None:
        """Take the counts of an epoch."""
        status = self._status
        for source, counted in cut.sources.items():
            self._read[source] = counted.read
            status.rows[source] = counted.good
            rejected = counted.rejected if source in self._diverting else 0
            status.rejected[source] = rejected
            status.dropped[source] = counted.dropped + counted.rejected - rejected
            status.lag[source] = counted.lag
        status.late.update(cut.late)
        status.failed.update({step: rows.failed for step, rows in cut.steps.items()})

    def settle(
        self,
        letters: Mapping[str, Collection[str]],
        sources: Mapping[str, SourceState],
        cut: EpochCut,
    ) -> dict[str, StepRows]:
        """See that every row that was set aside is in the files of the sink that takes it.

        Parameters
        ----------
        letters
            Sources and steps by the sink that gets what they set aside, and nothing else.
        sources, cut
            Of the epoch.

        Returns
        -------
        dict
            What became of rows that were given to steps that set some aside, by step.

        Raises
        ------
        CheckpointError
            It is not: a defect.
        """
        steps = {step: self._step(step, now) for step, now in cut.steps.items()}
        for sink, rejecting in letters.items():
            rejected = sum(sources[each].rows.rejected for each in rejecting if each in sources)
            rejected += sum(steps[each].failed for each in rejecting if each in steps)
            parts = [part for part in cut.tokens.get(sink, ()) if part]
            files = [file for part in parts for file in json.loads(part)["files"]]
            written = sum(file["rows"] for file in files)
            if written != rejected:
                raise CheckpointError(
                    f"{rejected} rows were rejected in this epoch, {written} of them are written",
                    "this is a defect of Frazil; the epoch was not committed",
                )
        return steps

    def _step(self, step: str, cut: StepCut) -> StepRows:
        """What came since the last epoch; failed rows that nobody takes are dropped."""
        before = self._given.get(step, (0, 0, 0))
        now = self._given[step] = (cut.given, cut.good, cut.failed)
        given, good, failed = (a - b for a, b in zip(now, before, strict=True))
        if step in self._diverting:
            return StepRows(given=given, good=good, failed=failed)
        return StepRows(given=given, good=good, dropped=failed)

    def landed(self, sink: str, done: Committed, seconds: float) -> None:
        """Note a commit."""
        status = self._status
        status.committed_rows[sink] = status.committed_rows.get(sink, 0) + done.rows
        status.commits[sink] = status.commits.get(sink, 0) + 1
        status.commit_seconds = seconds
        status.last_commit = time.monotonic()
        self._snapshots.setdefault(sink, []).extend(done.snapshots)

    def report(
        self,
        *,
        first_epoch: int,
        last_epoch: int,
        seconds: float,
        sources: Mapping[str, str],
        starts: Mapping[str, Mapping[str, str]],
        positions: Mapping[str, Mapping[str, str]],
        sinks: Mapping[str, str],
    ) -> RunReport:
        """What the run did, with the names of sources and sinks by their ids."""
        status = self._status
        return RunReport(
            pipeline=status.pipeline,
            attempt=status.attempt,
            first_epoch=first_epoch,
            last_epoch=last_epoch,
            seconds=seconds,
            sources=status.sources(sources, self._read, starts, positions),
            sinks={
                name: SinkReport(
                    rows=status.committed_rows.get(sink, 0),
                    epochs=status.commits.get(sink, 0),
                    snapshots=tuple(self._snapshots.get(sink, ())),
                )
                for sink, name in sinks.items()
            },
            late={status.times.names.get(step, step): n for step, n in status.late.items()},
            failed=status.failed_by_name(),
        )
