"""Runs the pipeline of the demo, kills it with SIGKILL on the way, and counts.

usage: python -m demo [--rows N] [--services]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from frazil.checkpoint import Store, open_store
from frazil.checkpoint.inspect import list_state
from frazil.checkpoint_folder import checkpoint_folder
from frazil.iceberg.catalog import open_catalog

from bench.events import Events, event_file
from demo.page import write_page
from tests.services.duckdb_reader import DuckdbReader

if TYPE_CHECKING:
    import pyarrow as pa

    from tests.services.s3 import S3

OUT = Path("demo-out")
KILLS = 2
SLOTS_BEFORE_KILL = 3
KILL_DELAY_S = 0.1
QUIET_S = 2.0
POLL_S = 0.02
TIMEOUT_S = 300.0


@dataclass
class Timeline:
    """What happened, in seconds since the first start."""

    started: float = field(default_factory=time.time)
    starts: list[float] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    epochs: dict[int, tuple[float, str]] = field(default_factory=dict)  # slot: time, kind
    commits: list[tuple[float, int, int]] = field(default_factory=list)  # time, slot, rows

    def now(self) -> float:
        """Seconds since the first start."""
        return time.time() - self.started


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--services", action="store_true", help="a real Kafka broker and S3 server")
    arguments = parser.parse_args()
    shutil.rmtree(OUT / "run", ignore_errors=True)
    (OUT / "run").mkdir(parents=True)
    print(f"making {arguments.rows:,} events ...", flush=True)
    if arguments.services:
        from demo.services import Services

        with Services(OUT / "run", Events().lines(arguments.rows)) as services:
            run(
                arguments.rows,
                services.environment,
                services.warehouse,
                services.catalog,
                services.s3,
            )
    else:
        events = event_file(arguments.rows)
        run(arguments.rows, {"DEMO_EVENTS": str(events)})


def run(
    rows: int,
    environment: Mapping[str, str],
    warehouse: str | None = None,
    catalog: Mapping[str, str] | None = None,
    s3: S3 | None = None,
) -> None:
    """Run, kill, run again, check."""
    folder = (OUT / "run").resolve()
    os.chdir(folder)
    options = {
        key: catalog[f"s3.{name}"]
        for key, name in (
            ("endpoint", "endpoint"),
            ("access_key_id", "access-key-id"),
            ("secret_access_key", "secret-access-key"),
            ("region", "region"),
        )
        if catalog
    }
    place = checkpoint_folder("demo", None, [warehouse or str(folder / "warehouse")])
    store = open_store(place, options)
    timeline = Timeline()
    env = {**os.environ, **environment}
    peak = 0.0
    for number in range(KILLS + 1):
        killed = number < KILLS
        peak = max(peak, attempt(env, store, timeline, kill=killed))
        print(f"run {number + 1}: {'killed with SIGKILL' if killed else 'ended'}", flush=True)
    check(rows, timeline, peak, catalog, s3)


def attempt(env: Mapping[str, str], store: Store, timeline: Timeline, *, kill: bool) -> float:
    """One process; killed after a few epochs (or when no more come), or left to end.

    Returns
    -------
    float
        Its peak memory in MB.
    """
    script = Path(__file__).with_name("pipeline.py")
    timeline.starts.append(timeline.now())
    # A run that is to be killed has no end of its own, so that the kill always meets a live one.
    env = {**env, "DEMO_UNTIL": "" if kill else "now"}
    process = subprocess.Popen([sys.executable, str(script)], env=env, stdout=subprocess.PIPE)
    first = len(timeline.epochs)
    seen = time.monotonic()
    deadline = time.monotonic() + TIMEOUT_S
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, resident_mb(process.pid))
        for info in list_state(store):
            if info.entry is not None and info.slot not in timeline.epochs:
                timeline.epochs[info.slot] = (timeline.now(), info.entry.manifest.kind)
                seen = time.monotonic()
        slots = len(timeline.epochs) - first
        nothing_left = slots > 0 and time.monotonic() - seen > QUIET_S
        if kill and (slots >= SLOTS_BEFORE_KILL or nothing_left):
            time.sleep(KILL_DELAY_S)  # into the next epoch
            process.send_signal(signal.SIGKILL)
            process.wait()
            timeline.kills.append(timeline.now())
            return peak
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(f"the pipeline did not end in {TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)
    timeline.ends.append(timeline.now())
    if process.returncode != 0:
        raise SystemExit(f"the pipeline ended with code {process.returncode}")
    return peak


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:  # it has just ended
        pass
    return 0.0


def check(
    rows: int,
    timeline: Timeline,
    peak: float,
    catalog: Mapping[str, str] | None,
    s3: S3 | None,
) -> None:
    """Compare the table with the input, by DuckDB."""
    table = open_catalog(catalog).load_table("shop.sales")
    for snapshot in table.metadata.snapshots:
        summary = snapshot.summary
        if summary is not None and (slot := summary.additional_properties.get("frazil.slot")):
            at = snapshot.timestamp_ms / 1000 - timeline.started
            added = int(summary.additional_properties.get("added-records", 0))
            timeline.commits.append((at, int(slot), added))
    database = duckdb.connect()
    database.register("sales", read_table(table.metadata_location, s3))
    count, distinct, ids = database.execute(
        "select count(*), count(distinct id), sum(id) from sales"
    ).fetchall()[0]
    wanted = [
        int(line[7 : line.index(",")])
        for lines in Events().lines(rows)
        for line in lines
        if json.loads(line)["amount"] > 10
    ]
    seconds = sum(timeline.kills + timeline.ends) - sum(timeline.starts)
    missing = len(wanted) - distinct
    print(f"\nrows in            {rows:,}, of which {len(wanted):,} pass the filter")
    print(f"rows in the table  {count:,}")
    print(f"duplicates         {count - distinct}")
    print(f"missing            {missing}")
    print(f"rows/s             {rows / seconds:,.0f} over all runs, start-up and rework included")
    print(f"peak memory        {peak:,.0f} MB\n")
    query = (
        "select country, count(*) as sales, round(sum(total), 2) as total from sales "
        "group by country order by total desc limit 5"
    )
    print(f"duckdb> {query}")
    print(database.sql(query))
    page = write_page(Path("timeline.html"), timeline, rows, count, count - distinct, missing)
    print(f"timeline: {page.resolve()}")
    if count != distinct or missing or ids != sum(wanted):
        raise SystemExit("the table is not what it should be")


def read_table(location: str, s3: S3 | None) -> pa.Table:
    """The table's rows, by DuckDB's Iceberg extension (which is not ours)."""
    reader = DuckdbReader()
    try:
        return reader.read_iceberg(location, s3=s3)
    finally:
        reader.close()


if __name__ == "__main__":
    main()
