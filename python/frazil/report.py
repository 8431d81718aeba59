"""What a run did: returned by `Pipeline.run`, and plain enough to be stored as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PartitionReport:
    """What was read of one partition.

    Attributes
    ----------
    start, end
        The position next to read before and after the run, in the connector's own terms.
    lag
        Rows (Kafka) or bytes (files) left between `end` and the end known then; None if unknown.
    """

    start: Any
    end: Any
    lag: int | None = None


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """What was read of one source: rows read are good, rejected (written) or dropped (counted)."""

    read: int = 0
    good: int = 0
    rejected: int = 0
    dropped: int = 0
    partitions: dict[str, PartitionReport] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SinkReport:
    """What was committed to one sink: epochs with rows, and the snapshots of its table."""

    rows: int = 0
    epochs: int = 0
    snapshots: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did.

    Attributes
    ----------
    first_epoch, last_epoch
        The checkpoints it made: slots of the checkpoint log; the same number and one less if none.
    sources, sinks
        By name.
    late
        Rows that were too late for a window, once for each window they missed, by the name of
        the window, or the id of the step that refused them. Like the rows of sources they count to
        the last checkpoint.
    failed
        Rows for which a Python function with ``on_error="drop"`` or ``"divert"`` raised, by the
        function, or the name of the step.
    seconds
        From the start to the last commit.
    """

    pipeline: str
    attempt: int
    first_epoch: int
    last_epoch: int
    seconds: float
    sources: dict[str, SourceReport] = field(default_factory=dict)
    sinks: dict[str, SinkReport] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain dicts, lists, texts and numbers.

        Examples
        --------
        >>> report = RunReport(
        ...     pipeline="orders", attempt=1, first_epoch=2, last_epoch=3, seconds=0.5
        ... )
        >>> report.to_dict()["last_epoch"]
        3
        """
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Give it as JSON.

        Examples
        --------
        >>> report = RunReport(
        ...     pipeline="orders", attempt=1, first_epoch=2, last_epoch=3, seconds=0.5
        ... )
        >>> report.to_json()[:22]
        '{"pipeline": "orders",'
        """
        return json.dumps(self.to_dict())

    def __str__(self) -> str:
        lines = [f"{self.pipeline}: epochs {self.first_epoch} to {self.last_epoch}"]
        lines[0] += f", {self.seconds:.1f} s"
        for name, source in self.sources.items():
            text = f"  {name}: {source.read} rows read"
            for what in ("rejected", "dropped"):
                if getattr(source, what):
                    text += f", {getattr(source, what)} {what}"
            lines.append(text)
        for name, sink in self.sinks.items():
            lines.append(f"  {name}: {sink.rows} rows in {sink.epochs} commits")
        lines += [f"  {step}: {rows} late rows" for step, rows in self.late.items() if rows]
        lines += [f"  {name}: {rows} rows failed" for name, rows in self.failed.items() if rows]
        return "\n".join(lines)
