"""A sink with many tables: whatever the order, the workers, the crashes and what catalogs refuse,
each table has its rows once, and none holds up another.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col
from frazil.checkpoint.local_store import LocalStore
from frazil.checkpoint.reader import read_log
from frazil.errors import CommitError, CommitRefused, PlanChanged, PlanError, SinkError
from frazil.run.coordinator import Coordinator
from frazil.run.rollback import roll_back
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings
from pyiceberg.exceptions import ForbiddenError

from tests.pipelines.events import BEGIN, EVENT_SCHEMA, Event, counted, events_at
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.many_tables import ManyTables

if TYPE_CHECKING:
    from frazil.run.status import Status

    from tests.services.duckdb_reader import DuckdbReader

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "4")))
MODES = ("append", "upsert")

Mode = Literal["append", "upsert"]


def draw(rng: Random, *, users: int = 5, rows: int = 40, most: int = 3) -> list[list[Event]]:
    """Partitions whose later rows are of more users; a number is in one partition only."""
    partitions = []
    for p in range(rng.randint(1, most)):
        count = rng.choice([1, rows // 4, rows, rows])
        partitions.append(
            [
                {
                    "id": 1000 * p + i,
                    "at": BEGIN,
                    "user": f"u{rng.randrange(1 + users * i // count)}" if i % 7 else None,
                    "n": 100 * p + rng.randrange(8),
                    "x": i / 8,
                }
                for i in range(count)
            ]
        )
    return partitions


def of_users(count: int) -> list[Event]:
    """A partition with rows of five users."""
    return [{**event, "user": f"u{i % 5}"} for i, event in enumerate(events_at(*range(count)))]


def refuse_some(rng: Random, share: float = 0.6) -> Callable[[str], Exception | None]:
    """Tables are not made when they are first asked for; nobody knows why."""
    return lambda name: OSError(f"no {name} now") if rng.random() < share else None


@pytest.fixture(autouse=True)
def _try_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that rows wait over a few checkpoints, of a few steps each."""
    monkeypatch.setattr("frazil.run.routes.RETRY_FIRST_S", 0.03)
    monkeypatch.setattr("frazil.run.routes.RETRY_MAX_S", 0.03)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(
    seed: int, mode: Mode, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Processes end at drawn steps, each with its own number of workers, while tables cannot be
    made for now; then one lives.
    """
    rng = Random(seed)
    many = ManyTables(draw(rng), tmp_path, mode=mode)
    many.catalog.refuses = refuse_some(rng)
    for step in (6, *rng.sample(range(3, 60), 4)):
        with suppress(Crash):
            hook = CrashAt(step)
            many.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
    many.run_drawn(rng)
    many.check(duckdb_reader)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_crashed_at_every_step(mode: Mode, tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw(Random(4), users=3, rows=12, most=2)

    def world(folder: Path) -> ManyTables:
        folder.mkdir()
        many = ManyTables(partitions, folder, mode=mode)
        many.catalog.refuses = refuse_some(Random(2))
        return many

    counter = CrashAt()
    whole = world(tmp_path / "whole")
    whole.run(seed=3, workers=2, batch_rows=2, every_s=0.012, hook=counter)
    whole.check(duckdb_reader)
    assert counter.steps > 30
    for step in range(1, counter.steps + 1):
        many = world(tmp_path / str(step))
        with pytest.raises(Crash):
            many.run(seed=3, workers=2, batch_rows=2, every_s=0.012, hook=CrashAt(step))
        many.run(seed=step, workers=1 + step % 3)
        many.check(duckdb_reader)


@pytest.mark.parametrize("mode", MODES)
def test_table_that_cannot_be_made_holds_up_itself_only(
    mode: Mode, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Its rows are in the checkpoint, over runs with other numbers of workers, until it can be."""
    many = ManyTables([of_users(60)], tmp_path, mode=mode)
    rights = ForbiddenError("no right to make tables here")
    many.catalog.refuses = lambda name: rights if name in ("t.of_u1", "t.of_u3") else None
    for workers in (2, 1, 3):
        with pytest.raises(CommitError, match=r"of_u1, many/t\.of_u3: rows wait for it") as refused:
            many.run(seed=workers, workers=workers, batch_rows=3, every_s=0.01)
        assert "no right to make tables here" in str(refused.value)
        assert many.tables().keys() == {"u0", "u2", "u4"}
        many.check(duckdb_reader, ["u0", "u2", "u4"])
    many.catalog.refuses = lambda name: None
    report = many.run(seed=5, workers=2)
    assert report.sinks["many/t.of_u1"].rows > 0
    many.check(duckdb_reader)
    assert many.run(seed=6).sinks["many/t.of_u1"].rows == 0


class Broken:
    """Takes the place of a table away at a step."""

    def __init__(self, many: ManyTables, user: str, step: int) -> None:
        self.many, self.user, self.step = many, user, step
        self.done = False

    def __call__(self, name: str) -> None:
        """A step of a run."""
        self.step -= 1
        if self.step <= 0 and not self.done and self.user in self.many.tables():
            if self.many.place(self.user).is_dir():
                self.many.take_place(self.user)
                self.done = True

    def mend(self) -> None:
        """Give it back, if it is away."""
        if self.done:
            self.many.give_place(self.user)
            self.done = False


@pytest.fixture
def _quick_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that writes deletes to a place that is away is not tried for long."""
    monkeypatch.setattr("frazil.iceberg.commit.TRIES_MAX", 1)


@pytest.mark.usefixtures("_quick_refusals")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
def test_place_that_breaks_holds_up_one_table_only(
    seed: int, mode: Mode, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Its writers fail in the middle of an epoch: the run begins anew from its last checkpoint and
    has all other tables whole at its end, if it is not killed. Later the place is there again.
    """
    rng = Random(seed)
    many = ManyTables([of_users(60), of_users(40)[7:]], tmp_path, mode=mode)
    # A number is in one partition only.
    for event in many.partitions[1]:
        event["n"] += 1000
    broken = 0
    for kill in (True, False, True, False):
        breaks = Broken(many, f"u{rng.randrange(5)}", rng.randrange(2, 40))
        crash = CrashAt(rng.randrange(5, 80)) if kill else CrashAt()

        def hook(step: str, breaks: Broken = breaks, crash: CrashAt = crash) -> None:
            breaks(step)
            crash(step)

        said, crashed = "", False
        try:
            many.run_drawn(
                rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3, 7]), drain_s=0.01
            )
        except CommitError as error:
            said = str(error)
        except Crash:
            crashed = True
        assert not said or (breaks.done and f"of_{breaks.user}" in said)
        if not crashed:
            others = {f"u{i}" for i in range(5)} - ({breaks.user} if breaks.done else set())
            many.check_rows(duckdb_reader, sorted(others))
        broken += breaks.done
        breaks.mend()
    many.run_drawn(rng)
    many.check(duckdb_reader)
    assert broken > 0


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_refusals")
@pytest.mark.parametrize("mode", MODES)
def test_place_that_breaks_at_every_step(
    mode: Mode, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Of one run; then it is there again, for another number of workers."""
    partitions = draw(Random(4), users=3, rows=12, most=2)
    counter = CrashAt()
    (tmp_path / "whole").mkdir()
    ManyTables(partitions, tmp_path / "whole", mode=mode).run(
        seed=3, workers=2, batch_rows=2, every_s=0.012, hook=counter
    )
    broken = 0
    for step in range(1, counter.steps + 1):
        folder = tmp_path / str(step)
        folder.mkdir()
        many = ManyTables(partitions, folder, mode=mode)
        breaks = Broken(many, "u1", step)
        with suppress(CommitError):
            many.run(seed=3, workers=2, batch_rows=2, every_s=0.012, hook=breaks, drain_s=0.01)
        broken += breaks.done
        breaks.mend()
        many.run(seed=step, workers=1 + step % 3)
        many.check(duckdb_reader)
    assert broken > 20


@pytest.mark.usefixtures("_quick_refusals")
@pytest.mark.parametrize("mode", MODES)
def test_place_that_is_broken_at_the_start(
    mode: Mode, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Processes that are killed find it so, too."""
    many = ManyTables([of_users(20)], tmp_path, mode=mode)
    many.run()
    many.take_place("u2")
    many.partitions = [of_users(50)]
    for step in (7, 19, 41):
        with suppress(Crash, CommitError):
            many.run(seed=step, workers=2, every_s=0.01, hook=CrashAt(step), drain_s=0.01)
    with pytest.raises(CommitError, match=r"opening many/t\.of_u2: rows wait for it") as refused:
        many.run(seed=5, drain_s=0.01)
    assert "Not a directory" in str(refused.value)
    many.check_rows(duckdb_reader, ["u0", "u1", "u3", "u4"])
    many.give_place("u2")
    many.run(seed=6, workers=3)
    many.check(duckdb_reader)


def test_error_that_is_no_tables_ends_the_run(tmp_path: Path) -> None:
    """A run does not begin anew for it."""
    many = ManyTables([of_users(20)], tmp_path)
    runs = 0

    def fail(step: str) -> None:
        nonlocal runs
        if step == "after_prepare":
            runs += 1
            raise SinkError("writing: no")

    with pytest.raises(SinkError, match="writing: no"):
        many.run(hook=fail)
    assert runs == 1


def test_windows_are_not_closed_while_rows_wait(tmp_path: Path) -> None:
    """After close_windows a checkpoint has no state: the rows would be gone."""
    many = ManyTables([events_at(1, 2, 3, user="u1")], tmp_path)
    many.catalog.refuses = lambda name: ForbiddenError("no")
    with pytest.raises(CommitError, match=r"opening many/t\.of_u1: rows wait for it"):
        many.run(close_windows=True)
    many.catalog.refuses = lambda name: None
    assert many.run(close_windows=True).sinks["many/t.of_u1"].rows == 3


def test_table_with_other_columns_holds_up_itself_only(
    tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    many = ManyTables([of_users(60)], tmp_path)
    many.catalog.create_namespace("t")
    many.catalog.create_table("t.of_u2", pa.schema([pa.field("id", pa.string())]))
    with pytest.raises(CommitError, match="column") as refused:
        many.run(seed=1, workers=2, batch_rows=3, every_s=0.01)
    assert "t.of_u2" in str(refused.value)
    many.check(duckdb_reader, ["u0", "u1", "u3", "u4"])
    many.catalog.drop_table("t.of_u2")
    many.run()
    many.check(duckdb_reader)


def test_table_that_was_dropped_holds_up_itself_only(
    tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """What the log has for it stays there; after some epochs the run ends and says why."""
    partitions = [of_users(60)]
    many = ManyTables([partitions[0][:30]], tmp_path)
    many.run()
    kept = many.catalog.load_table("t.of_u1").metadata_location
    many.catalog.drop_table("t.of_u1")
    many.partitions = partitions
    with pytest.raises(CommitError, match="is not there any more, the log has epochs for it"):
        many.run(batch_rows=2, every_s=0.004)
    assert many.tables().keys() == many.expected().keys() - {"u1"}
    many.check(duckdb_reader, sorted(many.expected().keys() - {"u1"}))
    many.catalog.register_table("t.of_u1", kept)
    many.run(workers=2)
    many.check(duckdb_reader)


def test_table_that_refuses_commits_ends_the_run_at_last(
    tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """It is dropped behind a commit: epochs are pending for it, up to the bound."""
    events = [{**event, "user": f"u{i % 2}"} for i, event in enumerate(events_at(*range(200)))]
    many = ManyTables([events], tmp_path)
    dropped = []

    def drop(step: str) -> None:
        if step == "after_put" and "u1" in many.tables() and not dropped:
            table = many.catalog.load_table("t.of_u1")
            if table.current_snapshot() is not None:
                dropped.append(table.metadata_location)
                many.catalog.drop_table("t.of_u1")

    with pytest.raises(CommitRefused, match="is not there any more"):
        many.run(batch_rows=2, every_s=0.004, hook=drop)
    pending = [m for m in many.manifests() if any(s.endswith("/u1") for s in m.tokens)]
    assert len(pending) >= 16
    many.catalog.register_table("t.of_u1", dropped[0])
    many.run()
    many.check(duckdb_reader)


def test_names_that_are_none(tmp_path: Path) -> None:
    """A row without a table is an error that says which value it was."""
    for user in ("a/b", "", "a.b", "ü", "x" * 129, "'; drop"):
        many = ManyTables([events_at(1, 2, user=user)], tmp_path)
        with pytest.raises(PlanError, match='finding the table of a row: column "user" is "'):
            many.run()
        assert not many.tables()
    rows = fz.read_memory([{"user": None, "id": 1}], schema={"user": str | None, "id": int})
    sink = rows.write_iceberg(fz.route("t.{user}"), catalog=many.catalog)
    with pytest.raises(PlanError, match='column "user" is null'):
        fz.Pipeline("none", sink, checkpoint=str(tmp_path / "c")).run(until="now", quiet=True)


def test_more_tables_than_allowed(tmp_path: Path) -> None:
    events = [{**event, "user": f"u{i}"} for i, event in enumerate(events_at(*range(9)))]
    many = ManyTables([events], tmp_path, route=fz.route("t.of_{user}", tables_max=4))
    with pytest.raises(PlanError, match="would be one more than the 4 tables of this sink"):
        many.run()
    # By several workers, each with fewer.
    with pytest.raises(PlanError, match="one more than"):
        many.run(workers=4, batch_rows=1)


def test_two_names_of_one_table(tmp_path: Path) -> None:
    """Rows of both must not meet, or the table would be neither's."""
    rows = [
        {"a": "x_y", "b": "z", "n": 1},
        {"a": "x", "b": "y_z", "n": 2},
        {"a": "X_Y", "b": "z", "n": 3},
    ]
    many = ManyTables([], tmp_path)
    sink = fz.read_memory(rows).write_iceberg(fz.route("t.{a}_{b}"), catalog=many.catalog)
    pipeline = fz.Pipeline("two", sink, checkpoint=str(tmp_path / "c"))
    for _ in range(2):  # also when the log knows the one that was first
        with pytest.raises(CommitError, match=r"would both go to table t\.") as refused:
            pipeline.run(until="now", quiet=True)
        assert "nothing is lost" in str(refused.value)
        [table] = many.catalog.list_tables("t")
        assert many.catalog.load_table(table).scan().to_arrow().num_rows == 1


def test_columns_of_the_route_are_left_out(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    many = ManyTables(
        [events_at(1, 2, user="a") + events_at(3, user="b")],
        tmp_path,
        route=fz.route("t.of_{user}", keep=False),
        partition_by=["bucket(2, id)"],
        distribute_by="partition",
    )
    many.run(workers=2)
    found = {user: table.scan().to_arrow() for user, table in many.tables().items()}
    assert {user: rows.num_rows for user, rows in found.items()} == {"a": 2, "b": 1}
    assert found["a"].column_names == ["id", "at", "n", "x"]
    rows = fz.read_memory([{"user": "a", "n": 1}])
    with pytest.raises(PlanError, match="user"):
        rows.write_iceberg(fz.route("t.{user}", keep=False), mode="upsert", key=["user"])


def test_another_pattern_is_another_sink(tmp_path: Path) -> None:
    many = ManyTables([events_at(1, user="a")], tmp_path)
    many.run()
    other = ManyTables([events_at(1, user="a")], tmp_path, route=fz.route("t.at_{user}"))
    other.store = many.store
    with pytest.raises(PlanChanged, match=r"t\.at_\{user\}"):
        other.run()


def test_changes_go_to_their_tables(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Rows that are taken away, and kinds that go with the rows of each table."""
    many = ManyTables([], tmp_path)
    operations = [("a", 1, "c"), ("b", 1, "c"), ("a", 1, "d"), ("a", 2, "c"), ("b", 1, "u")]
    rows = [{"t": t, "id": i, "op": op, "n": n} for n, (t, i, op) in enumerate(operations)]
    changes = fz.read_memory(rows).as_changes("op", key=["t", "id"])
    sink = changes.write_iceberg(
        fz.route("t.{t}"), catalog=many.catalog, mode="upsert", key=["t", "id"]
    )
    fz.Pipeline("ops", sink, checkpoint=str(tmp_path / "c")).run(until="now", quiet=True)
    found = {
        name: duckdb_reader.read_iceberg(
            many.catalog.load_table(f"t.{name}").metadata_location
        ).to_pylist()
        for name in "ab"
    }
    assert found == {"a": [{"t": "a", "id": 2, "n": 3}], "b": [{"t": "b", "id": 1, "n": 4}]}


class Most:
    """The most memory that sinks were seen to hold."""

    def __init__(self) -> None:
        self.bytes = 0

    def update(self, status: Status) -> None:
        self.bytes = max(self.bytes, status.metrics.get("memory", {}).get("sink", 0))


@pytest.mark.slow
def test_hundreds_of_tables_in_bounded_memory(tmp_path: Path) -> None:
    """Files of 300 tables are open by turns; each table has its rows."""
    many = ManyTables([], tmp_path)
    rows = fz.read_generator(rows=600_000, partitions=2)
    named = rows.with_columns(name=((col("id") * 7919) % 300).cast(str))
    sink = named.write_iceberg(fz.route("t.n{name}"), catalog=many.catalog, name="many")
    pipeline = fz.Pipeline(
        "hundreds", sink, checkpoint=str(tmp_path / "c"), checkpoint_every="1h", workers=2
    )
    runnable = prepare(pipeline)
    most = Most()
    settings = RunSettings(workers=2, bounded=True, quiet=True, checkpoint_every_s=3600.0)
    report = Coordinator(runnable, settings, observer=most).run()
    assert sum(each.rows for each in report.sinks.values()) == 600_000
    assert len([name for name, each in report.sinks.items() if each.rows == 2_000]) == 300
    assert 0 < most.bytes < 2 * 128 * 1024 * 1024
    found: Any = many.catalog.load_table("t.n7").scan().to_arrow()
    assert found.num_rows == 2_000


@pytest.mark.parametrize("seed", SEEDS)
def test_filled_tables_are_taken_over(
    seed: int, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Tables that others have filled: their rows are replaced like the sink's own, with crashes
    and by any number of workers; others are made.
    """
    rng = Random(seed)
    events = of_users(60)
    for event in events:
        event["n"] = rng.randrange(12)
    filled = {user: draw_filled(rng, user) for user in ("u1", "u3")}
    many = ManyTables([events], tmp_path, mode="upsert", existing="adopt")
    many.catalog.create_namespace("t")
    for user, rows in filled.items():
        made = many.catalog.create_table(f"t.of_{user}", EVENT_SCHEMA)
        for part in (rows[::2], rows[1::2]):
            made.append(pa.Table.from_pylist(part, EVENT_SCHEMA))
    for step in (rng.randrange(1, 10), rng.randrange(8, 40), rng.randrange(8, 60)):
        with suppress(Crash):
            many.run_drawn(rng, hook=CrashAt(step), every_s=0.01, batch_rows=rng.choice([1, 3]))
    many.run_drawn(rng)
    for user, table in many.tables().items():
        left = {row["n"]: row for row in filled.get(user, ())}
        left |= {event["n"]: event for event in events if event["user"] == user}
        found = duckdb_reader.read_iceberg(table.metadata_location).select(EVENT_SCHEMA.names)
        assert counted(found.to_pylist()) == counted(list(left.values())), user


def draw_filled(rng: Random, user: str) -> list[Event]:
    """Rows that others have written, of numbers of which some come and others do not."""
    numbers = rng.sample(range(20), rng.randint(2, 12))
    return [
        {**event, "user": user, "n": n, "id": -1 - n}
        for n, event in zip(numbers, events_at(*range(len(numbers))), strict=True)
    ]


def test_filled_table_is_refused_alone(tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Without `existing`, it holds up itself; what cannot be taken over as well."""
    many = ManyTables([of_users(20)], tmp_path, mode="upsert")
    many.catalog.create_namespace("t")
    rows = draw_filled(Random(1), "u1")
    made = many.catalog.create_table("t.of_u1", EVENT_SCHEMA)
    made.append(pa.Table.from_pylist(rows, EVENT_SCHEMA))
    with pytest.raises(CommitError, match="has rows that this sink did not write"):
        many.run()
    many.check_rows(duckdb_reader, ["u0", "u2", "u3", "u4"])
    made.append(pa.Table.from_pylist([{**rows[0], "n": None}], EVENT_SCHEMA))
    adopting = ManyTables([of_users(20)], tmp_path, mode="upsert", existing="adopt")
    adopting.store = many.store
    with pytest.raises(CommitError, match=r"1 rows of .* have no value in n"):
        adopting.run()


@pytest.mark.parametrize("mode", MODES)
def test_rollback_puts_every_table_back(mode: Mode, tmp_path: Path) -> None:
    """Tables, rows that wait, and indexes go back; one that was made later has nothing then."""
    many = ManyTables([], tmp_path, mode=mode)
    refused = {"t.of_1"}
    many.catalog.refuses = lambda name: ForbiddenError("no") if name in refused else None

    def pipeline(count: int) -> fz.Pipeline:
        rows = fz.read_generator(rows=count, name="rows").select("id")
        keyed: Any = {"mode": "upsert", "key": ["id"]} if mode == "upsert" else {}
        sink = rows.with_columns(user=(col("id") % 5).cast(str)).write_iceberg(
            fz.route("t.of_{user}"), catalog=many.catalog, name="many", **keyed
        )
        return fz.Pipeline("rows", sink, checkpoint=str(tmp_path / "c"), retain=50)

    def found() -> dict[str, list[int]]:
        tables = many.tables().items()
        ids = {user: table.scan().to_arrow().column("id") for user, table in tables}
        return {user: sorted(each.to_pylist()) for user, each in ids.items()}

    with pytest.raises(CommitError, match="rows wait for it"):
        pipeline(4).run(until="now", quiet=True)
    to = read_log(LocalStore(tmp_path / "c" / "rows"))[-1].slot
    refused.clear()
    pipeline(40).run(until="now", quiet=True, takeover=True)
    assert found() == {str(user): list(range(user, 40, 5)) for user in range(5)}
    back = roll_back(pipeline(4), to, takeover=True)
    assert {each.sink for each in back} == {f"many/t.of_{user}" for user in range(5)}
    assert found() == {"0": [0], "1": [], "2": [2], "3": [3], "4": []}  # that of 1 waits again
    pipeline(40).run(until="now", quiet=True, takeover=True)
    assert found() == {str(user): list(range(user, 40, 5)) for user in range(5)}
