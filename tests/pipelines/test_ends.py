"""How a run ends, and what it does when there is nothing to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import frazil as fz
import pytest
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import UdfError
from frazil.run.coordinator import Coordinator
from frazil.run.runner import Handle, prepare
from frazil.run.settings import RunSettings

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

# Slots of a run that reads nothing: the fence, and the partitions that were found.
SLOTS_OF_A_START = 2


def fails_at_40(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A function of the user with a defect."""
    if 40 in batch["id"].to_pylist():
        raise ValueError("forty")
    return batch


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("workers", [1, 2])
def test_first_failure_ends_the_run(seed: int | None, workers: int) -> None:
    """By its error, with its place; what was committed before stays, the rest comes again."""
    rows = fz.read_memory([{"id": n} for n in range(50)], schema={"id": int}, partitions=2)
    sink = rows.map_batches(fails_at_40, schema={"id": int}).write_memory()
    store = MemoryStore()
    settings = RunSettings(
        workers=workers,
        bounded=True,
        takeover=True,
        checkpoint_every_s=0.01,
        simulated_seed=seed,
    )
    for _ in range(2):
        runnable = prepare(fz.Pipeline("failing", sink, checkpoint="unused"), store=store)
        for node in runnable.plan["nodes"]:
            if node["kind"] == "source":
                node["options"]["batch_rows"] = 4
        with pytest.raises(UdfError, match="forty") as caught:
            Coordinator(runnable, settings).run()
        assert "fails_at_40" in str(caught.value)
    ids = sink.table()["id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert 40 not in ids


def test_nothing_to_read_makes_no_manifest_and_no_commit(tmp_path: Path) -> None:
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path / 'catalog.db'}",
        "warehouse": f"file://{tmp_path / 'warehouse'}",
    }
    rows = fz.read_generator(rate=0.001).select("id")
    pipeline = fz.Pipeline(
        "idle",
        rows.write_iceberg("t.idle", catalog=catalog),
        checkpoint=str(tmp_path / "checkpoints"),
        checkpoint_every="10ms",
    )
    handle = Handle(pipeline, bounded=False)
    while not (tmp_path / "checkpoints/idle/log").exists() and handle.running:
        time.sleep(0.01)
    time.sleep(1.0)  # a hundred times checkpoint_every
    report = handle.stop()
    assert report.last_epoch == SLOTS_OF_A_START - 1
    assert report.sinks["t.idle"].snapshots == ()
