"""Tokens land in a table, each exactly once."""

import json
import sqlite3
import threading
from contextlib import closing

import pytest
from frazil.checkpoint.manifest import Landed
from frazil.errors import CommitUnknown
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.proof import proof_name, property_name
from frazil.iceberg.token import PendingToken
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException

from tests.python.iceberg.world import NAME, Broken, Faulty, Log, World, duckdb_rows


def landed_of(token: PendingToken) -> Landed:
    return Landed(token.slot, token.digest)


def test_tokens_land_in_order_and_once(world: World) -> None:
    log = Log([world.token(2, [1, 2]), world.token(3, [3]), world.token(5, [4, 5])])
    committer = world.committer()
    result = committer.commit(log.tokens[:1], landed=None, log=log)
    assert result.landed == landed_of(log.tokens[0])
    assert result.head == result.snapshot_id == world.head()
    assert (result.attempts, result.tokens) == (1, 1)
    log.record(result)
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    assert world.ids() == [1, 2, 3, 4, 5]
    again = committer.commit([], landed=log.landed, log=log)
    assert (again.snapshot_id, again.attempts, again.tokens) == (None, 0, 0)
    assert again.landed == log.landed
    assert [row[0] for row in duckdb_rows(world.load())] == [1, 2, 3, 4, 5]
    assert world.slept == []


def test_what_a_commit_leaves_in_the_table(world: World) -> None:
    first, second = world.token(2, [1], attempt=3), world.token(4, [2], attempt=3)
    log = Log([first, second])
    world.committer().commit([first], landed=None, log=log)
    world.committer().commit([second], landed=landed_of(first), log=log)
    metadata = world.load().metadata
    snapshot = metadata.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    marks = snapshot.summary.additional_properties
    assert {key: marks[key] for key in marks if key.startswith("frazil.")} == {
        "frazil.pipeline": "shop",
        "frazil.sink": "orders",
        "frazil.branch": "main",
        "frazil.incarnation": "inc-1",
        "frazil.slot": "4",
        "frazil.digest": second.digest,
        "frazil.attempt": "3",
        "frazil.slots": "4",
        "frazil.previous-slot": "2",
        "frazil.positions": '{"kafka:orders":{"orders-0":"3"}}',
    }
    assert (marks["added-records"], marks["total-records"]) == ("1", "2")
    assert (marks["added-data-files"], marks["total-data-files"]) == ("1", "2")
    tag = metadata.refs[proof_name("shop", "orders", "main")]
    assert (tag.snapshot_id, tag.max_ref_age_ms) == (snapshot.snapshot_id, 90 * 86_400_000)
    assert json.loads(metadata.properties[property_name("shop", "orders", "main")]) == {
        "v": 1,
        "incarnation": "inc-1",
        "slot": 4,
        "digest": second.digest,
        "snapshot": snapshot.snapshot_id,
        "sequence": snapshot.sequence_number,
    }


def test_proofs_of_different_sinks_never_share_a_name() -> None:
    names = {
        proof_name(*parts)
        for parts in [("a.b", "c", "d"), ("a", "b.c", "d"), ("a", "b", "c.d"), ("a", "b", "c%2Ed")]
    }
    assert len(names) == 4


