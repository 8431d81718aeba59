"""Processes of Nexmark's queries are killed, one after the other: same rows."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from bench.nexmark.files import write
from bench.nexmark.generator import Config
from bench.nexmark.oracle import Oracle
from bench.nexmark.queries import QUERIES
from tests.crash.child import EXIT_ERROR
from tests.crash.test_kill import EACH

if TYPE_CHECKING:
    from tests.crash.scene import Process, Scene

EVENTS = 30_000  # enough for several epochs
KILLS = 3
QUICK = ("q2", "q11")
SURE = ("after_prepare", "before_put", "after_put", "before_commit", "after_commit")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes of events, out of order, in two lanes."""
    folder = tmp_path_factory.mktemp("events")
    config = Config(events_per_second=50, out_of_order_group=100)
    write(folder, EVENTS, config, lanes=2, file_events=1_000)
    return folder


@pytest.fixture(scope="module")
def oracle(events: Path) -> Iterator[Oracle]:
    """What the queries have to give."""
    made = Oracle(events)
    yield made
    made.close()


def over(process: Process) -> bool:
    """Whether all is done: it ended, or its predecessor had but for the last commits."""
    code = process.wait()
    if code == 0 or (code == EXIT_ERROR and "was finished" in process.error):
        return True
    assert code == -signal.SIGKILL, process.output
    return False


def check(scene: Scene, oracle: Oracle, name: str) -> None:
    """The table has the query's rows, and nothing of the dead is left."""
    scene.check_log(f"nexmark_{name}")
    scene.check_no_orphans()
    files = [
        Path(task.file.file_path.removeprefix("file://"))
        for task in scene.table().scan().plan_files()
    ]
    assert oracle.compare(QUERIES[name], files)[1] == ""


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in QUERIES],
)
def test_killed_at_random_steps(scene: Scene, events: Path, oracle: Oracle, name: str) -> None:
    """Also with another number of workers after each death."""
    (scene.folder / "in").symlink_to(events)
    rng = Random(name)
    for killed in range(KILLS + 1):
        point = "" if killed == KILLS else rng.choice(EACH if killed else SURE)
        count = rng.randint(1, 3) if killed else 1
        workers = rng.randint(1, 2)
        process = scene.start(
            f"nexmark_{name}",
            point,
            count=count,
            workers=workers,
            every_s=0.01,
            close_windows=True,
        )
        if over(process):
            break
    assert killed > 0
    check(scene, oracle, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERIES)
def test_killed_at_random_moments(scene: Scene, events: Path, oracle: Oracle, name: str) -> None:
    """Wherever its threads are; then one that is left alone."""
    (scene.folder / "in").symlink_to(events)
    rng = Random(name)
    options = {"every_s": 0.01, "close_windows": True, "takeover": True, "rate": None}
    for workers in (1, 2, 1, 2):
        process = scene.start(f"nexmark_{name}", workers=workers, **options)
        time.sleep(rng.uniform(0.02, 0.25))
        with suppress(ProcessLookupError):  # it was faster
            process.signal(signal.SIGKILL)
        if over(process):
            break
    else:
        assert over(scene.start(f"nexmark_{name}", workers=2, **options))
    check(scene, oracle, name)
