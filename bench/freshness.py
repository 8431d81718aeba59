"""Freshness: seconds from an event's creation to the moment when a reader sees it in the table.

A producer stamps each event as it hands it to Kafka; Frazil runs W1 with a checkpoint each second;
a watcher asks the catalog every few milliseconds for the table's metadata. An event is visible when
the watcher first sees a snapshot that has its file: not what a clock in the metadata claims.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyiceberg.table import StaticTable

from bench import events
from bench.broker import Broker, broker
from bench.cache import scratch_dir
from bench.systems.system import PROGRAMS
from bench.truth.w1 import THRESHOLD

TICK_S = 0.001
WATCH_S = 0.005
WARM_S = 3.0  # events of the first seconds are not counted: first file, first commit
READY_S = 60.0
LANDED_S = 60.0
PARTITIONS = 4


@dataclass(frozen=True)
class Freshness:
    """Delays at one rate: from creation to visible."""

    rate: int
    events_per_s: float  # really produced
    events: int
    source: str
    p50_s: float
    p99_s: float
    max_s: float
    commits: int
    cores: float  # used by Frazil while events came, start included
    rows_ok: bool


def measure_freshness(rates: Sequence[int], seconds: int) -> list[Freshness]:
    """One run of Frazil for each rate, all on one broker."""
    with broker() as running:
        return [_measure(running, rate, seconds) for rate in rates]


def _measure(running: Broker, rate: int, seconds: int) -> Freshness:
    topic = running.create(f"fresh-{rate}", partitions=PARTITIONS)
    out = scratch_dir("fresh")
    program = [str(PROGRAMS / "run_frazil.py"), "--workload", "w1"]
    argv = [sys.executable, *program, "--servers", running.servers, "--topic", topic]
    process = subprocess.Popen([*argv, "--out", str(out), "--forever"], stdout=subprocess.DEVNULL)
    watcher = _Watcher(out / "catalog.db")
    try:
        watcher.start()
        watcher.wait(0, READY_S)
        sent = _produce(running, topic, rate, seconds)
        watcher.wait(sent.kept, LANDED_S)
        process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"frazil ended with {process.returncode}")
        ids, delays = _delays(watcher, sent.started + WARM_S)
        return Freshness(
            rate=rate,
            events_per_s=round(sent.events / sent.seconds),
            events=sent.events,
            source="kafka",
            p50_s=round(float(np.percentile(delays, 50)), 3),
            p99_s=round(float(np.percentile(delays, 99)), 3),
            max_s=round(float(delays.max()), 3),
            commits=len(watcher.seen),
            cores=round((usage.ru_utime + usage.ru_stime) / sent.seconds, 3),
            rows_ok=len(ids) == sent.kept and len(np.unique(ids)) == sent.kept,
        )
    finally:
        watcher.stop()
        if process.returncode is None:
            process.kill()
            process.wait()
        shutil.rmtree(out, ignore_errors=True)


@dataclass(frozen=True)
class _Sent:
    events: int
    kept: int  # that pass W1's filter
    started: float
    seconds: float


def _produce(running: Broker, topic: str, rate: int, seconds: int) -> _Sent:
    tails, passes = _tails()
    producer = running.producer(linger_ms=5)
    started = time.time()
    sent = kept = 0
    while (now := time.time()) < started + seconds:
        stamp = int(now * 1000)
        due = int((now - started) * rate)
        while sent < due:
            at = sent % len(tails)
            line = b'{"id": %d, "ts": %d%b' % (sent, stamp, tails[at])
            producer.produce(topic, line, partition=sent % PARTITIONS)
            kept += passes[at]
            sent += 1
        producer.poll(0)
        time.sleep(TICK_S)
    taken = time.time() - started
    if producer.flush(LANDED_S):
        raise TimeoutError(f"producing to {topic}: not acknowledged in {LANDED_S:.0f} s")
    return _Sent(sent, kept, started, taken)


def _tails() -> tuple[list[bytes], list[bool]]:
    """Events without their id and time, and whether they pass the filter."""
    lines = next(iter(events.Events().lines(events.CHUNK)))
    tails = [line[line.index(', "user"') :].rstrip("\n").encode() for line in lines]
    return tails, [json.loads(line)["amount"] > THRESHOLD for line in lines]


class _Watcher(threading.Thread):
    """Notes when a snapshot is first visible."""

    def __init__(self, catalog: Path) -> None:
        super().__init__(daemon=True)
        self._catalog = catalog
        self._ended = threading.Event()
        self._error: Exception | None = None
        self.rows = -1  # in the table; -1: there is no table yet
        self.location = ""
        self.seen: dict[int, float] = {}

    def run(self) -> None:
        try:
            while not self._ended.wait(WATCH_S):
                self._look()
        except Exception as error:
            self._error = error

    def _look(self) -> None:
        if not self._catalog.exists():
            return
        with sqlite3.connect(f"file:{self._catalog}?mode=ro", uri=True) as database:
            try:
                row = database.execute("SELECT metadata_location FROM iceberg_tables").fetchone()
            except sqlite3.OperationalError:  # its tables are not made yet
                return
        database.close()
        if row is None or row[0] == self.location:
            return
        now = time.time()
        self.location = row[0]
        metadata = json.loads(Path(self.location.removeprefix("file://")).read_text())
        self.rows = max(self.rows, 0)
        for snapshot in metadata.get("snapshots", []):
            self.seen.setdefault(snapshot["snapshot-id"], now)
            if snapshot["snapshot-id"] == metadata["current-snapshot-id"]:
                self.rows = int(snapshot["summary"]["total-records"])

    def wait(self, rows: int, timeout_s: float) -> None:
        """Wait until the table is there and has so many rows."""
        deadline = time.monotonic() + timeout_s
        while self.rows < rows:
            if self._error is not None:
                raise self._error
            if time.monotonic() > deadline:
                raise TimeoutError(f"the table has {self.rows} of {rows} rows after {timeout_s} s")
            time.sleep(WATCH_S)

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self.join()


def _delays(watcher: _Watcher, since: float) -> tuple[np.ndarray, np.ndarray]:
    """All ids of the table, and the delays of the events created after a time."""
    table = StaticTable.from_metadata(watcher.location)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    ids, delays = [], []
    for manifest in snapshot.manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io):
            path = entry.data_file.file_path.removeprefix("file://")
            rows = pq.read_table(path, columns=["id", "ts"])
            created = rows["ts"].cast("int64").to_numpy() / 1e6
            ids.append(rows["id"].to_numpy())
            delays.append(watcher.seen[entry.snapshot_id] - created[created >= since])
    return np.concatenate(ids), np.concatenate(delays)


def table(results: Sequence[Freshness]) -> str:
    """The results as text."""
    lines = [
        f"{'rate':>8} {'events/s':>9} {'p50 s':>7} {'p99 s':>7} {'max s':>7} {'cores':>6}  rows"
    ]
    lines.extend(
        f"{each.rate:8,} {each.events_per_s:9,.0f} {each.p50_s:7.3f} {each.p99_s:7.3f} "
        f"{each.max_s:7.3f} {each.cores:6.2f}  {'ok' if each.rows_ok else 'WRONG'}"
        for each in results
    )
    return "\n".join(lines)


def as_json(results: Sequence[Freshness]) -> list[dict[str, object]]:
    """The results as a list of plain dicts."""
    return [asdict(each) for each in results]
