"""A lookup table that changes while rows flow: all workers switch between the same two epochs."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random

import frazil as fz
import pyarrow as pa
import pytest
from frazil.checkpoint.memory_store import MemoryStore
from frazil.checkpoint.reader import list_slots, read_slot
from frazil.connectors.file_commit import read_token
from frazil.run import lookups
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.lookup_runs import KEPT, KEYS, ROWS, Outside, outside_runs


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_every_epoch_has_the_version_it_names(
    workers: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = outside_runs(monkeypatch, Outside(keeps_versions=False), partitions=3)
    status = runs.run(seed=seed, workers=workers)
    versions = runs.check()
    assert len(versions) > 2
    assert status["dim"].refreshes >= len(versions) - 1
    assert status["dim"].failures == 0
    assert status["dim"].rows == KEYS
    assert status["dim"].bytes > 0


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("keeps_versions", [True, False])
def test_crash_at_each_step(
    keeps_versions: bool, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch that is computed again is looked up in the same version, if that can be had."""
    counter = CrashAt()
    outside_runs(monkeypatch, Outside(keeps_versions=keeps_versions)).run(hook=counter)
    names = set()
    for step in range(1, counter.steps + 1, every):
        runs = outside_runs(monkeypatch, Outside(keeps_versions=keeps_versions))
        with pytest.raises(Crash) as crash:
            runs.run(hook=CrashAt(step))
        names.add(str(crash.value))
        before = runs.manifests()
        runs.run(seed=step, workers=1 + step % 3)
        runs.check()
        announced = before[-1].lookups.get("dim") if before else None
        if keeps_versions and announced is not None and announced.next is not None:
            after = [m for m in runs.manifests() if m.slot > before[-1].slot]
            used = [s.used.version for m in after if (s := m.lookups["dim"]).used is not None]
            assert not used or used[0] == announced.next.version, step
    if every == 1:
        assert {"before_lookup_load", "before_lookup_refresh", "lookup_refreshed"} <= names


@pytest.mark.parametrize("seed", range(6))
def test_crashes_at_drawn_steps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes in a row die, with other numbers of workers and in other orders."""
    rng = Random(seed)
    outside = Outside(keeps_versions=rng.random() < 0.5)
    outside.failing = lambda look: look > 1 and look % 3 == 0
    runs = outside_runs(monkeypatch, outside, partitions=3)
    for _ in range(6):
        outside.gone = {f"v{n}" for n in range(outside.newest) if rng.random() < 0.2}
        try:
            runs.run(
                seed=rng.randrange(2**31),
                workers=rng.choice([1, 2, 4]),
                every_s=rng.choice([0.004, 0.01, 0.03]),
                hook=CrashAt(rng.randrange(1, 60)),
            )
        except (Crash, fz.ConnectError):
            continue
    outside.failing = lambda look: False
    runs.run()
    runs.check()


def test_a_refresh_that_fails_keeps_the_old_version(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Outside(keeps_versions=False)
    outside.failing = lambda look: look > 1
    runs = outside_runs(monkeypatch, outside)
    status = runs.run()
    assert runs.check() == {1}
    assert status["dim"].failures > 1
    assert "finds nobody" in status["dim"].error
    outside.failing = lambda look: False
    assert runs.run()["dim"].failures == 0


def test_an_orderly_end_lets_the_next_start_take_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a scheduled run sees is what is there when it starts."""
    runs = outside_runs(monkeypatch, Outside(keeps_versions=True), refresh="1h")
    runs.run(rows=10)
    assert runs.manifests()[-1].lookups["dim"].next is None
    runs.run()
    assert runs.check() == {1, 2}


def test_without_refresh_the_first_version_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Outside(keeps_versions=True)
    runs = outside_runs(monkeypatch, outside, refresh=None)
    for rows in (10, 20, ROWS):
        runs.run(rows=rows)
    assert runs.check() == {1}
    assert outside.newest == 1


def test_without_refresh_another_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = outside_runs(monkeypatch, Outside(keeps_versions=False), refresh=None)
    runs.run(rows=10)
    with pytest.raises(fz.LookupChanged, match="another than at the start") as refused:
        runs.run()
    assert 'on_change="take"' in str(refused.value)


def test_a_version_that_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Outside(keeps_versions=True)
    runs = outside_runs(monkeypatch, outside, refresh=None)
    runs.run(rows=10)
    outside.gone = {"v1"}
    with pytest.raises(fz.LookupChanged, match="v1 is not there any more"):
        runs.run()


@pytest.mark.parametrize("seed", range(8))
def test_behind_an_exchange_and_twice(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later stages switch at the same barrier, and two steps over one table together."""
    rng = Random(seed)
    monkeypatch.setattr(lookups, "_source", lambda spec, objects: outside)
    outside = Outside(keeps_versions=rng.random() < 0.5)
    schema = {"k": int, "v": int}
    dim = fz.lookup_sql("unused", url="sqlite://", schema=schema, refresh="5ms", name="dim")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [{"k": n % KEYS, "at": begin + timedelta(seconds=n // 6)} for n in range(600)]
    totals = (
        fz.read_memory(pa.Table.from_pylist(rows), partitions=3)
        .event_time("at", out_of_order="2s")
        .group_by("k")
        .window(fz.tumbling("4s"))
        .agg(n=fz.count())
        .join_lookup(dim, on="k")
        .join_lookup(dim, on="k")
    )
    sink = totals.write_memory()
    store = MemoryStore()

    def run(hook: CrashAt) -> None:
        pipeline = fz.Pipeline("windows", sink, checkpoint="unused")
        runnable = prepare(pipeline, hook=hook, store=store)
        for node in runnable.plan["nodes"]:
            if node["kind"] == "source":
                node["options"]["batch_rows"] = 7
        settings = RunSettings(
            workers=rng.choice([1, 2, 4]),
            bounded=True,
            quiet=True,
            takeover=True,
            retain=KEPT,
            close_windows=True,
            checkpoint_every_s=0.01,
            simulated_seed=rng.randrange(2**31),
        )
        Coordinator(runnable, settings, hook=hook).run()

    with suppress(fz.PlanError):  # a run that died may have got to its end
        for _ in range(2):
            with suppress(Crash):
                run(CrashAt(rng.randrange(20, 70)))
        run(CrashAt())
    seen: dict[str, set[int]] = {}
    found = 0
    for slot in list_slots(store):
        entry = read_slot(store, slot)
        assert entry is not None
        for token in entry.manifest.tokens.values():
            for part in token.parts:
                with pa.ipc.open_stream(base64.b64decode(read_token(part)["ipc"])) as reader:
                    batch = reader.read_all()
                assert batch["v"] == batch["v_b"]
                used = entry.manifest.lookups["dim"].used
                assert used is not None
                seen.setdefault(used.version, set()).update(batch["v"].to_pylist())
                found += batch.num_rows
    assert found == sink.table().num_rows == 25 * KEYS
    assert all(f"v{number}" == version for version, (number,) in seen.items())
    assert len(seen) > 1
