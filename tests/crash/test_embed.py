"""Processes that embed texts are killed: each row has its vector, and no text is paid for twice."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.crash.embedding import vector_of
from tests.crash.python_ids import ROWS

if TYPE_CHECKING:
    from tests.crash.scene import Scene


def asked(scene: Scene) -> list[str]:
    """Texts that the model was asked for, by all processes."""
    path = scene.folder / "asked.txt"
    return path.read_text().splitlines() if path.exists() else []


def in_table(scene: Scene) -> set[str]:
    """Texts that are in the table by now."""
    if not scene.catalog.table_exists("t.embedded"):
        return set()
    return set(scene.rows("t.embedded")["text"].to_pylist())


def check(scene: Scene) -> None:
    """Every row is there once, with the vector of its text, and nothing of the dead is left."""
    rows = scene.rows("t.embedded").to_pylist()
    assert sorted(row["id"] for row in rows) == list(range(ROWS))
    assert all(row["vector"] == vector_of(row["text"]) for row in rows)
    scene.check_no_orphans("t.embedded")
    scene.check_log("embedded")


@pytest.mark.slow
def test_killed(scene: Scene) -> None:
    rng = random.Random(2)
    known: set[str] = set()
    for point in ("after_put", "before_state_put", "before_put", "", "after_put"):
        before = len(asked(scene))
        workers = rng.choice([1, 2, 3])
        if point:
            scene.kill(point, "embedded", count=2, workers=workers, rate=4_000.0)
        else:
            process = scene.start("embedded", workers=workers, takeover=True, rate=4_000.0)
            time.sleep(0.5)
            process.kill()
        assert not known & set(asked(scene)[before:])
        known = in_table(scene)
    assert known
    before = len(asked(scene))
    scene.finish("embedded", workers=2)
    assert not known & set(asked(scene)[before:])
    check(scene)
