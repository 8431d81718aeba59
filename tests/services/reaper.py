"""Kills what a test process left running when it died without cleaning up (SIGKILL, a crash).

Runs as a process of its own: reads `+pid` and `-pid` lines; at the end of its input, which comes
when the test process is gone, it kills the services still on its list.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_reaper: subprocess.Popen[str] | None = None


def watch(pid: int) -> None:
    """Have `pid`, a child of this process, killed if this process dies."""
    global _reaper
    if _reaper is None:
        _reaper = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C at the terminal must not reach it
        )
    _tell(f"+{pid}")


def forget(pid: int) -> None:
    """Take `pid` off the list."""
    _tell(f"-{pid}")


def close() -> None:
    """End the reaper; it kills what is still on its list."""
    global _reaper
    if _reaper is not None and _reaper.stdin is not None:
        _reaper.stdin.close()
        _reaper.wait(timeout=10)
    _reaper = None


def _tell(line: str) -> None:
    if _reaper is not None and _reaper.stdin is not None:
        _reaper.stdin.write(line + "\n")
        _reaper.stdin.flush()


def _main() -> None:
    handles: dict[str, int] = {}
    for line in sys.stdin:
        sign, pid = line[0], line[1:].strip()
        if sign == "+":
            with suppress(ProcessLookupError):
                handles[pid] = os.pidfd_open(int(pid))  # never another process with the same pid
        elif pid in handles:
            os.close(handles.pop(pid))
    for handle in handles.values():
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)


if __name__ == "__main__":
    _main()
