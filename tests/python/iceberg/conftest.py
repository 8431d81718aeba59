"""Fixtures of the committer's tests."""

from pathlib import Path

import pytest

from tests.python.iceberg.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty table in a catalog of its own."""
    return World(tmp_path / "warehouse")
