"""Dead letters: rejected rows of all readers in one table, counted, limited, and sent again."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest
from frazil import col
from frazil.checkpoint import open_store
from frazil.checkpoint.manifest import decode
from frazil.checkpoint.reader import read_log
from frazil.replay import replay, replay_name
from pyiceberg.catalog import load_catalog

if TYPE_CHECKING:
    from pathlib import Path

LETTERS = "ops.dead_letters"
COLUMNS = [
    "source", "partition", "position", "reason", "column", "raw", "raw_bytes",
    "kind", "epoch", "pipeline", "log",
]  # fmt: skip


class Shop:
    """A folder with orders, a catalog, and pipelines that read them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }

    def write(self, name: str, *lines: str) -> None:
        (self.folder / name).write_text("".join(line + "\n" for line in lines))

    def orders(self, amount: Any = int, name: str = "orders", **options: Any) -> fz.Stream:
        return fz.read_files(
            str(self.folder / f"{name}*.jsonl"),
            format="json",
            schema={"id": int, "amount": amount},
            name=name,
            **options,
        )

    def pipeline(self, *sinks: fz.Sink, **options: Any) -> fz.Pipeline:
        options = {"dead_letters": LETTERS, "checkpoint": str(self.folder / "cp")} | options
        return fz.Pipeline("shop", *sinks, checkpoint_every="1h", **options)

    def good(self, stream: fz.Stream | None = None, **options: Any) -> fz.Sink:
        stream = self.orders() if stream is None else stream
        return stream.write_iceberg("shop.orders", catalog=self.catalog, **options)

    def rows(self, table: str) -> list[dict[str, Any]]:
        scan = load_catalog("default", **self.catalog).load_table(table).scan()
        return list(scan.to_arrow().to_pylist())

    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.rows("shop.orders"))

    def letters(self) -> list[dict[str, Any]]:
        return sorted(self.rows(LETTERS), key=lambda row: (row["epoch"], row["position"]))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def run(pipeline: fz.Pipeline) -> fz.RunReport:
    return pipeline.run(until="now", quiet=True)


BAD = ['{"id": 2, "amount": "x"}', "no json", '{"id": 4}', '{"id": 5, "amount": 1.5}']


def test_every_rejected_row_is_a_letter(shop: Shop) -> None:
    shop.write("orders1.jsonl", '{"id": 1, "amount": 1}', *BAD)
    pipeline = shop.pipeline(shop.good())
    report = run(pipeline)
    assert report.sources["orders"].rejected == 4
    assert shop.ids() == [1]
    letters = shop.letters()
    assert list(letters[0]) == COLUMNS
    assert [row["raw"].decode() for row in letters] == BAD
    assert [(row["kind"], row["column"]) for row in letters] == [
        ("value", "amount"),
        ("decode", None),
        ("value", "amount"),
        ("value", "amount"),
    ]
    entry = read_log(open_store(str(shop.folder / "cp" / "shop")))[-1]
    log = entry.manifest.incarnation[:8]
    assert {(row["source"], row["pipeline"], row["log"]) for row in letters} == {
        ("orders", "shop", log)
    }
    # The epoch is that of the manifest with these rows.
    assert len({row["epoch"] for row in letters}) == 1
    # The next run adds its own.
    shop.write("orders2.jsonl", "again no json", '{"id": 6, "amount": 6}')
    run(pipeline)
    assert shop.ids() == [1, 6]
    epochs = [row["epoch"] for row in shop.letters()]
    assert epochs[:4] == [epochs[0]] * 4
    assert epochs[4] > epochs[0]


def test_the_account_of_each_partition_is_in_the_manifest(shop: Shop) -> None:
    shop.write("orders1.jsonl", '{"id": 1, "amount": 1}', *BAD)
    run(shop.pipeline(shop.good(), retain=10))
    slots = sorted((shop.folder / "cp" / "shop" / "log").iterdir())
    counted = [
        partition.rows
        for slot in slots
        for source in decode(slot.read_bytes()).sources.values()
        for partition in source.partitions
        if partition.rows.read
    ]
    assert [(r.read, r.good, r.rejected, r.dropped) for r in counted] == [(5, 1, 4, 0)]


