"""Of rows that are near each other one is kept: as DuckDB says, in any order, crashed anywhere."""

from __future__ import annotations

import contextlib
import os
from random import Random

import frazil as fz
import pytest
from frazil.errors import PlanChanged

from tests.pipelines.crashes import check_answer, check_crashes, check_every_crash
from tests.pipelines.events import BEGIN_US, SECOND, Event, counted, events_at, us_of
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.ordered import COLUMNS, Ordered, draw_apart
from tests.pipelines.processes import Processes

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "15")))


class Near:
    """A pipeline that deduplicates in every way."""

    def __init__(self, within: int, out_of_order: int) -> None:
        self.within, self.out_of_order = within, out_of_order

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order=f"{self.out_of_order}s")
        within = f"{self.within}s"
        first = timed.deduplicate("user", within=within, keep="first")
        return {
            "any": timed.deduplicate("user", within=within),
            "first": first,
            "last": timed.deduplicate("user", within=within, keep="last"),
            "late": first.late,
            "bad": events.rejected,
        }

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        oracle = Ordered(partitions, self.out_of_order, ended=ended)
        oracle.groups(self.within)
        firsts = oracle.rows(f"SELECT {COLUMNS} FROM grouped WHERE us = start AND us < w()")
        lasts = oracle.rows(
            f"SELECT {COLUMNS} FROM grouped WHERE start + {self.within * SECOND} <= w() "
            "QUALIFY us = max(us) OVER (PARTITION BY k, start)"
        )
        assert processes.rows("first") == counted(firsts)
        assert processes.rows("last") == counted(lasts)
        assert processes.rows("late") == counted(oracle.late())
        self.check_any(processes.table("any"), oracle.rows(f"SELECT {COLUMNS} FROM accepted"))

    def check_any(self, kept: list[Event], accepted: list[Event]) -> None:
        """Kept rows are no two that are near; every other row is near one of them."""
        assert not counted(kept) - counted(accepted)
        times: dict[str | None, list[int]] = {}
        for row in kept:
            times.setdefault(row["user"], []).append(us_of(row["at"]))
        within = self.within * SECOND
        for user in times:
            times[user].sort()
            assert all(b - a >= within for a, b in zip(times[user], times[user][1:], strict=False))
        for row in accepted:
            assert any(abs(us_of(row["at"]) - at) < within for at in times[row["user"]]), row


