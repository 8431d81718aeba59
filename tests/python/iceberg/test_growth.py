"""Metadata stays small: snapshots expire, manifests are merged, needless files go."""

import json

import pytest
from frazil.errors import CommitRefused
from frazil.iceberg import commit, merge, sweep
from frazil.iceberg.proof import proof_name
from frazil.iceberg.token import PendingToken
from pyiceberg.manifest import ManifestEntryStatus

from tests.python.iceberg.world import Faulty, Log, World, duckdb_rows

TAG = proof_name("shop", "orders", "main")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MERGE_COUNT", 4)
    monkeypatch.setattr(merge, "ENTRIES_MAX", 64)
    monkeypatch.setattr(commit, "MERGE_COUNT", 4)


def tokens(world: World, count: int) -> list[PendingToken]:
    """Tokens of one row each, made from one file so that it is quick."""
    [part] = world.token(1, [1]).parts
    made = []
    for slot in range(2, count + 2):
        token = json.loads(part)
        token["files"][0]["path"] = token["files"][0]["path"].replace("1-0000", f"{slot}-0000")
        source = json.loads(part)["files"][0]["path"].removeprefix("file://")
        target = token["files"][0]["path"].removeprefix("file://")
        with open(source, "rb") as old, open(target, "wb") as new:
            new.write(old.read())
        made.append(PendingToken(slot, f"{slot:064d}", (json.dumps(token),)))
    return made


def run(world: World, log: Log, count: int, **options: object) -> None:
    committer = world.committer(**options)
    for token in tokens(world, count):
        log.tokens.append(token)
        log.record(committer.commit(log.pending(), landed=log.landed, log=log, head=log.head))
        committer.maintain()
        world.now += 1


def test_manifests_are_merged_and_keep_their_history(world: World) -> None:
    log = Log()
    run(world, log, 41, keep_snapshots=None)
    table = world.load()
    head = table.current_snapshot()
    assert head is not None
    manifests = head.manifests(table.io)
    assert len(manifests) <= 9  # 41 of 4, 16, 64
    by_sequence = {
        snapshot.sequence_number: snapshot.snapshot_id for snapshot in table.metadata.snapshots
    }
    seen = []
    for manifest in manifests:
        assert manifest.added_snapshot_id in by_sequence.values()
        for entry in manifest.fetch_manifest_entry(table.io):
            assert entry.sequence_number == entry.file_sequence_number
            assert by_sequence[entry.sequence_number] == entry.snapshot_id
            assert manifest.min_sequence_number <= (entry.sequence_number or 0)
            assert (entry.sequence_number or 0) <= manifest.sequence_number
            seen.append((entry.sequence_number, entry.status))
    assert sorted(number for number, _ in seen) == list(range(1, 42))
    assert (1, ManifestEntryStatus.EXISTING) in seen
    assert world.ids() == [1] * 41
    assert len(duckdb_rows(table)) == 41
    for snapshot in table.metadata.snapshots:
        assert len(world.ids(snapshot.snapshot_id)) == snapshot.sequence_number


def test_merged_entries_prove_that_nothing_was_rolled_back(world: World) -> None:
    log = Log()
    run(world, log, 5, keep_snapshots=None)
    world.append([7])
    middle = world.head()
    world.append([8])
    world.expire(middle)
    log.tokens.append(world.token(90, [90]))
    log.record(world.committer().commit(log.pending(), landed=log.landed, log=log))
    assert world.ids() == [1] * 5 + [7, 8, 90]


def test_snapshots_and_files_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "GRACE_S", 10.0)
    log = Log()
    committer = world.committer(keep_snapshots=5)
    sizes = []
    for token in tokens(world, 44):
        log.tokens.append(token)
        log.record(committer.commit(log.pending(), landed=log.landed, log=log, head=log.head))
        committer.maintain()
        world.now += 1
        sizes.append(len(world.metadata_files()))
    table = world.load()
    assert len(table.metadata.snapshots) == 5
    # 21 metadata.json; 5 lists, and 10 that wait; the manifests of these 15
    assert max(sizes) < 80, sizes
    assert max(sizes[-12:]) <= max(sizes[-24:-12]) + 4, sizes
    for snapshot in table.metadata.snapshots:
        world.ids(snapshot.snapshot_id)  # nothing it needs is gone
    assert world.ids() == [1] * 44
    assert len(duckdb_rows(table)) == 44


