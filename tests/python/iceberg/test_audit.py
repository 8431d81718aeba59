"""What a table's history tells of its writers."""

import dataclasses
import io
import json

import pytest
from frazil.errors import CommitError, CommitRefused, ConfigError
from frazil.iceberg.audit import audit, render
from frazil.iceberg.forget import forget
from frazil.iceberg.proof import proof_name, property_name, read_proof
from frazil.iceberg.token import PendingToken
from rich.console import Console

from tests.python.iceberg.world import Log, World, rows


def commit(world: World, log: Log, token: PendingToken, sink: str = "orders") -> None:
    log.tokens.append(token)
    committer = world.committer(world.identity(sink))
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))


def printed(world: World) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(render(audit(world.load())))
    return out.getvalue()


def test_nothing_written(world: World) -> None:
    report = audit(world.load())
    assert (report.ok, report.sinks, report.foreign_snapshots) == (True, (), 0)
    assert "no pipeline" in printed(world)


def test_epochs_attempts_positions(world: World) -> None:
    log = Log()
    commit(world, log, world.token(2, [1, 2], attempt=1))
    world.append([7])
    commit(world, log, world.token(5, [3], attempt=4))
    other = Log()
    commit(world, other, world.token(3, [9]), sink="copy [b]")
    report = audit(world.load())
    assert report.ok
    assert report.foreign_snapshots == 1
    copy, orders = report.sinks
    assert (copy.sink, copy.proof, len(copy.commits)) == ("copy [b]", "epoch 3", 1)
    assert (orders.pipeline, orders.branch, orders.proof) == ("shop", "main", "epoch 5")
    assert [(c.slots, c.attempt, c.rows, c.previous_slot) for c in orders.commits] == [
        ((2,), 1, 2, None),
        ((5,), 4, 1, 2),
    ]
    assert orders.commits[1].positions == {"kafka:orders": {"orders-0": "4"}}
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True
    text = printed(world)
    assert "pipeline 'shop', sink 'copy [b]', branch 'main': epoch 3" in text
    assert "kafka:orders/orders-0@4" in text
    assert "1 snapshots of others" in text


def test_expired_history_is_not_a_hole(world: World) -> None:
    log = Log()
    for slot in (2, 4, 6):
        commit(world, log, world.token(slot, [slot]))
    oldest = world.load().metadata.snapshots[0].snapshot_id
    world.expire(oldest)
    report = audit(world.load())
    assert report.ok, report.sinks
    assert [c.slots for c in report.sinks[0].commits] == [(4,), (6,)]


def test_expired_middle_is_not_a_hole(world: World) -> None:
    log = Log()
    for slot in (2, 4, 6):
        commit(world, log, world.token(slot, [slot]))
    world.expire(world.load().metadata.snapshots[1].snapshot_id)
    report = audit(world.load())
    assert report.ok, report.sinks
    assert [c.in_branch for c in report.sinks[0].commits] == [None, True]


def test_holes_and_overlaps_of_epochs(world: World) -> None:
    log = Log()
    commit(world, log, world.token(4, [4]))
    marks = {"frazil.pipeline": "shop", "frazil.sink": "orders", "frazil.branch": "main"}
    for slots, previous in (("7", "6"), ("5", "7")):
        made = {**marks, "frazil.slots": slots, "frazil.previous-slot": previous}
        world.foreign().append(rows([7]), snapshot_properties=made)
    assert audit(world.load()).sinks[0].problems[:3] == (
        "epoch 5 was committed, the proof says " + audit_proof(world),
        "hole: epoch 7 follows epoch 6, the history has epoch 4",
        "epoch 7 is of attempt 0, an older one than epoch 4's",
    )
    assert "overlap: epoch 5 was committed after epoch 7" in audit(world.load()).sinks[0].problems


def audit_proof(world: World) -> str:
    proof = read_proof(world.load().metadata, world.identity(), "main")
    return str(proof)


def test_positions_that_go_back(world: World) -> None:
    log = Log()
    commit(world, log, world.token(2, [10]))
    commit(world, log, world.token(3, [5]))
    commit(world, log, dataclasses.replace(world.token(4, [11]), positions={"kafka:orders": {}}))
    assert audit(world.load()).sinks[0].problems == (
        "overlap: kafka:orders/orders-0 went back from 11 to 6 in epoch 3",
        "hole: kafka:orders/orders-0 has no position in epoch 4",
    )
    assert "went back" in printed(world)


def test_large_positions_are_left_out(world: World) -> None:
    positions = {"kafka:orders": {f"orders-{i}": str(i) for i in range(2000)}}
    log = Log()
    commit(world, log, dataclasses.replace(world.token(2, [1]), positions=positions))
    report = audit(world.load())
    assert report.ok
    assert report.sinks[0].commits[0].positions is None


def test_rollback(world: World) -> None:
    log = Log()
    for slot in (2, 3):
        commit(world, log, world.token(slot, [slot]))
    world.rollback(world.load().metadata.snapshots[0].snapshot_id)
    report = audit(world.load())
    assert not report.ok
    [sink] = report.sinks
    assert [c.in_branch for c in sink.commits] == [True, False]
    assert "was rolled back" in sink.problems[0]
    assert "rolled back" in printed(world)


def test_proof_carriers(world: World) -> None:
    log = Log()
    commit(world, log, world.token(2, [2]))
    world.foreign().manage_snapshots().remove_tag(proof_name("shop", "orders", "main")).commit()
    [sink] = audit(world.load()).sinks
    assert sink.problems == ("the tag is gone; the next commit brings it back",)
    with world.foreign().transaction() as transaction:
        transaction.set_properties({property_name("shop", "orders", "main"): "x"})
    assert audit(world.load()).sinks[0].proof == "damaged"
    with world.foreign().transaction() as transaction:
        transaction.remove_properties(property_name("shop", "orders", "main"))
    assert audit(world.load()).sinks[0].problems == ("tag and property are gone",)


def test_forget(world: World) -> None:
    log = Log()
    commit(world, log, world.token(2, [2]))
    forget(world.load(), "shop", "orders")
    metadata = world.load().metadata
    assert set(metadata.refs) == {"main"}
    assert not [name for name in metadata.properties if name.startswith("frazil.")]
    assert world.ids() == [2]
    with pytest.raises(CommitRefused) as caught:
        commit(world, log, world.token(3, [3]))
    assert caught.value.kind == "proof_removed"
    with pytest.raises(ConfigError, match="no proof of pipeline 'shop', sink 'other'"):
        forget(world.load(), "shop", "other")


def test_forgotten_by_somebody_who_was_late(world: World) -> None:
    log = Log()
    commit(world, log, world.token(2, [2]))
    stale = world.load()
    commit(world, log, world.token(3, [3]))
    with pytest.raises(CommitError, match="has changed"):
        forget(stale, "shop", "orders")
    assert audit(world.load()).ok
