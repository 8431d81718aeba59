"""Tokens land in a table, each exactly once."""

import pytest

from frazil.checkpoint.manifest import Landed
from tests.python.iceberg.world import Log, World, duckdb_rows


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "warehouse")


def test_tokens_land_in_order_and_once(world):
    log = Log([world.token(2, [1, 2]), world.token(3, [3]), world.token(5, [4, 5])])
    committer = world.committer()
    result = committer.commit(log.tokens[:1], landed=None, log=log)
    assert result.landed == Landed(2, log.tokens[0].digest)
    assert result.head == result.snapshot_id == world.head()
    assert (result.attempts, result.tokens) == (1, 1)
    log.record(result)
    log.record(committer.commit(log.pending(), landed=log.landed, log=log))
    assert world.ids() == [1, 2, 3, 4, 5]
    again = committer.commit([], landed=log.landed, log=log)
    assert (again.snapshot_id, again.attempts, again.tokens) == (None, 0, 0)
    assert again.landed == log.landed
    assert [row[0] for row in duckdb_rows(world.load())] == [1, 2, 3, 4, 5]