def test_old_metadata_json_goes(world: World) -> None:
    run(world, Log(), 30)
    found = [path for path in world.metadata_files() if path.endswith(".metadata.json")]
    assert len(found) == 21


def test_snapshots_of_others_and_tags_are_kept(world: World) -> None:
    log = Log()
    world.append([7])
    foreign = world.head()
    run(world, log, 2, keep_snapshots=3)
    world.foreign().manage_snapshots().create_tag(world.head(), "mine").commit()
    tagged = world.head()
    run_more(world, log, 6)
    left = {snapshot.snapshot_id for snapshot in world.load().metadata.snapshots}
    assert {foreign, tagged} <= left
    assert len(left) == 5  # and the three that are kept
    assert world.ids() == [1] * 8 + [7]


def test_other_sinks_can_still_prove_their_commit(world: World) -> None:
    """An idle sink's snapshot stays reachable from the head."""
    other = Log([world.token(2, [2])])
    idle = world.committer(world.identity("idle"))
    other.record(idle.commit(other.tokens, landed=None, log=other))
    log = Log()
    run(world, log, 8, keep_snapshots=3)
    assert len(world.load().metadata.snapshots) == 9
    world.committer(world.identity("idle")).verify(other.landed, log=other)
    run_more(world, log, 32)
    # Ten times as many have gone by: the idle one has to do with its files.
    assert len(world.load().metadata.snapshots) <= 31
    world.committer(world.identity("idle")).verify(other.landed, log=other)


def test_merge_meets_a_foreign_rewrite(world: World) -> None:
    log = Log()
    committer = world.committer()
    for token in tokens(world, 5):
        log.tokens.append(token)
        log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    before = world.metadata_files()
    committer.maintain()
    [merged] = world.metadata_files() - before
    world.compact()
    log.tokens.append(world.token(90, [90]))
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    assert world.ids() == [1] * 5 + [90]
    assert merged not in world.metadata_files()


def test_merge_in_a_try_that_lands_late(world: World) -> None:
    log = Log()
    catalog = Faulty(world.catalog)
    committer = world.committer(catalog=catalog)
    for token in tokens(world, 5):
        log.tokens.append(token)
        log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    committer.maintain()
    catalog.plan = ["late", "ok"]
    log.tokens.append(world.token(90, [90]))
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    committer.verify(log.landed, log=log)
    assert all(catalog.land())
    assert world.ids() == [1] * 5 + [90]
    committer.maintain()
    log.tokens.append(world.token(91, [91]))
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    assert len(duckdb_rows(world.load())) == 7


def test_rollback_is_seen_although_snapshots_expire(world: World) -> None:
    log = Log()
    run(world, log, 8, keep_snapshots=3)
    oldest = min(world.load().metadata.snapshots, key=lambda each: each.sequence_number or 0)
    world.rollback(oldest.snapshot_id)
    with pytest.raises(CommitRefused, match="rolled back"):
        world.committer().verify(log.landed, log=log, head=log.head)


def run_more(world: World, log: Log, count: int) -> None:
    committer = world.committer(keep_snapshots=3)
    done = len(log.tokens)
    for token in tokens(world, done + count)[done:]:
        log.tokens.append(token)
        log.record(committer.commit(log.pending(), landed=log.landed, log=log, head=log.head))


def test_manifests_are_merged_even_if_nobody_asks(world: World) -> None:
    log = Log()
    committer = world.committer()
    most = 0
    for token in tokens(world, 30):
        log.tokens.append(token)
        log.record(committer.commit(log.pending(), landed=log.landed, log=log))
        head = world.load().current_snapshot()
        assert head is not None
        most = max(most, len(head.manifests(world.load().io)))
    assert most <= 21
    assert world.ids() == [1] * 30
