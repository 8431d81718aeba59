"""Lookup tables of running pipelines: threads, what is shown, what happens at the end."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from frazil.checkpoint import open_store
from frazil.checkpoint.reader import list_slots, read_slot
from frazil.cli import main as cli
from frazil.run import lookups
from frazil.run.live import describe
from frazil.run.lookup_source import Loaded
from frazil.run.lookups import LookupStatus
from frazil.run.prometheus import PrometheusEndpoint
from frazil.run.status import Status

from tests.python.run.test_running import eventually

PARTITIONS = 4
QUANTITIES = range(1, 21)  # of the generator's rows


def write(path: Path, version: int) -> None:
    """Put a table in place of the one that is there, at once."""
    table = pa.table({"quantity": QUANTITIES, "v": [version] * len(QUANTITIES)})
    pq.write_table(table, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def test_workers_switch_between_the_same_epochs(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write(path, 0)
    dim = fz.lookup_parquet(path, refresh="10ms", name="dim")
    rows = fz.read_generator(rate=50_000, partitions=PARTITIONS, name="g")
    sink = rows.join_lookup(dim, on="quantity").select("id", "v").write_memory()
    pipeline = fz.Pipeline(
        "switch",
        sink,
        checkpoint=str(tmp_path / "log"),
        checkpoint_every="20ms",
        workers=3,
        retain=10_000,
    )
    handle = pipeline.start(quiet=True)
    eventually(lambda: "dim" in handle.status.lookups)  # the first version is loaded
    for version in range(1, 6):
        write(path, version)
        eventually(lambda n=version: handle.status.lookups["dim"].refreshes >= n)
        assert handle.running
    report = handle.stop()
    table = sink.table()
    found = dict(zip(table["id"].to_pylist(), table["v"].to_pylist(), strict=True))
    assert len(found) == table.num_rows == report.sinks["memory"].rows
    store = open_store(str(tmp_path / "log" / "switch"))
    entries = [read_slot(store, slot) for slot in list_slots(store)]
    numbers: dict[str, set[int]] = {}
    at = dict.fromkeys(range(PARTITIONS), 0)
    for entry in entries:
        assert entry is not None
        state = entry.manifest.lookups.get("dim")
        (source,) = entry.manifest.sources.values() or [None]
        for name, position in source.positions().items() if source is not None else ():
            part, now = int(name.rpartition("-")[2]), json.loads(position)["row"]
            for row in range(at[part], now):
                assert state is not None
                assert state.used is not None
                seen = numbers.setdefault(state.used.version, set())
                seen.add(found.pop(row * PARTITIONS + part))
            at[part] = now
    assert not found  # every row is of an epoch
    assert all(len(seen) == 1 for seen in numbers.values()), numbers
    assert len(numbers) >= 5


class Slow:
    """A table whose second load goes on until it is let go."""

    fixed = None
    keeps_versions = False

    def __init__(self) -> None:
        self.loads = 0
        self.begun, self.released = threading.Event(), threading.Event()

    def load(self, columns: pa.Schema, version: str | None, known: str | None) -> Loaded | None:
        """The table."""
        self.loads += 1
        if self.loads > 1:
            self.begun.set()
            self.released.wait()
        table = pa.table({"quantity": QUANTITIES, "v": [self.loads] * 20}, columns)
        return Loaded(str(self.loads), table)


def slow_pipeline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Slow, fz.Pipeline]:
    slow = Slow()
    monkeypatch.setattr(lookups, "_source", lambda spec, objects: slow)
    schema = {"quantity": int, "v": int}
    dim = fz.lookup_sql("unused", url="sqlite://", schema=schema, refresh="1ms", name="dim")
    rows = fz.read_generator(rate=50_000)
    sink = rows.join_lookup(dim, on="quantity").select("v").write_memory()
    every = "20ms"
    return slow, fz.Pipeline("slow", sink, checkpoint=str(folder), checkpoint_every=every)


def test_a_refresh_does_not_hold_the_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, pipeline = slow_pipeline(tmp_path, monkeypatch)
    handle = pipeline.start(quiet=True)
    assert slow.begun.wait(30)
    before = sum(handle.status.committed_rows.values())
    eventually(lambda: sum(handle.status.committed_rows.values()) > before + 1_000)
    slow.released.set()
    eventually(lambda: handle.status.lookups["dim"].refreshes > 0)
    handle.stop()


def test_an_end_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "END_PATIENCE_S", 0.05)
    slow, pipeline = slow_pipeline(tmp_path, monkeypatch)
    handle = pipeline.start(quiet=True)
    assert slow.begun.wait(30)
    handle.stop()
    slow.released.set()  # its table is for nobody now
    ended = [thread for thread in threading.enumerate() if thread.name == "frazil-lookup"]
    for thread in ended:
        thread.join(30)
        assert not thread.is_alive()


def test_a_start_without_the_table_reads_nothing(tmp_path: Path) -> None:
    dim = fz.lookup_sql("select 1", url="sqlite:////no/where.db", schema={"id": int}, name="dim")
    sink = fz.read_memory([{"id": 1}]).join_lookup(dim, on="id").write_memory()
    pipeline = fz.Pipeline("away", sink, checkpoint=str(tmp_path))
    with pytest.raises(fz.ConnectError, match="loading lookup dim: "):
        pipeline.run(until="now", quiet=True)
    assert sink.table().num_rows == 0


def test_head_looks_up(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", 7)
    dim = fz.lookup_parquet(tmp_path / "t.parquet")
    rows = fz.read_generator(rows=50).join_lookup(dim, on="quantity")
    assert rows.select("v").head(3).to_pydict() == {"v": [7, 7, 7]}


def test_what_is_shown() -> None:
    status = Status("p", 1, time.monotonic())
    loaded_us = (time.time_ns() - 90 * 10**9) // 1000
    status.lookups = {"users": LookupStatus("v1", loaded_us, 10, 4_096, 2, 3, "it is away")}
    status.trouble = {"users": "refreshing the lookup: it is away\n  more"}
    assert "users: refreshing the lookup: it is away" in describe(status, time.monotonic())
    endpoint = PrometheusEndpoint(0)
    try:
        endpoint.update(status)
        with urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        endpoint.close()
    for line in (
        'frazil_lookup_rows{lookup="users"} 10.0',
        'frazil_lookup_bytes{lookup="users"} 4096.0',
        'frazil_lookup_refreshes_total{lookup="users"} 2.0',
        'frazil_lookup_failures_total{lookup="users"} 3.0',
    ):
        assert line in text
    (age,) = (line for line in text.splitlines() if line.startswith("frazil_lookup_age_seconds{"))
    assert 90 <= float(age.rpartition(" ")[2]) < 600


def test_the_log_says_it(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", 7)
    dim = fz.lookup_parquet(tmp_path / "t.parquet", name="dim")
    sink = fz.read_generator(rows=50).join_lookup(dim, on="quantity").write_memory()
    fz.Pipeline("told", sink, checkpoint=str(tmp_path)).run(until="now", quiet=True)
    shown = CliRunner().invoke(cli, ["state", "show", str(tmp_path / "told")])
    state = json.loads(shown.output)["lookups"]["dim"]
    assert state["next"]["version"].startswith("sha256:")
    assert state["next"]["rows"] == len(QUANTITIES)


def test_an_idle_pipeline_takes_a_newer_version(tmp_path: Path) -> None:
    """The next row, whenever it comes, is looked up in what is there by then."""
    write(tmp_path / "t.parquet", 1)
    rows = tmp_path / "in"
    rows.mkdir()
    dim = fz.lookup_parquet(tmp_path / "t.parquet", refresh="5ms", name="dim")
    stream = fz.read_files(
        rows, format="json", schema={"quantity": int}, ordered=False, watch_every="10ms"
    )
    sink = stream.join_lookup(dim, on="quantity").write_memory()
    pipeline = fz.Pipeline("idle", sink, checkpoint=str(tmp_path), checkpoint_every="10ms")
    handle = pipeline.start(quiet=True)
    try:
        eventually(lambda: "dim" in handle.status.lookups)
        write(tmp_path / "t.parquet", 2)
        eventually(lambda: handle.status.lookups["dim"].refreshes == 1)
        (rows / "a.jsonl").write_text('{"quantity": 3}\n')
    finally:
        handle.stop()
    pipeline.run(until="now", quiet=True)
    assert sink.table().to_pydict() == {"quantity": [3], "v": [2]}
