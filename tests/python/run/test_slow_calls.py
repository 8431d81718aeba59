"""Functions that take long are named, with where they are; metrics say what functions take."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col
from frazil.run import slow_calls
from frazil.run.prometheus import PrometheusEndpoint
from structlog.testing import capture_logs

PATIENCE_S = 60.0

go_on = threading.Event()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints go into a folder of their own."""
    monkeypatch.chdir(tmp_path)


def held() -> None:
    assert go_on.wait(PATIENCE_S)


@fz.udf
def holds(n: int) -> int:
    held()
    return n


def holds_whole(batch: pa.RecordBatch) -> pa.RecordBatch:
    held()
    return batch


class Holds(fz.KeyedFunction):
    def on_rows(self, key: int, rows: list[Any], out: fz.Out) -> None:
        held()
        out.emit(n=key)


class HoldsSum:
    def create(self) -> int:
        return 0

    def add(self, state: int, n: int) -> int:
        held()
        return state + n

    def merge(self, state: int, other: int) -> int:
        return state + other

    def finish(self, state: int) -> int:
        return state


@fz.async_udf()
async def holds_loop(n: int) -> int:
    held()
    return n


@fz.async_udf()
async def waits(n: int) -> int:
    await asyncio.to_thread(go_on.wait, PATIENCE_S)
    return n


@fz.udf(workers=1)
def in_process(n: int) -> int:
    if n == 1:
        threading.Event().wait()  # for ever: the run is ended meanwhile
    return n


def numbers(*values: int) -> fz.Stream:
    schema = pa.schema([pa.field("n", pa.int64(), nullable=False)])
    return fz.read_memory(pa.table({"n": values or [1]}, schema=schema))


STREAMS: dict[str, tuple[Callable[[], fz.Stream], str]] = {
    "holds": (lambda: numbers().select(n=holds(col("n"))), "called by holds (test_slow_calls.py:"),
    "holds_whole": (
        lambda: numbers().map_batches(holds_whole, schema={"n": int}),
        "called by holds_whole (",
    ),
    "Holds": (
        lambda: numbers().group_by("n").process(Holds, schema={"n": int}),
        "called by on_rows (",
    ),
    "HoldsSum": (
        lambda: numbers().group_by().agg(n=fz.aggregate(HoldsSum)(col("n"))),
        "called by add (",
    ),
    "holds_loop": (lambda: numbers().select(n=holds_loop(col("n"))), "called by holds_loop ("),
    "waits": (lambda: numbers().select(n=waits(col("n"))), "takes longer than 0.2 s"),
}


def trouble(handle: Any) -> dict[str, str]:
    """What is said, once there is something."""
    deadline = threading.Event()
    timer = threading.Timer(PATIENCE_S, deadline.set)
    timer.start()
    try:
        while not deadline.is_set():
            if found := dict(handle.status.trouble):
                return found
            assert handle.running
            deadline.wait(0.02)
    finally:
        timer.cancel()
    raise AssertionError("nothing is said")


@pytest.mark.parametrize("name", STREAMS)
def test_a_function_that_hangs_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_calls, "SLOW_CALL_S", 0.2)
    go_on.clear()
    make, where = STREAMS[name]
    sink = make().write_memory()
    with capture_logs() as logs:
        handle = fz.Pipeline("p", sink).start(until="now", quiet=True)
        try:
            [(function, text)] = trouble(handle).items()
        finally:
            go_on.set()
        handle.wait(PATIENCE_S)
    assert function == f"{__name__}:{name}"
    assert "a call takes longer than 0.2 s" in text
    assert where in text
    if name != "waits":
        assert "it is in wait (threading.py:" in text
        assert "held (test_slow_calls.py:" in text
    said = [event for event in logs if event["event"] == "function.slow"]
    assert said[0]["function"] == function
    assert said[0]["reason"] == text
    assert sink.table().to_pylist() == [{"n": 1}]
    assert handle.status.trouble.get(function) is None or not handle.running


def test_a_process_that_hangs_is_named_and_ends_with_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow_calls, "SLOW_CALL_S", 0.1)
    monkeypatch.setattr(slow_calls, "LOOK_AGAIN_S", 0.1)
    sink = numbers().select(n=in_process(col("n"))).write_memory()
    handle = fz.Pipeline("p", sink).start(until="now", quiet=True)
    try:
        while "called by in_process (test_slow_calls.py:" not in str(trouble(handle)):
            assert handle.running
    finally:
        handle.abort()
    handle.wait(PATIENCE_S)
    assert sink.table().num_rows == 0


def test_metrics_of_functions() -> None:
    """Calls, what they take, and what waits for the interpreter, by step."""
    both = numbers(*range(10)).select(a=counted(col("n")), b=counted(col("n") + 1)).named("both")
    sink = both.group_by().agg(n=fz.aggregate(HoldsSum)(col("a"))).write_memory()
    go_on.set()
    handle = fz.Pipeline("p", sink).start(until="now", quiet=True)
    handle.wait(PATIENCE_S)
    assert sink.table().to_pylist() == [{"n": 45}]
    nodes = handle.status.metrics["nodes"]
    took = {key: node["python"] for key, node in nodes.items() if "python" in node}
    assert len(took) >= 3  # each call of the function, the aggregate
    for each in took.values():
        assert each["calls"] >= 1
        assert each["seconds"] > 0
        assert each["wait_seconds"] >= 0
    endpoint = PrometheusEndpoint(0)
    try:
        endpoint.update(handle.status)
        samples = {
            sample.name: sample.value for metric in endpoint.collect() for sample in metric.samples
        }
    finally:
        endpoint.close()
    assert samples["frazil_python_calls_total"] >= 1
    assert samples["frazil_python_seconds_total"] > 0
    assert samples["frazil_python_wait_seconds_total"] >= 0


@fz.udf
def counted(n: int) -> int:
    return n
