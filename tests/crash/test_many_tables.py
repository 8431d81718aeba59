"""Processes whose sinks have many tables are killed: each table has its rows once."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import frazil as fz
import pytest

from tests.crash.pipelines import ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.crash.scene import Scene

POINTS = [
    "before_state_put",
    "after_prepare",
    "before_put",
    "after_put",
    "after_load",
    "before_commit",
    "after_commit",
    "before_ack",
    "after_gc",
]


@pytest.fixture(scope="module")
def countries(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[int]]:
    """Ids of the rows of each country."""
    sink = ids(None).write_memory()
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    fz.Pipeline("rows", sink, checkpoint=folder).run(until="now", quiet=True)
    found: dict[str, list[int]] = defaultdict(list)
    for row in sink.table().to_pylist():
        found[row["country"]].append(row["id"])
    return {country: sorted(rows) for country, rows in found.items()}


def check(scene: Scene, countries: Mapping[str, list[int]]) -> None:
    """Every table has its rows, and nothing else is there."""
    names = {f"{kind}_{country}" for kind in ("all", "new") for country in countries}
    assert {name for _, name in scene.catalog.list_tables("t")} == names
    for country, rows in countries.items():
        assert scene.ids(f"t.all_{country}") == rows, country
        new = scene.rows(f"t.new_{country}").to_pylist()
        assert len({row["k"] for row in new}) == len(new) == len({n % 500 for n in rows})
        assert {row["id"] for row in new} <= set(rows)
        for kind in ("all", "new"):
            scene.check_no_orphans(f"t.{kind}_{country}")
    scene.check_log("many_tables")


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, scene: Scene, countries: Mapping[str, list[int]]) -> None:
    for count, workers in ((1, 1), (7, 2)):
        scene.kill(point, "many_tables", count=count, workers=workers, rate=4_000.0, takeover=True)
    scene.finish("many_tables", workers=3)
    check(scene, countries)


@pytest.mark.slow
def test_killed_at_any_time(scene: Scene, countries: Mapping[str, list[int]]) -> None:
    rng = random.Random(1)
    for workers in (1, 2, 3):
        process = scene.start("many_tables", workers=workers, takeover=True, rate=4_000.0)
        time.sleep(rng.uniform(0.5, 1.5))
        process.kill()
    scene.finish("many_tables", workers=2)
    check(scene, countries)


@pytest.mark.slow
def test_zombie_wakes_behind_the_next(scene: Scene, countries: Mapping[str, list[int]]) -> None:
    """A process stops right before it commits; another goes on; then the commit is sent."""
    zombie = scene.freeze("before_commit", "many_tables", count=9, rate=4_000.0, workers=2)
    scene.finish("many_tables", workers=1, takeover=True)
    zombie.resume()
    zombie.end()
    # What it wrote when it woke, before it knew, is nobody's: the next start removes it.
    scene.finish("many_tables", workers=2)
    check(scene, countries)
