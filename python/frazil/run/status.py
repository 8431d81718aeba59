"""Where a run stands, and who looks at it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from frazil.report import PartitionReport, SourceReport
from frazil.run.event_times import EventTimes

if TYPE_CHECKING:
    from frazil.run.lookups import LookupStatus


class Observer(Protocol):
    """Sees what a run does: the live line, metrics, tests."""

    def update(self, status: Status) -> None:
        """Called by the control loop, a few times a second."""
        ...


@dataclass
class Status:
    """Where a run stands."""

    pipeline: str
    attempt: int
    started: float
    epoch: int = 0
    rows: dict[str, int] = field(default_factory=dict)  # good rows by source id, this run
    rejected: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    lag: dict[str, Mapping[str, int]] = field(default_factory=dict)
    committed_rows: dict[str, int] = field(default_factory=dict)  # by sink id, this run
    commits: dict[str, int] = field(default_factory=dict)
    commit_seconds: float = 0.0  # of the last commit
    checkpoint_seconds: float = 0.0  # of the last checkpoint, barrier to manifest
    restore_seconds: float = 0.0  # of reading operators' state at the start
    last_commit: float = 0.0  # monotonic
    pending_epochs: int = 0
    trouble: dict[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)  # late rows by step, this run
    times: EventTimes = field(default_factory=EventTimes)
    apart: Mapping[str, str] = field(default_factory=dict)  # names of steps that set rows aside
    failed: dict[str, int] = field(default_factory=dict)  # rows that they did, this run
    lookups: Mapping[str, LookupStatus] = field(default_factory=dict)  # by name

    def failed_by_name(self) -> dict[str, int]:
        """Rows that failed in steps, by the name of the step or its function."""
        found: dict[str, int] = {}
        for step, rows in self.failed.items():
            if not rows:
                continue
            name = self.apart.get(step, step)
            found[name] = found.get(name, 0) + rows
        return found

    def sources(
        self,
        names: Mapping[str, str],
        read: Mapping[str, int],
        starts: Mapping[str, Mapping[str, str]],
        positions: Mapping[str, Mapping[str, str]],
    ) -> dict[str, SourceReport]:
        """What became of each source that has a name, from its start to these positions."""
        return {
            names[source]: SourceReport(
                read=read.get(source, 0),
                good=self.rows.get(source, 0),
                rejected=self.rejected.get(source, 0),
                dropped=self.dropped.get(source, 0),
                partitions=self._partitions(source, starts.get(source, {}), known),
            )
            for source, known in positions.items()
            if source in names
        }

    def _partitions(
        self, source: str, starts: Mapping[str, str], positions: Mapping[str, str]
    ) -> dict[str, PartitionReport]:
        lag = self.lag.get(source, {})
        return {
            name: PartitionReport(
                start=json.loads(starts.get(name, position)),
                end=json.loads(position),
                lag=None if lag.get(name, -1) < 0 else lag[name],
            )
            for name, position in positions.items()
        }
