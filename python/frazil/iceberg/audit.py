"""Reading from a table's own history what was committed to it, and whether it fits together."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from frazil.errors import CommitRefused
from frazil.iceberg.ancestry import check_not_rolled_back
from frazil.iceberg.proof import (
    Proof,
    parse_proof_name,
    parse_property_name,
    proof_name,
    property_name,
    read_proof,
)
from frazil.iceberg.token import SinkIdentity

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot
    from rich.console import Group, RenderableType

# Rows of a printed table of commits; the newest are shown.
COMMITS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class CommitReport:
    """A snapshot that a sink made."""

    snapshot: int
    sequence: int
    committed: str  # ISO 8601, UTC
    slots: tuple[int, ...]  # epochs in it
    attempt: int
    incarnation: str
    previous_slot: int | None
    rows: int
    files: int
    positions: dict[str, dict[str, str]] | None  # at the end of the last epoch; None: left out
    in_branch: bool | None  # False: rolled back; None: history between has expired
    restates: bool = False  # brought no epoch: shows again what an earlier snapshot had brought


@dataclass(frozen=True, slots=True)
class SinkReport:
    """What the table knows of one sink of one pipeline."""

    pipeline: str
    sink: str
    branch: str
    proof: str  # "epoch 7", "none", or what is wrong with it
    problems: tuple[str, ...]
    commits: tuple[CommitReport, ...]  # oldest first; older ones may have expired


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a table's history says of the pipelines that write to it."""

    table: str
    table_uuid: str
    sinks: tuple[SinkReport, ...] = field(default_factory=tuple)
    foreign_snapshots: int = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, of all sinks; empty if nothing is."""
        return tuple(
            f"pipeline {sink.pipeline!r}, sink {sink.sink!r}: {problem}"
            for sink in self.sinks
            for problem in sink.problems
        )

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """For machines; can be JSON."""
        return {**dataclasses.asdict(self), "ok": self.ok}


def audit(table: Table) -> AuditReport:
    """Look at a table's history.

    Parameters
    ----------
    table
        As just loaded.

    Returns
    -------
    AuditReport
        By sink: its commits, whether its proof is whole, and what is wrong: a hole or an overlap of
        epochs or source positions, commits that a rollback took away, carriers that disagree.
    """
    metadata = table.metadata
    by_sink: dict[tuple[str, str, str], list[Snapshot]] = {}
    foreign = 0
    for snapshot in metadata.snapshots:
        if (key := _sink_of(snapshot)) is not None:
            by_sink.setdefault(key, []).append(snapshot)
        else:
            foreign += 1
    names = [parse_proof_name(name) for name in metadata.refs]
    names += [parse_property_name(name) for name in metadata.properties]
    for found in names:
        if found is not None:
            by_sink.setdefault(found, [])
    return AuditReport(
        table=".".join(table.name()),
        table_uuid=str(metadata.table_uuid),
        sinks=tuple(_audit_sink(table, key, by_sink[key]) for key in sorted(by_sink)),
        foreign_snapshots=foreign,
    )


def render(report: AuditReport) -> Group:
    """Make a report that `rich.console.Console.print` shows."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{report.table}  {report.table_uuid}")]
    if not report.sinks:
        parts.append(Text("no pipeline of Frazil's has written to it"))
    for sink in report.sinks:
        title = f"pipeline {sink.pipeline!r}, sink {sink.sink!r}, branch {sink.branch!r}"
        parts.append(Text(f"\n{title}: {sink.proof}", style="bold"))
        parts += [Text(f"  {problem}", style="red") for problem in sink.problems]
        if len(sink.commits) > COMMITS_SHOWN:
            parts.append(Text(f"  {len(sink.commits) - COMMITS_SHOWN} older ones are not shown"))
        parts.append(_grid(sink.commits[-COMMITS_SHOWN:]))
    if report.foreign_snapshots:
        parts.append(Text(f"\n{report.foreign_snapshots} snapshots of others"))
    return Group(*parts)


def _grid(commits: Sequence[CommitReport]) -> RenderableType:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=None, pad_edge=False)
    for heading in ("epochs", "attempt", "committed", "rows", "files", "positions", ""):
        grid.add_column(heading)
    for commit in commits:
        cells = (
            _span(commit.slots),
            str(commit.attempt),
            commit.committed,
            str(commit.rows),
            str(commit.files),
            _short(commit.positions),
            "rolled back" if commit.in_branch is False else "put back" if commit.restates else "",
        )
        grid.add_row(*(Text(cell) for cell in cells))  # names must not be taken for markup
    return grid


def _sink_of(snapshot: Snapshot) -> tuple[str, str, str] | None:
    summary = snapshot.summary
    if summary is None or summary["frazil.pipeline"] is None:
        return None
    return (
        str(summary["frazil.pipeline"]),
        str(summary["frazil.sink"]),
        str(summary["frazil.branch"]),
    )