@pytest.mark.parametrize("squash_max", [1, 2, 64])
def test_waiting_tokens_go_in_order_into_few_snapshots(world: World, squash_max: int) -> None:
    log = Log([world.token(slot, [slot * 10, slot * 10 + 1]) for slot in (2, 3, 5, 8, 9)])
    committer = world.committer(squash_max=squash_max)
    result = committer.commit(log.tokens, landed=None, log=log)
    assert result.tokens == 5
    assert result.attempts == -(-5 // squash_max)
    snapshots = world.load().metadata.snapshots
    assert len(snapshots) == result.attempts
    slots = [
        int(slot)
        for snapshot in sorted(snapshots, key=lambda each: each.sequence_number or 0)
        if snapshot.summary
        for slot in str(snapshot.summary["frazil.slots"]).split(",")
    ]
    assert slots == [2, 3, 5, 8, 9]
    assert world.ids() == [slot * 10 + i for slot in (2, 3, 5, 8, 9) for i in (0, 1)]


@pytest.mark.parametrize("fault", ["lost_reply", "lost_request", "late"])
@pytest.mark.parametrize("earlier", [0, 1])
def test_lost_messages(world: World, fault: str, earlier: int) -> None:
    """A reply is lost, a request is lost, or it arrives after the next one."""
    log = Log([world.token(2 + slot, [slot]) for slot in range(earlier + 2)])
    if earlier:
        log.record(world.committer().commit(log.tokens[:1], landed=None, log=log))
    catalog = Faulty(world.catalog)
    catalog.plan = [fault]
    committer = world.committer(catalog=catalog)
    result = committer.commit(log.pending()[:1], landed=log.landed, log=log)
    assert result.attempts == (1 if fault == "lost_reply" else 2)
    for outcome in catalog.land():
        assert outcome is not None
    log.record(result)
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    assert world.ids() == list(range(earlier + 2))
    assert world.slept != []


def test_late_request_lands_before_the_next_try(world: World) -> None:
    log = Log([world.token(2, [1]), world.token(3, [2])])
    catalog = Faulty(world.catalog)
    catalog.plan = ["late"]
    landing: list[Exception | None] = []

    def hook(name: str) -> None:
        if name == "before_commit" and catalog.late:
            landing.extend(catalog.land())

    result = world.committer(catalog=catalog, hook=hook).commit(log.tokens, landed=None, log=log)
    assert landing == [None]
    assert result.tokens == 0  # the late one had them all
    assert world.ids() == [1, 2]


def test_late_request_after_rollback_does_not_land(world: World) -> None:
    """V9 (b): the tag, not the head, tells that the same head is not the same state."""
    log = Log([world.token(slot, [slot]) for slot in (2, 3)])
    log.record(world.committer().commit(log.tokens[:1], landed=None, log=log))
    before = world.head()
    catalog = Faulty(world.catalog)
    catalog.plan = ["late"]
    committer = world.committer(catalog=catalog)
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    committer.verify(log.landed, log=log)  # cleans what cannot land any more
    world.rollback(before)
    [outcome] = catalog.land()
    assert isinstance(outcome, CommitFailedException)
    assert proof_name("shop", "orders", "main") in str(outcome)
    assert world.ids() == [2]


def test_conflicts_of_both_shapes_are_tried_again(world: World) -> None:
    """A foreign commit between load and commit, on our branch or on another one."""
    log = Log([world.token(slot, [slot]) for slot in (2, 3, 4)])
    log.record(world.committer().commit(log.tokens[:1], landed=None, log=log))
    world.foreign().manage_snapshots().create_branch(world.head(), "other").commit()
    errors: list[str] = []

    def appending(branch: str) -> Faulty:
        class Racing(Faulty):
            def commit_table(self, table, requirements, updates):  # type: ignore[no-untyped-def]
                if not self.commits:
                    world.foreign().append(
                        world.foreign().scan().to_arrow().slice(0, 1), branch=branch
                    )
                try:
                    return super().commit_table(table, requirements, updates)
                except Exception as error:
                    errors.append(f"{type(error).__name__}: {error}")
                    raise

        return Racing(world.catalog)

    for branch, count in (("main", 2), ("other", 2)):
        committer = world.committer(catalog=appending(branch))
        log.record(committer.commit(log.pending()[:1], landed=log.landed, log=log))
        assert len(errors) == count - 1 if branch == "main" else count
    assert "has changed" in errors[0]
    assert "sequence number" in errors[1]
    assert world.ids() == [2, 2, 3, 4]  # the foreign row is a copy of one


def test_locked_database_is_not_a_refusal(world: World) -> None:
    from sqlalchemy.exc import OperationalError

    log = Log([world.token(2, [1])])
    catalog = Faulty(world.catalog)
    catalog.plan = ["lost_request", "lost_reply"]
    catalog.error = lambda: OperationalError(
        "UPDATE", {}, sqlite3.OperationalError("database is locked")
    )
    result = world.committer(catalog=catalog).commit(log.tokens, landed=None, log=log)
    assert result.landed == landed_of(log.tokens[0])
    assert world.ids() == [1]


@pytest.mark.parametrize("given", [False, True])
def test_commit_that_a_reader_locks_out_is_not_seen(world: World, given: bool) -> None:
    """SQLite: COMMIT fails while somebody reads. Its change must not be read back as landed."""
    folder = world.folder
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{folder / 'catalog.db'}?timeout=0",
        "warehouse": f"file://{folder}",
    }
    catalog = open_catalog(load_catalog("embedded", **properties) if given else properties)
    catalog.name = world.catalog.name
    log = Log([world.token(2, [1]), world.token(3, [2])])
    log.record(world.committer().commit(log.tokens[:1], landed=None, log=log))
    committer = world.committer(catalog=catalog)
    with closing(sqlite3.connect(folder / "catalog.db")) as reader:
        rows = reader.execute("SELECT 1 FROM iceberg_tables, (VALUES (1), (2))")
        assert rows.fetchone()  # and more to come: the lock is kept
        with pytest.raises(CommitUnknown, match="database is locked"):
            committer.commit(log.pending(), landed=log.landed, log=log)
        rows.close()
    assert committer.verify(log.landed, log=log, pending=log.pending()) == world.head()
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    assert world.ids() == [1, 2]