def test_several_readers_and_rows_without_event_time(shop: Shop) -> None:
    shop.write("orders1.jsonl", '{"id": 1, "amount": 1}', "no json")
    shop.write("refunds1.jsonl", '{"id": 2, "amount": 2}', "no json either", "nor this")
    shop.write("clicks.jsonl", '{"id": 3, "at": null}', '{"id": 4, "at": "2026-01-01T00:00:00Z"}')
    clicks = fz.read_files(
        str(shop.folder / "clicks.jsonl"),
        format="json",
        schema={"id": int, "at": datetime | None},
        name="clicks",
    ).event_time("at", out_of_order="1s")
    both = shop.orders().union(shop.orders(name="refunds"))
    sinks = [shop.good(both), clicks.write_iceberg("shop.clicks", catalog=shop.catalog)]
    report = run(shop.pipeline(*sinks))
    assert {name: source.rejected for name, source in report.sources.items()} == {
        "orders": 1,
        "refunds": 2,
        "clicks": 1,
    }
    found = sorted((row["source"], row["kind"], row["raw"].decode()) for row in shop.letters())
    assert found == [
        ("clicks", "event_time", ""),
        ("orders", "decode", "no json"),
        ("refunds", "decode", "no json either"),
        ("refunds", "decode", "nor this"),
    ]


def test_readers_that_say_otherwise(shop: Shop) -> None:
    shop.write("orders1.jsonl", "no json")
    dropping = shop.orders(on_bad_row="drop")
    with pytest.raises(fz.errors.PlanError, match="no step of the pipeline may have any"):
        shop.pipeline(dropping.write_memory())
    assert "rejected rows" not in shop.pipeline(shop.good(dropping)).explain()
    orders = shop.orders()
    own = orders.rejected.write_iceberg("ops.own", catalog=shop.catalog)
    with pytest.raises(fz.errors.PlanError, match="no step"):
        shop.pipeline(orders.write_memory(), own)
    assert "rejected rows of orders" in shop.pipeline(shop.good(orders)).explain()


@pytest.mark.parametrize(("limit", "stops"), [(3, True), (4, False), (0.003, True), (0.5, False)])
def test_limits(shop: Shop, limit: float, stops: bool) -> None:
    shop.write("orders1.jsonl", '{"id": 1, "amount": 1}', *BAD)
    pipeline = shop.pipeline(shop.good(), max_rejected=limit)
    if not stops:
        run(pipeline)
        assert len(shop.letters()) == 4
        return
    with pytest.raises(fz.TooManyRejected, match=r"orders: 4 of 5 rows were rejected") as raised:
        run(pipeline)
    assert 'field "amount": expected' in str(raised.value)
    # Nothing of that epoch is there, and nothing of it is lost: with a schema that fits all rows
    # that are rows are read.
    assert shop.ids() == []
    assert shop.letters() == []
    whole = fz.coalesce(col("amount").try_cast(int), 0)
    run(shop.pipeline(shop.good(shop.orders(amount=float).with_columns(amount=whole))))
    assert shop.ids() == [1, 5]


@pytest.mark.parametrize("limit", [-1, 1.5, 0.0, True, "1%"])
def test_limits_that_are_none(shop: Shop, limit: Any) -> None:
    with pytest.raises(fz.errors.ConfigError, match="max_rejected"):
        shop.pipeline(shop.good(), max_rejected=limit)


# -- rows for which functions raise


@fz.udf(on_error="divert")
def inverse(amount: int) -> float:
    return 1 / amount


def inverted(shop: Shop) -> fz.Stream:
    return shop.orders().with_columns(part=inverse(col("amount")))


def test_rows_for_which_a_function_raises_are_letters(shop: Shop) -> None:
    shop.write("orders1.jsonl", '{"id": 1, "amount": 2}', "no json", '{"id": 3, "amount": 0}')
    orders = shop.orders()
    # Two steps that are one set a row aside once.
    both = [
        orders.with_columns(part=inverse(col("amount"))).write_iceberg(name, catalog=shop.catalog)
        for name in ("shop.orders", "shop.copy")
    ]
    report = run(shop.pipeline(*both))
    assert shop.ids() == [1]
    assert report.failed == {f"{__name__}:inverse": 1}
    undecoded, failed = shop.letters()
    assert undecoded["kind"] == "decode"
    assert failed["kind"] == "function"
    assert failed["raw"] == b'{"id":3,"amount":0}'
    assert failed["column"] == f"{__name__}:inverse"
    assert failed["reason"].startswith(f"{__name__}:inverse raised ZeroDivisionError: division")
    assert failed["partition"] == "files"  # of which file is not known behind the reader
    same = ("source", "epoch", "pipeline", "log")
    assert [failed[each] for each in same] == [undecoded[each] for each in same]
    assert (undecoded["position"], failed["position"]) == (23, 31)
    # Nothing is mended, so both are set aside again.
    [done] = replay(shop.pipeline(shop.good(inverted(shop))))
    assert (done.sent, done.rejected, done.without) == (0, 2, 0)


def test_failed_rows_that_the_program_writes_itself(shop: Shop) -> None:
    shop.write("orders1.jsonl", "no json", '{"id": 3, "amount": 0}')
    stream = inverted(shop)
    own = stream.failed.write_iceberg("ops.own", catalog=shop.catalog)
    run(shop.pipeline(shop.good(stream), own))
    assert [row["kind"] for row in shop.letters()] == ["decode"]
    assert [row["kind"] for row in shop.rows("ops.own")] == ["function"]


