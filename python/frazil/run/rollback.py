"""Putting a pipeline back to an earlier epoch: its tables, then its log (rules R2 and R3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frazil.checkpoint import CheckpointLog, Entry, Landed, Rewind
from frazil.checkpoint.history import with_token
from frazil.checkpoint.log import PATIENCE_S
from frazil.checkpoint.reader import read_log
from frazil.checkpoint.rewind import find_base, last_token, sinks_of
from frazil.checkpoint.sink_ids import step_of, table_of
from frazil.errors import RewindRefused
from frazil.run.runner import prepare

if TYPE_CHECKING:
    from frazil.iceberg.restate import PutBack
    from frazil.pipeline import Pipeline
    from frazil.run.runnable import Runnable, SinkTarget


@dataclass(frozen=True, slots=True)
class TableBack:
    """What a rollback does to one sink's table."""

    sink: str
    epoch: int | None  # the last one it will show, None for none
    undone: int  # snapshots that go
    rows: int  # that go with them


def plan_rollback(pipeline: Pipeline, to: int) -> list[TableBack]:
    """Say what `roll_back` would do to tables; nothing is changed. Raises as it does."""
    runnable = prepare(pipeline)
    try:
        found = _ways_back(runnable, read_log(runnable.store, below=to), to)
        return _say_all(runnable, found)
    finally:
        _close(runnable)


def roll_back(
    pipeline: Pipeline, to: int, *, takeover: bool = False, patience_s: float = PATIENCE_S
) -> list[TableBack]:
    """Put the tables of a pipeline back to a slot of its log, and the log with them.

    The next run goes on from there. It may be stopped at any moment and asked again: until the log
    is back, tables that are back are refused by a run, and found to be right by the next call.

    Parameters
    ----------
    pipeline
        Whose; it is not run.
    to
        The slot.
    takeover, patience_s
        As for `CheckpointLog.open`.

    Raises
    ------
    RewindRefused, CommitRefused
        A table or the log cannot go back to that slot. If it is a table that was found out later
        than others were put back, ask again.
    CommitUnknown
        A catalog does not answer, or others are faster; ask again.
    LogAdvancing
        The pipeline is running.
    """
    runnable = prepare(pipeline)
    store = runnable.store
    try:
        _ways_back(runnable, read_log(store, below=to), to)  # refused before anybody is disturbed
        CheckpointLog.open(store, takeover=takeover, patience_s=patience_s)
        entries = read_log(store, below=to)
        incarnation = entries[-1].manifest.incarnation
        found = _ways_back(runnable, entries, to)
        for _, way, _ in found:
            if way is not None:
                way.commit()
        wanted = {sink: want for sink, _, want in found}

        def proof(sink: str) -> Landed | None:
            """What a table shows, looked at anew: it has to be what it was put back to."""
            want = wanted[sink]
            again = _way_back(_found(runnable, sink), incarnation, want)
            if again is not None:
                raise RewindRefused(
                    f"sink {_found(runnable, sink).name!r}: something was committed to its table "
                    "while it was put back",
                    "see that no process of the pipeline runs, and ask again",
                )
            return want

        CheckpointLog.open(store, rewind=Rewind(to=to, proofs=proof), takeover=True)
        return _say_all(runnable, found)
    finally:
        _close(runnable)


def _ways_back(
    runnable: Runnable, entries: Sequence[Entry], to: int
) -> list[tuple[str, PutBack | None, Landed | None]]:
    """How each sink gets back: its id, the way if there is one to go, what it will show."""
    from frazil.run.iceberg_target import IcebergTarget

    url = runnable.store.url
    if not entries:
        raise RewindRefused(f"{url}: there is no log to go back in")
    base = find_base(url, entries, to)
    newest = entries[-1].manifest
    ways = []
    for sink in sinks_of(entries, newest):
        want = last_token(entries, base, sink)
        target = _target(runnable, sink)
        if target is None:
            raise RewindRefused(
                f"{url}: the program has no sink {sink!r}, which has epochs in the log",
                "use the program that wrote them",
            )
        if isinstance(target, IcebergTarget):
            ways.append((sink, target.way_back(newest.incarnation, want), want))
            continue
        later = [entry.slot for entry in with_token(entries, sink) if entry.slot > to]
        if later:
            raise RewindRefused(
                f"{url}: sink {target.name!r} is not a table, and has got epoch {later[-1]}: that "
                "cannot be taken back"
            )
        ways.append((sink, None, want))
    return ways


def _target(runnable: Runnable, sink: str) -> SinkTarget | None:
    """What a sink of the log writes to: one with many tables has a sink for each."""
    from frazil.run.route_target import RouteTarget

    target = runnable.targets.get(step_of(sink))
    table = table_of(sink)
    if isinstance(target, RouteTarget) and table is not None:
        return target.table(table).existing()
    return target if table is None else None


def _found(runnable: Runnable, sink: str) -> SinkTarget:
    target = _target(runnable, sink)
    assert target is not None  # it was found before
    return target


def _say_all(
    runnable: Runnable, found: Sequence[tuple[str, PutBack | None, Landed | None]]
) -> list[TableBack]:
    from frazil.run.route_target import RouteTarget

    targets = ((_found(runnable, sink), way, want) for sink, way, want in found)
    return [_say(t.name, way, want) for t, way, want in targets if not isinstance(t, RouteTarget)]


def _way_back(target: SinkTarget, incarnation: str, want: Landed | None) -> PutBack | None:
    from frazil.run.iceberg_target import IcebergTarget

    return target.way_back(incarnation, want) if isinstance(target, IcebergTarget) else None


def _say(sink: str, way: PutBack | None, want: Landed | None) -> TableBack:
    return TableBack(
        sink,
        want.slot if want else None,
        len(way.undone) if way is not None else 0,
        way.rows if way is not None else 0,
    )


def _close(runnable: Runnable) -> None:
    for target in runnable.targets.values():
        target.close()
