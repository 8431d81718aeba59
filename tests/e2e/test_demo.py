"""The demo does what it says: killed twice on the way, and every row is in the table once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_demo(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "demo", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (folder / "demo-out" / "run" / "timeline.html").read_text()
    assert page.count("SIGKILL</text>") == 2
    assert "http" not in page.replace("http://www.w3.org", "")  # it needs nothing from elsewhere
    return done.stdout


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    said = run_demo(tmp_path, "--rows", "400000")
    assert "duplicates         0\nmissing            0\n" in said
    assert "duckdb> select country" in said


@pytest.mark.slow
@pytest.mark.service
def test_demo_with_services(tmp_path: Path) -> None:
    said = run_demo(tmp_path, "--services", "--rows", "200000")
    assert "duplicates         0\nmissing            0\n" in said