def test_limits_of_failed_rows(shop: Shop) -> None:
    shop.write("orders1.jsonl", *(f'{{"id": {i}, "amount": {i % 2}}}' for i in range(10)))
    with pytest.raises(fz.TooManyRejected, match=r"inverse: 5 of 10 rows failed") as raised:
        run(shop.pipeline(shop.good(inverted(shop)), max_rejected=4))
    assert "ZeroDivisionError" in str(raised.value)
    run(shop.pipeline(shop.good(inverted(shop)), max_rejected=5))
    assert len(shop.ids()) == 5
    assert len(shop.letters()) == 5


# -- replay


def mended(shop: Shop) -> fz.Pipeline:
    """The program after its schema was mended: amounts may be missing, or have fractions."""
    orders = shop.orders(amount=float | None)
    return shop.pipeline(shop.good(orders.with_columns(amount=col("amount").try_cast(int))))


def start(shop: Shop) -> None:
    """A table whose amounts may be null, and letters."""
    shop.write("orders1.jsonl", '{"id": 1, "amount": 1}', *BAD)
    orders = shop.orders().with_columns(amount=fz.when(col("id") > 0).then(col("amount")))
    run(shop.pipeline(shop.good(orders)))
    assert shop.ids() == [1]


def test_replay(shop: Shop) -> None:
    start(shop)
    [done] = replay(mended(shop))
    assert (done.sink, done.sent, done.rejected, done.without) == ("shop.orders", 2, 2, 0)
    assert shop.ids() == [1, 4, 5]
    again = [row for row in shop.letters() if row["pipeline"] != "shop"]
    assert {row["pipeline"] for row in again} == {replay_name("shop", "shop.orders")}
    first = [row for row in shop.letters() if row["pipeline"] == "shop"]
    where = ["source", "partition", "position", "raw", "reason"]
    assert [[row[each] for each in where] for row in again] == [
        [row[each] for each in where] for row in first[:2]
    ]
    # Once: what is good now is not sent again; what was rejected again is looked at once more.
    [done] = replay(mended(shop))
    assert (done.sent, done.rejected) == (0, 2)
    assert shop.ids() == [1, 4, 5]


def test_replay_takes_what_came_since(shop: Shop) -> None:
    start(shop)
    replay(mended(shop))
    shop.write("orders2.jsonl", '{"id": 7}')
    run(
        shop.pipeline(
            shop.good(shop.orders().with_columns(amount=fz.when(col("id") > 0).then(col("amount"))))
        )
    )
    assert shop.ids() == [1, 4, 5]
    replay(mended(shop))
    assert shop.ids() == [1, 4, 5, 7]


def test_what_cannot_be_replayed(shop: Shop) -> None:
    start(shop)
    orders = shop.orders()
    upsert = orders.write_iceberg("shop.latest", catalog=shop.catalog, mode="upsert", key="id")
    with pytest.raises(fz.errors.PlanError, match="an old row would take the place"):
        replay(shop.pipeline(upsert))
    counts = orders.group_by("id").agg(n=fz.count()).as_log().write_memory(name="counts")
    with pytest.raises(fz.errors.PlanError, match="behind a step that keeps state"):
        replay(shop.pipeline(shop.good(orders), counts))
    # The others can be chosen.
    [done] = replay(shop.pipeline(shop.good(orders), counts), sinks=["shop.orders"])
    assert (done.sink, done.sent, done.rejected) == ("shop.orders", 0, 4)
    with pytest.raises(fz.errors.ConfigError, match="no sink 'x'"):
        replay(shop.pipeline(shop.good(orders)), sinks=["x"])
    with pytest.raises(fz.errors.ConfigError, match="has no table of dead letters"):
        replay(shop.pipeline(shop.good(orders), dead_letters=None))


def test_rows_that_are_not_whole_stay(shop: Shop) -> None:
    long = json.dumps({"id": 9, "amount": 1.5, "text": "x" * 70_000})
    shop.write("orders1.jsonl", long, '{"id": 1, "amount": 1.5}')
    pipeline = shop.pipeline(
        shop.good(shop.orders().with_columns(amount=fz.when(col("id") > 0).then(col("amount"))))
    )
    run(pipeline)
    assert [(len(row["raw"]), row["raw_bytes"]) for row in shop.letters()] == [
        (65_536, len(long)),
        (24, 24),
    ]
    [done] = replay(mended(shop))
    assert (done.sent, done.without, done.why_without) == (1, 1, "cut to 64 KiB")
    assert shop.ids() == [1]