def test_catalog_that_stays_away_is_unknown_and_bounded(world: World) -> None:
    log = Log([world.token(2, [1])])
    catalog = Faulty(world.catalog)
    catalog.plan = ["lost_request"] * 100
    committer = world.committer(catalog=catalog)
    with pytest.raises(CommitUnknown, match=r"epoch 2 to shop\.orders: no success in 12 tries"):
        committer.commit(log.tokens, landed=None, log=log)
    assert catalog.commits == 12
    assert len(world.slept) == 11
    assert max(world.slept) <= 5
    catalog.plan = []
    assert committer.commit(log.tokens, landed=None, log=log).tokens == 1
    assert world.ids() == [1]


def test_catalog_that_cannot_be_read_is_unknown(world: World) -> None:
    class Away(Faulty):
        def load_table(self, name: str) -> None:
            raise Broken("connection refused")

    log = Log([world.token(2, [1])])
    committer = world.committer(catalog=Away(world.catalog))
    with pytest.raises(CommitUnknown, match="connection refused"):
        committer.commit(log.tokens, landed=None, log=log)
    with pytest.raises(CommitUnknown, match="connection refused"):
        committer.verify(None, log=log)


def test_files_of_failed_tries_go_when_they_cannot_land(world: World) -> None:
    """V19: not before."""
    log = Log([world.token(2, [1]), world.token(3, [2])])
    log.record(world.committer().commit(log.tokens[:1], landed=None, log=log))
    catalog = Faulty(world.catalog)
    catalog.plan = ["late"] * 12
    committer = world.committer(catalog=catalog)
    before = world.metadata_files()
    with pytest.raises(CommitUnknown):
        committer.commit(log.pending(), landed=log.landed, log=log)
    staged = world.metadata_files() - before
    assert len(staged) == 24
    [landing, *late] = catalog.late
    catalog.late = [landing]
    assert catalog.land() == [None]
    assert staged <= world.metadata_files()
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    left = staged & world.metadata_files()
    assert len(left) == 2  # those of the one that landed
    catalog.late = late
    assert all(catalog.land())
    assert world.ids() == [1, 2]
    assert [row[0] for row in duckdb_rows(world.load())] == [1, 2]


def test_files_of_a_beaten_try_go(world: World) -> None:
    log = Log([world.token(2, [1]), world.token(3, [2])])
    log.record(world.committer().commit(log.tokens[:1], landed=None, log=log))
    catalog = Faulty(world.catalog)
    catalog.plan = ["late"]
    committer = world.committer(catalog=catalog)
    before = world.metadata_files()
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    assert len(world.metadata_files() - before) == 5  # two tries, one metadata.json
    assert committer.verify(log.landed, log=log) == world.head()
    assert len(world.metadata_files() - before) == 3
    assert all(catalog.land())
    assert world.ids() == [1, 2]


def test_two_sinks_on_one_table(world: World) -> None:
    """V20: each has its own proof; one that landed says nothing of the other."""
    log_a, log_b = Log([world.token(2, [1])]), Log([world.token(2, [2])])
    a = world.committer(world.identity("a"))
    b = world.committer(world.identity("b"))
    log_a.record(a.commit(log_a.tokens, landed=None, log=log_a))
    log_b.record(b.commit(log_b.tokens, landed=None, log=log_b))
    assert world.ids() == [1, 2]
    assert a.commit(log_a.tokens, landed=None, log=log_a).tokens == 0
    assert b.commit(log_b.tokens, landed=None, log=log_b).tokens == 0
    a.verify(log_a.landed, log=log_a)
    assert world.ids() == [1, 2]


