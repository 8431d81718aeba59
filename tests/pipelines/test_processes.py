"""Functions in processes of their own within pipelines: exact, in any order, crashed anywhere."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col

from tests.pipelines import in_processes as given
from tests.pipelines.events import Event, counted
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.in_processes_program import ROWS
from tests.pipelines.ordered import draw_apart
from tests.pipelines.processes import Processes

PATIENCE_S = 120.0


def streams(events: fz.Stream) -> dict[str, fz.Stream]:
    named = events.with_columns(name=given.name(col("id")))
    return {"named": named.select("id", "name"), "failed": named.failed}


def check(processes: Processes, partitions: list[list[Event]]) -> None:
    ids = [event["id"] for part in partitions for event in part]
    expected = [{"id": i, "name": f"<{i}>"} for i in ids if i % 5]
    assert processes.rows("named") == counted(expected)
    assert len(processes.table("failed")) == len(ids) - len(expected)


def test_any_order_and_crashes() -> None:
    """Processes of a run end with it; those of the next one do the same rows."""
    rng = Random(2)
    partitions = draw_apart(rng)
    processes = Processes(partitions, streams)
    for step in (6, 17):
        with pytest.raises(Crash):
            processes.run_drawn(rng, hook=CrashAt(step), every_s=0.01, batch_rows=1)
    processes.run_drawn(rng, batch_rows=2)
    check(processes, partitions)
    assert children_of(os.getpid()) == set()


def children_of(parent: int) -> set[int]:
    """Processes that call functions for a process."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            after = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after[1]) == parent and after[0] != "Z" and b"frazil.processes" in command:
            found.add(int(entry.name))
    return found


def test_killed_with_its_processes(tmp_path: Path) -> None:
    """Kill -9 of a child, then of the parent: no process stays, all rows are there once."""
    program = Path(given.__file__).with_name("in_processes_program.py")
    command = [sys.executable, str(program), str(tmp_path)]
    run = subprocess.Popen([*command, "hold"], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    try:
        pids = {int(run.stdout.readline()) for _ in range(2)}  # each waits within the function
        assert pids == children_of(run.pid)
        handles = [os.pidfd_open(pid) for pid in pids]
        os.kill(min(pids), signal.SIGKILL)
        again = int(run.stdout.readline())  # the same rows, in another process
        assert again not in pids
        handles.append(os.pidfd_open(again))
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    for handle in handles:
        assert wait_for_end(handle)
        os.close(handle)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    rows = pa.concat_tables(pq.read_table(file) for file in (tmp_path / "out").rglob("*.parquet"))
    assert sorted(rows.column("name").to_pylist()) == sorted(f"<{i}>" for i in range(ROWS))


def wait_for_end(handle: int) -> bool:
    """Whether a process ends in time."""
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    return bool(waiting.poll(PATIENCE_S * 1000))


def test_functions_threads_and_processes_at_once(tmp_path: Path) -> None:
    """Of the interpreter, the engine and processes nobody waits for another one for ever."""
    rows = fz.read_memory(
        pa.table({"n": pa.array(range(30_000), pa.int64())}), partitions=4, name="rows"
    )
    n = fz.coalesce(col("n"), 0)
    computed = rows.with_columns(
        a=given.plus_one(n), b=given.by_column(n), c=given.in_thread(n), d=given.in_others(n)
    ).with_columns(e=given.later(col("d")))
    kept = computed.map_batches(
        given.whole, schema={"n": pa.int64(), "sum": pa.int64()}, on_error="drop"
    )
    sink = kept.write_memory()
    busy = threading.Event()
    threads = [threading.Thread(target=spin, args=(busy,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        pipeline = fz.Pipeline(
            "p", sink, workers=4, checkpoint_every="100ms", checkpoint=str(tmp_path)
        )
        handle = pipeline.start(until="now", quiet=True)
        handle.wait(PATIENCE_S)
    finally:
        busy.set()
        for thread in threads:
            thread.join()
    found = sink.table().sort_by("n")
    assert found.column("n").to_pylist() == list(range(30_000))
    assert found.column("sum").to_pylist() == [6 * i + 5 for i in range(30_000)]


def spin(busy: threading.Event) -> None:
    """Have the interpreter, as another thread of the program does."""
    while not busy.is_set():
        sum(range(1_000))
