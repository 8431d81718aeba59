"""A pipeline in a process of its own whose memory is watched."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.5
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Watched:
    """What a program printed last, and its resident bytes every SAMPLE_S seconds."""

    said: str
    resident: list[int]

    def halves_mb(self) -> tuple[float, float]:
        """Highest resident megabytes of the first and the second half of the run."""
        middle = len(self.resident) // 2
        first, second = self.resident[:middle], self.resident[middle:]
        return max(first) / MEGABYTE, max(second) / MEGABYTE


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def watch(
    program: str, folder: Path, timeout_s: float, *, kill_when: Callable[[], bool] | None = None
) -> Watched:
    """Run a program to its end, or kill it when that is true; its log is in `folder`."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    done = threading.Event()
    resident: list[int] = []

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            if bytes_now := _resident(process.pid):
                resident.append(bytes_now)
            if kill_when is not None and kill_when():
                process.kill()
                return

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        said, _ = process.communicate(timeout=timeout_s)
    finally:
        done.set()
        sampler.join()
        process.kill()
    expected = 0 if kill_when is None else -signal.SIGKILL
    assert process.returncode == expected, (folder / "log").read_text()[-2000:]
    return Watched(said.splitlines()[-1] if said else "", resident)
