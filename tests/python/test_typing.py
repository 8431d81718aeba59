"""Type checkers find what is written wrong before anything runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

USAGE = Path(__file__).with_name("typing") / "usage.py"
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_mypy_finds_each_mistake_and_no_other(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-error-summary",
            "--config-file",
            REPOSITORY / "pyproject.toml",
            "--cache-dir",
            REPOSITORY / "build" / "mypy",
            "--disable-error-code=unused-coroutine",
            USAGE,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    found: dict[int, str] = {}
    for line in run.stdout.splitlines():
        match = re.match(r".*usage\.py:(\d+): error: (.*)", line)
        if match:
            found[int(match[1])] = found.get(int(match[1]), "") + match[2]
        else:
            assert ": error:" not in line, line
    expected = {}
    for number, line in enumerate(USAGE.read_text().splitlines(), 1):
        code, mark, text = line.partition("  # E: ")
        if mark and code:
            expected[number] = text
    assert len(expected) > 10
    for number in sorted(found.keys() | expected.keys()):
        assert number in found, f"line {number}: no error, expected {expected[number]}"
        assert number in expected, f"line {number}: {found[number]}"
        assert expected[number] in found[number]
