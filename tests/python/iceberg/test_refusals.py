"""Table and log disagree: nothing is guessed, both sides are named."""

import dataclasses
import re

import pytest
from frazil.checkpoint.manifest import Landed
from frazil.errors import CommitRefused, ConfigError, Fenced
from frazil.iceberg.audit import audit
from frazil.iceberg.proof import proof_name, property_name
from frazil.iceberg.restate import accept

from tests.python.iceberg.world import Log, World

TAG = proof_name("shop", "orders", "main")
PROPERTY = property_name("shop", "orders", "main")


def committed(world: World, *slots: int) -> Log:
    """Epochs that landed one by one, each row being its slot."""
    log = Log()
    for slot in slots:
        log.tokens.append(world.token(slot, [slot]))
        log.record(world.committer().commit(log.pending(), landed=log.landed, log=log))
    return log


def refusal(world: World, log: Log, **options: object) -> CommitRefused:
    """What a restarted process is told; nothing was changed then."""
    before = world.load().metadata_location
    log = dataclasses.replace(log, tokens=[*log.tokens, world.token(90, [90])])
    with pytest.raises(CommitRefused) as caught:
        world.committer(**options).commit(log.pending(), landed=log.landed, log=log, head=log.head)
    with pytest.raises(CommitRefused) as again:
        world.committer(**options).verify(log.landed, log=log, pending=log.pending(), head=log.head)
    assert again.value.kind == caught.value.kind
    assert world.load().metadata_location == before
    assert "shop" in caught.value.what
    assert "orders" in caught.value.what
    return caught.value


def remove_proof(world: World, *, tag: bool = True, text: bool = True) -> None:
    table = world.foreign()
    if text:
        with table.transaction() as transaction:
            transaction.remove_properties(PROPERTY)
    if tag:
        world.foreign().manage_snapshots().remove_tag(TAG).commit()


def go_on(world: World, log: Log, **options: object) -> None:
    """A restarted process commits one more epoch."""
    log.tokens.append(world.token(90, [90]))
    log.record(
        world.committer(**options).commit(log.pending(), landed=log.landed, log=log, head=log.head)
    )


def test_table_has_a_later_token_of_the_log(world: World) -> None:
    log = committed(world, 2, 3)
    log.landed = Landed(2, log.tokens[0].digest)  # the process died before it noted 3
    go_on(world, log)
    assert world.ids() == [2, 3, 90]


def test_nothing_noted_but_all_landed(world: World) -> None:
    log = committed(world, 2, 3)
    log.landed = None
    go_on(world, log)
    assert world.ids() == [2, 3, 90]


def test_proof_removed_after_landing_was_noted(world: World) -> None:
    log = committed(world, 2, 3)
    remove_proof(world)
    error = refusal(world, log)
    assert error.kind == "proof_removed"
    assert "epoch 3" in error.what


def test_proof_removed_before_landing_was_noted(world: World) -> None:
    log = committed(world, 2)
    log.landed = log.head = None
    remove_proof(world)
    assert refusal(world, log).kind == "proof_removed"
    assert world.ids() == [2]


def test_property_removed_the_tag_stands_in(world: World) -> None:
    """V9 (c)."""
    log = committed(world, 2)
    log.landed = log.head = None
    remove_proof(world, tag=False)
    go_on(world, log)
    assert world.ids() == [2, 90]


def test_tag_removed_the_property_stands_in(world: World) -> None:
    log = committed(world, 2)
    log.landed = log.head = None
    remove_proof(world, text=False)
    go_on(world, log)
    assert world.ids() == [2, 90]
    assert TAG in world.load().metadata.refs


def test_property_and_tag_disagree(world: World) -> None:
    log = committed(world, 2, 3)
    first = world.load().metadata.snapshots[0].snapshot_id
    manage = world.foreign().manage_snapshots()
    manage.remove_tag(TAG).create_tag(first, TAG).commit()
    error = refusal(world, log)
    assert error.kind == "proof_damaged"
    assert str(first) in str(error)


@pytest.mark.parametrize("text", ["", "{}", '{"v":2}', "[1]", '{"v":1,"slot":"x"}'])
def test_property_cannot_be_read(world: World, text: str) -> None:
    log = committed(world, 2)
    with world.foreign().transaction() as transaction:
        transaction.set_properties({PROPERTY: text})
    assert refusal(world, log).kind == "proof_damaged"


def test_tag_on_a_foreign_snapshot_without_property(world: World) -> None:
    log = committed(world, 2)
    world.append([7])
    remove_proof(world)
    world.foreign().manage_snapshots().create_tag(world.head(), TAG).commit()
    assert refusal(world, log).kind == "proof_damaged"


