"""Tables that are truncated: in any order and over crashes, the copy has the rows that are left."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import ConfigError, DecodeError, ModeMismatch, PlanError
from pyiceberg.catalog import load_catalog

from tests.pipelines.harness import Crash, CrashAt
from tests.pipelines.pages import UNSENT
from tests.pipelines.upserts import Mirrors

if TYPE_CHECKING:
    from frazil.run.runnable import Runnable

    from tests.services.duckdb_reader import DuckdbReader

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "6")))
KEYS = 12

Event = dict[str, Any]
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), False),
        pa.field("n", pa.int64(), False),
        pa.field("body", pa.string()),
    ]
)


def draw(rng: Random, count: int) -> tuple[list[Event], list[Event]]:
    """What PostgreSQL sends of random statements, and the rows there are at the end."""
    table: dict[int, Event] = {}
    events: list[Event] = []
    for place in range(count):
        source = {"lsn": 10 * place}
        if rng.random() < 0.03:
            table.clear()
            events.append({"op": "t", "before": None, "after": None, "source": source})
            continue
        id_ = rng.randrange(KEYS)
        row = table.get(id_)
        if row is not None and rng.random() < 0.2:
            del table[id_]
            before = {"id": id_, "n": 0, "body": None}
            events.append({"op": "d", "before": before, "after": None, "source": source})
            continue
        sent = {"id": id_, "n": rng.randrange(100), "body": rng.choice([None, "b", "B" * 5_000])}
        table[id_] = {**sent, "_source_lsn": 10 * place}
        if row is not None and row["body"] is not None and rng.random() < 0.5:
            table[id_]["body"], sent["body"] = row["body"], UNSENT
        op = "c" if row is None else "u"
        events.append({"op": op, "before": None, "after": sent, "source": source})
        if rng.random() < 0.02:  # the connector begins again a little before
            events += events[-rng.randrange(1, 9) :]
    return events, list(table.values())


def deal(events: Sequence[Event], folder: Path, rng: Random) -> None:
    """Put rows into three partitions by key, and truncates into any: they have no key."""
    parts: list[list[Event]] = [[], [], []]
    for event in events:
        row = event["after"] or event["before"]
        parts[rng.randrange(3) if row is None else row["id"] % 3].append(event)
    for number, part in enumerate(parts):
        lane = folder / str(number)
        lane.mkdir(parents=True)
        at = 0
        while at < len(part):
            some = part[at : at + rng.randrange(1, 9)]
            lines = "".join(json.dumps(event) + "\n" for event in some)
            (lane / f"{at:06}.jsonl").write_text(lines)
            at += len(some)


def read(folder: Path, **options: Any) -> fz.Stream:
    return fz.read_files(
        str(folder),
        format=fz.DebeziumJson(**{"truncates": "apply", **options}),
        schema=SCHEMA,
        key=["id"],
        metadata=["source.lsn"],
        lanes="by_folder",
    )


class TruncatedMirror(Mirrors):
    """Two tables by key of change events in files: of all rows, and of some."""

    def __init__(self, folder: Path, rng: Random, count: int) -> None:
        events, self.rows_left = draw(rng, count)
        deal(events, folder / "in", rng)
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.catalog = load_catalog("default", **self.properties)
        self.version = rng.choice([2, 3])
        self.keys = {"rows": ["id"], "some": ["id"]}
        rows = read(folder / "in", keep=["body"])
        streams = {"rows": rows, "some": rows.filter(col("n") >= 50)}
        self.sinks = {
            name: stream.write_iceberg(
                f"t.{name}",
                catalog=self.properties,
                mode="upsert",
                key=["id"],
                order_by="_source_lsn",
                format_version=self.version,
            )
            for name, stream in streams.items()
        }
        self.store = MemoryStore()

    def give(self, runnable: Runnable, batch_rows: int, partitions: int | None = None) -> None:
        """Nothing: the events are in files."""

    def check_left(self, reader: DuckdbReader) -> None:
        """The tables have just the rows that are left."""
        self.check("rows", self.rows_left, reader)
        self.check("some", [row for row in self.rows_left if row["n"] >= 50], reader)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int, tmp_path: Path, duckdb_reader: DuckdbReader) -> None:
    """Processes end at drawn steps, each with its own number of workers; then one lives."""
    rng = Random(seed)
    mirror = TruncatedMirror(tmp_path, rng, rng.choice([100, 250]))
    crashes = 0
    for step in (6, *rng.sample(range(3, 60), 4)):
        try:
            mirror.run_drawn(rng, hook=CrashAt(step), every_s=0.01)
        except Crash:
            crashes += 1
    mirror.run_drawn(rng)
    mirror.check_left(duckdb_reader)
    assert crashes > 0


def test_the_run_ends_unless_it_is_said_what_to_do(tmp_path: Path) -> None:
    """Also where rejected rows are written: a copy that has rows too many is wrong."""
    rows = [{"op": "c", "before": None, "after": {"id": 1, "n": 1}, "source": {"lsn": 1}}]
    rows.append({"op": "t", "before": None, "after": None, "source": {"lsn": 2}})
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "1.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    def run(**options: Any) -> tuple[int, int]:
        stream = read(tmp_path / "in", **options)
        sink, bad = stream.write_memory(), stream.rejected.write_memory(name="bad")
        state = tmp_path / options["truncates"]
        fz.Pipeline("p", sink, bad, checkpoint=str(state)).run(until="now", quiet=True)
        return sink.table().num_rows, bad.table().num_rows

    with pytest.raises(DecodeError, match=r"decoding \S*/a/1\.jsonl@78: the table was truncated"):
        run(truncates="stop")
    assert run(truncates="reject") == (1, 1)
    assert run(truncates="skip") == (1, 0)


def test_a_place_that_a_truncate_does_not_have(tmp_path: Path) -> None:
    """A column of the table itself says nothing of it: not null, and not zero."""
    rows = [{"op": "c", "before": None, "after": {"id": 1, "version": 3}, "source": {"lsn": 1}}]
    rows.append({"op": "t", "before": None, "after": None, "source": {"lsn": 2}})
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    stream = fz.read_files(
        str(tmp_path / "in.jsonl"),
        format=fz.DebeziumJson(truncates="apply"),
        schema=pa.schema([pa.field("id", pa.int64(), False), pa.field("version", pa.int64())]),
        key=["id"],
    )
    sink = stream.write_iceberg(
        "t.x",
        catalog={
            "type": "sql",
            "uri": f"sqlite:///{tmp_path / 'catalog.db'}",
            "warehouse": f"file://{tmp_path / 'warehouse'}",
        },
        mode="upsert",
        key="id",
        order_by="version",
    )
    pipeline = fz.Pipeline("p", sink, checkpoint=str(tmp_path / "c"))
    with pytest.raises(PlanError, match='no value in order_by="version"'):
        pipeline.run(until="now", quiet=True)


def test_what_cannot_follow_it_is_refused() -> None:
    rows = read(Path("in"))

    def plan(*sinks: fz.Sink) -> None:
        _ = fz.Pipeline("p", *sinks).plan

    def write(stream: fz.Stream, order_by: str | None = "_source_lsn", **more: Any) -> fz.Sink:
        return stream.write_iceberg("t.x", mode="upsert", key="id", order_by=order_by, **more)

    plan(write(rows.filter(col("n") > 1).with_columns(twice=col("n") * 2)))
    plan(write(rows), rows.rejected.write_memory())
    with pytest.raises(PlanError, match="has no order_by="):
        plan(write(rows, None))
    with pytest.raises(PlanError, match='deletes="soft"'):
        plan(write(rows, deletes="soft"))
    with pytest.raises(PlanError, match="may not be null"):
        plan(write(read(Path("in"), before="full"), "n"))
    timed = fz.read_files(
        "in",
        format=fz.DebeziumJson(truncates="apply"),
        schema=SCHEMA,
        key=["id"],
        metadata=["source.ts_ms"],
    )
    with pytest.raises(PlanError, match="two changes of one moment"):
        plan(write(timed, "_source_ts_ms"))
    with pytest.raises(ModeMismatch, match=r"the step at test_truncates\.py:\d+ goes by rows"):
        plan(rows.as_log().write_memory())
    with pytest.raises(ModeMismatch, match="goes by rows"):
        plan(write(rows), rows.write_memory())
    with pytest.raises(ModeMismatch, match="goes by rows"):
        plan(write(rows.union(read(Path("other")))))
    routed = rows.with_columns(name=fz.lit("x"))
    with pytest.raises(PlanError, match="is many tables"):
        plan(routed.write_iceberg(fz.route("t.{name}"), mode="upsert", key=["id", "name"]))
    with pytest.raises(ConfigError, match="unwrapped"):
        fz.DebeziumJson(unwrapped=True, truncates="apply")
    with pytest.raises(ConfigError, match="truncates='drop' is not offered"):
        fz.DebeziumJson(truncates="drop")  # type: ignore[arg-type]
