"""Processes are killed within timers of the machine's clock: each row goes on once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.crash.scene import Scene


def finish(scene: Scene, workers: int) -> None:
    """Run to the end of the rows; what waits for a time then is due when the next process runs."""
    for _ in range(2):
        scene.finish("by_clock", workers=workers, takeover=True)


def test_killed_within_a_timer(scene: Scene) -> None:
    kill_at = scene.folder / "kill-at"
    for workers, calls in ((1, 1), (2, 7), (1, 25)):
        kill_at.write_text(str(calls))
        process = scene.start("by_clock", workers=workers, takeover=True)
        assert process.wait() == -signal.SIGKILL, process.output
    kill_at.unlink()
    finish(scene, 2)
    scene.check(pipeline="by_clock")
    scene.check_no_orphans()


def test_killed_with_timers_in_the_state(scene: Scene) -> None:
    for point, count in (("before_state_put", 2), ("before_put", 3), ("after_put", 2)):
        scene.kill(point, "by_clock", count=count, workers=count - 1, takeover=True)
    process = scene.start("by_clock", workers=2, takeover=True)
    scene.wait_for_slots(3, process, "by_clock")
    process.kill()
    finish(scene, 3)
    scene.check(pipeline="by_clock")
    scene.check_no_orphans()
