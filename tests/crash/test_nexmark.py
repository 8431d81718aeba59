"""Processes of Nexmark's queries are killed at random steps, one after the other: same rows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
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
    from tests.crash.scene import Scene

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


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in QUERIES],
)
def test_killed_at_random_steps(scene: Scene, events: Path, oracle: Oracle, name: str) -> None:
    """Also with another number of workers after each death."""
    (scene.folder / "in").symlink_to(events)
    pipeline = f"nexmark_{name}"
    rng = Random(name)
    killed = 0
    while True:
        point = rng.choice(EACH if killed else SURE) if killed < KILLS else ""
        options = {"workers": rng.randint(1, 2), "every_s": 0.01, "close_windows": True}
        process = scene.start(pipeline, point, count=rng.randint(1, 3) if killed else 1, **options)
        code = process.wait()
        if code == 0 or (code == EXIT_ERROR and "was finished" in process.error):
            break  # what it, or the last that was killed, had in the log is committed
        assert (code, killed < KILLS) == (-signal.SIGKILL, True), process.output
        killed += 1
    assert killed > 0
    scene.check_log(pipeline)
    scene.check_no_orphans()
    files = [
        Path(task.file.file_path.removeprefix("file://"))
        for task in scene.table().scan().plan_files()
    ]
    assert oracle.compare(QUERIES[name], files)[1] == ""
