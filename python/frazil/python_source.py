"""Sources that users write in Python: partitions with positions, or a poll with a cursor."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pyarrow as pa

if TYPE_CHECKING:
    from frazil.duration import Duration

Position: TypeAlias = Any
"""Anything that JSON has: a number, a text, a list, a dict with texts as keys, or None."""


class End(enum.Enum):
    """What a reader gives when nothing will come any more."""

    END = "end"

    def __repr__(self) -> str:
        return "fz.END"


END = End.END
"""What `PartitionReader.read` gives when nothing will come any more."""

Rows: TypeAlias = Sequence[Mapping[str, Any]] | pa.RecordBatch | pa.Table
"""Rows of one read: dicts, or Arrow data."""


class PartitionReader(ABC):
    """Reads one partition in order. Its methods are called by one thread, its own.

    Examples
    --------
    >>> import frazil as fz
    >>> class Letters(fz.PartitionReader):
    ...     def __init__(self, word: str, at: int) -> None:
    ...         self.word, self.at = word, at
    ...     def read(self) -> fz.Rows | fz.End:
    ...         if self.at == len(self.word):
    ...             return fz.END
    ...         self.at += 1
    ...         return [{"letter": self.word[self.at - 1]}]
    ...     @property
    ...     def position(self) -> int:
    ...         return self.at
    >>> reader = Letters("ab", 1)
    >>> reader.read(), reader.position, reader.read()
    ([{'letter': 'b'}], 2, fz.END)
    """

    @abstractmethod
    def read(self) -> Rows | End:
        """Give the next rows, none if there are none now, or `END` if there will never be more.

        It may wait for rows, for about a second: the end of a run waits for it. An error that may
        pass (`ConnectError`, ConnectionError, TimeoutError) has the partition opened again, at the
        position of the last read; any other ends the run.

        Examples
        --------
        >>> def read(self):
        ...     return [{"id": 1}, {"id": 2}]
        """

    @property
    @abstractmethod
    def position(self) -> Position:
        """Where to read next, behind all rows that were given; JSON of up to 16 KiB.

        A reader that is opened there gives the rows that follow, the same ones and in the same
        order as this one would. How they are divided into reads does not matter.
        """

    def committed(self, position: Position) -> None:
        """Take note that every sink has the rows before a position: they may be forgotten.

        Parameters
        ----------
        position
            One that this reader, or one before it, has had.

        Examples
        --------
        >>> def committed(self, position):
        ...     self.queue.acknowledge(up_to=position)
        """
        return None

    def close(self) -> None:
        """Let go of connections and files; called once.

        Examples
        --------
        >>> def close(self):
        ...     self.file.close()
        """
        return None


class PartitionedSource(ABC):
    """A source with partitions, each in an order of its own, read from a position on.

    Attributes
    ----------
    ends
        True: every partition comes to its `END` by itself, and when all have, a run ends.

    Examples
    --------
    >>> import frazil as fz
    >>> class Squares(fz.PartitionedSource):
    ...     ends = True
    ...     def partitions(self):
    ...         return ["small"]
    ...     def open(self, partition, position):
    ...         return SquaresReader(position or 0)
    >>> class SquaresReader(fz.PartitionReader):
    ...     def __init__(self, n):
    ...         self.n = n
    ...     def read(self):
    ...         self.n += 1
    ...         return fz.END if self.n > 3 else [{"n": self.n, "square": self.n**2}]
    ...     @property
    ...     def position(self):
    ...         return self.n
    >>> sink = fz.read_python(Squares(), schema={"n": int, "square": int}).write_memory()
    >>> report = fz.Pipeline("squares", sink, checkpoint="memory://squares").run(quiet=True)
    >>> sink.table()["square"].to_pylist()
    [1, 4, 9]
    """

    ends: ClassVar[bool] = False

    @abstractmethod
    def partitions(self) -> Sequence[str] | Mapping[str, Position]:
        """List the partitions there are now: names, or names with positions to begin at.

        It is asked at the start and every few seconds from then on; partitions that are new are
        read from the next checkpoint on. The position is used for those only. One that is not
        listed at a start is not read.

        Examples
        --------
        >>> def partitions(self):
        ...     return ["orders-0", "orders-1"]
        """

    @abstractmethod
    def open(self, partition: str, position: Position) -> PartitionReader:
        """Open a partition at a position that a reader of it has had; in the reader's thread.

        Parameters
        ----------
        partition
            Its name.
        position
            Where to read next, as JSON gives it back (a tuple comes as a list); None, or what
            `partitions` says, where nothing was read yet.

        Examples
        --------
        >>> def open(self, partition, position):
        ...     return Reader(self.client, partition, position or 0)
        """

    def close(self) -> None:
        """Let go of what all readers share, at the end of a run.

        Examples
        --------
        >>> def close(self):
        ...     self.client.close()
        """
        return None


class PollingSource(ABC):
    """A source that is asked now and then for what came since a cursor.

    Attributes
    ----------
    every
        How often it is asked.
    drain
        True: as long as it gives rows it is asked again at once.

    Examples
    --------
    >>> import frazil as fz
    >>> class Readings(fz.PollingSource):
    ...     every = "1m"
    ...     def poll(self, cursor):
    ...         rows = [{"id": n, "value": n / 2} for n in range(4) if n > (cursor or 0)]
    ...         return rows, rows[-1]["id"] if rows else cursor
    >>> sink = fz.read_python(Readings(), schema={"id": int, "value": float}).write_memory()
    >>> pipeline = fz.Pipeline("readings", sink, checkpoint="memory://readings")
    >>> report = pipeline.run(until="now", quiet=True)
    >>> sink.table()["id"].to_pylist()
    [1, 2, 3]
    """

    every: ClassVar[Duration] = "10s"
    drain: ClassVar[bool] = False

    @abstractmethod
    def poll(self, cursor: Position) -> tuple[Rows, Position]:
        """Give the rows behind a cursor, and the cursor behind them; in one thread.

        It may be asked again with an older cursor, after a crash: what it gives then takes the
        place of what it gave before. It must not skip a row that comes into being with a key
        before the cursor, like that of a transaction that commits late.

        Parameters
        ----------
        cursor
            None at first; then what this method has given last, as JSON gives it back.

        Examples
        --------
        >>> def poll(self, cursor):
        ...     rows = self.client.orders(after=cursor, limit=1_000)
        ...     return rows, rows[-1]["id"] if rows else cursor
        """

    def close(self) -> None:
        """Let go of connections, at the end of a run.

        Examples
        --------
        >>> def close(self):
        ...     self.client.close()
        """
        return None
