"""Dead letters sent again into tables by key: an old event never takes the place of a newer row."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest
from frazil import col
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import PlanError
from frazil.iceberg.catalog import open_catalog
from frazil.replay import replay, replay_pipeline
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

from tests.pipelines.events import counted
from tests.pipelines.harness import Crash, CrashAt

if TYPE_CHECKING:
    from pathlib import Path

    from frazil.report import RunReport

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "6")))
LETTERS = "ops.letters"

Row = dict[str, Any]


class Mirror:
    """Files of changes, a table of what is left of them, and letters.

    `version` grows with each change of any key.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.store = MemoryStore()
        self.files = 0

    def write(self, *rows: Row) -> None:
        (self.folder / f"rows{self.files}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
        self.files += 1

    def pipeline(self, *, mended: bool, **options: Any) -> fz.Pipeline:
        """Amounts with fractions are bad, until it is mended."""
        rows = fz.read_files(
            str(self.folder / "rows*.jsonl"),
            format="json",
            schema={"key": int, "version": int, "op": str, "amount": float if mended else int},
            name="rows",
        )
        whole = rows.with_columns(amount=fz.when(col("key") >= 0).then(col("amount").cast(float)))
        sink = whole.as_changes("op", key=["key"]).write_iceberg(
            "t.kept",
            catalog=self.catalog,
            mode="upsert",
            key=["key"],
            **{"order_by": "version", **options},
        )
        copied = whole.write_iceberg("t.every", catalog=self.catalog)
        return fz.Pipeline(
            "mirror", sink, copied, dead_letters=LETTERS, checkpoint=str(self.folder / "cp")
        )

    def drawn(self, pipeline: fz.Pipeline, rng: Random, crash: int = 0) -> RunReport:
        """One process, in any order of work, gone at a step."""
        hook = CrashAt(crash)
        settings = RunSettings(
            workers=rng.choice([1, 2, 3]),
            bounded=True,
            quiet=True,
            takeover=True,
            checkpoint_every_s=rng.choice([0.01, 0.05, 10.0]),
            simulated_seed=rng.randrange(2**31),
        )
        return Coordinator(
            prepare(pipeline, hook=hook, store=self.store), settings, hook=hook
        ).run()

    def sent(self, rng: Random, crash: int = 0) -> int:
        """One process that sends letters; how many there were."""
        pipeline = self.pipeline(mended=True)
        assert pipeline.letters is not None
        place = self.folder / f"letters{rng.randrange(2**31)}"
        place.mkdir()
        made, found = replay_pipeline(pipeline, pipeline.letters, pipeline.sinks[0], place)
        if made is not None:
            self.drawn(made, rng, crash)
        return 0 if found is None else found.table.num_rows

    def rows(self, table: str) -> list[Row]:
        return list(open_catalog(self.catalog).load_table(table).scan().to_arrow().to_pylist())


def kept(*rows: Row) -> dict[int, Row]:
    """What is left of changes."""
    newest: dict[int, Row] = {}
    for row in sorted(rows, key=lambda row: row["version"]):
        newest[row["key"]] = row
    return {key: row for key, row in newest.items() if row["op"] != "d"}


def change(key: int, version: int, amount: int, *, op: str = "u", bad: bool = False) -> Row:
    return {"key": key, "version": version, "op": op, "amount": amount + 0.5 if bad else amount}


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path)


def run(pipeline: fz.Pipeline) -> RunReport:
    return pipeline.run(until="now", quiet=True)


