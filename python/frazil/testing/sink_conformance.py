"""The suite that a sink in Python has to pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from frazil.python_sink import (
    Commit,
    SimpleSink,
    SinkWriter,
    Token,
    TransactionalSink,
    TwoPhaseSink,
)
from frazil.row_batch import batch_of
from frazil.schema import SchemaLike, resolve
from frazil.testing.not_conforming import NotConforming, through_json


def sink_conformance(
    make: Callable[[], SimpleSink | TwoPhaseSink | TransactionalSink],
    read: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    schema: SchemaLike | None = None,
    row: Callable[[int], Mapping[str, Any]] | None = None,
) -> int:
    """Check that a sink has every row once, whatever is repeated or left undone by a crash.

    Parameters
    ----------
    make
        Makes the sink, each time as a new process would, on the same place.
    read
        Gives the rows that are visible there now, in any order. It has to be empty at first.
    schema
        Of the rows; default ``{"id": int, "text": str}``.
    row
        Makes the row of a number, another for each; needed with a schema.

    Returns
    -------
    int
        Rows that are visible at the end.

    Raises
    ------
    NotConforming
        It is not what a run relies on.

    Examples
    --------
    >>> import frazil as fz
    >>> from frazil import testing
    >>> rows, epochs = [], {}
    >>> class Ledger(fz.TransactionalSink):
    ...     def commit(self, commit, batches):
    ...         if epochs.get(commit.sink, -1) < commit.epoch:
    ...             rows.extend([row for batch in batches for row in batch.to_pylist()])
    ...             epochs[commit.sink] = commit.epoch
    >>> testing.sink_conformance(Ledger, lambda: rows)
    18
    """
    columns = pa.schema([pa.field("id", pa.int64(), False), pa.field("text", pa.string(), False)])
    place = _Place(
        make,
        read,
        columns if schema is None else resolve(schema),
        row or (lambda number: {"id": number, "text": f"row {number}"}),
    )
    place.expect("at first")
    sink = make()
    try:
        if isinstance(sink, SimpleSink):
            _check_flushed(place)
        elif isinstance(sink, TwoPhaseSink):
            _check_two_phases(place)
        else:
            _check_transactions(place)
    finally:
        place.end()
        sink.close()
    return sum(place.visible.values())


class _Place:
    """What is written to, and what has to be visible there."""

    def __init__(
        self,
        make: Callable[[], Any],
        read: Callable[[], Iterable[Mapping[str, Any]]],
        schema: pa.Schema,
        row: Callable[[int], Mapping[str, Any]],
    ) -> None:
        self.make = make
        self.schema = schema
        self.visible: Counter[str] = Counter()
        # Of processes that have died: nothing closes them before everything was looked at.
        self.abandoned: list[SinkWriter] = []
        self._made: list[Any] = []
        self._read = read
        self._row = row
        self._next = 0

    def rows(self, count: int = 3) -> pa.RecordBatch:
        """Rows that were not written before."""
        numbers = range(self._next, self._next + count)
        self._next += count
        return batch_of([self._row(number) for number in numbers], self.schema)

    def started(self) -> Any:
        """The sink of a new process."""
        sink = self.make()
        self._made.append(sink)
        sink.start(self.schema)
        return sink

    def end(self) -> None:
        """Have the dead let go of their connections."""
        for writer in self.abandoned:
            writer.close()
        for sink in self._made:
            sink.close()

    def expect(self, when: str, *more: pa.RecordBatch) -> None:
        """Compare what is visible; `more` becomes visible now."""
        for batch in more:
            self.visible.update(map(_text, batch.to_pylist()))
        found = self.found()
        if found == self.visible:
            return
        lost = sorted((self.visible - found).elements())
        others = sorted((found - self.visible).elements())
        said = [f"{len(lost)} rows are missing: {lost[0]}"] if lost else []
        said += [f"{len(others)} rows are there that must not be: {others[0]}"] if others else []
        raise NotConforming(f"{when}: {'; '.join(said)}")

    def found(self) -> Counter[str]:
        return Counter(map(_text, self._read()))


def _text(row: Mapping[str, Any]) -> str:
    return repr(sorted(row.items()))


_SINK = "conformance.sink.0a1b2c3d"


def _commit(epoch: int, *tokens: Token) -> Commit:
    return Commit(sink=_SINK, epoch=epoch, digest=f"{epoch:064x}", tokens=tokens)


def _check_flushed(place: _Place) -> None:
    sink = place.started()
    first, second = place.rows(), place.rows()
    sink.write(first)
    sink.write(second)
    sink.flush()
    place.expect("after a flush, by another process", first, second)
    sink.flush()
    place.expect("after a flush without rows")
    left = place.rows()
    sink.write(left)  # the process dies: these may be there or not
    again = place.started()
    again.write(left)
    again.flush()
    wanted = place.visible + Counter(map(_text, left.to_pylist()))
    lost = sorted((wanted - place.found()).elements())
    if lost:
        raise NotConforming(f"after a crash and a flush: {len(lost)} rows are missing: {lost[0]}")
    place.visible = place.found()


def _check_two_phases(place: _Place) -> None:
    """In the order in which the first failure says most."""
    sink: TwoPhaseSink = place.started()
    sink.recover(_SINK, 1, [])
    writer = _writer(sink, 1, 0)
    first = place.rows()
    token = _prepared(place, writer, first)
    place.expect("after prepare, before commit")
    sink.commit(_commit(1, token))
    place.expect("after commit", first)
    sink.commit(_commit(1, token))
    place.expect("after the same commit again")
    other: TwoPhaseSink = place.started()
    other.commit(_commit(1, token))
    place.expect("after the same commit again, by another process")
    _check_prepared_is_durable(place, writer)
    _check_pending_epochs(place)
    _check_abandoned(place)


def _check_prepared_is_durable(place: _Place, writer: SinkWriter) -> None:
    rows = place.rows()
    token = _prepared(place, writer, rows)
    place.abandoned.append(writer)  # the process dies here
    sink: TwoPhaseSink = place.started()
    sink.recover(_SINK, 2, [token])
    place.expect("after a crash behind prepare")
    sink.commit(_commit(2, token))
    place.expect("after a crash behind prepare, and the commit by the next process", rows)


def _check_pending_epochs(place: _Place) -> None:
    """Two epochs of two workers wait; a process dies between their commits."""
    sink: TwoPhaseSink = place.started()
    sink.recover(_SINK, 3, [])
    writers = [_writer(sink, 3, worker) for worker in (0, 1)]
    epochs, tokens = [], []
    for _ in range(2):
        batches = [place.rows(1) for _ in writers]
        epochs.append(batches)
        tokens.append(
            [_prepared(place, each, rows) for each, rows in zip(writers, batches, strict=True)]
        )
    place.expect("with two epochs that are prepared")
    sink.commit(_commit(3, *tokens[0]))
    place.expect("after the commit of the first of two epochs", *epochs[0])
    place.abandoned.extend(writers)
    other: TwoPhaseSink = place.started()
    other.recover(_SINK, 4, [*tokens[0], *tokens[1]])
    other.commit(_commit(3, *tokens[0]))
    other.commit(_commit(4, *tokens[1]))
    place.expect("after a crash between the commits of two epochs", *epochs[1])
    sink.commit(_commit(3, *tokens[0]))
    sink.commit(_commit(4, *tokens[1]))
    place.expect("after an older process has committed them once more")


def _check_abandoned(place: _Place) -> None:
    """What no manifest names is never visible, and does not disturb."""
    sink: TwoPhaseSink = place.started()
    sink.recover(_SINK, 5, [])
    writer = _writer(sink, 5, 0)
    _prepared(place, writer, place.rows())
    writer.write(place.rows())
    place.abandoned.append(writer)
    other: TwoPhaseSink = place.started()
    other.recover(_SINK, 6, [])
    place.expect("after a crash with rows that are in no checkpoint")
    writer = _writer(other, 6, 0)
    rows = place.rows(2)
    other.commit(_commit(5, _prepared(place, writer, rows)))
    place.expect("after a commit behind such a crash", rows)
    other.recover(_SINK, 7, [])
    place.expect("after a start without anything left to commit")
    place.abandoned.append(writer)


def _writer(sink: TwoPhaseSink, attempt: int, worker: int) -> SinkWriter:
    return sink.open(_SINK, attempt, worker)


def _prepared(place: _Place, writer: SinkWriter, rows: pa.RecordBatch) -> Token:
    writer.write(rows.slice(0, 1))
    if rows.num_rows > 1:
        writer.write(rows.slice(1))
    return through_json(writer.prepare(), "prepare")


class _Lost(ConnectionError):
    """Rows that wait cannot be read now."""


def _check_transactions(place: _Place) -> None:
    sink: TransactionalSink = place.started()
    first, second = place.rows(), place.rows()
    sink.commit(_commit(1), iter([first, second]))
    place.expect("after a commit", first, second)
    sink.commit(_commit(1), iter([first, second]))
    place.expect("after the same commit again")
    other: TransactionalSink = place.started()
    other.commit(_commit(1), iter([first, second]))
    place.expect("after the same commit again, by another process")
    third, fourth = place.rows(), place.rows()
    _commit_halfway(other, third)
    place.expect("after a commit that was broken off")
    other.commit(_commit(4), iter([third, fourth]))
    place.expect("after a commit that was broken off, and once more", third, fourth)
    sink.commit(_commit(1), iter([first, second]))
    place.expect("after an older process has committed an older epoch once more")
    sink.commit(_commit(4), iter([third, fourth]))
    place.expect("after an older process has committed the same epoch once more")
    _check_other_sink(place, sink)
    last = place.rows()
    place.started().commit(_commit(5), iter([last]))
    place.expect("after the commit of the next epoch", last)


def _commit_halfway(sink: TransactionalSink, rows: pa.RecordBatch) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield rows
        raise _Lost("the store is away")

    try:
        sink.commit(_commit(4), broken())
    except _Lost:
        return
    except Exception as error:
        if isinstance(error.__cause__, _Lost) or isinstance(error.__context__, _Lost):
            return
        raise NotConforming(
            f"reading rows raised in commit, and it raised {type(error).__name__}: {error}; the "
            "error has to come out, or be its cause"
        ) from error
    raise NotConforming("reading rows raised in commit, and it returned: the rows would be lost")


def _check_other_sink(place: _Place, sink: TransactionalSink) -> None:
    rows = place.rows()
    commit = Commit(sink="conformance.other.11223344", epoch=2, digest="0" * 64)
    sink.commit(commit, iter([rows]))
    place.expect("after an epoch of another sink, whose numbers are its own", rows)
