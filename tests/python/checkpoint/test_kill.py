"""A real process, a real folder, SIGKILL at every step: every row once, every rule kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.event_log import EventLog

ROOT = Path(__file__).parents[3]
STEPS = [
    ("before_fence_put", 1),
    ("after_list", 1),
    ("after_fence_put", 1),
    ("after_l4_list", 1),  # of the fence
    ("after_recovery", 1),
    ("after_prepare", 2),
    ("before_put", 1),
    ("after_put", 2),
    ("after_l4_list", 3),
    ("after_commit", 1),
    ("before_gc", 2),
    ("after_gc", 1),
]


def run(folder: Path, step: str, count: int, rows: int) -> int:
    child = [sys.executable, "-m", "tests.model.crash_child", folder, step, str(count), str(rows)]
    return subprocess.run(child, cwd=ROOT, timeout=120, check=False).returncode


@pytest.mark.slow
def test_killed_at_every_step(tmp_path: Path) -> None:
    rows = 40
    for step, count in STEPS:
        assert run(tmp_path, step, count, rows) == -signal.SIGKILL, step
    assert run(tmp_path, "never", 1, rows) == 0
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["rows"] == list(range(rows))
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert len({event["nonce"] for event in events}) >= len(STEPS) - 1
    assert {event["kind"] for event in events} == {
        "fence_put",
        "opened",
        "put",
        "accepted",
        "landed",
        "ack",
        "collected",
    }
    EventLog(["a"]).check(events)
    assert len(list((tmp_path / "log" / "log").iterdir())) < 6  # the rest was collected
