"""Sources in Python: what they are asked, what they may give, and what a run makes of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import frazil as fz
import pyarrow as pa
import pytest
from frazil.run import runner

SCHEMA = pa.schema([pa.field("id", pa.int64(), False), pa.field("name", pa.string())])


class Numbers(fz.PartitionedSource):
    """Partitions of so many numbers, a few in each read."""

    ends = True

    def __init__(self, sizes: Mapping[str, int], per_read: int = 3) -> None:
        self.sizes = dict(sizes)
        self.per_read = per_read
        self.opened: list[tuple[str, Any]] = []
        self.committed: dict[str, Any] = {}
        self.closed: list[str] = []

    def partitions(self) -> Sequence[str] | Mapping[str, fz.Position]:
        return list(self.sizes)

    def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
        self.opened.append((partition, position))
        return NumbersReader(self, partition, 0 if position is None else position["next"])

    def close(self) -> None:
        self.closed.append("source")


class NumbersReader(fz.PartitionReader):
    def __init__(self, source: Numbers, partition: str, at: int) -> None:
        self.source, self.partition, self.at = source, partition, at

    def read(self) -> fz.Rows | fz.End:
        size = self.source.sizes[self.partition]
        if self.at >= size:
            return fz.END if self.source.ends else []
        ids = range(self.at, min(size, self.at + self.source.per_read))
        self.at = ids.stop
        return [{"id": n, "name": self.partition, "other": object()} for n in ids]

    @property
    def position(self) -> fz.Position:
        return {"next": self.at}

    def committed(self, position: fz.Position) -> None:
        self.source.committed[self.partition] = position

    def close(self) -> None:
        self.source.closed.append(self.partition)


def pipeline(
    source: fz.PartitionedSource | fz.PollingSource, folder: Path, **options: Any
) -> tuple[fz.Pipeline, fz.MemorySink]:
    sink = fz.read_python(source, schema=SCHEMA, name="numbers").write_memory()
    made = fz.Pipeline(
        "numbers", sink, checkpoint=str(folder), **{"checkpoint_every": "20ms", **options}
    )
    return made, sink


def ids(sink: fz.MemorySink) -> list[int]:
    return sorted(sink.table()["id"].to_pylist())


@pytest.mark.parametrize("workers", [1, 3])
def test_every_row_is_read_once(tmp_path: Path, workers: int) -> None:
    source = Numbers({"a": 100, "b": 7, "c": 0})
    run, sink = pipeline(source, tmp_path, workers=workers)
    report = run.run(quiet=True)
    assert ids(sink) == sorted([*range(100), *range(7)])
    assert sorted(source.opened) == [("a", None), ("b", None), ("c", None)]
    assert sorted(source.closed) == ["a", "b", "c", "source"]
    read = report.sources["numbers"]
    assert read.read == 107


def test_the_next_run_goes_on_behind_what_was_read(tmp_path: Path) -> None:
    source = Numbers({"a": 10})
    run, sink = pipeline(source, tmp_path)
    run.run(quiet=True)
    source.sizes = {"a": 25, "b": 4}
    run.run(quiet=True)
    assert ids(sink) == sorted([*range(25), *range(4)])
    assert source.opened[1:] == [("a", {"next": 10}), ("b", None)]


def test_until_now_ends_where_a_read_gives_nothing(tmp_path: Path) -> None:
    source = Numbers({"a": 10, "b": 0})
    source.ends = False
    run, sink = pipeline(source, tmp_path)
    run.run(until="now", quiet=True)
    assert ids(sink) == list(range(10))


def test_partitions_may_come_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_of = runner.settings_of
    monkeypatch.setattr(
        runner, "settings_of", lambda *a, **b: replace(settings_of(*a, **b), discover_every_s=0.05)
    )
    source = Numbers({"a": 10})
    source.ends = False
    run, sink = pipeline(source, tmp_path)
    handle = run.start(quiet=True)
    wait_for(lambda: sink.table().num_rows == 10)
    source.sizes["b"] = 5
    wait_for(lambda: sink.table().num_rows == 15)
    source.sizes["a"] = 12
    wait_for(lambda: sink.table().num_rows == 17)
    wait_for(lambda: source.committed == {"a": {"next": 12}, "b": {"next": 5}})
    handle.stop()
    assert ids(sink) == sorted([*range(12), *range(5)])


def wait_for(holds: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3_000):
        if holds():
            return
        tick.wait(0.01)
    raise AssertionError("it does not come")


class Arrow(Numbers):
    """Gives Arrow data, and says where partitions begin."""

    def partitions(self) -> Mapping[str, fz.Position]:
        return {name: {"next": 2} for name in self.sizes}

    def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
        return ArrowReader(self, partition, position["next"])


class ArrowReader(NumbersReader):
    def read(self) -> fz.Rows | fz.End:
        rows = super().read()
        if isinstance(rows, fz.End):
            return rows
        columns = {"name": [self.partition] * len(rows), "id": [row["id"] for row in rows]}
        table = pa.table(columns)
        return table if self.at % 2 else table.to_batches()[0]


def test_arrow_data_and_positions_to_begin_at(tmp_path: Path) -> None:
    run, sink = pipeline(Arrow({"a": 12}), tmp_path)
    run.run(quiet=True)
    assert ids(sink) == list(range(2, 12))


class Broken(Numbers):
    """Does something wrong at the third row."""

    def __init__(self, read: Callable[[NumbersReader], Any], at: Any = None) -> None:
        super().__init__({"a": 5}, per_read=2)
        self.bad, self.at = read, at

    def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
        return BrokenReader(self, partition, 0)


class BrokenReader(NumbersReader):
    source: Broken

    def read(self) -> Any:
        return super().read() if self.at < 2 else self.source.bad(self)

    @property
    def position(self) -> fz.Position:
        return self.at if self.at < 4 or self.source.at is None else self.source.at


def raises(reader: NumbersReader) -> Any:
    raise ValueError("boom\nbang")


def leaves(reader: NumbersReader) -> Any:
    sys.exit("enough")


def gives(rows: Any) -> Callable[[NumbersReader], Any]:
    return lambda reader: rows


def moves(reader: NumbersReader) -> Any:
    reader.at = 4
    return [{"id": 2}]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Broken(raises), 'BrokenReader.read of partition "a" at 2 raised ValueError: boom bang ('),
        (Broken(leaves), 'BrokenReader.read of partition "a" at 2 raised SystemExit: enough ('),
        (Broken(gives(None)), 'BrokenReader.read of partition "a" at 2 gave a NoneType'),
        (Broken(gives("text")), "gave a str, not a list of dicts or Arrow data"),
        (Broken(gives([{"id": 1}, {"id": "x"}])), "gave 'x' in field \"id\" of row 2"),
        (Broken(gives([{"id": 1}, {"name": "x"}])), 'gave null in field "id" of row 2'),
        (Broken(gives([{"id": 1}, 7])), "gave 7 as row 2, and rows are dicts"),
        (Broken(gives([{"id": 1 << 70}])), "gave 1180591620717411303424 in field"),
        (Broken(gives(pa.table({"id": [1]}))), 'gave no column "name" (it gave id)'),
        (Broken(gives(pa.table({"id": ["1"], "name": ["x"]}))), 'gave column "id" as string'),
        (Broken(gives([{"id": 1, "name": "x" * (65 << 20)}])), "bytes at once"),
        (Broken(moves, object()), 'BrokenReader.position of partition "a" at 2 gave a position'),
        (Broken(moves, float("nan")), "gave a position that is no JSON"),
        (Broken(moves, "x" * 20_000), "gave a position of 20002 bytes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, source: Broken, message: str) -> None:
    run, _ = pipeline(source, tmp_path)
    with pytest.raises(fz.SourceError) as caught:
        run.run(quiet=True)
    assert message in str(caught.value)
    assert str(caught.value).startswith("reading numbers: ")


class BadList(Numbers):
    def __init__(self, listed: Any) -> None:
        super().__init__({})
        self.listed = listed

    def partitions(self) -> Any:
        if isinstance(self.listed, Exception):
            raise self.listed
        return self.listed


class BadOpen(Numbers):
    def open(self, partition: str, position: fz.Position) -> Any:
        return iter([])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (BadList(KeyError("x")), "numbers: BadList.partitions raised KeyError: 'x' ("),
        (BadList(["a", "a"]), "gave a partition twice"),
        (BadList("ab"), "gave a str, not a list of names"),
        (BadList(None), "gave a NoneType, not a list of names"),
        (BadList([7]), "gave 7 as the name"),
        (BadList({"a": {1}}), "no JSON"),
        (BadList([str(n) for n in range(257)]), "gave 257 partitions, up to 256"),
        (BadOpen({"a": 1}), 'BadOpen.open of partition "a" at null gave a list_iterator'),
    ],
)
def test_what_is_wrong_with_partitions(tmp_path: Path, source: Numbers, message: str) -> None:
    run, _ = pipeline(source, tmp_path)
    with pytest.raises(fz.SourceError) as caught:
        run.run(quiet=True)
    assert message in str(caught.value)


class Flaky(Numbers):
    """Loses its connection at every other read; the rows are the same."""

    def __init__(self) -> None:
        super().__init__({"a": 20})
        self.reads = 0
        self.listings = 0

    def partitions(self) -> Sequence[str]:
        self.listings += 1
        if self.listings == 1:
            raise fz.ConnectError("the system is away")
        return list(self.sizes)

    def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
        super().open(partition, position)
        return FlakyReader(self, partition, 0 if position is None else position["next"])


class FlakyReader(NumbersReader):
    source: Flaky

    def read(self) -> fz.Rows | fz.End:
        self.source.reads += 1
        rows = super().read()
        if self.source.reads % 4 == 2:
            raise TimeoutError("no answer")
        return rows

    def close(self) -> None:
        raise ConnectionError("it is broken")


def test_what_passes_is_tried_again_at_the_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frazil.run.source_readers.RETRY_FIRST_S", 0.001)
    source = Flaky()
    run, sink = pipeline(source, tmp_path)
    run.run(quiet=True)
    assert ids(sink) == list(range(20))
    assert len(source.opened) > 2


class Polled(fz.PollingSource):
    every: ClassVar[str] = "10ms"

    def __init__(self, rows: int, per_poll: int) -> None:
        self.rows, self.per_poll = rows, per_poll
        self.cursors: list[Any] = []

    def poll(self, cursor: fz.Position) -> tuple[fz.Rows, fz.Position]:
        self.cursors.append(cursor)
        begin = cursor or 0
        end = min(self.rows, begin + self.per_poll)
        return [{"id": n} for n in range(begin, end)], end


class Drained(Polled):
    every: ClassVar[str] = "1h"
    drain: ClassVar[bool] = True


def test_a_poll_goes_on_at_its_cursor(tmp_path: Path) -> None:
    source = Polled(10, 4)
    run, sink = pipeline(source, tmp_path)
    for seen in (4, 8, 10, 10):
        run.run(until="now", quiet=True)
        assert ids(sink) == list(range(seen))
    assert source.cursors == [None, 4, 8, 10]


def test_it_is_polled_again_and_again(tmp_path: Path) -> None:
    run, sink = pipeline(Polled(50, 4), tmp_path)
    handle = run.start(quiet=True)
    wait_for(lambda: sink.table().num_rows == 50)
    handle.stop()
    assert ids(sink) == list(range(50))


def test_drain_polls_until_there_is_nothing(tmp_path: Path) -> None:
    source = Drained(10, 4)
    run, sink = pipeline(source, tmp_path)
    run.run(until="now", quiet=True)
    assert ids(sink) == list(range(10))


class NoPair(fz.PollingSource):
    def poll(self, cursor: fz.Position) -> Any:
        return []


def test_a_poll_without_a_cursor_is_named(tmp_path: Path) -> None:
    run, _ = pipeline(NoPair(), tmp_path)
    with pytest.raises(fz.SourceError, match=r"NoPair\.poll of partition") as caught:
        run.run(until="now", quiet=True)
    assert "gave no pair of rows and a cursor" in str(caught.value)


def test_only_the_columns_that_are_needed_are_looked_at(tmp_path: Path) -> None:
    rows = fz.read_python(Broken(gives([{"id": 7, "name": 8}])), schema=SCHEMA)
    sink = rows.select("id").write_memory()
    handle = fz.Pipeline("few", sink, checkpoint=str(tmp_path), checkpoint_every="20ms").start()
    wait_for(lambda: 7 in sink.table()["id"].to_pylist())
    handle.stop()


def test_a_look_acknowledges_nothing() -> None:
    class Kept(Numbers):
        def open(self, partition: str, position: fz.Position) -> fz.PartitionReader:
            return KeptReader(self, partition, 0 if position is None else position["next"])

    class KeptReader(NumbersReader):
        def committed(self, position: fz.Position) -> None:
            raise AssertionError("nothing may be forgotten for a look")

    source = Kept({"a": 60_000}, per_read=10)
    assert fz.read_python(source, schema=SCHEMA).head(50_000).num_rows == 50_000


def test_what_is_no_source_is_refused() -> None:
    with pytest.raises(fz.TypeMismatch, match="read_python got a list"):
        fz.read_python([], schema=SCHEMA)  # type: ignore[arg-type]
    with pytest.raises(fz.PlanError, match="options of fz"):
        fz.read_python(Polled(1, 1), schema=Aliased)


class Aliased(fz.Schema):
    id: int = fz.field(source="key.id")


def test_another_class_does_not_go_on_with_its_positions(tmp_path: Path) -> None:
    pipeline(Numbers({"a": 3}), tmp_path)[0].run(quiet=True)
    with pytest.raises(fz.CheckpointError, match="does not fit"):
        pipeline(Polled(3, 3), tmp_path)[0].run(until="now", quiet=True)


def test_a_reader_that_waits_does_not_hold_up_others(tmp_path: Path) -> None:
    """Nor do the threads of a run that has ended live on."""
    go = threading.Event()

    def wait(reader: NumbersReader) -> Any:
        go.wait(30)
        return fz.END

    slow = fz.read_python(Broken(wait), schema=SCHEMA, name="slow")
    fast = fz.read_python(Numbers({"b": 2_000}), schema=SCHEMA, name="fast")
    sink = slow.union(fast).write_memory()
    handle = fz.Pipeline("both", sink, checkpoint=str(tmp_path), checkpoint_every="20ms").start()
    wait_for(lambda: sink.table().num_rows == 2_002)
    go.set()
    handle.wait()
    assert not [each for each in threading.enumerate() if each.name.startswith("frazil-read")]


def test_it_is_explained() -> None:
    run = fz.Pipeline("n", fz.read_python(Drained(1, 1), schema=SCHEMA).write_memory())
    assert "read_python Drained" in run.explain()
    assert "in Python, polled every 1h" in run.explain()
