"""Processes that write to PostgreSQL are killed, and the server too: every row is there once."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.crash.pipelines import ROWS

if TYPE_CHECKING:
    from tests.crash.scene import Process, Scene
    from tests.services.postgres import Postgres

pytestmark = [pytest.mark.service, pytest.mark.slow]

POINTS = ["after_fence_put", "after_prepare", "after_put", "before_commit", "after_commit"]


@pytest.fixture
def place(scene: Scene, postgres: Postgres) -> Postgres:
    """The server without tables, named in the scene's folder."""
    (scene.folder / "postgres").write_text(postgres.conninfo)
    with postgres.session() as session:
        session.execute('DROP TABLE IF EXISTS rows, totals, "some", frazil_epochs')
    return postgres


def check(scene: Scene, postgres: Postgres) -> None:
    """Rows are there once, and totals are those of all rows."""
    with postgres.session() as session:
        found = session.execute("SELECT count(*), count(DISTINCT id), max(id) FROM rows").fetchone()
        assert found == (ROWS, ROWS, ROWS - 1)
        totals = dict(session.execute("SELECT k, ARRAY[n, last] FROM totals").fetchall())
        some = session.execute('SELECT k, n FROM "some"').fetchall()
    numbers = [range(key, ROWS, 300) for key in range(300)]
    assert totals == {key: [len(each), sum(each)] for key, each in enumerate(numbers)}
    assert sorted(some) == [(key, len(each)) for key, each in enumerate(numbers) if len(each) % 4]
    scene.check_log("to_postgres")
    staged = scene.folder / "checkpoints" / "to_postgres" / "staged"
    assert list(staged.iterdir()) == []


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, scene: Scene, place: Postgres) -> None:
    for count, workers in ((2, 1), (5, 2)):
        last = 1 if point == "after_fence_put" else count
        scene.kill(point, "to_postgres", count=last, workers=workers, takeover=True)
    scene.finish("to_postgres", workers=2)
    scene.finish("to_postgres")  # removes what the last epochs have left
    check(scene, place)


def test_killed_at_any_time(scene: Scene, place: Postgres) -> None:
    rng = random.Random(3)
    for workers in (1, 2, 1, 2):
        process = scene.start("to_postgres", workers=workers, takeover=True)
        time.sleep(rng.uniform(0.5, 1.5))
        process.kill()
    scene.finish("to_postgres", workers=2, takeover=True)
    scene.finish("to_postgres")
    check(scene, place)


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
def test_zombie_wakes_behind_the_next(point: str, scene: Scene, place: Postgres) -> None:
    zombie: Process = scene.freeze(point, "to_postgres", count=4)
    scene.finish("to_postgres", takeover=True)
    zombie.resume()
    zombie.end()
    scene.finish("to_postgres", takeover=True)
    check(scene, place)


def test_the_server_is_killed(scene: Scene, place: Postgres) -> None:
    """Commits go on when it is back; the answer to one may be lost."""
    scene.kill("after_put", "to_postgres")
    process = scene.start("to_postgres", rate=600.0, takeover=True)
    for _ in range(2):
        scene.wait_for_slots(3, process, "to_postgres")
        place.kill()
        place.start()
    assert process.wait() == 0, process.output
    scene.finish("to_postgres")
    check(scene, place)
