"""Processes are killed while their tables are given columns: each row is there once, and whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.pipelines import ROWS

if TYPE_CHECKING:
    from typing import Any

    from tests.crash.scene import Scene

POINTS = ["before_columns", "after_columns", "after_prepare", "after_put", "before_commit"]


def check_whole(row: dict[str, Any]) -> None:
    """What was a field of a row is in a column of that name, and nowhere else."""
    number = row["id"]
    fields = {name: value for name, value in row.items() if name.startswith("f") and value}
    assert row["rest"] is None
    assert fields == ({f"f{number // 1500}": number} if number % 7 == 3 else {})


def check(scene: Scene) -> None:
    """Every table has its rows, and nothing else is there."""
    assert scene.ids("t.all") == list(range(ROWS))
    names = sorted(name for _, name in scene.catalog.list_tables("t"))
    many: list[int] = []
    for name in names:
        rows = scene.rows(f"t.{name}").to_pylist()
        for row in rows:
            check_whole(row)
        if name.startswith("of_"):
            many += [row["id"] for row in rows]
        scene.check_no_orphans(f"t.{name}")
    assert sorted(many) == list(range(ROWS))
    new = scene.rows("t.new").to_pylist()
    assert sorted(row["k"] for row in new) == list(range(500))
    scene.check_log("expanding")


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, scene: Scene) -> None:
    for count, workers in ((1, 1), (7, 2)):
        scene.kill(point, "expanding", count=count, workers=workers, rate=4_000.0, takeover=True)
    scene.finish("expanding", workers=3)
    check(scene)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["before_columns", "before_commit"])
def test_zombie_wakes_behind_the_next(point: str, scene: Scene) -> None:
    """A process stops right before it changes a table; another goes on; then it wakes."""
    zombie = scene.freeze(point, "expanding", count=9, rate=4_000.0, workers=2)
    scene.finish("expanding", workers=1, takeover=True)
    zombie.resume()
    zombie.end()
    # What it wrote when it woke, before it knew, is nobody's: the next start removes it.
    scene.finish("expanding", workers=2)
    check(scene)
