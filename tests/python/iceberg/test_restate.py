"""A table is put back to an epoch, with its proof."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from frazil.checkpoint.manifest import Landed
from frazil.errors import CommitRefused, CommitUnknown, RewindRefused
from frazil.iceberg.audit import audit
from frazil.iceberg.proof import proof_name
from frazil.iceberg.restate import PutBack, way_back

from tests.python.iceberg.world import Faulty, Log, duckdb_rows

if TYPE_CHECKING:
    from tests.python.iceberg.world import World


def committed(world: World, *slots: int, squash: bool = False) -> Log:
    """Epochs that landed one by one, or at once; each row being its slot."""
    log = Log()
    for slot in slots:
        log.tokens.append(world.token(slot, [slot]))
        if not squash:
            commit(world, log)
    commit(world, log)
    return log


def commit(world: World, log: Log) -> None:
    """What a started process does."""
    log.record(world.committer().commit(log.pending(), landed=log.landed, log=log, head=log.head))


def find(world: World, want: Landed | None) -> PutBack | None:
    return way_back(world.load(), world.identity(), "main", want)


def put_back(world: World, log: Log, slot: int | None) -> None:
    """Put the table back, and the log, whose next slot is a rewind."""
    kept = [token for token in log.tokens if slot is not None and token.slot <= slot]
    want = Landed(kept[-1].slot, kept[-1].digest) if kept else None
    way = find(world, want)
    assert way is not None
    way.commit()
    rewind = world.token(log.tokens[-1].slot + 1, [])
    rewind = replace(rewind, positions=kept[-1].positions if kept else {})
    log.tokens = [*kept, rewind]
    log.landed, log.head = want, None


@pytest.mark.parametrize(("slot", "left"), [(5, [2, 3, 5]), (3, [2, 3]), (2, [2]), (None, [])])
def test_put_back_and_gone_on(world: World, slot: int | None, left: list[int]) -> None:
    log = committed(world, 2, 3, 5, 6)
    put_back(world, log, slot)
    assert world.ids() == left
    assert [row[0] for row in duckdb_rows(world.load())] == left
    assert find(world, log.landed) is None
    assert audit(world.load()).ok or slot is None
    commit(world, log)
    log.tokens.append(world.token(90, [90]))
    commit(world, log)
    assert world.ids() == [*left, 90]
    assert audit(world.load()).ok


def test_put_back_twice(world: World) -> None:
    log = committed(world, 2, 3, 5)
    put_back(world, log, 3)
    log.tokens.append(world.token(20, [20]))
    commit(world, log)
    put_back(world, log, 2)
    commit(world, log)
    assert world.ids() == [2]
    assert audit(world.load()).ok


def test_rows_of_others_below_stay_and_above_refuse(world: World) -> None:
    world.append([100])
    log = committed(world, 2, 3)
    put_back(world, log, None)
    assert world.ids() == [100]
    commit(world, log)
    log.tokens.append(world.token(20, [20]))
    commit(world, log)
    world.append([101])
    log.tokens.append(world.token(21, [21]))
    commit(world, log)
    with pytest.raises(RewindRefused, match="others have committed since"):
        put_back(world, log, 4)
    put_back(world, log, 20)
    assert world.ids() == [20, 100, 101]


def test_rows_of_others_below_that_expired_stay(world: World) -> None:
    """The first snapshot of the sink has no parent any more: that is not an empty table."""
    world.append([100])
    first = world.head()
    committed(world, 2)
    world.expire(first)
    with pytest.raises(RewindRefused, match="expired"):
        find(world, None)
    assert world.ids() == [2, 100]


def test_rolled_back_by_hand_is_put_right(world: World) -> None:
    """Somebody has set the branch back without the proof: the proof follows."""
    log = committed(world, 2, 3)
    world.rollback(world.load().metadata.snapshots[0].snapshot_id)
    with pytest.raises(CommitRefused, match="rolled back"):
        find(world, log.landed)
    put_back(world, log, 2)
    commit(world, log)
    assert world.ids() == [2]


def test_a_state_that_never_was_is_refused(world: World) -> None:
    log = committed(world, 2, 3, 5, squash=True)
    want = Landed(3, log.tokens[1].digest)
    with pytest.raises(RewindRefused, match="expired"):
        find(world, want)
    log.tokens.append(world.token(6, [6]))
    commit(world, log)
    with pytest.raises(RewindRefused, match=r"epoch 3 .* does not have that in its history"):
        find(world, want)
    with pytest.raises(RewindRefused, match="run the pipeline, which commits what waits"):
        find(world, Landed(7, "7" * 64))
    assert world.ids() == [2, 3, 5, 6]


def test_epochs_committed_at_once_are_named(world: World) -> None:
    log = committed(world, 2)
    log.tokens += [world.token(3, [3]), world.token(5, [5])]
    commit(world, log)
    with pytest.raises(RewindRefused, match="several epochs were committed at once"):
        find(world, Landed(3, log.tokens[1].digest))


def test_late_request_does_not_land_after_it(world: World) -> None:
    """A dead process's request waits for the very state that the table is put back to."""
    log = committed(world, 2)
    zombie = Faulty(world.catalog)
    zombie.plan = ["late", "ok"]
    log.tokens.append(world.token(3, [3]))
    result = world.committer(catalog=zombie).commit(log.pending(), landed=log.landed, log=log)
    log.record(result)
    put_back(world, log, 2)
    [outcome] = zombie.land()
    assert outcome is not None
    commit(world, log)
    assert world.ids() == [2]


def test_others_are_faster(world: World) -> None:
    log = committed(world, 2, 3)
    way = find(world, Landed(2, log.tokens[0].digest))
    assert way is not None
    world.append([7])
    with pytest.raises(CommitUnknown, match="ask again"):
        way.commit()
    assert world.ids() == [2, 3, 7]


def test_a_tag_of_somebody_keeps_what_is_to_go(world: World) -> None:
    log = committed(world, 2, 3)
    world.foreign().manage_snapshots().create_tag(world.head(), "keep").commit()
    with pytest.raises(RewindRefused, match="keep keeps what was committed"):
        put_back(world, log, None)
    assert proof_name("shop", "orders", "main") in world.load().metadata.refs
    put_back(world, log, 2)
    assert world.ids() == [2]
