"""Ways to lose rows, to read them twice, or to hang, each of which was possible once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import frazil as fz
import pyarrow as pa
import pytest
from frazil.checkpoint import CheckpointLog, open_store, plan_of, takeover
from frazil.errors import CheckpointError, PlanChanged
from frazil.run import runner
from frazil.run.coordinator import Coordinator


def eventually(true: object, seconds: float = 30.0) -> None:
    """Wait until something is true; fails after `seconds`."""
    assert callable(true)
    changed = threading.Event()
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        changed.wait(0.01)


def test_an_empty_folder_is_watched(tmp_path: Path) -> None:
    """A source without partitions is not a source that has ended."""
    folder = tmp_path / "in"
    folder.mkdir()
    stream = fz.read_files(folder, format="json", schema={"id": int}, ordered=False)
    pipeline = fz.Pipeline("watch", stream.write_memory(), checkpoint=str(tmp_path / "checkpoint"))
    handle = pipeline.start(quiet=True)
    try:
        eventually(lambda: handle.status.attempt == 1 and handle.status.epoch >= 0)
        with pytest.raises(TimeoutError):
            handle.wait(0.5)
    finally:
        handle.stop()


def test_files_that_another_pipeline_has_not_committed_are_not_read(tmp_path: Path) -> None:
    """A file sink stages below the folder that others read."""
    out = tmp_path / "out"
    staging = out / "_frazil" / "staging"
    staging.mkdir(parents=True)
    (staging / "part-1-000000000001-0-x.jsonl").write_text('{"id": 1}\n')
    (out / "part.jsonl").write_text('{"id": 2}\n')
    sink = fz.read_files(out, format="json", schema={"id": int}).write_memory()
    fz.Pipeline("read", sink, checkpoint=str(tmp_path / "checkpoint")).run(until="now", quiet=True)
    assert sink.table()["id"].to_pylist() == [2]


def test_files_with_random_names_are_all_read_or_refused(tmp_path: Path) -> None:
    """More files than a position names, and later ones that sort between them."""
    folder = tmp_path / "in"
    folder.mkdir()
    sink = fz.read_files(folder, format="json", schema={"id": int}).write_memory()
    pipeline = fz.Pipeline("random", sink, checkpoint=str(tmp_path / "checkpoint"))
    for number in range(600):
        (folder / f"{number * 7919 % 600:03}.jsonl").write_text(json.dumps({"id": number}))
    pipeline.run(until="now", quiet=True)
    assert sink.table().num_rows == 600
    (folder / "000a.jsonl").write_text('{"id": 600}')
    with pytest.raises(fz.FrazilError, match="1 files came at or before") as refused:
        pipeline.run(until="now", quiet=True)
    assert "ordered=False" in str(refused.value)


def test_long_paths_fit_into_a_manifest(tmp_path: Path) -> None:
    """A position is bounded in bytes, whatever the length of names."""
    folder = tmp_path / ("f" * 200) / ("g" * 200)
    folder.mkdir(parents=True)
    sink = fz.read_files(folder, format="json", schema={"id": int}).write_memory()
    pipeline = fz.Pipeline("long", sink, checkpoint=str(tmp_path / "checkpoint"))
    for number in range(300):
        (folder / f"{number:03}.jsonl").write_text(json.dumps({"id": number}))
    pipeline.run(until="now", quiet=True)
    assert sink.table()["id"].to_pylist() == list(range(300))


def test_no_source_starves_behind_an_exchange(tmp_path: Path) -> None:
    """Polling and receiving alternate; a turn that both moved met the same source for ever."""
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/c.db",
        "warehouse": f"file://{tmp_path}/w",
    }
    streams = [
        fz.read_generator(rate=1_000_000, seed=seed, name=f"g{seed}").select("id", "device")
        for seed in (1, 2)
    ]
    sink = (
        streams[0].union(streams[1]).write_iceberg("s.t", catalog=catalog, partition_by=["device"])
    )
    pipeline = fz.Pipeline(
        "fair", sink, checkpoint=str(tmp_path / "checkpoint"), checkpoint_every="200ms"
    )
    handle = pipeline.start(quiet=True)
    eventually(lambda: sum(handle.status.committed_rows.values()) > 0)
    report = handle.stop()
    assert min(source.read for source in report.sources.values()) > 0


def test_a_stop_ends_the_waiting_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting may take three checkpoint intervals; a service manager does not wait that long."""
    sink = fz.read_generator(rate=100).write_memory()
    pipeline = fz.Pipeline("held", sink, checkpoint=str(tmp_path), checkpoint_every="1h")
    runnable = runner.prepare(pipeline)
    settings = runner.settings_of(pipeline, bounded=False, quiet=True)
    waits = threading.Event()
    coordinator = Coordinator(runnable, settings)
    coordinator._sleep_while_opening, sleep = (  # type: ignore[method-assign]
        lambda seconds: (waits.set(), sleep(seconds))[1],
        coordinator._sleep_while_opening,
    )
    handle = pipeline.start(quiet=True)
    eventually(lambda: handle.status.attempt > 0)
    handle._coordinator.abort()
    handle.wait(30)
    monkeypatch.setattr(takeover, "_own_nonces", set())  # as if that had been another process
    errors: list[BaseException] = []

    def run() -> None:
        try:
            coordinator.run()
        except CheckpointError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert waits.wait(30)
    coordinator.stop()
    thread.join(30)
    assert not thread.is_alive()
    (error,) = errors
    assert "asked to stop before it had the checkpoint log" in str(error)