@pytest.mark.parametrize("seed", SEEDS)
def test_as_duckdb(seed: int) -> None:
    rng = Random(seed)
    partitions = draw_apart(rng)
    near = Near(rng.choice([1, 3, 10, 40]), rng.choice([0, 5, 20]))
    check_answer(near, partitions, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    partitions = draw_apart(rng)
    near = Near(rng.choice([1, 3, 10, 40]), rng.choice([0, 5, 20]))
    check_crashes(near, partitions, rng)


def test_crashed_at_every_step() -> None:
    """Each step of one run, at each checkpoint; then with another number of workers."""
    partitions = draw_apart(Random(5), most=2, rows=20, whole=True)
    near = Near(10, 5)
    check_every_crash(near, partitions)


@pytest.mark.parametrize("seed", range(6))
def test_redelivered_events_are_kept_once(seed: int) -> None:
    """Equal rows that are near each other: then keep="any" is exact."""
    rng = Random(seed)
    events = events_at(*range(60))
    for event in events:
        event["user"] = f"u{event['id']}"
    twice = sorted([*events, *rng.choices(events, k=40)], key=lambda e: e["id"] + rng.random() * 9)
    partitions = [twice[0::3], twice[1::3], twice[2::3]]
    near = Near(10, 30)
    processes = Processes(partitions, near.streams)
    for _ in range(3):
        with contextlib.suppress(Crash):
            processes.run_drawn(rng, hook=CrashAt(rng.randrange(3, 40)), every_s=0.01)
    processes.run_drawn(rng, close_windows=True)
    for keep in ("any", "first", "last"):
        assert processes.rows(keep) == counted(events), keep


def test_at_the_bounds() -> None:
    """A row that is just `within` behind the one that was kept is kept."""
    rows = events_at(0, 9, 10, 19, 20)
    rows[3]["at"] = rows[3]["at"].replace(microsecond=999_999)
    processes = Processes([rows], Near(10, 0).streams)
    processes.run(batch_rows=1, close_windows=True)
    found = [(us_of(row["at"]) - BEGIN_US) // SECOND for row in processes.table("first")]
    assert sorted(found) == [0, 10, 20]
    found = [(us_of(row["at"]) - BEGIN_US) // SECOND for row in processes.table("last")]
    assert sorted(found) == [9, 19, 20]


def test_windows_behind_it() -> None:
    """What is kept goes into windows that close all the same; none of it is late."""

    def streams(events: fz.Stream) -> dict[str, fz.Stream]:
        timed = events.event_time("at", out_of_order="5s")
        counts = {}
        for keep in ("any", "first", "last"):
            kept = timed.deduplicate("user", "n", within="60s", keep=keep)  # type: ignore[arg-type]
            counts[keep] = kept.group_by("user").window(fz.tumbling("20s")).agg(rows=fz.count())
        return counts

    partitions = draw_apart(Random(3), rows=60, whole=True)
    for workers in (1, 2, 4):
        processes = Processes(partitions, streams)
        processes.run(workers=workers, seed=workers, batch_rows=2, every_s=0.05)
        processes.run(workers=3 - workers // 2, close_windows=True)
        oracle = Ordered(partitions, 5, ended=True)
        oracle.groups(60, '"user", n')
        for keep, of in (
            ("first", "us = start"),
            ("last", "us = (SELECT max(us) FROM grouped h WHERE h.k = g.k AND h.start = g.start)"),
        ):
            expected = oracle.rows(
                f'SELECT "user", make_timestamptz(s) AS window_start, '
                f"make_timestamptz(s + {20 * SECOND}) AS window_end, count(*) AS rows FROM ("
                f"SELECT *, us // {20 * SECOND} * {20 * SECOND} AS s FROM grouped g WHERE {of}) "
                'GROUP BY "user", s'
            )
            assert processes.rows(keep) == counted(expected), (keep, workers)


def test_state_is_dropped() -> None:
    """What is kept of keys does not grow with their number."""
    sizes = []
    for count in (400, 4_000):
        rows = events_at(*range(count))
        for row in rows:
            row["user"] = f"u{row['id']}"
        processes = Processes([rows], Near(20, 0).streams)
        processes.run(batch_rows=50, every_s=0.05)
        files = processes.manifests()[-1].state_files
        sizes.append(sum(len(processes.store.get(file.path) or b"") for file in files))
    assert 0 < sizes[1] < 3 * sizes[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"within": "20s"}, "within: was 10s, is now 20s"),
        ({"keep": "first"}, "keep: was last, is now first"),
        ({"keys": ["user", "n"]}, "keys: was user: string, is now user: string, n: int64"),
    ],
)
def test_other_program_on_the_state(changed: dict[str, object], said: str) -> None:
    def program(**options: object) -> Processes:
        asked = {"within": "10s", "keep": "last", "keys": ["user"], **options}

        def streams(events: fz.Stream) -> dict[str, fz.Stream]:
            timed = events.event_time("at", out_of_order="5s")
            keys, within, keep = asked["keys"], asked["within"], asked["keep"]
            return {"results": timed.deduplicate(*keys, within=within, keep=keep).named("d")}  # type: ignore[misc, arg-type]

        return Processes([events_at(1, 30, 70)], streams)

    processes = program()
    processes.run()
    other = program(**changed)
    other.store = processes.store
    with pytest.raises(PlanChanged, match=said):
        other.run()
    processes.run(close_windows=True)
    assert len(processes.table()) == 3
