"""The types of the package hold, strictly."""

import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import REPOSITORY, command


@pytest.mark.slow
def test_mypy(tmp_path: Path) -> None:
    cache = REPOSITORY / "build" / "mypy-strict"
    done = command(sys.executable, "-m", "mypy", "--cache-dir", cache, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stdout
