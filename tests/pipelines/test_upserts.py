"""Tables by key: whatever the order, the workers and the crashes, every reader finds the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import CommitRefused, PlanChanged, PlanError
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.merge import choose, merge
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import DataFileContent, ManifestContent

from tests.pipelines.events import Event, counted, events_at
from tests.pipelines.foreign import delete_rows, live_files, rewrite, upgrade
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.ordered import draw_apart
from tests.pipelines.upserts import Kept, Mirrors, deletion_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.java_reader import JavaReader
    from tests.services.rest_catalog import RestCatalog

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "6")))

Version = Literal[2, 3]
VERSIONS = pytest.mark.parametrize("version", [2, 3])


def streams(events: fz.Stream) -> Mapping[str, Kept]:
    """Totals of users; those of them that have some numbers of rows, which come and go; and in a
    table that is partitioned by what changes.
    """
    known = events.filter(col("user").is_not_null())
    totals = known.group_by("user").agg(rows=fz.count(), total=col("n").sum())
    some = totals.filter(col("rows") % 3 != 0)
    moving = totals.with_columns(odd=col("rows") % 2)
    return {
        "totals": Kept(totals, ["user"]),
        "some": Kept(some, ["user"]),
        "moving": Kept(moving, ["user"], ["odd"]),
    }


def expected(partitions: Sequence[Sequence[Event]]) -> dict[str, list[dict[str, Any]]]:
    """What the tables of `streams` have to have."""
    totals: dict[str, dict[str, Any]] = {}
    for event in (event for part in partitions for event in part):
        if (user := event["user"]) is None:
            continue
        row = totals.setdefault(user, {"user": user, "rows": 0, "total": None})
        row["rows"] += 1
        if event["n"] is not None:
            row["total"] = (row["total"] or 0) + event["n"]
    rows = list(totals.values())
    return {
        "totals": rows,
        "some": [row for row in rows if row["rows"] % 3 != 0],
        "moving": [{**row, "odd": row["rows"] % 2} for row in rows],
    }


@pytest.fixture(autouse=True)
def _few_files_of_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few a data file may have that they are put into one again and again."""
    monkeypatch.setattr("frazil.iceberg.delete_files.FILES_MAX", 2)


def check(mirrors: Mirrors, reader: DuckdbReader) -> None:
    """All tables are as expected."""
    for name, rows in expected(mirrors.partitions).items():
        mirrors.check(name, rows, reader)


