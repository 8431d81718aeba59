"""What a run has read and committed: kept for its status, and told by its report."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from frazil.errors import CheckpointError
from frazil.report import RunReport, SinkReport

if TYPE_CHECKING:
    from frazil.checkpoint import SourceState
    from frazil.run.commit_loop import Committed
    from frazil.run.engine_job import EpochCut
    from frazil.run.status import Status


class Account:
    """Counts of a run.

    Parameters
    ----------
    status
        Is kept up to date.
    diverting
        Sources whose rejected rows are written.
    """

    def __init__(self, status: Status, diverting: Collection[str]) -> None:
        self._status = status
        self._diverting = diverting
        self._read: dict[str, int] = {}
        self._snapshots: dict[str, list[int]] = {}

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

    def check_letters(
        self,
        letters: Mapping[str, Collection[str]],
        sources: Mapping[str, SourceState],
        tokens: Mapping[str, Sequence[str]],
    ) -> None:
        """See that every rejected row of an epoch is in the files of the sink that takes it.

        Parameters
        ----------
        letters
            Sources by the sink that gets their rejected rows and nothing else.
        sources, tokens
            Of the epoch.

        Raises
        ------
        CheckpointError
            It is not: a defect.
        """
        for sink, rejecting in letters.items():
            rejected = sum(sources[each].rows.rejected for each in rejecting if each in sources)
            files = [f for part in tokens.get(sink, ()) if part for f in json.loads(part)["files"]]
            written = sum(file["rows"] for file in files)
            if written != rejected:
                raise CheckpointError(
                    f"{rejected} rows were rejected in this epoch, {written} of them are written",
                    "this is a defect of Frazil; the epoch was not committed",
                )

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
        )