def test_table_restored_from_an_older_state(world: World) -> None:
    log = committed(world, 2)
    old = world.load().metadata_location
    log.tokens.append(world.token(3, [3]))
    log.record(world.committer().commit(log.pending(), landed=log.landed, log=log))
    world.catalog.drop_table(world.name)
    world.catalog.register_table(world.name, old)
    error = refusal(world, log)
    assert error.kind == "table_behind"
    assert re.search(r"went back from epoch 3 \(\w+\) to epoch 2 \(\w+\)", error.what)


def test_newer_attempt_fences(world: World) -> None:
    log = committed(world, 2, 3)
    mine = Log(log.tokens[:1], landed=Landed(2, log.tokens[0].digest), newer=7)
    mine.tokens.append(world.token(9, [9]))
    with pytest.raises(Fenced, match=r"has epoch 3 \(\w+\), which attempt 7 wrote"):
        world.committer().commit(mine.pending(), landed=mine.landed, log=mine)
    assert world.ids() == [2, 3]


def test_store_lost_an_epoch(world: World) -> None:
    log = committed(world, 2, 3)
    mine = Log(log.tokens[:1], landed=Landed(2, log.tokens[0].digest))
    with pytest.raises(CommitRefused) as caught:
        world.committer().commit([], landed=mine.landed, log=mine)
    assert caught.value.kind == "log_behind"
    assert "epoch 3" in caught.value.what
    assert "epoch 2" in caught.value.what


def test_same_slot_other_digest(world: World) -> None:
    """V18."""
    log = committed(world, 2, 3)
    other = dataclasses.replace(log.tokens[1], digest="e" * 64)
    mine = Log([log.tokens[0], other], landed=Landed(2, log.tokens[0].digest))
    error = refusal(world, mine)
    assert error.kind == "diverged"
    mine.landed = Landed(3, other.digest)
    mine.tokens.pop()
    assert refusal(world, mine).kind == "diverged"


def test_cancelled_token_landed_late(world: World) -> None:
    """R3: a token that a rewind cancelled is in the table, the log does not know it any more."""
    log = committed(world, 2, 3)
    rewind = dataclasses.replace(world.token(5, []), parts=())
    mine = Log([rewind], landed=Landed(2, log.tokens[0].digest))
    assert refusal(world, mine).kind == "diverged"


def test_other_incarnation(world: World) -> None:
    log = committed(world, 2)
    error = refusal(world, Log(), identity=world.identity(incarnation="inc-2"))
    assert error.kind == "other_incarnation"
    assert "inc-1" in error.what
    assert "inc-2" in error.what
    assert log.landed is not None


def test_rolled_back(world: World) -> None:
    """V8."""
    log = committed(world, 2, 3)
    first = world.load().metadata.snapshots[0].snapshot_id
    world.rollback(first)
    error = refusal(world, log)
    assert error.kind == "rolled_back"
    assert "epoch 3" in error.what
    with pytest.raises(CommitRefused, match="rolled back"):
        accept(world.load(), "shop", "orders")
    assert world.head() == first


def test_rolled_back_then_appended(world: World) -> None:
    log = committed(world, 2, 3)
    world.rollback(world.load().metadata.snapshots[0].snapshot_id)
    world.append([7])
    assert refusal(world, log).kind == "rolled_back"
    assert world.ids() == [2, 7]


def test_running_process_finds_the_rollback_when_idle(world: World) -> None:
    log = committed(world, 2, 3)
    committer = world.committer()
    assert committer.verify(log.landed, log=log) == world.head()
    world.rollback(world.load().metadata.snapshots[0].snapshot_id)
    with pytest.raises(CommitRefused, match="rolled back"):
        committer.verify(log.landed, log=log)


def test_foreign_commits_hide_nothing(world: World) -> None:
    """V7."""
    log = committed(world, 2)
    world.append([7])
    world.append([8])
    go_on(world, log)
    assert world.ids() == [2, 7, 8, 90]


def test_foreign_commits_and_expiry_hide_nothing(world: World) -> None:
    """V7, V10b: the chain of parents is broken, a live file of our snapshot proves it."""
    log = committed(world, 2)
    world.append([7])
    middle = world.head()
    world.append([8])
    world.expire(middle)
    log.head = None
    go_on(world, log)
    assert world.ids() == [2, 7, 8, 90]


def test_expiry_of_everything_leaves_the_proof(world: World) -> None:
    log = committed(world, 2, 3)
    world.append([7])
    world.expire(
        *[s.snapshot_id for s in world.load().metadata.snapshots if s.parent_snapshot_id is None]
    )
    go_on(world, log)
    assert world.ids() == [2, 3, 7, 90]


def test_rollback_hidden_by_expiry(world: World) -> None:
    """V10: a file of an earlier snapshot of ours is still there; that proves nothing."""
    log = committed(world, 2, 3)
    world.rollback(world.load().metadata.snapshots[0].snapshot_id)
    world.append([7])
    middle = world.head()
    world.append([8])
    world.expire(middle)
    log.head = None
    error = refusal(world, log)
    assert error.kind == "unprovable"
    assert "epoch 3" in error.what
    assert world.ids() == [2, 7, 8]


