"""Tables by key in which others had or have a hand: taken over, and rewritten carelessly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow as pa
import pytest
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import CommitRefused, PlanError
from frazil.iceberg.brought_back import find_brought_back
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.key_columns import read_columns
from frazil.iceberg.live_files import LiveFiles
from pyiceberg.exceptions import NoSuchTableError

from tests.pipelines.events import Event, counted, events_at
from tests.pipelines.foreign import delete_rows, live_files, rewrite, write_rows
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.ordered import draw_apart
from tests.pipelines.upserts import Kept, Mirrors
from tests.services.iceberg_java import compact_with_java

if TYPE_CHECKING:
    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.java_reader import JavaReader
    from tests.services.rest_catalog import RestCatalog

SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "6")))
Version = Literal[2, 3]
VERSIONS = pytest.mark.parametrize("version", [2, 3])


def named(*ids: int, users: int = 6, begin: int = 0) -> list[Event]:
    """Events of users in turn."""
    return [{**event, "user": f"u{begin + i % users}"} for i, event in enumerate(events_at(*ids))]


def totals(events: fz.Stream) -> Mapping[str, Kept]:
    """How many rows each user has."""
    return {"totals": Kept(events.group_by("user").agg(rows=fz.count()), ["user"])}


def found(mirrors: Mirrors, name: str = "totals") -> dict[str, int]:
    """The table."""
    rows = mirrors.iceberg(name).scan().to_arrow().to_pylist()
    assert len({row["user"] for row in rows}) == len(rows)
    return {row["user"]: row["rows"] for row in rows}


@VERSIONS
def test_rewrite_that_brings_rows_back(
    version: Version, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """A program reads the table; rows are replaced; then it puts what it read into the place of the
    files it read. The next commit deletes what was brought back, and only that.
    """
    events = named(*range(18))
    mirrors = Mirrors([events], totals, tmp_path, version=version)
    mirrors.partitions = [events[:6]]
    mirrors.run()
    mirrors.partitions = [events[:8]]  # u0 and u1 have newer rows in files of their own
    mirrors.run()
    table = mirrors.iceberg("totals")
    rows, files = table.scan().to_arrow(), live_files(table)
    mirrors.partitions = [events[:11]]  # u2, u3, u4 are replaced meanwhile
    mirrors.run()
    rewrite(open_catalog(mirrors.properties).load_table("t.totals"), rows, files)
    doubled = mirrors.iceberg("totals").scan().to_arrow()
    assert sorted(doubled.column("user").to_pylist()) == sorted(
        [*(f"u{i}" for i in range(6)), "u2", "u3", "u4"]
    )
    mirrors.partitions = [events[:12]]
    mirrors.run()
    summary: Any = mirrors.iceberg("totals").metadata.current_snapshot().summary  # type: ignore[union-attr]
    assert summary["frazil.brought-back-by-others"] == "3"
    assert found(mirrors) == {f"u{i}": 2 for i in range(6)}
    mirrors.partitions = [events]
    mirrors.run()
    expected = [{"user": f"u{i}", "rows": 3} for i in range(6)]
    mirrors.check_rows("totals", expected, duckdb_reader)


def test_rewrite_of_which_nothing_is_left(tmp_path: Path) -> None:
    """What it brought back cannot be told, and that is said."""
    events = named(*range(14))
    mirrors = Mirrors([events], totals, tmp_path)
    mirrors.partitions = [events[:6]]
    mirrors.run()
    mirrors.partitions = [events[:7]]
    mirrors.run()
    table = open_catalog(mirrors.properties).load_table("t.totals")
    files = live_files(table)
    rewrite(table, table.scan().to_arrow())
    for path in files:
        Path(path.removeprefix("file://")).unlink()
    mirrors.partitions = [events]
    mirrors.run()
    summary: Any = mirrors.iceberg("totals").metadata.current_snapshot().summary  # type: ignore[union-attr]
    assert summary["frazil.unchecked-rewrites"] == "1"
    assert found(mirrors) == {f"u{i}": 3 if i < 2 else 2 for i in range(6)}
    # So it is if the snapshots between have expired.
    table = mirrors.iceberg("totals")
    assert find_brought_back(table, "main", 1, LiveFiles(["user"])).unchecked > 0
    assert find_brought_back(table, "main", None, LiveFiles(["user"])).unchecked == 0


@VERSIONS
@pytest.mark.parametrize("seed", SEEDS)
def test_careless_rewrites_at_any_time(
    seed: int, version: Version, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """They begin at one step and end at another, with crashes between; the last commit is ours."""
    rng = Random(seed)
    events = draw_apart(rng, rows=30)
    mirrors = Mirrors(events, count_users, tmp_path, version=version)
    begun: list[tuple[pa.Table, set[str]]] = []
    errors: list[Exception] = []
    done = 0

    def others(step: str) -> None:
        nonlocal done
        if step not in ("after_load", "before_commit") or rng.random() > 0.4 or done > 6:
            return
        try:
            table = open_catalog(mirrors.properties).load_table("t.totals")
        except NoSuchTableError:
            return
        try:
            if not begun and table.current_snapshot() is not None:
                begun.append((table.scan().to_arrow(), live_files(table)))
            elif begun:
                rows, files = begun.pop()
                if files <= live_files(table):
                    rewrite(table, rows, files)
                    done += 1
        except Exception as error:  # the committer takes it for one of the catalog
            errors.append(error)
            raise

    for _ in range(3):
        crash = CrashAt(rng.randrange(10, 60))

        def hook(step: str, crash: CrashAt = crash) -> None:
            others(step)
            crash(step)

        with suppress(Crash):
            mirrors.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
    mirrors.run_drawn(rng)
    more = named(*range(1000, 1003), users=3, begin=90)
    mirrors.partitions = [[*mirrors.partitions[0], *more], *mirrors.partitions[1:]]
    mirrors.run()
    assert not errors
    users = [event["user"] for part in mirrors.partitions for event in part]
    names = [user for user in dict.fromkeys(users) if user is not None]
    expected = [{"user": user, "rows": users.count(user)} for user in names]
    mirrors.check_rows("totals", expected, duckdb_reader)


def count_users(events: fz.Stream) -> Mapping[str, Kept]:
    """How many rows each user has, of those that have a name."""
    return totals(events.filter(fz.col("user").is_not_null()))


def newest(events: fz.Stream) -> Mapping[str, Kept]:
    """The newest event of each user, in a table that may have rows."""
    rows = events.select("user", "id", "n")
    return {"newest": Kept(rows, ["user"], options={"existing": "adopt"})}


def make_filled(mirrors: Mirrors, users: range) -> list[Event]:
    """A table as others made it: several files, some rows deleted by one file of deletes."""
    catalog = open_catalog(mirrors.properties)
    catalog.create_namespace("t")
    fields = [("user", pa.string()), ("id", pa.int64()), ("n", pa.int64())]
    schema = pa.schema(fields)
    catalog.create_table("t.newest", schema)
    plain = mirrors.catalog.load_table("t.newest")
    rows = [{"user": f"u{i}", "id": -1 - i, "n": i} for i in users]
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):
        plain.append(pa.Table.from_pylist(part, schema))
    table = catalog.load_table("t.newest")
    gone = [(path, 1) for path in sorted(live_files(table))]
    delete_rows(table, gone)
    return [row for i, row in enumerate(rows) if i not in (1, half + 1)]


@pytest.mark.parametrize("seed", SEEDS)
def test_filled_table_is_taken_over(seed: int, tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Its rows are replaced like those of the sink, by any number of workers, with crashes; later
    starts have them in the checkpoint.
    """
    rng = Random(seed)
    events = named(*range(40), users=20, begin=rng.randrange(20))
    mirrors = Mirrors([events], newest, tmp_path)
    filled = make_filled(mirrors, range(30))
    refusing = Mirrors([events], refuse_filled, tmp_path)
    with pytest.raises(CommitRefused, match="has rows that this sink did not write"):
        refusing.run()
    for step in (rng.randrange(1, 8), rng.randrange(8, 40)):
        with suppress(Crash):
            mirrors.run_drawn(rng, hook=CrashAt(step), every_s=0.01, batch_rows=rng.choice([1, 3]))
    mirrors.run_drawn(rng)
    left = {row["user"]: row for row in filled}
    left |= {e["user"]: {name: e[name] for name in ("user", "id", "n")} for e in events}
    mirrors.check_rows("newest", list(left.values()), duckdb_reader)


