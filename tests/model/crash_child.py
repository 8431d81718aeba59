"""A process with a real log in a folder, which kills itself at a step: `crash_child.py FOLDER STEP
COUNT ROWS`.

Its table is a file that is replaced at once, with rows and proof together.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from frazil.checkpoint import CheckpointLog, Epoch, Landed, Partition, SourceState
from frazil.checkpoint.local_store import LocalStore


class FileTable:
    """Rows and the proof of the last commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = json.loads(path.read_text()) if path.exists() else {"rows": [], "proof": None}
        self.rows: list[int] = found["rows"]
        self.proof = Landed(*found["proof"]) if found["proof"] else None

    def add(self, rows: list[int], proof: Landed) -> None:
        """Commit rows."""
        self.rows, self.proof = self.rows + rows, proof
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({"rows": self.rows, "proof": [proof.slot, proof.digest]}))
        os.replace(temporary, self.path)


class Events(list[dict[str, Any]]):
    """An event log that survives the process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def append(self, event: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(event) + "\n")


def commit(log: CheckpointLog, table: FileTable) -> None:
    """Bring what is pending into the table."""
    for pending in log.pending("a"):
        if table.proof is None or pending.slot > table.proof.slot:
            rows = [row for part in pending.parts for row in json.loads(part)]
            table.add(rows, Landed(pending.slot, pending.digest))
        else:
            assert log.contains("a", table.proof.slot, table.proof.digest)
    if table.proof is not None and log.pending("a"):
        log.record_landed("a", table.proof.slot, table.proof.digest)


def main(folder: Path, step: str, count: int, rows: int) -> None:
    """Run until the table has `rows` rows, or until `step` is reached for the `count`-th time."""
    left = count

    def hook(reached: str) -> None:
        nonlocal left
        left -= reached == step
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    store = LocalStore(folder / "log")
    log = CheckpointLog.open(store, hook=hook, events=Events(folder / "events.jsonl"))
    table = FileTable(folder / "table.json")
    commit(log, table)
    hook("after_recovery")
    while True:
        source = log.newest.manifest.sources.get("s")
        start = int(source.partitions[0].position) if source else 0
        if start >= rows:
            return
        hook("after_prepare")
        log.append(
            Epoch(
                sources={"s": SourceState((Partition("p", str(start + 1)),))},
                tokens={"a": [json.dumps([start])]},
                last=start + 1 >= rows,
            )
        )
        commit(log, table)
        hook("after_commit")
        log.ack_positions()
        log.collect()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
