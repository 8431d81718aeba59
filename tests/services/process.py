"""One service process: started, awaited, paused, stopped or killed by its handle."""

import atexit
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.services import reaper
from tests.services.cache import tail

# Seconds a service gets to answer after its start, and to end after SIGTERM.
START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 20.0
POLL_SECONDS = 0.02

_running: set["Process"] = set()


class ServiceError(Exception):
    """A service did not start or ended by itself; the text ends with its log's tail."""


class Process:
    """A child process with its log file. Not safe for use by two threads at once."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        run_dir: Path,
        env: Mapping[str, str] | None = None,
        pipes: bool = False,
    ) -> None:
        self.name = name
        self.log_path = run_dir / f"{name}.log"
        self._argv = [str(arg) for arg in argv]
        self._env = dict(env or {})
        self._run_dir = run_dir
        self._pipes = pipes
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether the process lives (a paused one does)."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        """The process id; ServiceError if it was not started."""
        return self.popen.pid

    @property
    def popen(self) -> subprocess.Popen[bytes]:
        """The handle, with stdin and stdout if the process was made with `pipes`."""
        if self._popen is None:
            raise ServiceError(f"using {self.name}: it was not started")
        return self._popen

    def log(self) -> str:
        """Return what the process logged since its last start."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def start(self, ready: Callable[[], bool], *, timeout_s: float = START_SECONDS_MAX) -> None:
        """Start and wait until `ready()`; on failure end the process and raise ServiceError."""
        if self.running:
            raise ServiceError(f"starting {self.name}: it is running as pid {self.pid}")
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                self._argv,
                cwd=self._run_dir,
                env={**os.environ, **self._env},
                stdin=subprocess.PIPE if self._pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._pipes else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to pytest, which stops the services
            )
        _running.add(self)
        reaper.watch(self._popen.pid)
        try:
            self._await(ready, timeout_s)
        except BaseException:
            self.kill()
            raise

    def _await(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                code = self.popen.returncode
                raise ServiceError(f"starting {self.name}: exit code {code}: {self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"starting {self.name}: no answer after {timeout_s} s: {self.log_tail()}"
                )
            time.sleep(POLL_SECONDS)

    def log_tail(self) -> str:
        """Return where the log is and how it ends, for an error message."""
        return f"{self.log_path} ends\n{tail(self.log())}"

    def stop(self, *, timeout_s: float = STOP_SECONDS_MAX) -> None:
        """End the process in good order: SIGTERM, SIGKILL if it has not ended in time."""
        if self.running:
            self.resume()  # a stopped process does not see SIGTERM
            self._signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
        self._ended()

    def kill(self) -> None:
        """End the process at once, as a power cut would (kill -9)."""
        if self.running:
            self._signal(signal.SIGKILL)
        self._ended()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT); nothing happens to one that runs."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if not self.running:
            raise ServiceError(f"sending {number.name} to {self.name}: it is not running")
        self.popen.send_signal(number)

    def _ended(self) -> None:
        if self._popen is None:
            return
        reaper.forget(self._popen.pid)
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # bytes the dead process never read
                    pipe.close()
        _running.discard(self)


def stop_all() -> None:
    """End every process that was started and not stopped."""
    for process in list(_running):
        process.kill()
    reaper.close()


atexit.register(stop_all)