def test_letters_that_are_older_do_nothing(mirror: Mirror) -> None:
    mirror.write(
        change(1, 1, 10),
        change(2, 2, 20, bad=True),  # a newer row of its key comes
        change(3, 3, 30),
        change(3, 4, 31, bad=True),  # the newest of its key
        change(4, 5, 40, bad=True),  # deleted by a newer event
        change(5, 6, 50, bad=True),  # alone
    )
    run(mirror.pipeline(mended=False))
    mirror.write(change(2, 7, 21), change(4, 8, 0, op="d"), change(1, 9, 11))
    run(mirror.pipeline(mended=False))
    assert {row["key"]: row["amount"] for row in mirror.rows("t.kept")} == {1: 11, 2: 21, 3: 30}

    [done, other] = replay(mirror.pipeline(mended=True))
    assert (done.sink, done.sent, done.rejected) == ("t.kept", 4, 0)
    expected = {1: 11, 2: 21, 3: 31.5, 5: 50.5}
    assert {row["key"]: row["amount"] for row in mirror.rows("t.kept")} == expected
    # The table that is appended to has them by a replay of its own, and only that.
    assert (other.sink, other.sent) == ("t.every", 4)
    assert sorted(row["version"] for row in mirror.rows("t.every")) == list(range(1, 10))

    # Once: neither another replay nor a run of the pipeline sends them again.
    [done] = replay(mirror.pipeline(mended=True), sinks=["t.kept"])
    assert (done.sent, done.rejected) == (0, 0)
    mirror.write(change(5, 10, 0, op="d"))
    report = run(mirror.pipeline(mended=True))
    assert list(report.sources) == ["rows"]
    [done] = replay(mirror.pipeline(mended=True), sinks=["t.kept"])
    assert done.sent == 0
    del expected[5]
    assert {row["key"]: row["amount"] for row in mirror.rows("t.kept")} == expected


def test_what_is_rejected_again_is_tried_again(mirror: Mirror) -> None:
    mirror.write(change(1, 1, 10), change(2, 2, 20, bad=True))
    run(mirror.pipeline(mended=False))
    [done] = replay(mirror.pipeline(mended=False), sinks=["t.kept"])
    assert (done.sent, done.rejected) == (0, 1)
    first, again = sorted(mirror.rows(LETTERS), key=lambda row: row["epoch"])
    same = ("source", "partition", "position", "reason", "raw", "kind", "log")
    assert [first[each] for each in same] == [again[each] for each in same]
    assert again["pipeline"] == "mirror.replay.t.kept"
    [done] = replay(mirror.pipeline(mended=True), sinks=["t.kept"])
    assert (done.sent, done.rejected) == (1, 0)
    assert len(mirror.rows("t.kept")) == 2
    # What was tried into one table only is not sent into the other twice.
    [done] = replay(mirror.pipeline(mended=True), sinks=["t.every"])
    assert (done.sent, done.rejected) == (1, 0)


def test_without_an_order_it_is_refused(mirror: Mirror) -> None:
    mirror.write(change(1, 1, 10, bad=True))
    pipeline = mirror.pipeline(mended=False, order_by=None)
    run(pipeline)
    with pytest.raises(PlanError, match="only order_by= tells which is older"):
        replay(pipeline)
    assert mirror.rows("t.kept") == []


def draw(rng: Random) -> list[Row]:
    """Changes of few keys in any order; some are bad."""
    rows = [
        change(
            rng.randrange(6),
            version,
            version * 10,
            op=rng.choice("cuud"),
            bad=rng.random() < 0.4,
        )
        for version in range(rng.choice([10, 40]))
    ]
    rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int, mirror: Mirror) -> None:
    """Runs and replays end at drawn steps, and follow each other in any order."""
    rng = Random(seed)
    rows = draw(rng)
    expected = kept(*rows)
    while rows:
        some = rng.randrange(1, len(rows) + 1)
        mirror.write(*rows[:some])
        rows = rows[some:]
        for _ in range(rng.randrange(4)):
            crash = rng.choice([0, rng.randrange(3, 40)])
            with suppress(Crash):
                if rng.random() < 0.5:
                    mirror.drawn(mirror.pipeline(mended=rng.random() < 0.3), rng, crash)
                else:
                    mirror.sent(rng, crash)
    mirror.drawn(mirror.pipeline(mended=False), rng)
    mirror.sent(rng)
    found = [{key: row[key] for key in ("key", "version")} for row in mirror.rows("t.kept")]
    assert counted(found) == counted(
        [{"key": row["key"], "version": row["version"]} for row in expected.values()]
    )
    mirror.sent(rng, 0)
    assert len(mirror.rows("t.kept")) == len(expected)
