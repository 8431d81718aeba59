"""Tables by key in which others change something while epochs wait, or between load and commit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.iceberg import token
from frazil.iceberg.catalog import open_catalog
from frazil.run import settings
from pyiceberg.transforms import BucketTransform, IdentityTransform

from tests.pipelines.events import Event, events_at
from tests.pipelines.foreign import delete_by_vector, delete_rows
from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.upserts import Kept, Mirrors

if TYPE_CHECKING:
    from tests.services.duckdb_reader import DuckdbReader

SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "4")))
VERSIONS = pytest.mark.parametrize("version", [2, 3])
Version = Literal[2, 3]

# Longer than any run here: all epochs of one are pending until it ends.
LATER = {"commit_every": "10s"}


def changes(**options: Any) -> Callable[[fz.Stream], Mapping[str, Kept]]:
    """Rows of which `user` says what they do to that of key `n`."""

    def build(events: fz.Stream) -> Mapping[str, Kept]:
        return {"rows": Kept(events.as_changes("user", key="n"), ["n"], options=options)}

    return build


def draw_chain(rng: Random, count: int) -> tuple[list[Event], list[Event]]:
    """Inserts, updates and deletes of two keys, one after the other; and what is left."""
    there: dict[int, Event] = {}
    events = events_at(*range(count))
    for event in events:
        key = rng.randrange(2)
        gone = key in there and rng.random() < 0.4
        event |= {"n": key, "user": "d" if gone else "u" if key in there else "c"}
        event["x"] = rng.random()
        if gone:
            del there[key]
        else:
            there[key] = {name: value for name, value in event.items() if name != "user"}
    return events, list(there.values())


@VERSIONS
@pytest.mark.parametrize("seed", SEEDS)
def test_insert_update_delete_in_pending_epochs(
    seed: int, version: Version, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Epochs that wait for one commit insert, update and delete the same keys, which are in no
    data file that the table has yet; also where a process ends between them.
    """
    rng = Random(seed)
    events, left = draw_chain(rng, rng.choice([12, 25, 40]))
    mirrors = Mirrors([events], changes(**LATER), tmp_path, version=version)
    if rng.random() < 0.5:
        with pytest.raises(Crash):
            mirrors.run(seed=seed, batch_rows=1, every_s=0.002, hook=CrashAt(rng.randrange(8, 20)))
    mirrors.run(seed=seed, workers=rng.choice([1, 2]), batch_rows=1, every_s=0.002)
    mirrors.check("rows", left, duckdb_reader)
    epochs = [manifest for manifest in mirrors.manifests() if manifest.tokens]
    snapshots = mirrors.iceberg("rows").metadata.snapshots
    assert len(snapshots) < len(epochs)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_epoch_takes_away_a_bounded_number_of_rows(
    seed: int, tmp_path: Path, duckdb_reader: DuckdbReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut before its time, and waiting epochs go into as many commits as that takes."""
    monkeypatch.setattr(settings, "EPOCH_DELETES_MAX", 4)
    monkeypatch.setattr(token, "DELETES_MAX", 7)
    rng = Random(seed)
    events, left = draw_chain(rng, 40)
    workers = rng.choice([1, 2])
    mirrors = Mirrors([events], changes(**LATER), tmp_path)
    mirrors.run(seed=seed, workers=workers, batch_rows=1)
    mirrors.check("rows", left, duckdb_reader)
    counts = [
        sum(json.loads(part).get("deletes", {}).get("count", 0) for part in prepared.parts)
        for manifest in mirrors.manifests()
        for prepared in manifest.tokens.values()
    ]
    # Beyond the bound comes what was on its way when it was reached.
    assert len(counts) > 2
    assert sum(counts) > 20
    assert max(counts) < sum(counts) / 2
    summaries = [each.summary for each in mirrors.iceberg("rows").metadata.snapshots]
    assert len(summaries) > 1
    committed = [int(each["added-position-deletes"] or 0) for each in summaries if each]
    assert sum(committed) == sum(counts)
    assert max(committed) <= max(7, *counts)


@VERSIONS
@pytest.mark.parametrize("step", ["after_load", "before_commit"])
def test_others_delete_between_load_and_commit(
    step: str, version: Version, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """A row that we replace, and one that we do not: by a file of deletes, or by a vector, which
    ours has to take in, or the row would be back.
    """
    first = [{**e, "n": e["id"], "user": "c"} for e in events_at(*range(6))]
    second = [{**e, "n": e["id"] % 3, "user": "u"} for e in events_at(*range(6, 9))]
    mirrors = Mirrors([first], changes(), tmp_path, version=version)
    mirrors.run()
    opened = open_catalog(mirrors.properties)
    [task] = mirrors.iceberg("rows").scan().plan_files()
    path = task.file.file_path
    keys = pq.read_table(path.removeprefix("file://"))["n"].to_pylist()
    rows = sorted([keys.index(1), keys.index(4)])
    done: list[str] = []

    def hook(name: str) -> None:
        if name != step or done:
            return
        done.append(name)
        table = opened.load_table("t.rows")
        if version == 2:
            delete_rows(table, [(path, row) for row in rows])
        else:
            delete_by_vector(table, path, rows)

    mirrors.partitions = [[*first, *second]]
    mirrors.run(hook=hook)
    assert done
    wanted = {e["n"]: e for e in [*first, *second]}
    del wanted[4]
    left = [{k: v for k, v in e.items() if k != "user"} for e in wanted.values()]
    mirrors.check_rows("rows", left, duckdb_reader)


def test_partitioning_changed_with_pending_epochs(
    tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """Rows move between partitions, and others give the table other ones: a delete has those of
    the data file in which the row was.
    """

    def build(events: fz.Stream) -> Mapping[str, Kept]:
        moving = events.as_changes("user", key="n").with_columns(odd=col("id") % 2)
        return {"rows": Kept(moving, ["n"], options=LATER)}

    events = [{**e, "n": e["id"] % 5, "user": "u"} for e in events_at(*range(48))]
    mirrors = Mirrors([events], build, tmp_path)
    new = {"before_commit": ("odd", IdentityTransform()), "before_put": ("n", BucketTransform(4))}

    def run(count: int, step: str = "") -> None:
        def hook(name: str) -> None:
            if name == step and step in new:
                column, transform = new.pop(step)
                with mirrors.iceberg("rows").update_spec() as update:
                    update.add_field(column, transform, f"by_{column}")

        mirrors.partitions = [events[:count]]
        mirrors.run(batch_rows=1, every_s=0.002, hook=hook, workers=2)

    run(12)
    run(24, "before_commit")
    run(36, "before_put")
    run(48)
    assert not new
    left = [
        {**{k: v for k, v in e.items() if k != "user"}, "odd": e["id"] % 2} for e in events[-5:]
    ]
    mirrors.check_rows("rows", left, duckdb_reader)
    table = mirrors.iceberg("rows")
    assert table.spec().spec_id in {task.file.spec_id for task in table.scan().plan_files()}
    assert len(table.metadata.partition_specs) == 3


@VERSIONS
def test_key_that_becomes_wider(
    version: Version, tmp_path: Path, duckdb_reader: DuckdbReader
) -> None:
    """An int becomes a long, by a program that says so: its rows are found under their old keys."""

    def by(type_: pa.DataType) -> Callable[[fz.Stream], Mapping[str, Kept]]:
        def build(events: fz.Stream) -> Mapping[str, Kept]:
            rows = events.select("id", "x", k=col("n").cast(type_))
            return {"rows": Kept(rows, ["k"], options={"drift": "evolve"})}

        return build

    events = [{**e, "n": e["id"] % 4 - 2} for e in events_at(*range(12))]
    events[11]["n"] = 2**40
    narrow = Mirrors([events], by(pa.int32()), tmp_path, version=version)
    narrow.partitions = [events[:6]]
    narrow.run(batch_rows=2, every_s=0.005)
    wide = Mirrors([events], by(pa.int64()), tmp_path, version=version)
    wide.store = narrow.store
    wide.run(batch_rows=2, every_s=0.005)
    assert str(wide.iceberg("rows").schema().find_field("k").field_type) == "long"
    newest = {e["n"]: {"id": e["id"], "x": e["x"], "k": e["n"]} for e in events}
    wide.check_rows("rows", list(newest.values()), duckdb_reader)
    summary: Any = wide.iceberg("rows").metadata.current_snapshot().summary  # type: ignore[union-attr]
    assert int(summary["total-position-deletes"]) > 0
