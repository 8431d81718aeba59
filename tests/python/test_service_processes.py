"""What the test services stand on: processes that never outlive us, and installs that are whole."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.services.cache import FetchError, install, run_tool
from tests.services.ports import free_port
from tests.services.process import Process, ServiceError

ROOT = Path(__file__).parents[2]
# Seconds until a process that must end counts as one that does not.
END_SECONDS_MAX = 30

HOLDER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from pathlib import Path
from tests.services.process import Process
process = Process("sleeper", ["sleep", "1000"], run_dir=Path(sys.argv[1]))
process.start(lambda: True)
process.pause()
print(process.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "frazil" / "services"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_service_ends_when_its_holder_is_killed(tmp_path: Path, number: int) -> None:
    argv = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as holder:
        assert holder.stdout is not None
        service = os.pidfd_open(int(holder.stdout.readline()))
        try:
            holder.send_signal(number)
            holder.wait(END_SECONDS_MAX)
            ended, _, _ = select.select([service], [], [], END_SECONDS_MAX)
            assert ended
        finally:
            holder.kill()
            os.close(service)


def test_a_service_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    process = Process("broken", ["sh", "-c", "echo no licence >&2; exit 3"], run_dir=tmp_path)
    with pytest.raises(ServiceError, match=r"(?s)starting broken: exit code 3: .*no licence"):
        process.start(lambda: False)
    assert not process.running


def test_a_service_that_never_answers_is_ended(tmp_path: Path) -> None:
    process = Process("mute", ["sleep", "1000"], run_dir=tmp_path)
    with pytest.raises(ServiceError, match=r"starting mute: no answer after 0\.1 s"):
        process.start(lambda: False, timeout_s=0.1)
    assert not process.running


def test_a_service_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    process = Process("deaf", ["sh", "-c", script], run_dir=tmp_path)
    process.start(lambda: "ready" in process.log())
    process.stop(timeout_s=0.1)
    assert process.popen.returncode == -signal.SIGKILL


def test_an_entry_is_built_once(cache: Path) -> None:
    builds: list[Path] = []
    together = threading.Barrier(4)

    def build(folder: Path) -> None:
        builds.append(folder)
        (folder / "file").write_text("whole")

    def want() -> None:
        together.wait()
        assert (install("thing", build) / "file").read_text() == "whole"

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert sorted(path.name for path in cache.iterdir()) == ["thing", "thing.lock"]


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("")
        run_tool(["sh", "-c", "echo disk full; exit 7"], cwd=folder)

    with pytest.raises(FetchError, match=r"(?s)exit code 7:.*disk full"):
        install("thing", build)
    assert [path.name for path in cache.iterdir()] == ["thing.lock"]


def test_ports_are_not_given_twice(cache: Path) -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == len(ports)