def refuse_filled(events: fz.Stream) -> Mapping[str, Kept]:
    """The same without taking over."""
    return {"newest": Kept(newest(events)["newest"].stream, ["user"])}


def test_filled_table_with_a_key_twice(tmp_path: Path) -> None:
    mirrors = Mirrors([named(1, 2, 3)], newest, tmp_path)
    make_filled(mirrors, range(10))
    table = mirrors.catalog.load_table("t.newest")
    table.append(table.scan("user = 'u3'").to_arrow())
    with pytest.raises(PlanError, match="1 rows have the key of another one"):
        mirrors.run()


def test_filled_table_without_a_key(tmp_path: Path) -> None:
    mirrors = Mirrors([named(1, 2, 3)], newest, tmp_path)
    make_filled(mirrors, range(10))
    table = mirrors.catalog.load_table("t.newest")
    rows = table.scan("user = 'u3'").to_arrow()
    table.append(rows.set_column(0, "user", pa.nulls(1, pa.string())))
    with pytest.raises(CommitRefused, match=r"1 rows of .* have no value in user"):
        mirrors.run()


def test_table_of_a_pipeline_whose_checkpoints_are_lost(
    tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """A new pipeline takes it over when the old one has been forgotten."""
    from frazil.iceberg.forget import forget

    events = named(*range(30))
    first = Mirrors([events[:20]], refuse_filled, tmp_path, version=3)
    first.run()
    second = Mirrors([events[20:]], newest, tmp_path, version=3)
    second.store = MemoryStore()
    with pytest.raises(CommitRefused):
        second.run()
    forget(open_catalog(first.properties).load_table("t.newest"), "events", "t.newest", "main")
    second.run()
    left = {e["user"]: {name: e[name] for name in ("user", "id", "n")} for e in events}
    second.check_rows("newest", list(left.values()), duckdb_reader)


def test_files_without_the_key_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a table that others have sorted by its key."""
    events = events_at(*range(24))

    def build(rows: fz.Stream) -> Mapping[str, Kept]:
        keyed = rows.with_columns(user=fz.col("id") % 12)
        return {"totals": Kept(keyed.group_by("user").agg(rows=fz.count()), ["user"])}

    mirrors = Mirrors([events], build, tmp_path)
    mirrors.partitions = [events[:12]]
    mirrors.run()
    table = open_catalog(mirrors.properties).load_table("t.totals")
    rows = table.scan().to_arrow().sort_by("user")
    rewrite(table, rows, files=live_files(table), each=3)
    read: list[str] = []

    def noting(table: Any, path: str, names: Any) -> Any:
        read.append(path)
        return read_columns(table, path, names)

    monkeypatch.setattr("frazil.iceberg.live_files.read_columns", noting)
    mirrors.partitions = [events[:13]]  # another row of the first
    mirrors.run()
    assert len(read) == 1
    monkeypatch.undo()
    mirrors.partitions = [events]
    mirrors.run()
    assert found(mirrors) == dict.fromkeys(range(12), 2)


def test_rows_written_by_hand_are_of_others(tmp_path: Path) -> None:
    """The helper of these tests gives files names that are not of Frazil."""
    mirrors = Mirrors([named(1, 2, 3)], totals, tmp_path)
    mirrors.run()
    table = open_catalog(mirrors.properties).load_table("t.totals")
    [file] = write_rows(table, table.scan().to_arrow())
    assert "/others-" in file.file_path
    assert counted(table.scan().to_arrow().to_pylist())


@pytest.mark.service
@VERSIONS
def test_java_compacts_while_rows_are_replaced(
    version: Version, tmp_path: Path, local_rest_catalog: RestCatalog, java_reader: JavaReader
) -> None:
    """Iceberg's own library rewrites all files, between commits and between load and commit; the
    table has a partition for each of three remainders, and rows move between these.
    """
    rng = Random(7)
    name = f"moving{version}"

    def build(rows: fz.Stream) -> Mapping[str, Kept]:
        counted_rows = rows.group_by("user").agg(rows=fz.count())
        return {name: Kept(counted_rows.with_columns(part=fz.col("rows") % 3), ["user"], ["part"])}

    events = named(*range(90), users=9)
    mirrors = Mirrors(
        [events], build, tmp_path, version=version, catalog=local_rest_catalog.properties
    )
    answers = []

    def hook(step: str) -> None:
        if step in ("after_load", "before_commit") and rng.random() < 0.25 and len(answers) < 4:
            with suppress(NoSuchTableError):
                if mirrors.iceberg(name).current_snapshot() is not None:
                    answers.append(compact_with_java(local_rest_catalog.uri, f"t.{name}"))

    for count in range(6, 96, 6):
        mirrors.partitions = [events[:count]]
        mirrors.run(hook=hook)
    assert answers == ["compacted"] * 4
    expected = [{"user": f"u{i}", "rows": 10, "part": 1} for i in range(9)]
    found = java_reader.read(mirrors.iceberg(name).metadata_location)
    plain = [{k: v for k, v in row.items() if k != "_pos"} for row in found]
    assert counted(plain) == counted(expected)
    assert counted(mirrors.iceberg(name).scan().to_arrow().to_pylist()) == counted(expected)
    summaries: list[Any] = [each.summary for each in mirrors.iceberg(name).metadata.snapshots]
    assert any(each["frazil.relocated-deletes"] is not None for each in summaries)
    assert not any(each["frazil.brought-back-by-others"] for each in summaries)
    assert not any(each["frazil.unchecked-rewrites"] for each in summaries)
