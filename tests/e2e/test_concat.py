"""Files of the past, then a topic; the process is killed before the seam, in it and behind it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from frazil.checkpoint import open_store
from frazil.checkpoint.reader import list_slots, read_slot
from frazil.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from frazil.checkpoint.manifest import Manifest

    from tests.services.kafka import Kafka

pytestmark = [pytest.mark.service, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("concat_program.py")
START = datetime(2026, 1, 1, tzinfo=UTC)
PAST, PRESENT, PARTITIONS = 300_000, 20_000, 2
# Seconds something may take that is waited for; reached only when a test fails.
PATIENCE_S = 60.0


def lines(seed: int, begin_s: float, count: int, apart_s: float) -> list[bytes]:
    """Rows of a partition; some come up to two minutes late."""
    drawn = random.Random(seed)
    rows = []
    for n in range(count):
        late = drawn.choice([0, 0, 0, 0, 3, 9, 70, 120])
        at = START + timedelta(seconds=begin_s + n * apart_s - late)
        rows.append(
            json.dumps({"page": f"/{drawn.randint(0, 5)}", "at": at.isoformat(), "n": n}).encode()
        )
    return rows


def written(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.jsonl")) if folder.exists() else []
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def us_of(at: str) -> int:
    return (datetime.fromisoformat(at) - START) // timedelta(microseconds=1)


def expected(past: list[bytes], present: list[list[bytes]]) -> tuple[dict[Any, int], Counter[Any]]:
    """Totals by page and window of a minute, and late rows, by DuckDB.

    The definitions are those of docs/concepts/time.md: rows of a topic's partition stand at least
    at the watermark at which the past ended.
    """
    rows = [
        {"p": p, "pos": pos, "page": row["page"], "us": us_of(row["at"]), "n": row["n"]}
        for p, part in enumerate([past, *present])
        for pos, row in enumerate(map(json.loads, part))
    ]
    with duckdb.connect() as connection:
        connection.register("given", pa.Table.from_pylist(rows))
        connection.execute(
            "CREATE TABLE marked AS SELECT *, us // 60000000 AS w, greatest(max(us) OVER ("
            "PARTITION BY p ORDER BY pos ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), "
            "CASE WHEN p > 0 THEN (SELECT max(us) FROM given WHERE p = 0) END) - 10000000 AS rw "
            "FROM given"
        )
        late = "rw IS NOT NULL AND (w + 1) * 60000000 <= rw"
        totals = connection.execute(
            f"SELECT page, w, sum(n)::BIGINT FROM marked WHERE NOT ({late}) GROUP BY ALL"
        ).fetchall()
        lates = connection.execute(f"SELECT page, us, n FROM marked WHERE {late}").fetchall()
    return {(page, w): total for page, w, total in totals}, Counter(lates)


class Clicks:
    """The program and its checkpoint log."""

    def __init__(self, kafka: Kafka, topic: str, folder: Path) -> None:
        self.folder = folder
        self._store = open_store(str(folder / "checkpoint" / "clicks"), {})
        self._environment = {
            **os.environ,
            "E2E_TOPIC": topic,
            "E2E_SERVERS": kafka.bootstrap,
            "E2E_FOLDER": str(folder),
        }
        self._processes = 0

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        self._processes += 1
        argv = [sys.executable, "-m", "frazil", "run", str(PROGRAM), *options]
        with (self.folder / f"process-{self._processes}.log").open("wb") as log:
            return subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)

    def newest(self) -> Manifest | None:
        try:
            entries = [read_slot(self._store, slot) for slot in list_slots(self._store)[-1:]]
        except CheckpointError:  # the log collects what is below its floor
            return None
        return entries[0].manifest if entries and entries[0] is not None else None

    def kill_when(self, reached: Callable[[Manifest], bool]) -> None:
        """Run it until its log says so."""
        process = self.start()
        deadline = time.monotonic() + PATIENCE_S
        try:
            while (newest := self.newest()) is None or not reached(newest):
                assert process.poll() is None, "the process has ended"
                assert time.monotonic() < deadline
        finally:
            process.kill()
            process.wait()


def crossed(manifest: Manifest) -> bool:
    """Whether the history is read to its end."""
    return any(state.ended for state in manifest.sources.values())


def test_killed_around_the_seam(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.create_topic(partitions=PARTITIONS)
    past = lines(1, 600, PAST, 0.05)
    (tmp_path / "past").mkdir()
    for number in range(6):
        rows = past[number * PAST // 6 : (number + 1) * PAST // 6]
        (tmp_path / "past" / f"{number}.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    # The topic overlaps the end of the past by ten minutes.
    present = [lines(2 + p, PAST * 0.05, PRESENT, 0.4) for p in range(PARTITIONS)]
    for number, rows in enumerate(present):
        kafka.produce(topic, rows, partition=number)
    clicks = Clicks(kafka, topic, tmp_path)
    before = []

    def begun(manifest: Manifest) -> bool:
        read = any(state.rows.read for state in manifest.sources.values())
        before.append(crossed(manifest))
        return read

    clicks.kill_when(begun)
    clicks.kill_when(crossed)
    for file in (tmp_path / "past").iterdir():  # it is never read again
        file.unlink()
    clicks.kill_when(lambda manifest: any(s.rows.read for s in manifest.sources.values()))
    process = clicks.start("--until", "now", "--close-windows")
    assert process.wait(PATIENCE_S) == 0, next(tmp_path.glob("process-4.log")).read_text()
    assert not any(before), "the first kill came before the seam"
    windows, late = expected(past, present)
    rows = written(tmp_path / "minutes")
    found = {(row["page"], us_of(row["window_start"]) // 60_000_000): row["total"] for row in rows}
    assert len(found) == len(rows)
    assert found == windows
    lates = written(tmp_path / "late")
    assert Counter((row["page"], us_of(row["at"]), row["n"]) for row in lates) == late
    assert any(row["partition"].startswith(topic) for row in lates)