def test_a_forked_child_does_not_wait_for_the_parents_run(tmp_path: Path) -> None:
    sink = fz.read_generator(rate=100).write_memory()
    pipeline = fz.Pipeline("forked", sink, checkpoint=str(tmp_path))
    handle = pipeline.start(quiet=True)
    try:
        eventually(lambda: len(runner._coordinators) == 1)
        child = os.fork()
        if child == 0:
            os._exit(len(runner._coordinators))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        handle.stop()


def test_a_replaced_column_stays_in_its_place(tmp_path: Path) -> None:
    @fz.udf
    def tenfold(number: int | None) -> int | None:
        return None if number is None else number * 10

    rows = pa.table({"a": [1, 2], "b": [3, 4], "c": [5, 6]})
    sink = fz.read_memory(rows).with_columns(a=tenfold(fz.col("b"))).write_memory()
    fz.Pipeline("place", sink, checkpoint=str(tmp_path)).run(until="now", quiet=True)
    assert sink.table().to_pydict() == {"a": [30, 40], "b": [3, 4], "c": [5, 6]}
    assert list(sink.table().schema.names) == ["a", "b", "c"]


def test_a_bounded_run_of_an_endless_source_is_refused(tmp_path: Path) -> None:
    sink = fz.read_generator(rate=100).write_memory()
    with pytest.raises(fz.PlanError, match="has no end"):
        fz.Pipeline("endless", sink, checkpoint=str(tmp_path)).run(until="now", quiet=True)


def test_a_table_without_rows_is_a_source(tmp_path: Path) -> None:
    sink = fz.read_memory(pa.table({"a": pa.array([], pa.int64())})).write_memory()
    fz.Pipeline("nothing", sink, checkpoint=str(tmp_path)).run(until="now", quiet=True)
    assert sink.table().num_rows == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (fz.read_generator(rows=99, partitions=2), fz.read_generator(rows=99, partitions=3)),
        (fz.read_generator(seed=1, name="g"), fz.read_generator(seed=2, name="g")),
        (fz.read_memory([{"id": 1}]), fz.read_memory([{"id": 2}])),
        (
            fz.read_files("/a", format="json", schema={"id": int}, name="f"),
            fz.read_files("/a", format="json", schema={"id": int}, name="f", lanes="by_folder"),
        ),
    ],
)
def test_positions_are_not_used_for_other_rows(
    before: fz.Stream, after: fz.Stream, tmp_path: Path
) -> None:
    """Where a partition is says nothing once it has other rows: they were lost or came twice."""
    store = open_store(str(tmp_path / "log"), {})
    for stream in (before, before, after):
        plan = fz.Pipeline("p", stream.write_memory(), checkpoint=str(tmp_path)).plan
        fitting = plan_of(plan.json, plan.function_hashes)
        if stream is after:
            with pytest.raises(PlanChanged, match="is now"):
                CheckpointLog.open(store, plan=fitting)
        else:
            CheckpointLog.open(store, plan=fitting)


EXIT_WHILE_A_FUNCTION_RUNS = """
import sys, threading, time
import frazil as fz

begun = threading.Event()

@fz.udf
def slow(number: int) -> int:
    begun.set()
    time.sleep(12)
    return number

sink = fz.read_generator(rows=1).select(a=slow(fz.col("id"))).write_memory()
fz.Pipeline("exit", sink, checkpoint=sys.argv[1]).start(quiet=True)
assert begun.wait(30)
"""


@pytest.mark.slow
def test_the_interpreter_ends_while_a_function_runs(tmp_path: Path) -> None:
    """The thread came back into an interpreter that was gone, and the process was aborted."""
    program = [sys.executable, "-c", EXIT_WHILE_A_FUNCTION_RUNS, str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "still running" in done.stderr + done.stdout
