"""Processes that set rows aside, and that send them again, are killed: each row is in one place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.crash.pipelines import ROWS

if TYPE_CHECKING:
    from tests.crash.scene import Scene

pytestmark = pytest.mark.slow

POINTS = [
    "before_fence_put",
    "after_prepare",
    "before_put",
    "after_put",
    "after_load",
    "before_commit",
    "after_commit",
    "before_ack",
]
GOOD = [i for i in range(ROWS) if i % 3 == 1]
BAD = [i for i in range(ROWS) if i % 3 != 1]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, scene: Scene) -> None:
    """Rows are rejected while it is killed, and sent again while that is killed."""
    # There are two tables: it is killed when one of them has the epoch.
    commits = point in ("before_commit", "after_commit", "before_ack")
    scene.kill(point, "bad_rows", count=2 if commits else 1, takeover=True)
    scene.finish("bad_rows")
    scene.check(expected=GOOD, pipeline="bad_rows")
    letters = scene.rows("t.letters")
    assert sorted(row["position"] for row in letters.to_pylist()) == positions(scene)
    scene.kill(point, "replayed", takeover=True)
    scene.finish("replayed")
    scene.check(expected=range(ROWS), pipeline="replayed")
    # Once more changes nothing.
    scene.finish("replayed")
    scene.check(expected=range(ROWS), pipeline="replayed")
    assert scene.rows("t.letters").num_rows == len(BAD)


@pytest.mark.parametrize("point", ["after_prepare", "after_put", "before_commit", "before_ack"])
def test_failed_rows_killed_at(point: str, scene: Scene) -> None:
    """Rows for which a function raises are in one table or the other, once."""
    commits = point in ("before_commit", "before_ack")
    scene.kill(point, "failing", count=2 if commits else 1, takeover=True)
    scene.finish("failing")
    good = [i for i in range(ROWS) if i % 3]
    scene.check(expected=good, pipeline="failing")
    letters = scene.rows("t.letters").to_pylist()
    failed = sorted(json.loads(row["raw"])["id"] for row in letters)
    assert failed == [i for i in range(ROWS) if i % 3 == 0]


def positions(scene: Scene) -> list[int]:
    """Where the bad rows stand in the file."""
    found, at = [], 0
    for number, line in enumerate((scene.folder / "lines.jsonl").read_text().split("\n")):
        if number % 3 != 1:
            found.append(at)
        at += len(line) + 1
    return found
