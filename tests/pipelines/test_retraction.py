"""Aggregates of streams that change: what is taken back leaves no trace, as DuckDB says."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.errors import PlanChanged

from tests.pipelines.changes import fold
from tests.pipelines.events import EVENT_SCHEMA, Event, counted, events_at
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.ordered import draw_apart
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "12")))

USERS = (
    'SELECT "user", count(*) AS rows, sum(n)::BIGINT AS total, sum(x) AS share '
    "FROM given GROUP BY 1"
)
VALUES = {
    "users": (fz.count(), "count(*)"),
    "known": (col("total").count(), "count(total)"),
    "all": (col("total").sum(), "sum(total)::BIGINT"),
    "exact": (
        (col("total").cast(fz.Decimal[20, 2])).sum(),
        "sum(total::DECIMAL(20, 2))::DECIMAL(38, 2)",
    ),
    "middle": (col("total").mean(), "avg(total)"),
    "shares": (col("share").sum(), "sum(share)"),
    "large": (fz.count().filter(col("total") > 4), "count(*) FILTER (WHERE total > 4)"),
    "of large": (
        col("total").sum().filter(col("total") > 4),
        "(sum(total) FILTER (WHERE total > 4))::BIGINT",
    ),
}
BY_VALUES = ", ".join(f'{sql} AS "{name}"' for name, (_, sql) in VALUES.items())
# Each of the rows that are left of those before it: its key, and what DuckDB says.
LEVELS: dict[str, tuple[list[str], str]] = {
    "sizes": (["rows"], f"SELECT rows, {BY_VALUES} FROM users GROUP BY rows"),
    "one": ([], f"SELECT {BY_VALUES} FROM users HAVING count(*) > 0"),
    "sizes of sizes": (
        ["users"],
        "SELECT users, count(*) AS sizes, sum(rows)::BIGINT AS rows FROM sizes GROUP BY users",
    ),
    "filtered": (
        ["odd"],
        f"SELECT rows % 2 AS odd, {BY_VALUES} FROM users WHERE rows BETWEEN 2 AND 4 GROUP BY 1",
    ),
    "joined": (["team"], f"SELECT team, {BY_VALUES} FROM users JOIN teams USING (rows) GROUP BY 1"),
}


class Nested:
    """Totals of users, and what is aggregated of these."""

    def __init__(self, folder: Path) -> None:
        self.teams = pa.table({"rows": list(range(1, 9)), "team": [f"t{n // 3}" for n in range(8)]})
        self.path = folder / "teams.parquet"
        pq.write_table(self.teams, self.path)

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        users = events.group_by("user").agg(
            rows=fz.count(), total=col("n").sum(), share=col("x").sum()
        )
        values = {name: asked for name, (asked, _) in VALUES.items()}
        sizes = users.group_by("rows").agg(values)
        teams = fz.lookup_parquet(str(self.path))
        made = {
            "sizes": sizes,
            "one": users.group_by().agg(values),
            "sizes of sizes": sizes.group_by("users").agg(sizes=fz.count(), rows=col("rows").sum()),
            "filtered": users.filter(col("rows").is_between(2, 4))
            .group_by(odd=col("rows") % 2)
            .agg(values),
            "joined": users.join_lookup(teams, on="rows").group_by("team").agg(values),
        }
        return made | {f"log of {name}": stream.as_log() for name, stream in made.items()}

    def check(self, processes: Processes, partitions: Sequence[Sequence[Event]]) -> None:
        rows = [{name: e[name] for name in EVENT_SCHEMA.names} for part in partitions for e in part]
        with duckdb.connect() as connection:
            connection.register("given", pa.Table.from_pylist(rows, EVENT_SCHEMA))
            connection.register("teams", self.teams)
            connection.execute(f"CREATE TABLE users AS {USERS}")
            for name, (key, sql) in LEVELS.items():
                connection.execute(f'CREATE TABLE "{name}" AS {sql}')
                table = connection.execute(f'SELECT * FROM "{name}"').to_arrow_table()
                expected = counted(table.to_pylist())
                assert processes.rows(name) == expected, name
                assert counted(fold(processes.table(f"log of {name}"), key)) == expected, name


@pytest.mark.parametrize("seed", SEEDS)
def test_as_duckdb(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    partitions = draw_apart(rng)
    nested = Nested(tmp_path)
    processes = Processes(partitions, nested.streams)
    processes.run_drawn(rng)
    nested.check(processes, partitions)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int, tmp_path: Path) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_apart(rng)
    nested = Nested(tmp_path)
    processes = Processes(partitions, nested.streams)
    crashes = 0
    for step in (6, *rng.sample(range(3, 40), 4)):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            crashes += 1
    processes.run_drawn(rng)
    nested.check(processes, partitions)
    assert crashes > 0


def test_crashed_at_every_step(tmp_path: Path) -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=20, whole=True)
    nested = Nested(tmp_path)
    counter = CrashAt()
    whole = Processes(partitions, nested.streams)
    whole.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=counter)
    nested.check(whole, partitions)
    log = whole.table("log of sizes")
    assert sum(row["_kind"] == "delete" for row in log) > 3, "no size dies: that is not tested"
    assert counter.steps > 30
    for step in range(1, counter.steps + 1):
        processes = Processes(partitions, nested.streams)
        with pytest.raises(Crash):
            processes.run(seed=3, workers=2, batch_rows=1, every_s=0.008, hook=CrashAt(step))
        processes.run(seed=step, workers=1 + step % 3)
        nested.check(processes, partitions)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("window", [fz.session(gap="6s"), fz.hopping("20s", every="5s")], ids=str)
def test_of_windows_that_change(seed: int, window: fz.Window) -> None:
    """Sessions grow into each other and are deleted; in the end it is as of those that close."""
    rng = Random(seed)

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        groups = events.event_time("at", out_of_order="5s").group_by("user")
        rows = {"rows": fz.count(), "total": col("n").sum()}
        changing = groups.window(window, emit="on_change").agg(rows)
        per_user = {"windows": fz.count(), "rows": col("rows").sum(), "total": col("total").sum()}
        return {
            "log": changing.group_by("user").agg(per_user).as_log(),
            "starts": changing.group_by("window_start").agg(users=fz.count()).as_log(),
            "closed": groups.window(window).agg(rows),
            "bad": events.rejected,
        }

    processes = Processes(draw_apart(rng), streams)
    for step in rng.sample(range(3, 60), 3):
        try:
            hook = CrashAt(step)
            processes.run_drawn(rng, hook=hook, every_s=0.01, batch_rows=rng.choice([1, 3]))
        except Crash:
            continue
    processes.run_drawn(rng, close_windows=True)
    closed = processes.sinks["closed"].table()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("closed", closed)
        per_user = connection.execute(
            'SELECT "user", count(*) AS windows, sum(rows)::BIGINT AS rows, '
            "sum(total)::BIGINT AS total FROM closed GROUP BY 1"
        ).to_arrow_table()
        assert counted(fold(processes.table("log"), ["user"])) == counted(per_user.to_pylist())
        starts = connection.execute(
            "SELECT window_start, count(*) AS users FROM closed GROUP BY 1"
        ).to_arrow_table()
        found = [(row["window_start"], row["users"]) for row in starts.to_pylist()]
        log = fold(processes.table("starts"), ["window_start"])
        assert sorted((row["window_start"], row["users"]) for row in log) == sorted(found)


def test_variance_of_what_is_left() -> None:
    """The first users are alone in their size, then they leave it."""

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        users = events.group_by("user").agg(rows=fz.count(), total=col("n").sum())
        spread = {"variance": col("total").variance(), "stddev": col("total").stddev(ddof=0)}
        return {"left": users.group_by("rows").agg(spread)}

    users = "abcabdabc"
    events = [
        {**event, "user": user, "n": n * n}
        for n, (event, user) in enumerate(zip(events_at(*range(9)), users, strict=True))
    ]
    processes = Processes([events], streams)
    processes.run(batch_rows=1)
    # a: 0 + 9 + 36, b: 1 + 16 + 49, c: 4 + 64, d: 25
    assert sorted(
        (row["rows"], row["variance"], row["stddev"]) for row in processes.table("left")
    ) == [
        (1, None, 0.0),
        (2, None, 0.0),
        (3, 220.5, 10.5),
    ]


def _users(events: fz.Stream) -> fz.Stream:
    return events.group_by("user").agg(n=fz.count())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda events: events, _users),
        (_users, lambda events: events),
    ],
)
def test_state_of_rows_that_do_not_change(
    before: Callable[[fz.Stream], fz.Stream], after: Callable[[fz.Stream], fz.Stream]
) -> None:
    """A step whose input begins to change, or changes no more, keeps other state."""

    def program(rows: Callable[[fz.Stream], fz.Stream]) -> Processes:
        def streams(events: fz.Stream) -> dict[str, Any]:
            totals = rows(events).select("user", "n").group_by("n").agg(rows=fz.count())
            return {"log": totals.named("totals").as_log()}

        return Processes([events_at(1, 2, 3)], streams)

    processes = program(before)
    processes.run()
    other = program(after)
    other.store = processes.store
    with pytest.raises(PlanChanged, match="rows"):
        other.run()
