"""The committer against a real REST catalog and a real S3 server."""

import json
import time

import pytest
from frazil import _engine
from frazil.errors import CommitRefused, CommitUnknown
from frazil.iceberg import catalog as catalog_module
from frazil.iceberg import commit as commit_module
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.fileio import SmallFileIO
from frazil.iceberg.table import writer_s3
from pyiceberg.catalog import load_catalog

from tests.python.iceberg.world import Faulty, Log, World, rows
from tests.services.rest_catalog import RestCatalog

pytestmark = pytest.mark.service


class RestWorld(World):
    """A table of a REST catalog."""

    def __init__(self, service: RestCatalog, name: str, **options: object) -> None:
        self.service = service
        self.set_up(open_catalog(dict(service.properties)), name, **options)
        self.now = time.time()  # the server does not take snapshots from the future

    def token(self, slot: int, ids: list[int], *, attempt: int = 1):  # type: ignore[no-untyped-def,override]
        options = {**self.options, "attempt": attempt, "s3": writer_s3(self.table)}
        part = _engine.write_sink("iceberg", json.dumps(options), rows(ids), epoch=slot)
        return self.make_token(slot, ids, (part,), attempt)

    def foreign(self):  # type: ignore[no-untyped-def]
        return load_catalog("other", **self.service.properties).load_table(self.name)


@pytest.fixture
def world(rest_catalog: RestCatalog, request: pytest.FixtureRequest) -> RestWorld:
    name = "rest." + "".join(c if c.isalnum() else "_" for c in request.node.name)
    return RestWorld(rest_catalog, name)


def test_tokens_land_once_through_lost_messages(world: RestWorld) -> None:
    assert isinstance(world.load().io, SmallFileIO)
    log = Log([world.token(slot, [slot]) for slot in range(2, 8)])
    catalog = Faulty(world.catalog)
    catalog.plan = ["ok", "lost_reply", "lost_request", "late", "late", "ok"]
    committer = world.committer(catalog=catalog, squash_max=2)
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    for outcome in catalog.land():
        assert outcome is not None
    assert committer.verify(log.landed, log=log) == world.head()
    assert world.ids() == [2, 3, 4, 5, 6, 7]


def test_foreign_commits_on_both_branches(world: RestWorld) -> None:
    log = Log([world.token(2, [2]), world.token(3, [3]), world.token(4, [4])])
    committer = world.committer()
    log.record(committer.commit(log.pending()[:1], landed=log.landed, log=log))
    world.foreign().manage_snapshots().create_branch(world.head(), "other").commit()
    raced: list[str] = []

    class Racing(Faulty):
        def commit_table(self, table, requirements, updates):  # type: ignore[no-untyped-def]
            if len(raced) < 2:
                branch = ("main", "other")[len(raced)]
                raced.append(branch)
                world.foreign().append(rows([50 + len(raced)]), branch=branch)
            return super().commit_table(table, requirements, updates)

    catalog = Racing(world.catalog)
    committer = world.committer(catalog=catalog, squash_max=1)
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    assert raced == ["main", "other"]
    assert catalog.commits == 4
    assert world.ids() == [2, 3, 4, 51]


def test_snapshots_expire_and_rollback_is_refused(world: RestWorld) -> None:
    log = Log()
    committer = world.committer(keep_snapshots=3)
    for slot in range(2, 10):
        log.tokens.append(world.token(slot, [slot]))
        log.record(committer.commit(log.pending(), landed=log.landed, log=log, head=log.head))
    snapshots = world.load().metadata.snapshots
    assert len(snapshots) == 3
    oldest = min(snapshots, key=lambda each: each.sequence_number or 0)
    world.rollback(oldest.snapshot_id)
    with pytest.raises(CommitRefused) as caught:
        world.committer().verify(log.landed, log=log, head=log.head)
    assert caught.value.kind == "rolled_back"


def test_partitioned_table(rest_catalog: RestCatalog) -> None:
    world = RestWorld(
        rest_catalog, "rest.partitioned", partition_by=["day(at)", "bucket(4, user)", "user"]
    )
    log = Log([world.token(2, list(range(60)))])
    log.record(world.committer().commit(log.pending(), landed=None, log=log))
    assert world.ids() == list(range(60))
    found = world.foreign().scan(row_filter="user = 'user-3'").to_arrow()
    assert sorted(found["id"].to_pylist()) == list(range(3, 60, 7))


def test_catalog_away_and_back(world: RestWorld) -> None:
    log = Log([world.token(2, [2])])
    committer = world.committer()
    world.service.stop()
    with pytest.raises(CommitUnknown):
        committer.commit(log.pending(), landed=None, log=log)
    world.service.start()
    log.record(committer.commit(log.pending(), landed=None, log=log))
    assert world.ids() == [2]


def test_catalog_that_hangs_is_unknown(
    rest_catalog: RestCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = RestWorld(rest_catalog, "rest.hangs")
    monkeypatch.setattr(catalog_module, "ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(commit_module, "TRIES_MAX", 3)
    log = Log([world.token(2, [2])])
    committer = world.committer()
    rest_catalog.pause()
    try:
        with pytest.raises(CommitUnknown, match="timed out"):
            committer.commit(log.pending(), landed=None, log=log)
    finally:
        rest_catalog.resume()
    monkeypatch.undo()
    log.record(committer.commit(log.pending(), landed=None, log=log))
    assert world.ids() == [2]
