"""Sinks that users write in Python: flushed, prepared and committed, or given rows to commit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

Token: TypeAlias = Any
"""Anything that JSON has, up to 64 KiB: where prepared rows are."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """An epoch that is to become visible.

    Attributes
    ----------
    sink
        Whose: the same text for every epoch of a sink, and another for each sink and checkpoint
        log.
    epoch
        Its number. Commits come in the order of these; not every number comes.
    digest
        Of the manifest that says that it is to be.
    landed
        The epoch before it that the checkpoint log knows to have been committed; -1 if it knows of
        none. Who finds less was put back to an older state.
    tokens
        What the writers have prepared for it, one for each worker that had rows; none for a
        `TransactionalSink`.
    """

    sink: str
    epoch: int
    digest: str
    landed: int = -1
    tokens: tuple[Token, ...] = ()


class PythonSink:
    """What all sinks in Python have; derive from one of the others."""

    def start(self, schema: pa.Schema) -> None:
        """Look at what is written to, before anything is read: what can be refused is refused now.

        Parameters
        ----------
        schema
            Columns of the rows that will come.

        Examples
        --------
        >>> def start(self, schema):
        ...     self.client.create_table(self.table, schema)
        """
        return None

    def close(self) -> None:
        """Let go of connections, at the end of a run.

        Examples
        --------
        >>> def close(self):
        ...     self.client.close()
        """
        return None


class SimpleSink(PythonSink, ABC):
    """A sink that is flushed before every checkpoint: each row at least once.

    Its methods are never called by two threads at once, however many workers there are.

    Examples
    --------
    >>> import frazil as fz
    >>> class Printed(fz.SimpleSink):
    ...     def write(self, rows):
    ...         self.lines = [f"{row['id']}!" for row in rows.to_pylist()]
    ...     def flush(self):
    ...         print(*self.lines)
    >>> sink = fz.read_memory([{"id": 1}, {"id": 2}]).write_python(Printed())
    >>> report = fz.Pipeline("printed", sink, checkpoint="memory://printed").run(quiet=True)
    1! 2!
    """

    @abstractmethod
    def write(self, rows: pa.RecordBatch) -> None:
        """Take rows.

        Parameters
        ----------
        rows
            Some rows, with all columns of the stream; ``rows.to_pylist()`` gives dicts.

        Examples
        --------
        >>> def write(self, rows):
        ...     self.client.send(rows.to_pylist())
        """

    @abstractmethod
    def flush(self) -> None:
        """Return when the rows that were written are where nothing can lose them.

        The checkpoint that says that they were read is made after that. Without it a crash loses
        rows; with it, a crash behind it writes some again.

        Examples
        --------
        >>> def flush(self):
        ...     self.client.wait_for_answers()
        """


class SinkWriter(ABC):
    """Writes the rows of one worker for a `TwoPhaseSink`. Its methods are called by one thread.

    Examples
    --------
    >>> import frazil as fz, pathlib, uuid
    >>> class FileWriter(fz.SinkWriter):
    ...     def __init__(self, folder: pathlib.Path) -> None:
    ...         self.folder, self.rows = folder, []
    ...     def write(self, rows) -> None:
    ...         self.rows += rows.to_pylist()
    ...     def prepare(self) -> str:
    ...         name, rows = f"{uuid.uuid4()}.new", self.rows
    ...         (self.folder / name).write_text(repr(rows))  # a real one syncs it to the disk
    ...         self.rows = []
    ...         return name
    """

    @abstractmethod
    def write(self, rows: pa.RecordBatch) -> None:
        """Take rows of the epoch.

        Parameters
        ----------
        rows
            Some rows, with all columns of the stream; ``rows.to_pylist()`` gives dicts.

        Examples
        --------
        >>> def write(self, rows):
        ...     self.file.write(rows)
        """

    @abstractmethod
    def prepare(self) -> Token:
        """End the epoch: return when its rows are durable, but not visible, and say where they are.

        Rows that are written after that belong to the next epoch.

        Examples
        --------
        >>> def prepare(self):
        ...     return self.client.upload(self.file)
        """

    def close(self) -> None:
        """Let go of connections and files; what is prepared stays.

        Examples
        --------
        >>> def close(self):
        ...     self.file.close()
        """
        return None


class TwoPhaseSink(PythonSink, ABC):
    """A sink that keeps rows aside until their epoch is accepted: each exactly once.

    Examples
    --------
    >>> import frazil as fz, pathlib
    >>> class Files(fz.TwoPhaseSink):
    ...     def __init__(self, folder: pathlib.Path) -> None:
    ...         self.folder = folder
    ...     def open(self, sink, attempt, worker):
    ...         return FileWriter(self.folder)
    ...     def commit(self, commit):
    ...         for name in commit.tokens:
    ...             new = self.folder / name
    ...             if new.exists():  # else it was committed before
    ...                 new.rename(new.with_suffix(".rows"))
    >>> isinstance(Files(pathlib.Path(".")), fz.PythonSink)
    True
    """

    @abstractmethod
    def open(self, sink: str, attempt: int, worker: int) -> SinkWriter:
        """Make the writer of a worker; called in its thread, with its first row.

        Parameters
        ----------
        sink
            As in `Commit`.
        attempt
            Number of this start, by which prepared rows of dead ones can be told apart.
        worker
            Its number.

        Examples
        --------
        >>> def open(self, sink, attempt, worker):
        ...     return Writer(self.folder, f"{sink}-{attempt}-{worker}")
        """

    @abstractmethod
    def commit(self, commit: Commit) -> None:
        """Make the rows of an epoch visible, all of them at once; any number of times.

        It may be asked for an epoch that it has committed, by this process or another, also after
        later ones: then it changes nothing. An error that may pass (`ConnectError`,
        ConnectionError, TimeoutError) has it asked again; any other ends the run, and the next
        start asks.

        Parameters
        ----------
        commit
            What to commit.

        Examples
        --------
        >>> def commit(self, commit):
        ...     self.client.publish(commit.tokens)
        """

    def recover(self, sink: str, attempt: int, tokens: Sequence[Token]) -> None:
        """Remove what earlier attempts have prepared in vain; at a start, behind all of these.

        Parameters
        ----------
        sink
            As in `Commit`.
        attempt
            Number of this start: what others have prepared has a lower one.
        tokens
            Those that are still to be committed. Whatever else earlier attempts of this sink have
            prepared will never be asked for, unless it is visible already.

        Examples
        --------
        >>> def recover(self, sink, attempt, tokens):
        ...     self.client.remove(prefix=sink, all_but=tokens)
        """
        return None


class TransactionalSink(PythonSink, ABC):
    """A sink that commits the rows of an epoch together with its number: each exactly once.

    Rows wait beside the checkpoint log until their epoch is accepted. This is what a database is
    written by, whose transactions can not be left open over a crash.

    Examples
    --------
    >>> import frazil as fz
    >>> class Ledger(fz.TransactionalSink):
    ...     rows, epochs = [], {}
    ...     def commit(self, commit, rows):
    ...         if self.epochs.get(commit.sink, -1) >= commit.epoch:
    ...             return  # it is here already
    ...         new = [row for batch in rows for row in batch.to_pylist()]
    ...         self.rows += new  # a real one does both in one transaction
    ...         self.epochs[commit.sink] = commit.epoch
    >>> sink = fz.read_memory([{"id": 1}, {"id": 2}]).write_python(Ledger())
    >>> report = fz.Pipeline("ledger", sink, checkpoint="memory://ledger").run(quiet=True)
    >>> Ledger.rows
    [{'id': 1}, {'id': 2}]
    """

    def check(self, rows: pa.RecordBatch) -> None:
        """Look at rows before they are put aside: what it raises ends the run.

        What `commit` refuses is in the checkpoint log by then, and no later start gets past it.

        Parameters
        ----------
        rows
            Some rows, with all columns of the stream. Called by a thread of each worker.

        Examples
        --------
        >>> def check(self, rows):
        ...     if rows["id"].null_count:
        ...         raise ValueError("id is null in a row")
        """
        return None

    @abstractmethod
    def commit(self, commit: Commit, rows: Iterator[pa.RecordBatch]) -> None:
        """Write the rows of an epoch, and that this epoch is there, in one transaction.

        An epoch that is not above the one that is there was committed before: then it changes
        nothing. Errors are as those of `TwoPhaseSink.commit`; also reading `rows` may raise, and
        then nothing is to be visible.

        Parameters
        ----------
        commit
            Which epoch of which sink.
        rows
            Its rows, those of a worker in their order.

        Examples
        --------
        >>> def commit(self, commit, rows):
        ...     with self.database.transaction() as transaction:
        ...         if transaction.raise_epoch(commit.sink, commit.epoch):
        ...             for batch in rows:
        ...                 transaction.insert(batch.to_pylist())
        """
