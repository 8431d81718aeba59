"""The shortest traces of the known mistakes (V1 to V21), against the real log.

Those that are about the table alone (V4, V7 to V10, V19, V20) are tested with the table's
committer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from frazil.checkpoint import (
    CheckpointLog,
    Epoch,
    Landed,
    Partition,
    Rewind,
    SourceState,
    is_orphan,
)
from frazil.checkpoint.history import slot_key
from frazil.checkpoint.manifest import decode
from frazil.errors import CheckpointError, CommitRefused, Fenced, RewindRefused

from tests.model.fake_table import FakeCommitter, FakeTables, token

if TYPE_CHECKING:
    from frazil.checkpoint.memory_store import MemoryStore

    from tests.model.world import Row

Open = Callable[..., CheckpointLog]


class Killed(BaseException):
    """A process ends here, as by SIGKILL."""


def kill_at(name: str) -> Callable[[str], None]:
    def hook(reached: str) -> None:
        if reached == name:
            raise Killed(name)

    return hook


def run_at(name: str, what: Callable[[], object]) -> Callable[[str], None]:
    """Let something else happen when a process reaches a step for the first time."""
    waiting = [what]

    def hook(reached: str) -> None:
        if reached == name and waiting:
            waiting.pop()()

    return hook


@pytest.fixture
def tables() -> FakeTables:
    return FakeTables(["a", "b"])


def rows(*numbers: int) -> list[Row]:
    return [(0, number) for number in numbers]


def epoch(end: int, **sinks: list[Row]) -> Epoch:
    source = SourceState((Partition("p", str(end)),))
    return Epoch(
        sources={"s": source}, tokens={sink: token(given) for sink, given in sinks.items()}
    )


def end_of(log: CheckpointLog) -> int:
    source = log.newest.manifest.sources.get("s")
    return int(source.partitions[0].position) if source else 0


def commit(tables: FakeTables, log: CheckpointLog) -> None:
    for sink in tables.sinks:
        FakeCommitter(tables, log, sink).run()


def finish(tables: FakeTables, open_log: Open, count: int, *, sink: str = "a") -> CheckpointLog:
    """A clean restart that reads the rest: every row has to be there once."""
    log = open_log()
    commit(tables, log)
    start = end_of(log)
    if start < count:
        log.append(epoch(count, **{sink: rows(*range(start, count))}))
        commit(tables, log)
    assert sorted(tables.rows("a") + tables.rows("b")) == rows(*range(count))
    return log


def test_v1_put_of_a_zombie_after_the_new_process_listed(
    open_log: Open, tables: FakeTables
) -> None:
    zombie = open_log()

    def zombie_goes_on() -> None:
        zombie.append(epoch(1, a=rows(0)))
        commit(tables, zombie)

    new = open_log(hook=run_at("after_list", zombie_goes_on))
    assert new.newest.slot == 2  # its fence lost slot 1, so it read that one too
    commit(tables, new)
    with pytest.raises(Fenced):
        zombie.append(epoch(2, a=rows(1)))
    finish(tables, open_log, 2)


def test_v2_no_orphan_is_removed_before_the_fence(open_log: Open, tables: FakeTables) -> None:
    zombie = open_log()
    tables.files.add(("data", 1, 1, 0))
    new = open_log(hook=run_at("after_list", lambda: zombie.append(epoch(1, a=rows(0)))))
    assert not is_orphan(1, 1, new.owners, new.attempt)  # slot 1 is the zombie's
    assert is_orphan(1, 2, new.owners, new.attempt)  # slot 2 is not any more
    finish(tables, open_log, 1)


def test_v3_one_slot_holds_one_manifest(
    open_log: Open, store: MemoryStore, tables: FakeTables
) -> None:
    zombie = open_log()
    new = open_log()
    accepted = new.append(epoch(2, a=rows(0, 1)))
    with pytest.raises(Fenced):
        zombie.append(epoch(1, a=rows(0)))
    assert all(key == slot_key(decode(data).slot) for key, data in store.objects.items())
    assert decode(store.objects[slot_key(2)]) == accepted.manifest
    finish(tables, open_log, 2)


def test_v5_v6_all_pending_epochs_land_in_order(open_log: Open, tables: FakeTables) -> None:
    log = open_log()
    for number in range(3):
        log.append(epoch(number + 1, a=rows(number)))
    again = open_log()
    slots = [pending.slot for pending in again.pending("a")]
    assert slots == [1, 2, 3]
    committer = FakeCommitter(tables, again, "a")
    first = committer.load().commit
    assert first is not None
    assert first.rows == ((0, 0),)
    finish(tables, open_log, 3)


def test_v11_a_collected_slot_that_is_put_again_fences(
    open_log: Open, store: MemoryStore, tables: FakeTables
) -> None:
    def others_go_on() -> None:
        other = open_log()
        for number in range(3):
            other.append(epoch(number + 1, a=rows(number)))
            commit(tables, other)
        other.append(epoch(3))
        other.collect()
        assert slot_key(0) not in store.objects

    with pytest.raises(Fenced):
        open_log(hook=run_at("before_fence_put", others_go_on))
    assert slot_key(0) in store.objects  # its create-only put succeeded
    finish(tables, open_log, 4)


def test_v12_readers_ignore_what_is_below_the_floor(
    open_log: Open, store: MemoryStore, tables: FakeTables
) -> None:
    test_v11_a_collected_slot_that_is_put_again_fences(open_log, store, tables)
    log = open_log()
    assert log.newest.manifest.floor > 0
    assert [pending.slot for pending in log.pending("a")] == [6]  # landed, but not yet recorded
    commit(tables, log)
    assert log.pending("a") == []
    assert slot_key(0) in log.collect()


def test_v13_files_of_collected_epochs_are_no_orphans(
    open_log: Open, store: MemoryStore, tables: FakeTables
) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    commit(tables, log)
    log.append(epoch(1))
    log.append(epoch(1))
    assert slot_key(1) in log.collect()
    new = open_log()
    assert not is_orphan(1, 1, new.owners, new.attempt)
    assert is_orphan(1, 4, new.owners, new.attempt)


def test_v14_unlanded_manifests_are_not_collected(
    open_log: Open, store: MemoryStore, tables: FakeTables
) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    log.append(epoch(2, a=rows(1)))
    log.append(epoch(2))
    assert log.collect() == [slot_key(0)]
    finish(tables, open_log, 2)


@pytest.mark.parametrize("step", ["before_put", "after_put", "after_l4_list"])
def test_v15_nothing_is_acknowledged_before_it_landed(
    open_log: Open, tables: FakeTables, step: str
) -> None:
    log = open_log()
    log._hook = kill_at(step)
    with pytest.raises(Killed):
        log.append(epoch(1, a=rows(0)))
    assert log.ack_positions() == {}
    finish(tables, open_log, 1)


def test_v16_a_lost_manifest_takes_no_acknowledged_row_with_it(
    open_log: Open, store: MemoryStore, tables: FakeTables
) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    assert log.ack_positions() == {}  # accepted, but in no table
    del store.objects[slot_key(1)]
    finish(tables, open_log, 1)


def test_v17_a_hole_in_the_log_is_seen(open_log: Open, store: MemoryStore) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    log.append(epoch(2, a=rows(1)))
    data = store.objects.pop(slot_key(1))
    with pytest.raises(CheckpointError, match=r"lost slot 1 \(there are slots 0 to 2, 2 of them\)"):
        open_log()
    store.objects[slot_key(1)] = data
    open_log()


def test_v17_a_hole_that_was_filled_by_another_is_seen(open_log: Open, store: MemoryStore) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))

    def loses_and_refills() -> None:
        del store.objects[slot_key(1)]
        open_log()  # a third process refills slot 1 with its fence

    open_log(hook=run_at("before_fence_put", loses_and_refills))
    with pytest.raises(CheckpointError, match="slot 2 does not follow the slot 1 that is there"):
        open_log()


def test_v18_a_lost_newest_manifest_is_seen_by_its_digest(
    open_log: Open, store: MemoryStore, tables: FakeTables
) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    commit(tables, log)
    del store.objects[slot_key(1)]
    again = open_log()  # takes slot 1
    again.append(epoch(1, a=rows(0)))
    with pytest.raises(CommitRefused):
        commit(tables, again)
    assert tables.rows("a") == rows(0)


def rewind_to(tables: FakeTables, slot: int) -> Rewind:
    return Rewind(to=slot, proofs=tables.proof)


def test_v21_rewind_asks_the_tables(open_log: Open, tables: FakeTables) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    log.append(epoch(2, a=rows(1)))
    with pytest.raises(RewindRefused, match=r"sink 'a' shows nothing, slot 1 needs epoch 1"):
        open_log(rewind=rewind_to(tables, 1))
    commit(tables, log)
    with pytest.raises(RewindRefused, match=r"sink 'a' shows epoch 2 .*slot 1 needs epoch 1"):
        open_log(rewind=rewind_to(tables, 1))
    assert open_log().newest.slot == 3  # nothing was written by the refused ones


def test_v21_rewind_cancels_tokens_and_moves_the_head(open_log: Open, tables: FakeTables) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    commit(tables, log)
    log.append(epoch(2, a=rows(1), b=rows(7)))
    late = FakeCommitter(tables, log, "a").load().commit  # on its way when the rewind comes
    assert late is not None
    again = open_log(rewind=rewind_to(tables, 1))
    assert again.newest.manifest.kind == "rewind"
    assert again.newest.manifest.rewind_to == 1
    assert end_of(again) == 1
    assert [(p.slot, p.parts) for p in again.pending("a")] == [(3, ())]
    assert not again.contains("a", 2, log.newest.digest)
    commit(tables, again)
    assert tables.commit(late) is False
    finish(tables, open_log, 3)


def test_v21_a_cancelled_token_that_lands_in_between_is_refused(
    open_log: Open, tables: FakeTables
) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    commit(tables, log)
    log.append(epoch(2, a=rows(1)))
    late = FakeCommitter(tables, log, "a").load().commit
    assert late is not None
    again = open_log(rewind=rewind_to(tables, 1))
    assert tables.commit(late)
    with pytest.raises(CommitRefused):
        commit(tables, again)


def test_rewind_after_the_tables_were_put_back(open_log: Open, tables: FakeTables) -> None:
    log = open_log(retain=10)
    for number in range(4):
        log.append(epoch(number + 1, a=rows(number)))
        commit(tables, log)
    log.append(epoch(4))
    log.collect()
    tables.roll_back("a")
    tables.roll_back("a")
    assert log.newest.manifest.floor == 5
    again = open_log(rewind=rewind_to(tables, 2))
    commit(tables, again)
    assert again.newest.manifest.landed == {"a": tables_at(log, 2)}
    assert again.ack_positions() == {"s": {"p": "2"}}
    finish(tables, open_log, 5)


def tables_at(log: CheckpointLog, slot: int) -> Landed:
    from frazil.checkpoint.reader import read_slot

    entry = read_slot(log._store, slot)
    assert entry is not None
    return Landed(slot, entry.digest)


def test_rewind_is_refused_where_it_cannot_go(open_log: Open, tables: FakeTables) -> None:
    with pytest.raises(CheckpointError, match="no log to go back in"):
        open_log(rewind=rewind_to(tables, 1))
    log = open_log(retain=1)
    for number in range(3):
        log.append(epoch(number + 1, a=rows(number)))
        commit(tables, log)
    log.append(epoch(3))
    log.collect()
    with pytest.raises(RewindRefused, match="nothing to go back over"):
        open_log(rewind=rewind_to(tables, 4))
    with pytest.raises(RewindRefused, match="needs slot 1, which is not there"):
        open_log(rewind=rewind_to(tables, 1))
    order = Rewind(to=3, proofs=tables.proof, forgotten=lambda sources: [f"{list(sources)}"])
    with pytest.raises(RewindRefused, match="no longer have the rows"):
        open_log(rewind=order)


HOOKS = ["after_list", "before_fence_put", "after_fence_put", "after_l4_list"]


@pytest.mark.parametrize("step", HOOKS)
def test_killed_while_opening(open_log: Open, tables: FakeTables, step: str) -> None:
    log = open_log()
    log.append(epoch(1, a=rows(0)))
    with pytest.raises(Killed):
        open_log(hook=kill_at(step))
    finish(tables, open_log, 2)


@pytest.mark.parametrize(
    "step", ["before_put", "after_put", "after_l4_list", "before_gc", "after_gc"]
)
def test_killed_while_running(open_log: Open, tables: FakeTables, step: str) -> None:
    log = open_log()
    log._hook = kill_at(step)

    def run() -> None:
        for number in range(3):
            log.append(epoch(number + 1, a=rows(number), b=[]))
            commit(tables, log)
            log.collect()

    with pytest.raises(Killed):
        run()
    finish(tables, open_log, 3)