def test_rollback_hidden_by_expiry_is_not_hidden_by_an_old_head(world: World) -> None:
    """A verified head counts only for the proof it was seen with."""
    log = committed(world, 2)
    seen = log.head
    log.tokens.append(world.token(3, [3]))
    world.committer().commit(log.pending(), landed=log.landed, log=log)  # then the process died
    assert seen is not None
    world.rollback(seen)
    log.head = seen
    assert refusal(world, log).kind == "rolled_back"


def test_compaction_is_fine_while_history_is_there(world: World) -> None:
    log = committed(world, 2, 3)
    world.compact()
    go_on(world, log)
    assert world.ids() == [2, 3, 90]


def test_compaction_and_expiry_are_unprovable_unless_the_head_was_verified(world: World) -> None:
    log = committed(world, 2, 3)
    committer = world.committer()
    world.compact()
    verified = committer.verify(log.landed, log=log)
    world.append([7])
    kept = {verified, world.head()}
    tag = world.load().metadata.refs[TAG].snapshot_id
    world.expire(
        *[
            s.snapshot_id
            for s in world.load().metadata.snapshots
            if s.snapshot_id not in kept | {tag}
        ]
    )
    known = log.head
    log.head = None
    assert refusal(world, log).kind == "unprovable"
    log.head = known  # the one before the compaction is no help either
    assert refusal(world, log).kind == "unprovable"
    log.head = verified
    go_on(world, log)
    assert world.ids() == [2, 3, 7, 90]


def test_accepted_as_it_is(world: World) -> None:
    log = committed(world, 2, 3)
    world.compact()
    tag = world.load().metadata.refs[TAG].snapshot_id
    head = world.head()
    world.expire(
        *[
            s.snapshot_id
            for s in world.load().metadata.snapshots
            if s.snapshot_id not in {tag, head}
        ]
    )
    log.head = None
    error = refusal(world, log)
    assert error.kind == "unprovable"
    assert "frazil state accept NAMESPACE.TABLE shop orders" in str(error)
    assert accept(world.load(), "shop", "orders")
    assert not accept(world.load(), "shop", "orders"), "there is nothing more to accept"
    assert audit(world.load()).ok
    go_on(world, log)
    assert world.ids() == [2, 3, 90]
    assert audit(world.load()).ok
    with pytest.raises(ConfigError, match="no proof of pipeline 'shop', sink 'other'"):
        accept(world.load(), "shop", "other")


def test_table_dropped(world: World) -> None:
    log = committed(world, 2)
    world.catalog.drop_table(world.name)
    with pytest.raises(CommitRefused) as caught:
        world.committer().commit([], landed=log.landed, log=log)
    assert caught.value.kind == "table_missing"


def test_table_replaced(world: World) -> None:
    log = committed(world, 2)
    old = world.options
    world.catalog.drop_table(world.name)
    World.__init__(world, world.folder)
    assert world.options["table_uuid"] != old["table_uuid"]
    log.tokens.append(world.token(9, [9]))
    world.options = old
    with pytest.raises(CommitRefused) as caught:
        world.committer().commit(log.pending(), landed=log.landed, log=log)
    assert caught.value.kind == "table_replaced"
    assert old["table_uuid"] in caught.value.what


def test_branch_removed(world: World) -> None:
    world.append([1])
    world.foreign().manage_snapshots().create_branch(world.head(), "audit").commit()
    log = Log([world.token(2, [2])])
    log.record(world.committer(branch="audit").commit(log.tokens, landed=None, log=log))
    world.foreign().manage_snapshots().remove_branch("audit").commit()
    with pytest.raises(CommitRefused) as caught:
        world.committer(branch="audit").commit([], landed=log.landed, log=log)
    assert caught.value.kind == "branch_missing"
    assert "epoch 2" in caught.value.what


def test_branch_made_anew(world: World) -> None:
    world.append([1])
    base = world.head()
    world.foreign().manage_snapshots().create_branch(base, "audit").commit()
    log = Log([world.token(2, [2])])
    log.record(world.committer(branch="audit").commit(log.tokens, landed=None, log=log))
    manage = world.foreign().manage_snapshots()
    manage.remove_branch("audit").create_branch(base, "audit").commit()
    assert refusal(world, log, branch="audit").kind == "rolled_back"


def test_proof_for_a_rewind(world: World) -> None:
    committer = world.committer()
    assert committer.read_proof() is None
    log = committed(world, 2, 3)
    assert committer.read_proof() == log.landed
    world.rollback(world.load().metadata.snapshots[0].snapshot_id)
    with pytest.raises(CommitRefused, match="rolled back"):
        committer.read_proof()
