"""Services that pause, stop and refuse while rows flow: every row lands once, in order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import frazil as fz
import pytest

from tests.e2e.lake import CHECKPOINT, Lake
from tests.e2e.waiting import running, wait_until

if TYPE_CHECKING:
    from tests.services.s3 import S3

pytestmark = [pytest.mark.service, pytest.mark.slow]

RATE = 20_000.0
PATIENCE_S = 60.0


def pipeline(
    lake: Lake, table: str, *, rows: int | None = None, checkpoint: str = CHECKPOINT
) -> fz.Pipeline:
    """Ids 0, 1, 2, ... at a steady rate into a table."""
    sink = (
        fz.read_generator(rows=rows, rate=RATE, seed=1)
        .select("id")
        .write_iceberg(table, catalog=lake.catalog)
    )
    return fz.Pipeline(table, sink, checkpoint=checkpoint, checkpoint_every="100ms")


def require_exact(lake: Lake, table: str, rows: int) -> None:
    """The table has the first `rows` ids, once each, in epochs without a hole."""
    ids = sorted(lake.read(table)["id"].to_pylist())
    assert len(ids) == rows
    assert ids == list(range(rows))
    slots = lake.slots(table)
    assert slots == sorted(set(slots))


def test_object_store_pauses(lake: Lake) -> None:
    with running(pipeline(lake, "away.store")) as handle:
        wait_until(lambda: handle.status.epoch >= 5, handle)
        lake.s3.pause()
        time.sleep(3)  # the length of the pause, nothing is waited for
        lake.s3.resume()
        epoch = handle.status.epoch
        wait_until(lambda: handle.status.epoch >= epoch + 5, handle)
        report = handle.stop()
    assert report.sinks["away.store"].rows == report.sources["generator:1"].read > 0
    require_exact(lake, "away.store", report.sources["generator:1"].read)


def test_catalog_stops(lake: Lake) -> None:
    with running(pipeline(lake, "away.catalog")) as handle:
        wait_until(lambda: bool(handle.status.commits), handle)
        lake.service.stop()
        wait_until(lambda: "away.catalog" in handle.status.trouble, handle)
        committed = dict(handle.status.committed_rows)
        wait_until(lambda: handle.status.pending_epochs >= 8, handle)
        assert handle.status.committed_rows == committed
        lake.service.start()
        wait_until(lambda: handle.status.pending_epochs <= 2, handle)
        report = handle.stop()
    assert handle.status.trouble == {}
    require_exact(lake, "away.catalog", report.sources["generator:1"].read)


def test_catalog_is_killed_and_the_run_aborted(lake: Lake) -> None:
    """Epochs that no table has yet stay in the log; the next run commits them before anything."""
    with running(pipeline(lake, "away.later", rows=30_000)) as handle:
        wait_until(lambda: bool(handle.status.commits), handle)
        lake.service.kill()
        wait_until(lambda: handle.status.pending_epochs >= 3, handle)
        handle.abort()
        handle.wait(PATIENCE_S)
    lake.service.start()
    report = pipeline(lake, "away.later", rows=30_000).run(until="now", quiet=True)
    assert report.sinks["away.later"].rows > report.sources["generator:1"].read
    require_exact(lake, "away.later", 30_000)


def test_checkpoint_store_refuses_puts(lake: Lake, s3: S3) -> None:
    if s3.kind != "versitygw":
        pytest.skip("moto keeps its buckets in memory")
    bucket = s3.create_bucket("refusing")
    made = pipeline(lake, "away.refused", rows=40_000, checkpoint=f"s3://{bucket}/log")
    with running(made) as handle:
        wait_until(lambda: bool(handle.status.commits), handle)
        with s3.without_bucket(bucket):
            with pytest.raises(fz.errors.StoreError, match="refusing") as caught:
                handle.wait(PATIENCE_S)
            assert not caught.value.retryable
    report = made.run(until="now", quiet=True)
    assert report.sources["generator:1"].read > 0
    require_exact(lake, "away.refused", 40_000)
