"""The suite that a source in Python has to pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from frazil.python_source import END, PartitionedSource, PartitionReader, PollingSource, Position
from frazil.row_batch import RowsDoNotFit, batch_of
from frazil.schema import SchemaLike, resolve
from frazil.testing.not_conforming import NotConforming, through_json

if TYPE_CHECKING:
    import pyarrow as pa

READS_MAX = 1_000
"""Reads of a partition that are looked at."""
OPENINGS_MAX = 25
"""Positions of a partition at which it is opened again."""
EMPTY_MAX = 3
"""Reads in a row that give nothing, after which a partition without an end counts as read."""


def source_conformance(
    make: Callable[[], PartitionedSource | PollingSource], *, schema: SchemaLike
) -> int:
    """Check that a source can be read again from every position that it has had.

    Parameters
    ----------
    make
        Makes the source, each time as a new process would. It has to have some rows; rows that come
        meanwhile may only come behind the others.
    schema
        As for `read_python`.

    Returns
    -------
    int
        Rows that were read.

    Raises
    ------
    NotConforming
        It is not what a run relies on.

    Examples
    --------
    >>> import frazil as fz
    >>> from frazil import testing
    >>> class Odd(fz.PollingSource):
    ...     def poll(self, cursor):
    ...         rows = [{"id": n} for n in range(cursor or 1, 20, 2)][:4]
    ...         return rows, rows[-1]["id"] + 2 if rows else cursor
    >>> testing.source_conformance(Odd, schema={"id": int})
    10
    """
    processes = _Processes(make)
    try:
        return _check(processes, resolve(schema))
    finally:
        processes.end()


def _check(processes: _Processes, columns: pa.Schema) -> int:
    first = processes.start()
    names = list(first.partitions)
    if not names:
        raise NotConforming("there is no partition: make a source that has some rows")
    again = list(processes.start().partitions)
    if sorted(names) != sorted(again):
        raise NotConforming(f"partitions are {names} once, and {again} for the next process")
    total = 0
    for partition, start in first.partitions.items():
        begun = _read(first, partition, start, columns)
        total += len(begun.rows)
        for number in _spread(len(begun.marks)):
            _check_replay(processes, partition, begun, number, columns)
    if not total:
        raise NotConforming("it has no rows: make a source that has some")
    return total


class _Processes:
    """Makes a source as a new process would; those before it are left as they are."""

    def __init__(self, make: Callable[[], PartitionedSource | PollingSource]) -> None:
        self._make = make
        self._started: list[_Opened] = []

    def start(self) -> _Opened:
        self._started.append(_Opened(self._make()))
        return self._started[-1]

    def end(self) -> None:
        """Have them let go of their connections, when everything was looked at."""
        for opened in self._started:
            for reader in opened.readers:
                reader.close()
            opened.source.close()


class _Opened:
    """A source with its partitions, either kind in the same way."""

    def __init__(self, source: PartitionedSource | PollingSource) -> None:
        self.source = source
        self.readers: list[PartitionReader] = []
        self.partitions: dict[str, Position] = {"poll": None}
        if isinstance(source, PartitionedSource):
            listed = source.partitions()
            named = dict(listed) if isinstance(listed, Mapping) else dict.fromkeys(listed)
            self.partitions = {
                name: through_json(at, f"partition {name!r}") for name, at in named.items()
            }

    def read(self, partition: str, position: Position) -> Iterator[tuple[Any, Position]]:
        """What each read gives, and the position behind it, until the end; without closing."""
        source = self.source
        if isinstance(source, PollingSource):
            while True:
                rows, position = source.poll(position)
                position = through_json(position, f"partition {partition!r}")
                yield rows, position
        reader = source.open(partition, position)
        self.readers.append(reader)
        while True:
            rows = reader.read()
            at = through_json(reader.position, f"partition {partition!r}")
            if through_json(reader.position, f"partition {partition!r}") != at:
                raise NotConforming(f"partition {partition!r}: position is another when read twice")
            if rows is END:
                return
            yield rows, at


class _Partition:
    """What was read of a partition: its rows, and how many of them are before each position."""

    def __init__(self, start: Position) -> None:
        self.rows: list[dict[str, Any]] = []
        self.marks: list[tuple[Position, int]] = [(start, 0)]


def _read(
    opened: _Opened, partition: str, position: Position, schema: pa.Schema, rows_max: int = 0
) -> _Partition:
    """Read until the end, or until nothing comes; of a part that is read again, so many rows."""
    found = _Partition(position)
    empty = 0
    reads = opened.read(partition, position)
    for _ in range(READS_MAX):
        given = next(reads, None)
        if given is None:
            break
        rows, at = given
        try:
            batch = batch_of(rows, schema)
        except RowsDoNotFit as error:
            raise NotConforming(
                f"partition {partition!r} at {found.marks[-1][0]!r} {error}"
            ) from None
        if batch.num_rows and at == found.marks[-1][0]:
            raise NotConforming(
                f"partition {partition!r}: {batch.num_rows} rows were read, and the position is "
                f"still {at!r}: they would be read again after a crash"
            )
        found.rows += batch.to_pylist()
        found.marks.append((at, len(found.rows)))
        empty = 0 if batch.num_rows else empty + 1
        if empty == EMPTY_MAX or (rows_max and len(found.rows) >= rows_max):
            break
    return found


def _check_replay(
    processes: _Processes,
    partition: str,
    begun: _Partition,
    number: int,
    schema: pa.Schema,
) -> None:
    """Leave the reader as it is and open another at one of its positions."""
    position, before = begun.marks[number]
    wanted = begun.rows[before:]
    got = _read(processes.start(), partition, position, schema, len(wanted)).rows[: len(wanted)]
    if got == wanted:
        return
    place = next(
        (i for i, pair in enumerate(zip(got, wanted, strict=False)) if pair[0] != pair[1]), -1
    )
    if place < 0:
        raise NotConforming(
            f"partition {partition!r} opened at {position!r} gives {len(got)} rows, and "
            f"{len(wanted)} were read behind it before: the others would be lost in a crash"
        )
    raise NotConforming(
        f"partition {partition!r} opened at {position!r}: row {place + 1} is {got[place]!r}, and "
        f"was {wanted[place]!r}: rows would be lost, or be there twice, after a crash"
    )


def _spread(count: int) -> Iterable[int]:
    """Numbers below `count`: all of them, or some with the first and the last."""
    if count <= OPENINGS_MAX:
        return range(count)
    return sorted({round(i * (count - 1) / (OPENINGS_MAX - 1)) for i in range(OPENINGS_MAX)})