def _audit_sink(table: Table, key: tuple[str, str, str], snapshots: list[Snapshot]) -> SinkReport:
    pipeline, sink, branch = key
    metadata = table.metadata
    snapshots = sorted(snapshots, key=lambda each: each.sequence_number or 0)
    there, begin = _ancestors(metadata, branch)
    commits = [
        _commit(
            snapshot,
            True
            if snapshot.snapshot_id in there
            else None
            if (snapshot.sequence_number or 0) < begin
            else False,
        )
        for snapshot in snapshots
    ]
    proof, state, problems = _proof_state(table, SinkIdentity(pipeline, "", sink), branch)
    history = [commit for commit in commits if commit.in_branch is not False]
    if proof is not None and history and history[-1].slots[-1] > proof.slot:
        problems.append(f"epoch {history[-1].slots[-1]} was committed, the proof says {proof}")
    for before, after in itertools.pairwise(each for each in history if not each.restates):
        problems += _compare(before, after)
    if len({commit.incarnation for commit in history}) > 1:
        problems.append("commits of several logs (incarnations) of this name")
    return SinkReport(pipeline, sink, branch, state, tuple(problems), tuple(commits))


def _proof_state(
    table: Table, identity: SinkIdentity, branch: str
) -> tuple[Proof | None, str, list[str]]:
    metadata = table.metadata
    names = (identity.pipeline, identity.sink, branch)
    try:
        proof = read_proof(metadata, identity, branch)
    except CommitRefused as error:
        return None, "damaged", [error.what]
    if proof is None:
        return None, "none", ["tag and property are gone"]
    problems = []
    if proof_name(*names) not in metadata.refs:
        problems.append("the tag is gone; the next commit brings it back")
    if property_name(*names) not in metadata.properties:
        problems.append("the property is gone; the next commit brings it back")
    head = metadata.refs.get(branch)
    if head is None:
        problems.append(f"the branch {branch!r} is gone")
    else:
        try:
            check_not_rolled_back(
                metadata,
                table.io,
                identity=identity,
                branch=branch,
                head=head.snapshot_id,
                proof=proof,
                verified=None,
            )
        except CommitRefused as error:
            problems.append(error.what)
    return proof, f"epoch {proof.slot}", problems


def _ancestors(metadata: TableMetadata, branch: str) -> tuple[set[int], int]:
    """Snapshots that a branch descends from, and the sequence number of the oldest of them."""
    found = set()
    begin = 0
    ref = metadata.refs.get(branch)
    snapshot = metadata.snapshot_by_id(ref.snapshot_id) if ref else None
    while snapshot is not None:
        found.add(snapshot.snapshot_id)
        begin = snapshot.sequence_number or 0
        parent = snapshot.parent_snapshot_id
        snapshot = metadata.snapshot_by_id(parent) if parent is not None else None
    return found, begin


def _commit(snapshot: Snapshot, in_branch: bool | None) -> CommitReport:
    marks = snapshot.summary.additional_properties if snapshot.summary is not None else {}
    slots = tuple(int(slot) for slot in marks.get("frazil.slots", "0").split(","))
    previous = marks.get("frazil.previous-slot")
    positions = marks.get("frazil.positions")
    return CommitReport(
        snapshot=snapshot.snapshot_id,
        sequence=snapshot.sequence_number or 0,
        committed=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC).isoformat(
            timespec="milliseconds"
        ),
        slots=slots,
        attempt=int(marks.get("frazil.attempt", 0)),
        incarnation=marks.get("frazil.incarnation", ""),
        previous_slot=int(previous) if previous else None,
        rows=int(marks.get("added-records", 0)),
        files=int(marks.get("added-data-files", 0)),
        positions=json.loads(positions) if positions is not None else None,
        in_branch=in_branch,
        restates="frazil.restates" in marks,
    )


def _compare(before: CommitReport, after: CommitReport) -> list[str]:
    """What is wrong between two commits that follow each other."""
    problems = []
    last, first = before.slots[-1], after.slots[0]
    if first <= last:
        problems.append(f"overlap: epoch {first} was committed after epoch {last}")
    elif before.in_branch and after.previous_slot is not None and after.previous_slot != last:
        problems.append(
            f"hole: epoch {first} follows epoch {after.previous_slot}, the history has epoch {last}"
        )
    if after.attempt < before.attempt:
        problems.append(
            f"epoch {first} is of attempt {after.attempt}, an older one than epoch {last}'s"
        )
    for source, parts in (before.positions or {}).items():
        if after.positions is None:
            break
        for partition, position in parts.items():
            now = after.positions.get(source, {}).get(partition)
            if now is None:
                problems.append(f"hole: {source}/{partition} has no position in epoch {first}")
            elif _number(now) is not None and (_number(position) or 0) > (_number(now) or 0):
                problems.append(
                    f"overlap: {source}/{partition} went back from {position} to {now} in epoch "
                    f"{first}"
                )
    return problems


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _span(slots: Sequence[int]) -> str:
    return str(slots[0]) if len(slots) == 1 else f"{slots[0]}-{slots[-1]}"


def _short(positions: dict[str, dict[str, str]] | None, length: int = 60) -> str:
    if positions is None:
        return "left out, too many"
    text = ", ".join(
        f"{source}/{partition}@{position}"
        for source, parts in positions.items()
        for partition, position in parts.items()
    )
    return text if len(text) <= length else text[: length - 3] + "..."
