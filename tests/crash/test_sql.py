"""Processes that ask a database for rows are killed while others write: every row is there once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.crash.scene import Scene
    from tests.services.postgres import Postgres

pytestmark = [pytest.mark.service, pytest.mark.slow]


class Writers:
    """Sessions whose transactions end in another order than they begin."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(3)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        rng, pause = random.Random(number), threading.Event()
        with self._postgres.session(autocommit=True) as session:
            while not self._stopping.is_set():
                with session.transaction():
                    session.execute("INSERT INTO orders SELECT FROM generate_series(1, 3)")
                    pause.wait(rng.uniform(0, 0.02))  # ids and times are taken, not visible


@pytest.fixture
def writers(scene: Scene, postgres: Postgres) -> Iterator[Writers]:
    with postgres.session() as session:
        session.execute("DROP TABLE IF EXISTS orders")
        session.execute(
            "CREATE TABLE orders (id bigserial PRIMARY KEY, at timestamptz DEFAULT now())"
        )
    given = dict(part.split("=", 1) for part in postgres.conninfo.split())
    place = f"{given['user']}@{given['host']}:{given['port']}/{given['dbname']}"
    (scene.folder / "sql").write_text(f"postgresql+psycopg://{place}")
    with Writers(postgres) as writers:
        yield writers


def test_killed_while_rows_come(scene: Scene, postgres: Postgres, writers: Writers) -> None:
    rng = random.Random(8)
    for point, workers in (("after_put", 1), ("before_commit", 2)):
        scene.kill(point, "from_sql", count=2, workers=workers, bounded=False, takeover=True)
    for _ in range(2):
        process = scene.start("from_sql", bounded=False, takeover=True)
        scene.wait_for_slots(3, process, "from_sql")
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
    writers.__exit__()
    with postgres.session() as session:
        ids = [number for (number,) in session.execute("SELECT id FROM orders").fetchall()]
    process = scene.start("from_sql", bounded=False, takeover=True)
    deadline = time.monotonic() + 60
    while len(scene.ids()) < len(ids):
        assert process.alive, process.output
        assert time.monotonic() < deadline, process.output
        time.sleep(0.05)
    process.kill()
    scene.check(expected=ids, pipeline="from_sql")
