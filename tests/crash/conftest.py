"""Fixtures of crash tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.crash.scene import Scene
    from tests.services.duckdb_reader import DuckdbReader


@pytest.fixture
def scene(tmp_path: Path, duckdb_reader: "DuckdbReader") -> Iterator["Scene"]:
    """An empty folder to crash in."""
    from tests.crash.scene import Scene

    made = Scene(tmp_path, duckdb_reader)
    yield made
    made.close()
