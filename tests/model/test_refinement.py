"""The real log, several processes, any interleaving: only what the model allows, no row lost."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from frazil.checkpoint import collector, history, log, opening
from frazil.checkpoint.store import PutOutcome, Store
from frazil.errors import Fenced, RewindRefused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model import schedule as schedule_module
from tests.model.event_log import EventLog, NotAllowed
from tests.model.refinement import Follower
from tests.model.schedule import SINKS, Schedule, restart_alone

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Entry, Landed, Manifest
    from frazil.checkpoint.slot_put import Clock

schedules = st.lists(st.integers(0, 2**16), min_size=20, max_size=220)
quietly = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example]
)


def check(schedule: Schedule) -> Follower:
    schedule.run()
    for process in schedule.processes:
        if process.error is not None and not isinstance(process.error, (Fenced, RewindRefused)):
            raise process.error
    follower = Follower()
    follower.follow(schedule.events)
    follower.check_end(schedule)
    EventLog(SINKS).check(json.loads(json.dumps(schedule.log_events)))
    return follower


def check_rows(schedule: Schedule) -> None:
    """After a clean restart every row is there once."""
    reached = max([schedule.acked, *(n for sink in SINKS for _, n in schedule.tables.rows(sink))])
    restart_alone(schedule, reached + 3)
    rows = [row for sink in SINKS for row in schedule.tables.rows(sink)]
    assert sorted(rows) == [(0, number) for number in range(len(rows))]
    assert len(rows) >= reached + 3


@settings(quietly, max_examples=250)
@given(schedules, st.integers(1, 4))
def test_the_code_does_what_the_model_allows(numbers: list[int], processes: int) -> None:
    schedule = Schedule(numbers, processes=processes)
    check(schedule)
    check_rows(schedule)


@settings(quietly, max_examples=150)
@given(schedules, st.integers(2, 3))
def test_rewinds_do_what_the_model_allows(numbers: list[int], processes: int) -> None:
    check(Schedule(numbers, processes=processes, rewinds=True))


# -- can these tests fail? Wrong code, each of which they have to catch
# ----------------------------------


def random_schedule(seed: int) -> Schedule:
    rng = random.Random(seed)
    numbers = [rng.randrange(2**16) for _ in range(rng.randrange(60, 260))]
    return Schedule(numbers, processes=rng.randrange(2, 4))


def test_schedules_reach_everything() -> None:
    seen: dict[str, int] = {}
    for seed in range(60):
        schedule = random_schedule(seed)
        check(schedule)
        for event in schedule.events:
            word = event.what
            if word.endswith("lands"):
                word += " accepted" if event.data["accepted"] else " refused"
            if word == "ended":
                word += f" {event.data['why']}"
            seen[word] = seen.get(word, 0) + 1
    assert set(seen) == {
        "list",
        "start",
        "prepare",
        "put lands accepted",
        "put lands refused",
        "put again",
        "read",
        "time out",
        "send",
        "commit lands accepted",
        "commit lands refused",
        "seen",
        "ack",
        "collect",
        "orphans",
        "fenced",
        "ended fenced",
    }


def no_look(self: log.CheckpointLog, *, after: int | None = None) -> None:
    """L4 left out."""


def floor_is_slot(entries: Any, landed: Any, slot: int) -> int:
    """V14: a floor that does not wait for the tables."""
    return slot


def guessing_put(store: Store, key: str, data: bytes, clock: Clock) -> bytes:
    """An unknown outcome taken for accepted."""
    if store.put_new(key, data) is PutOutcome.EXISTS:
        return store.get(key) or b""
    return data


def trusting_put(store: Store, key: str, data: bytes, clock: Clock) -> bytes:
    """ "It exists" taken for our own earlier try."""
    store.put_new(key, data)
    return data


def ack_newest(self: log.CheckpointLog) -> dict[str, dict[str, str]]:
    """V16: acknowledged at the manifest."""
    return {s: state.positions() for s, state in self.newest.manifest.sources.items()}


def newest_below(entries: Any, floor: int) -> Entry:
    """V16 again: the newest entry is taken for what every table has."""
    return entries[-1]


def all_orphans(attempt: int, slot: int, owners: Any, me: int) -> bool:
    """Whatever is older than me."""
    return attempt < me


def newest_pending(entries: Any, sink: str, landed: dict[str, Landed]) -> list[Entry]:
    """V5: only the newest token."""
    done = landed.get(sink)
    found = history.with_token(entries, sink)
    return [entry for entry in found if done is None or entry.slot > done.slot][-1:]


def greedy_collect(self: collector.Collector, newest: Manifest) -> list[str]:
    """V14: everything below the newest slot."""
    return REAL_COLLECT(self, replace(newest, floor=newest.slot))


REAL_COLLECT = collector.Collector.collect
REAL_NEXT = opening.Opening._next


def forgetful_next(self: opening.Opening, entries: Any) -> Any:
    """A fence that forgets what landed."""
    manifest, fit = REAL_NEXT(self, entries)
    return replace(manifest, landed={}), fit


def unlisted_owner(self: opening.Opening, entries: Any) -> Any:
    """A fence with the attempt of the one before."""
    manifest, fit = REAL_NEXT(self, entries)
    if not entries:
        return manifest, fit
    before = entries[-1].manifest
    return replace(manifest, attempt=before.attempt, owners=before.owners), fit


MUTANTS: list[tuple[Any, str, Callable[..., Any]]] = [
    (log.CheckpointLog, "_look_for_newer", no_look),
    (history, "floor_of", floor_is_slot),
    (log, "put_object", guessing_put),
    (log, "put_object", trusting_put),
    (opening, "put_object", guessing_put),
    (log.CheckpointLog, "ack_positions", ack_newest),
    (history, "last_below", newest_below),
    (schedule_module, "is_orphan", all_orphans),
    (history, "unlanded", newest_pending),
    (collector.Collector, "collect", greedy_collect),
    (opening.Opening, "_next", forgetful_next),
    (opening.Opening, "_next", unlisted_owner),
]


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    MUTANTS,
    ids=[wrong.__name__ + f"-{i}" for i, (_, _, wrong) in enumerate(MUTANTS)],
)
def test_wrong_code_is_caught(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, wrong: Callable[..., Any]
) -> None:
    monkeypatch.setattr(where, name, wrong)
    for seed in range(300):
        try:
            check(random_schedule(seed))
        except Exception:
            return
    pytest.fail(f"{wrong.__name__} was not caught")


# What the log says by itself is enough to see these.
TOLD = ["floor_is_slot", "trusting_put", "newest_below", "forgetful_next", "unlisted_owner"]


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m[2].__name__ in TOLD], ids=lambda m: m[2].__name__
)
def test_wrong_code_is_seen_in_the_event_log(
    monkeypatch: pytest.MonkeyPatch, mutant: tuple[Any, str, Callable[..., Any]]
) -> None:
    monkeypatch.setattr(*mutant)
    for seed in range(300):
        schedule = random_schedule(seed)
        schedule.run()
        try:
            EventLog(SINKS).check(schedule.log_events)
        except NotAllowed:
            return
    pytest.fail(f"{mutant[2].__name__} was not seen")