def test_two_attempts_race_with_the_same_tokens(world: World) -> None:
    """V4: a zombie and its successor send the same commit; one lands, the other sees it."""
    log = Log([world.token(2, [1])])
    zombie_catalog = Faulty(world.catalog)
    zombie_catalog.plan = ["late"]
    zombie = world.committer(
        catalog=zombie_catalog, hook=lambda name: _stop_at(name, "after_load", zombie_catalog)
    )
    with pytest.raises(_Killed):
        zombie.commit(log.tokens, landed=None, log=log)
    successor = world.committer()
    assert successor.commit(log.tokens, landed=None, log=log).tokens == 1
    [outcome] = zombie_catalog.land()
    assert isinstance(outcome, CommitFailedException)
    assert world.ids() == [1]


def test_killed_at_each_step(world: World) -> None:
    log = Log([world.token(2, [1]), world.token(3, [2])])
    for step in ("after_load", "before_commit", "after_commit"):

        def hook(name: str, step: str = step) -> None:
            if name == step:
                raise _Killed

        with pytest.raises(_Killed):
            world.committer(hook=hook, squash_max=1).commit(log.pending(), landed=None, log=log)
    result = world.committer().commit(log.pending(), landed=None, log=log)
    assert result.tokens == 1
    assert world.ids() == [1, 2]


def test_empty_token_moves_only_the_proof(world: World) -> None:
    """R3: what a rewind commits."""
    empty = PendingToken(3, "d" * 64, ())
    log = Log([world.token(2, [1]), empty])
    log.record(world.committer().commit(log.tokens[:1], landed=None, log=log))
    head = world.head()
    log.record(world.committer().commit(log.pending(), landed=log.landed, log=log))
    assert log.landed == Landed(3, "d" * 64)
    assert world.head() != head
    assert world.ids() == [1]
    assert [row[0] for row in duckdb_rows(world.load())] == [1]


def test_empty_token_can_be_the_first_commit(world: World) -> None:
    log = Log([PendingToken(2, "d" * 64, ()), world.token(3, [1])])
    log.record(world.committer(squash_max=1).commit(log.tokens, landed=None, log=log))
    assert world.ids() == [1]
    assert [row[0] for row in duckdb_rows(world.load())] == [1]


def test_tokens_out_of_order_are_a_defect(world: World) -> None:
    tokens = [world.token(3, [1]), world.token(2, [2])]
    with pytest.raises(ValueError, match="out of order"):
        world.committer().commit(tokens, landed=None, log=Log(tokens))
    with pytest.raises(ValueError, match="out of order"):
        world.committer().commit(tokens[:1], landed=Landed(3, "x"), log=Log(tokens))


def test_other_branch(world: World) -> None:
    world.append([1])
    world.foreign().manage_snapshots().create_branch(
        world.head(), "audit", max_snapshot_age_ms=1000, min_snapshots_to_keep=3
    ).commit()
    log = Log([world.token(2, [2])])
    log.record(world.committer(branch="audit").commit(log.tokens, landed=None, log=log))
    ref = world.load().metadata.refs["audit"]
    assert (ref.max_snapshot_age_ms, ref.min_snapshots_to_keep) == (1000, 3)
    assert world.ids() == [1]
    assert world.ids(ref.snapshot_id) == [1, 2]
    assert NAME == world.committer().name


class _Killed(BaseException):
    """The process dies here."""


def _stop_at(name: str, step: str, catalog: Faulty) -> None:
    if name == step and catalog.late:
        raise _Killed


def test_verify_does_not_wait_for_a_commit(world: World) -> None:
    """A coordinator looks at the table while another thread commits to it."""
    log = Log([world.token(2, [1])])
    seen: list[int | None] = []

    def hook(name: str) -> None:
        if name == "before_commit":
            other = threading.Thread(
                target=lambda: seen.append(committer.verify(log.landed, log=log))
            )
            other.start()
            other.join()

    committer = world.committer(hook=hook)
    assert committer.commit(log.tokens, landed=None, log=log).tokens == 1
    assert seen == [None]