@VERSIONS
@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(
    seed: int, version: Version, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    mirrors = Mirrors(draw_apart(rng), streams, tmp_path, version=version)
    crashes = 0
    for step in (6, *rng.sample(range(3, 60), 4)):
        try:
            hook = CrashAt(step)
            mirrors.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            crashes += 1
    mirrors.run_drawn(rng)
    check(mirrors, duckdb_reader)
    assert crashes > 0


@pytest.mark.slow
@VERSIONS
def test_crashed_at_every_step(
    version: Version, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=12, whole=True)
    counter = CrashAt()
    whole = Mirrors(partitions, streams, tmp_path, version=version)
    whole.run(seed=3, workers=2, batch_rows=2, every_s=0.012, hook=counter)
    check(whole, duckdb_reader)
    assert counter.steps > 30
    for step in range(1, counter.steps + 1):
        folder = tmp_path / str(step)
        folder.mkdir()
        mirrors = Mirrors(partitions, streams, folder, version=version)
        with pytest.raises(Crash):
            mirrors.run(seed=3, workers=2, batch_rows=2, every_s=0.012, hook=CrashAt(step))
        mirrors.run(seed=step, workers=1 + step % 3)
        check(mirrors, duckdb_reader)


@pytest.mark.service
@VERSIONS
def test_java_reads_the_same(version: Version, tmp_path: Path, java_reader: JavaReader) -> None:
    """Iceberg's own library finds the rows, in every snapshot."""
    rng = Random(3)
    mirrors = Mirrors(draw_apart(rng, whole=True), streams, tmp_path, version=version)
    mirrors.run(seed=2, workers=2, batch_rows=2, every_s=0.01)
    for name in mirrors.sinks:
        table = mirrors.iceberg(name)
        assert len(table.metadata.snapshots) > 2
        for snapshot in table.metadata.snapshots:
            number = snapshot.snapshot_id
            found = java_reader.read(table.metadata_location, snapshot=number)
            # Where there are deletes, the reader gives the row's number too.
            rows = [{k: v for k, v in row.items() if k != "_pos"} for row in found]
            assert counted(rows) == counted(table.scan(snapshot_id=number).to_arrow().to_pylist())


@pytest.mark.service
def test_version_3_in_a_rest_catalog(
    tmp_path: Path, local_rest_catalog: RestCatalog, java_reader: JavaReader
) -> None:
    """The server keeps the tables; Java finds the rows, each with an id of its own."""
    rng = Random(4)
    mirrors = Mirrors(
        draw_apart(rng, rows=30, whole=True),
        streams,
        tmp_path,
        version=3,
        catalog=local_rest_catalog.properties,
    )
    for step in (11, 27):
        with suppress(Crash):
            mirrors.run_drawn(rng, hook=CrashAt(step), every_s=0.01, batch_rows=3)
    mirrors.run_drawn(rng, every_s=0.01, batch_rows=3)
    for name, rows in expected(mirrors.partitions).items():
        found = java_reader.read(mirrors.iceberg(name).metadata_location, lineage=True)
        hidden = ("_pos", "_row_id", "_last_updated_sequence_number")
        plain = [{k: v for k, v in row.items() if k not in hidden} for row in found]
        assert counted(plain) == counted(rows)
        assert len({row["_row_id"] for row in found}) == len(found)
        mirrors.check_history(name)


def test_rows_without_kinds_replace_those_before(
    tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Of a partition the last row of each key is left."""
    rng = Random(1)
    partitions = draw_apart(rng, most=1, rows=60, whole=True)
    newest = {event["id"] % 5: event for event in partitions[0]}

    def build(events: fz.Stream) -> Mapping[str, Kept]:
        return {"newest": Kept(events.with_columns(k=col("id") % 5), ["k"])}

    mirrors = Mirrors(partitions, build, tmp_path)
    for step in (9, 21):
        with pytest.raises(Crash):
            mirrors.run_drawn(rng, hook=CrashAt(step), every_s=0.01, batch_rows=3)
    mirrors.run_drawn(rng)
    mirrors.check("newest", [{**event, "k": k} for k, event in newest.items()], duckdb_reader)


def draw_operations(rng: Random) -> tuple[list[list[Event]], list[Event]]:
    """Rows of which `user` says what they do to that of key `n`; and what is left in the end."""
    partitions, left = [], {}
    for p in range(rng.randint(1, 3)):
        keys = [100 * p + k for k in range(rng.choice([1, 5, 20]))]
        events = events_at(*range(rng.choice([1, 40, 80])))
        for event in events:
            n = rng.choice(keys)
            op = rng.choice("cruddCD")
            event |= {"n": n, "user": op, "x": rng.random()}
            if op in "dD":
                event["x"] = None  # of a row that goes only the key is known
                left.pop(n, None)
            else:
                left[n] = {name: value for name, value in event.items() if name != "user"}
        partitions.append(events)
    return partitions, list(left.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_operations_as_a_column(seed: int, tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    rng = Random(seed)
    partitions, left = draw_operations(rng)

    def build(events: fz.Stream) -> Mapping[str, Kept]:
        changes = events.as_changes("user", key="n")
        # Rows fall out of these, and go although a filter knows nothing of a row that goes.
        some = changes.filter(col("x") < 0.6)
        return {
            "rows": Kept(changes, ["n"], ["bucket(2, id)"]),
            "some": Kept(some.with_columns(y=col("x") + 1), ["n"]),
        }

    mirrors = Mirrors(partitions, build, tmp_path)
    for step in rng.sample(range(3, 40), 3):
        with suppress(Crash):
            mirrors.run_drawn(rng, hook=CrashAt(step), every_s=0.01, batch_rows=rng.choice([1, 5]))
    mirrors.run_drawn(rng)
    mirrors.check("rows", left, duckdb_reader)
    some = [{**row, "y": row["x"] + 1} for row in left if row["x"] < 0.6]
    mirrors.check("some", some, duckdb_reader)


def test_files_of_deletes_stay_few(
    tmp_path: Path, duckdb_reader: DuckdbReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one data file, in which a row is replaced by each run; and manifests are merged."""
    monkeypatch.setattr("frazil.iceberg.delete_files.FILES_MAX", 40)
    users = [f"u{i}" for i in range(36)]
    events = [{**event, "user": u} for event, u in zip(events_at(*range(36)), users, strict=True)]
    mirrors = Mirrors([[*events, *events]], one_table, tmp_path)
    for count in range(36, 72):
        mirrors.partitions = [[*events, *events][:count]]
        mirrors.run()
    table = mirrors.iceberg("totals")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    manifests = [m for m in snapshot.manifests(table.io) if m.content == ManifestContent.DELETES]
    assert len(manifests) == 35
    merged = merge(table, choose(manifests)).manifest
    assert merged.content == ManifestContent.DELETES
    entries = merged.fetch_manifest_entry(table.io)
    assert len(entries) == 32
    assert {entry.data_file.content for entry in entries} == {DataFileContent.POSITION_DELETES}
    mirrors.check("totals", expected(mirrors.partitions)["totals"], duckdb_reader)
    monkeypatch.setattr("frazil.iceberg.delete_files.FILES_MAX", 8)
    mirrors.partitions = [[*events, *events]]
    mirrors.run()
    mirrors.check("totals", expected(mirrors.partitions)["totals"], duckdb_reader)
    summary: Any = mirrors.iceberg("totals").current_snapshot().summary  # type: ignore[union-attr]
    assert (summary["total-delete-files"], summary["total-position-deletes"]) == ("1", "36")
    assert summary["removed-delete-files"] == "35"


def test_deletes_of_rewritten_files_are_left_out(
    tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """When files of deletes are put into one, others have rewritten what some are about."""
    mirrors = Mirrors([[]], one_table, tmp_path)
    events: list[Event] = []
    for i, users in enumerate(["ab", "cd", "ac", "b", "d"]):
        events += [{**events_at(i)[0], "user": user} for user in users]
        mirrors.partitions = [events]
        mirrors.run()
        table = mirrors.iceberg("totals")
        if users == "ac":
            mirrors.check_deletes(table)
            rewrite(
                open_catalog(mirrors.properties).load_table("t.totals"),
                table.scan().to_arrow(),
                live_files(table),
            )
            with pytest.raises(AssertionError):  # there are some, and scans read them
                mirrors.check_deletes(mirrors.iceberg("totals"))
    mirrors.check_deletes(mirrors.iceberg("totals"))
    mirrors.check_rows("totals", expected(mirrors.partitions)["totals"], duckdb_reader)


def test_many_replaced_rows_make_no_large_token(tmp_path: Path) -> None:
    """What an epoch deletes stands in a file beside the data files then."""
    mirrors = Mirrors([[]], lambda events: {"none": Kept(events, ["id"])}, tmp_path)
    rows = fz.read_generator(rows=200_000, partitions=1).select("id")
    rows = rows.with_columns(k=(col("id") * 7919 * 104_729) % 50_021)
    sink = rows.write_iceberg("t.many", catalog=mirrors.properties, mode="upsert", key="k")
    fz.Pipeline("many", sink, checkpoint=str(tmp_path / "c"), checkpoint_every="1h").run(
        until="now", quiet=True
    )
    found = mirrors.iceberg("many").scan().to_arrow()
    newest = {i * 7919 * 104_729 % 50_021: i for i in range(200_000)}
    assert dict(zip(*(found.column(c).to_pylist() for c in ("k", "id")), strict=True)) == newest
    assert found.num_rows == 50_021
    [written] = tmp_path.rglob("*.arrow")
    assert written.stat().st_size > 256 * 1024


def one_table(events: fz.Stream) -> Mapping[str, Kept]:
    """Totals only."""
    return {"totals": streams(events)["totals"]}


def test_row_without_key_is_refused(tmp_path: Path) -> None:
    def build(events: fz.Stream) -> Mapping[str, Kept]:
        return {"users": Kept(events, ["user"])}

    events = [{**event, "user": None} for event in events_at(1, 2)]
    with pytest.raises(PlanError, match='2 rows of a batch have no value in key column "user"'):
        Mirrors([events], build, tmp_path).run()


def test_table_with_rows_of_others_is_refused(tmp_path: Path) -> None:
    mirrors = Mirrors([events_at(1, 2, 3)], one_table, tmp_path)
    mirrors.run()
    mirrors.store = MemoryStore()
    with pytest.raises(CommitRefused, match="another log"):
        mirrors.run()
    table = mirrors.iceberg("totals")
    rows = table.scan().to_arrow()
    mirrors.catalog.drop_table("t.totals")
    made = mirrors.catalog.create_table("t.totals", table.schema())
    made.append(rows)
    with pytest.raises(CommitRefused, match="has rows that this sink did not write") as refused:
        mirrors.run()
    assert refused.value.kind == "not_empty"


@VERSIONS
@pytest.mark.parametrize("seed", SEEDS)
def test_compacted_by_others(
    seed: int, version: Version, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Others rewrite all data files, before a commit and in the middle of one; also of rows that
    are replaced by epochs that are not committed yet; with crashes between.
    """
    rng = Random(seed)
    mirrors = Mirrors(draw_apart(rng, rows=30), streams, tmp_path, version=version)
    done = 0

    def compact(step: str) -> None:
        nonlocal done
        if step not in ("after_load", "before_commit") or rng.random() > 0.2:
            return
        for name in mirrors.sinks:
            try:
                table = mirrors.iceberg(name)
            except NoSuchTableError:
                continue
            if table.metadata.current_snapshot_id is not None:
                mirrors.rewrite(name)
                done += 1

    for _ in range(3):
        crash = CrashAt(rng.randrange(10, 60))

        def hook(step: str, crash: CrashAt = crash) -> None:
            compact(step)
            crash(step)

        with suppress(Crash):
            mirrors.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
    mirrors.run_drawn(rng, hook=compact)
    for name, rows in expected(mirrors.partitions).items():
        mirrors.check_rows(name, rows, duckdb_reader)
    assert done > 0


@VERSIONS
def test_rows_of_a_file_that_others_rewrote(version: Version, tmp_path: Path) -> None:
    """What was relocated, and what others had deleted, stands in the summary."""
    events = [{**event, "user": f"u{i % 6}"} for i, event in enumerate(events_at(*range(12)))]
    mirrors = Mirrors([events], one_table, tmp_path, version=version)
    mirrors.partitions = [events[:6]]
    mirrors.run()
    mirrors.rewrite("totals", "user != 'u3'")
    mirrors.partitions = [events]
    mirrors.run()
    table = mirrors.iceberg("totals")
    summary: Any = table.metadata.current_snapshot().summary  # type: ignore[union-attr]
    assert (summary["frazil.relocated-deletes"], summary["frazil.deleted-by-others"]) == ("5", "1")
    rows = {row["user"]: row["rows"] for row in table.scan().to_arrow().to_pylist()}
    assert rows == {f"u{i}": 2 for i in range(6)}


def test_table_upgraded_with_deletes(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Between prepare and commit a table becomes one of version 3. The first deletion vector of a
    data file has what files of deletes say of it, of ours and of others, about one file or many.
    """
    users = ["u0", "u1", "u2", "u3", "u4", "u5", "u0", "u2", "u5"]
    events = [{**event, "user": u} for event, u in zip(events_at(*range(9)), users, strict=True)]
    mirrors = Mirrors([events], one_table, tmp_path)
    for count in (3, 6, 7):
        mirrors.partitions = [events[:count]]
        mirrors.run()
    opened = open_catalog(mirrors.properties)
    first = {}  # where the first row of each user is
    for task in mirrors.iceberg("totals").scan().plan_files():
        path = task.file.file_path
        found = pq.read_table(path.removeprefix("file://"))["user"].to_pylist()
        if len(found) > 1:
            first |= {user: (path, row) for row, user in enumerate(found)}
    delete_rows(opened.load_table("t.totals"), [first["u1"], first["u4"]])
    done = []

    def hook(step: str) -> None:
        if step == "before_commit" and not done:
            done.append(step)
            upgrade(opened.load_table("t.totals"))

    mirrors.partitions = [events]
    mirrors.run(hook=hook)
    assert mirrors.iceberg("totals").metadata.format_version == 3
    left = [row for row in expected([events])["totals"] if row["user"] not in ("u1", "u4")]
    mirrors.check_rows("totals", left, duckdb_reader)
    vectors = deletion_vectors(mirrors.iceberg("totals"))
    assert {path: len(rows) for path, rows in vectors.items()} == {
        first["u0"][0]: 3,
        first["u3"][0]: 2,
    }


def test_second_writer_is_refused(tmp_path: Path) -> None:
    mirrors = Mirrors([events_at(1, 2, 3)], one_table, tmp_path)
    mirrors.run()
    stream = fz.read_memory([{"user": "ada", "rows": 1, "total": 2}], name="others")
    sink = stream.write_iceberg(
        "t.totals", catalog=mirrors.properties, mode="upsert", key=["user"], name="second"
    )
    pipeline = fz.Pipeline("others", sink, checkpoint=str(tmp_path / "others"))
    with pytest.raises(CommitRefused, match="are replaced by key by another sink already") as found:
        pipeline.run(until="now", quiet=True)
    assert found.value.kind == "claimed"


def test_other_key_on_the_state(tmp_path: Path) -> None:
    def by(*key: str) -> Any:
        def build(events: fz.Stream) -> Mapping[str, Kept]:
            return {"users": Kept(events.select("id", "n"), key)}

        return build

    mirrors = Mirrors([events_at(1, 2)], by("id"), tmp_path)
    mirrors.run()
    other = Mirrors([events_at(1, 2)], by("id", "n"), tmp_path)
    other.store = mirrors.store
    with pytest.raises(PlanChanged, match="key: was id: integer, is now id: integer, n: integer"):
        other.run()
