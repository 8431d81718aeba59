"""Runs in the background, what they show, and what they leave."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import frazil as fz
import pytest
from frazil.run.live import describe
from frazil.run.prometheus import PrometheusEndpoint
from frazil.run.status import Status

SOURCE_METRICS = {
    "name": "kafka:orders",
    "rows_in": 0,
    "read": 100,
    "rejected": 3,
    "bytes": 9000,
}


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is true; fails after `seconds`."""
    changed = threading.Event()
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        changed.wait(0.01)


@pytest.fixture
def endless(tmp_path: Path) -> tuple[fz.Pipeline, fz.MemorySink]:
    sink = fz.read_generator(rate=5000, partitions=2).select("id").write_memory()
    pipeline = fz.Pipeline(
        "endless", sink, checkpoint=str(tmp_path), checkpoint_every="50ms", workers=2
    )
    return pipeline, sink


def test_start_and_stop(endless: tuple[fz.Pipeline, fz.MemorySink]) -> None:
    pipeline, sink = endless
    handle = pipeline.start(quiet=True)
    eventually(lambda: sum(handle.status.committed_rows.values()) > 0)
    assert handle.running
    report = handle.stop()
    assert not handle.running
    ids = sink.table()["id"].to_pylist()
    assert sorted(ids) == sorted(set(ids))
    (source,) = report.sources.values()
    assert source.read == len(ids) == report.sinks["memory"].rows
    json.loads(report.to_json())


def test_stopped_runs_go_on_where_they_were(endless: tuple[fz.Pipeline, fz.MemorySink]) -> None:
    pipeline, sink = endless
    for runs in range(1, 4):
        handle = pipeline.start(quiet=True)
        eventually(
            lambda handle=handle: handle.status.epoch > 0 and sum(handle.status.rows.values()) > 0
        )
        handle.stop()
        ids = sink.table()["id"].to_pylist()
        assert len(ids) == len(set(ids)), f"a row twice after run {runs}"
    per_partition = [sorted(n for n in ids if n % 2 == part) for part in (0, 1)]
    for part, rows in enumerate(per_partition):
        assert rows == list(range(part, part + 2 * len(rows), 2)), "a row is missing"


def test_nothing_new_makes_no_epoch(tmp_path: Path) -> None:
    sink = fz.read_generator(rows=10).write_memory()
    pipeline = fz.Pipeline("quiet", sink, checkpoint=str(tmp_path), checkpoint_every="20ms")
    pipeline.run(until="now", quiet=True)
    before = sorted(path.name for path in (tmp_path / "quiet" / "log").iterdir())
    report = pipeline.run(until="now", quiet=True)
    after = sorted(path.name for path in (tmp_path / "quiet" / "log").iterdir())
    assert report.sources["generator:0"].read == 0
    assert len(set(after) - set(before)) == 1  # the fence of the second run


def test_a_function_that_raises_ends_the_run_with_its_place(tmp_path: Path) -> None:
    @fz.udf
    def broken(number: int) -> int:
        if number == 700:
            raise ValueError("no seven hundred")
        return number

    rows = fz.read_generator(rows=1000).with_columns(id=broken(fz.col("id")))
    pipeline = fz.Pipeline("broken", rows.write_memory(), checkpoint=str(tmp_path), workers=2)
    with pytest.raises(fz.UdfError, match="no seven hundred") as raised:
        pipeline.run(until="now", quiet=True)
    assert "broken" in str(raised.value)


def test_prometheus_serves_the_run(tmp_path: Path) -> None:
    endpoint = PrometheusEndpoint(0)
    try:
        status = Status("orders", 1, time.monotonic(), epoch=7)
        status.lag = {"s": {"orders-0": 12}}  # by id, as the coordinator keeps it
        status.metrics = {
            "nodes": {"s": SOURCE_METRICS},
            "memory": {"decode": 4096},
            "queue_bytes": 5,
        }
        endpoint.update(status)
        with urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        endpoint.close()
    assert 'frazil_rows_total{node="kafka:orders"} 100.0' in text
    assert 'frazil_source_bytes_total{source="kafka:orders"} 9000.0' in text
    assert 'frazil_rows_rejected_total{source="kafka:orders"} 3.0' in text
    assert 'frazil_lag{partition="orders-0",source="kafka:orders"} 12.0' in text
    assert 'frazil_memory_bytes{tag="decode"} 4096.0' in text
    assert "frazil_queue_bytes 5.0" in text
    assert "frazil_epoch 7.0" in text
    assert re.search(r"frazil_seconds_since_last_commit \d", text)


def test_the_live_line_tells_what_holds_it_up() -> None:
    status = Status("orders", 1, started=0.0, epoch=3)
    status.dropped = {"s": 4}
    status.trouble = {"shop.orders": "catalog away\n  it will be tried again"}
    status.metrics = {
        "nodes": {"s": {"name": "kafka:orders", "read": 1000, "condition": "broker is away"}}
    }
    line = describe(status, now=10.0)
    assert line == (
        "orders: 1,000 rows read · 100/s · epoch 3 · 4 dropped · shop.orders: catalog away"
        " · kafka:orders: broker is away"
    )
