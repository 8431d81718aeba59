"""Files that go away before a run has read them to their end are missed, not lost in silence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import frazil as fz
import pytest
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

# Rows of a file: several chunks, so that a checkpoint falls between them.
ROWS = 100_000
HOW_READ: list[dict[str, Any]] = [{"lanes": "by_folder"}, {"ordered": False}, {"lanes": "one"}]


def build(folder: Path, **options: Any) -> fz.Pipeline:
    """A pipeline from `folder`/in to `folder`/out."""
    stream = fz.read_files(
        f"{folder}/in/*/*.jsonl", format="json", schema={"id": int}, name="in", **options
    )
    sink = stream.write_files(folder / "out", format="json")
    return fz.Pipeline("removed", sink, checkpoint=str(folder / "checkpoint"))


def run(folder: Path, *, killed: bool = False, **options: Any) -> None:
    """Run in a reproducible order with many checkpoints; `killed`: this process, after a few."""
    epochs = 0

    def kill(step: str) -> None:
        nonlocal epochs
        epochs += step == "after_prepare"
        if epochs == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    runnable = prepare(build(folder, **options), hook=kill if killed else lambda _: None)
    settings = RunSettings(bounded=True, takeover=True, checkpoint_every_s=0.002, simulated_seed=1)
    Coordinator(runnable, settings, hook=kill if killed else lambda _: None).run()


def write(path: Path, first: int, rows: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"id": {n}}}\n' for n in range(first, first + rows)))


def ids(folder: Path) -> list[int]:
    files = sorted((folder / "out").glob("*.jsonl"))
    return sorted(
        json.loads(line)["id"] for file in files for line in file.read_text().splitlines()
    )


@pytest.mark.parametrize("options", HOW_READ, ids=["by_folder", "each", "one"])
def test_a_file_half_read_by_a_killed_run_is_missed(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    source = tmp_path / "in/a/1.jsonl"
    write(source, 0, ROWS)
    program = [sys.executable, __file__, str(tmp_path), json.dumps(options)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    moved = source.rename(tmp_path / "moved")
    write(tmp_path / "in/b/1.jsonl", ROWS, 10)
    for _ in range(2):  # it stays refused
        with pytest.raises(fz.FrazilError, match="not there any more") as refused:
            run(tmp_path, **options)
        assert str(source) in str(refused.value)
        assert 'on_removed="skip"' in str(refused.value)
    run(tmp_path, on_removed="skip", **options)
    found = ids(tmp_path)
    read = len(found) - 10
    assert 0 < read < ROWS
    assert found == [*range(read), *range(ROWS, ROWS + 10)]
    moved.rename(source)  # the rest is still to be had
    run(tmp_path, **options)
    assert ids(tmp_path) == list(range(ROWS + 10))


@pytest.mark.parametrize("options", HOW_READ, ids=["by_folder", "each", "one"])
def test_a_file_that_was_read_may_go(tmp_path: Path, options: dict[str, Any]) -> None:
    write(tmp_path / "in/a/1.jsonl", 0, 10)
    run(tmp_path, **options)
    (tmp_path / "in/a/1.jsonl").unlink()
    (tmp_path / "in/a").rmdir()
    write(tmp_path / "in/b/1.jsonl", 10, 10)
    run(tmp_path, **options)
    assert ids(tmp_path) == list(range(20))


if __name__ == "__main__":
    run(Path(sys.argv[1]), killed=True, **json.loads(sys.argv[2]))
