"""Runs a command and measures all its processes: CPU seconds, wall seconds, peak memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.02
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Measured:
    """What one run of a command cost: it and all processes that it started."""

    cpu_s: float
    wall_s: float
    peak_mb: float  # largest sum of the proportional set sizes of its processes
    output: str


def run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Measured:
    """Run a command to its end.

    Raises
    ------
    RuntimeError
        It ended with another code than 0; the text has the end of its output.
    """
    before = os.times()
    started = time.monotonic()
    process = subprocess.Popen(
        command, env=env, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    peak = _Peak(process.pid)
    peak.start()
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        peak.stop()
    wall = time.monotonic() - started
    after = os.times()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{errors[-2000:]}")
    cpu = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return Measured(cpu, wall, peak.bytes / 1e6, output)


class _Peak(threading.Thread):
    """Samples the memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._done = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.bytes = max(self.bytes, sum(_memory(pid) for pid in _tree(self._pid)))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except (OSError, ValueError):
        return [pid]
    return [pid, *(each for child in children for each in _tree(child))]


def _memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has just ended
        pass
    return 0
