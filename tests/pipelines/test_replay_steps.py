"""Dead letters of functions and of tables sent again: once, before the step that set them aside."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import PlanError
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.table import prepare_table
from frazil.replay import Replayed, replay, replay_pipeline
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

from tests.pipelines.events import counted
from tests.pipelines.harness import Crash, CrashAt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from frazil.report import RunReport

# FRAZIL_SEEDS=500 draws more of them.
SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "5")))
LETTERS = "ops.letters"

Row = dict[str, Any]


class Mend:
    """Which functions are mended by now."""

    single = double = False


@pytest.fixture(autouse=True)
def _unmended() -> Iterator[None]:
    Mend.single = Mend.double = False
    yield
    Mend.single = Mend.double = False


@fz.udf(on_error="divert")
def single(amount: int) -> int:
    if amount % 3 == 0 and not Mend.single:
        raise ValueError(f"{amount} is a multiple of three")
    return amount


@fz.udf(on_error="divert")
def alike(amount: int) -> int:
    if amount % 3 == 0 and not Mend.single:
        raise ValueError(f"{amount} is a multiple of three")
    return amount


@fz.udf(on_error="divert")
def double(amount: int) -> int:
    if amount % 2 == 0 and not Mend.double:
        raise ValueError(f"{amount} is even")
    return amount * 2


class Shop:
    """Files of orders, a catalog, and tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.store: dict[str, MemoryStore] = {}
        self.files = 0

    def write(self, *rows: Row) -> None:
        (self.folder / f"rows{self.files}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
        self.files += 1

    def read(self, **schema: Any) -> fz.Stream:
        return fz.read_files(
            str(self.folder / "rows*.jsonl"), format="json", schema=schema, name="orders"
        )

    def pipeline(self, *sinks: fz.Sink, **options: Any) -> fz.Pipeline:
        options = {"dead_letters": LETTERS, "checkpoint": str(self.folder / "cp")} | options
        return fz.Pipeline("shop", *sinks, **options)

    def made(self, name: str, key: str = "", **columns: pa.DataType) -> None:
        """A table that requires a value in each column."""
        schema = pa.schema([pa.field(*each, nullable=False) for each in columns.items()])
        prepare_table(open_catalog(self.catalog), name, schema, key=[key] if key else [])

    def optional(self, name: str, column: str) -> None:
        with open_catalog(self.catalog).load_table(name).update_schema() as update:
            update.make_column_optional(column)

    def rows(self, table: str) -> list[Row]:
        found = open_catalog(self.catalog).load_table(table).scan().to_arrow().to_pylist()
        return sorted(found, key=lambda row: str(row.get("id")))

    def ids(self, table: str) -> list[int]:
        return sorted(row["id"] for row in self.rows(table))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def run(pipeline: fz.Pipeline) -> RunReport:
    return pipeline.run(until="now", quiet=True)


def said(done: Replayed) -> tuple[int, int, int, str]:
    return done.sent, done.rejected, done.without, done.why_without


ORDERS = [{"id": i, "amount": i} for i in range(1, 7)]


def with_both(shop: Shop, name: str = "t.orders") -> fz.Pipeline:
    """Of 1 to 6: 3 and 6 fail in the first function, 2 and 4 in the second."""
    both = shop.read(id=int, amount=int).with_columns(
        one=single(col("amount")), two=double(col("amount"))
    )
    return shop.pipeline(both.write_iceberg(name, catalog=shop.catalog))


def test_functions_one_after_the_other(shop: Shop) -> None:
    shop.write(*ORDERS)
    run(with_both(shop))
    assert shop.ids("t.orders") == [1, 5]
    # Nothing is mended: all are set aside again, and the first letters are not sent any more.
    assert [said(done) for done in replay(with_both(shop))] == [(0, 4, 0, "")]
    assert len(shop.rows(LETTERS)) == 8
    Mend.double = True
    assert [said(done) for done in replay(with_both(shop))] == [(2, 2, 0, "")]
    assert shop.ids("t.orders") == [1, 2, 4, 5]
    Mend.single = True
    assert [said(done) for done in replay(with_both(shop))] == [(2, 0, 0, "")]
    assert [said(done) for done in replay(with_both(shop))] == [(0, 0, 0, "")]
    assert shop.rows("t.orders") == [
        {"id": i, "amount": i, "one": i, "two": i * 2} for i in range(1, 7)
    ]
    again = [row for row in shop.rows(LETTERS) if row["pipeline"] != "shop"]
    assert {row["source"] for row in again} == {
        f"rows for function {__name__}:{name}" for name in ("single", "double")
    }
    assert {(row["partition"], row["position"]) for row in again} <= {
        (row["partition"], row["position"]) for row in shop.rows(LETTERS) if row not in again
    }


def test_each_sink_gets_what_is_its_own(shop: Shop) -> None:
    """Two tables behind one function, one of them with a required column, one that has none."""
    shop.write(*ORDERS, {"id": None, "amount": 1})
    shop.made("t.strict", id=pa.int64(), one=pa.int64())

    def pipeline() -> fz.Pipeline:
        rows = shop.read(id=int | None, amount=int)  # type: ignore[arg-type]
        ones = rows.select("id", one=single(col("amount")))
        twos = rows.select("id", two=double(col("amount")))
        return shop.pipeline(
            ones.write_iceberg("t.strict", catalog=shop.catalog),
            ones.write_iceberg("t.loose", catalog=shop.catalog),
            twos.write_iceberg("t.twos", catalog=shop.catalog),
        )

    run(pipeline())
    Mend.single = True
    shop.optional("t.strict", "id")
    assert [said(done) for done in replay(pipeline())] == [
        (3, 0, 0, ""),
        (2, 0, 0, ""),
        (0, 3, 0, ""),
    ]
    assert len(shop.rows("t.strict")) == len(shop.rows("t.loose")) == 7
    assert [said(done) for done in replay(pipeline())] == [
        (0, 0, 0, ""),
        (0, 0, 0, ""),
        (0, 3, 0, ""),
    ]


def test_what_a_table_refuses_and_drift_sets_aside(shop: Shop) -> None:
    shop.write({"id": 1, "amount": 1}, {"id": 2, "amount": 2, "note": "x"})
    shop.made("t.orders", id=pa.int64(), amount=pa.int64())

    def pipeline(policy: Any) -> fz.Pipeline:
        rows = shop.read(id=int, amount=int | None, note=str | None)  # type: ignore[arg-type]
        sink = rows.write_iceberg(
            "t.orders", catalog=shop.catalog, drift=fz.Drift(on_new_column=policy)
        )
        return shop.pipeline(sink)

    run(pipeline("quarantine"))
    shop.write({"id": 3, "amount": None})
    run(pipeline("quarantine"))
    assert shop.ids("t.orders") == [1]
    [done] = replay(pipeline("quarantine"))
    assert said(done) == (0, 2, 0, "")
    [done] = replay(pipeline("evolve"))
    assert said(done) == (1, 1, 0, "")
    shop.optional("t.orders", "amount")
    [done] = replay(pipeline("evolve"))
    assert said(done) == (1, 0, 0, "")
    assert shop.rows("t.orders") == [
        {"id": 1, "amount": 1, "note": None},
        {"id": 2, "amount": 2, "note": "x"},
        {"id": 3, "amount": None, "note": None},
    ]


VALUES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [True, False, None]),
    (pa.int32(), [-(2**31), 2**31 - 1, None]),
    (pa.int64(), [-(2**63), 2**63 - 1, 0]),
    (pa.float32(), [0.1, 3.4e38, None]),
    (pa.float64(), [0.1, -0.0, 5e-324]),
    (pa.decimal128(38, 10), [Decimal("-1.5"), Decimal("0.0000000001"), None]),
    (pa.string(), ['ä "\n\\', "", None]),
    (pa.binary(), [b"\x00\xff", b"", None]),
    (pa.date32(), [date(1969, 12, 31), date(9999, 12, 31), None]),
    (pa.time64("us"), [time(23, 59, 59, 999_999), time(), None]),
    (pa.timestamp("us"), [datetime(1, 1, 1, 0, 0, 0, 1), datetime(9999, 12, 31), None]),
    (pa.timestamp("us", "UTC"), [datetime(1970, 1, 1, tzinfo=UTC), None, None]),
    (pa.list_(pa.int64()), [[1, None], [], None]),
    (pa.struct([("a", pa.list_(pa.string()))]), [{"a": ["x"]}, {"a": None}, None]),
    (pa.map_(pa.string(), pa.float64()), [[("k", 1.5)], [], None]),
]


def test_a_row_comes_back_as_it_was(shop: Shop) -> None:
    names = [f"c{number}" for number in range(len(VALUES))]
    columns = [pa.array(values, type_) for type_, values in VALUES]
    rows = pa.table([[3, 6, 9], *columns], names=["id", *names])
    pq.write_table(rows, shop.folder / "rows.parquet")

    def pipeline() -> fz.Pipeline:
        read = fz.read_files(
            str(shop.folder / "rows.parquet"), format="parquet", schema=rows.schema, name="rows"
        )
        made = read.with_columns(id=single(fz.coalesce(col("id"), 0)))
        return shop.pipeline(made.write_iceberg("t.rows", catalog=shop.catalog))

    run(pipeline())
    Mend.single = True
    done = replay(pipeline())
    assert [said(each) for each in done] == [(3, 0, 0, "")], [
        row["reason"] for row in shop.rows(LETTERS)
    ]
    table = open_catalog(shop.catalog).load_table("t.rows").scan().to_arrow().sort_by("id")
    for name, column in zip(names, columns, strict=True):
        assert table[name].to_pylist() == column.to_pylist(), column.type


class Client(fz.Schema):
    ip: str = fz.field(source="@ip")


class Order(fz.Schema):
    id: int = fz.field(source="order.number")
    at: datetime = fz.field(time_unit="ms")
    client: Client
    rest: str | None = fz.field(rest=True)


def test_a_row_that_json_does_not_hold(shop: Shop) -> None:
    """A map of numbers is a list of pairs in JSON, and is not read from one."""
    kind = pa.map_(pa.int64(), pa.string())
    rows = pa.table({"id": [3], "m": pa.array([[(1, "a")]], kind)})

    def pipeline() -> fz.Pipeline:
        made = fz.read_memory(rows, name="rows").with_columns(one=single(fz.coalesce(col("id"), 0)))
        return shop.pipeline(made.write_iceberg("t.rows", catalog=shop.catalog))

    run(pipeline())
    Mend.single = True
    why = f"function {__name__}:single, whose rows have a type that is not read from JSON"
    assert [said(done) for done in replay(pipeline())] == [(0, 0, 1, why)]


def test_an_infinity_is_rejected_again(shop: Shop) -> None:
    """JSON has none: it is text in the letter, and is not taken for something else."""
    rows = pa.table({"id": [3], "x": [float("inf")]})

    def pipeline() -> fz.Pipeline:
        made = fz.read_memory(rows, name="rows").with_columns(one=single(fz.coalesce(col("id"), 0)))
        return shop.pipeline(made.write_iceberg("t.rows", catalog=shop.catalog))

    run(pipeline())
    Mend.single = True
    assert [said(done) for done in replay(pipeline())] == [(0, 1, 0, "")]
    [letter] = [row for row in shop.rows(LETTERS) if row["kind"] == "value"]
    assert letter["reason"] == 'expected number, got "Infinity"'
    assert letter["source"] == f"rows for function {__name__}:single"


def test_columns_that_have_other_names_in_the_messages(shop: Shop) -> None:
    shop.write({"order": {"number": 3}, "at": 5, "client": {"@ip": "::1"}, "more": [1]})

    def pipeline() -> fz.Pipeline:
        rows = fz.read_files(
            str(shop.folder / "rows*.jsonl"), format="json", schema=Order, name="orders"
        )
        made = rows.with_columns(ok=single(col("id")))
        return shop.pipeline(made.write_iceberg("t.orders", catalog=shop.catalog))

    run(pipeline())
    Mend.single = True
    assert [said(done) for done in replay(pipeline())] == [(1, 0, 0, "")]
    [row] = shop.rows("t.orders")
    at = datetime(1970, 1, 1, 0, 0, 0, 5_000, UTC)
    kept = {"order": {"number": 3}, "more": [1]}
    assert row | {"rest": json.loads(row["rest"])} == {
        **{"id": 3, "at": at, "client": {"ip": "::1"}, "ok": 3},
        "rest": kept,
    }


def twice(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Each row twice, and the same in both."""
    return pa.concat_batches([batch, batch])


def test_letters_of_one_place(shop: Shop) -> None:
    """What was one row is several, so their letters have one position, and some are the same."""
    shop.write(*ORDERS)

    def pipeline() -> fz.Pipeline:
        rows = shop.read(id=int, amount=int)
        both = rows.map_batches(twice, schema={"id": pa.int64(), "amount": pa.int64()})
        made = both.with_columns(one=single(fz.coalesce(col("amount"), 0)))
        return shop.pipeline(made.write_iceberg("t.orders", catalog=shop.catalog))

    run(pipeline())
    assert len(shop.rows(LETTERS)) == 4
    Mend.single = True
    assert [said(done) for done in replay(pipeline())] == [(4, 0, 0, "")]
    assert shop.ids("t.orders") == sorted([row["id"] for row in ORDERS] * 2)
    assert [said(done) for done in replay(pipeline())] == [(0, 0, 0, "")]


def test_what_cannot_be_sent(shop: Shop) -> None:
    shop.write(
        {"id": 1, "amount": 3, "note": "x" * 70_000},
        {"id": 2, "amount": 6},
        {"id": 3, "amount": 4, "note": "y"},
    )

    def pipeline(make: Callable[[fz.Stream], list[fz.Stream]]) -> fz.Pipeline:
        rows = shop.read(id=int, amount=int, note=str | None)  # type: ignore[arg-type]
        made = make(rows)
        names = ("t.orders", "t.copy")
        return shop.pipeline(
            *(
                stream.write_iceberg(name, catalog=shop.catalog)
                for name, stream in zip(names, made, strict=False)
            )
        )

    def both(rows: fz.Stream) -> list[fz.Stream]:
        return [rows.with_columns(one=single(col("amount")), two=double(col("amount")))]

    def renamed(rows: fz.Stream) -> list[fz.Stream]:
        return [rows.with_columns(one=single(col("amount")), two=col("amount") * 2)]

    def spread(rows: fz.Stream) -> list[fz.Stream]:
        some = rows.filter(col("id") > 0).select("id", one=single(col("id")), two=col("id"))
        return [renamed(rows)[0], some]

    run(pipeline(both))
    Mend.single = Mend.double = True
    what = f"function {__name__}:"
    [done, _] = replay(pipeline(spread))
    assert said(done) == (0, 0, 3, f"{what}double, which no step calls, {what}single, which "
                          "several steps call")  # fmt: skip
    [done] = replay(pipeline(renamed))
    assert said(done) == (1, 0, 2, f"cut to 64 KiB, {what}double, which no step calls")
    [done] = replay(pipeline(both))
    assert said(done) == (1, 0, 1, "cut to 64 KiB")
    assert shop.ids("t.orders") == [2, 3]


def test_behind_a_step_that_keeps_state_it_is_refused(shop: Shop) -> None:
    shop.write(*ORDERS)
    totals = shop.read(id=int, amount=int).group_by("id").agg(n=fz.count())
    made = totals.with_columns(one=single(fz.coalesce(col("n"), 0))).as_log()
    pipeline = shop.pipeline(made.write_iceberg("t.orders", catalog=shop.catalog))
    with pytest.raises(PlanError, match="behind a step that keeps state"):
        replay(pipeline)


class Mirror(Shop):
    """A table of what is left of changes, and one with every row; some rows are bad at first.

    A row fails in the function if its amount is a multiple of three; it is refused by the table if
    its note is null.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.made(
            "t.kept", "id", id=pa.int64(), version=pa.int64(), one=pa.int64(), note=pa.string()
        )

    def mirror(self, changes: bool) -> fz.Pipeline:
        rows = self.read(id=int, version=int, op=str, amount=int, note=str | None)  # type: ignore[arg-type]
        kept = rows.as_changes("op", key=["id"]) if changes else rows.drop("op")
        kept = kept.select("id", "version", "note", one=single(col("amount")))
        every = rows.select("id", "version", one=alike(col("amount")))
        return self.pipeline(
            kept.write_iceberg(
                "t.kept", catalog=self.catalog, mode="upsert", key=["id"], order_by="version"
            ),
            every.write_iceberg("t.every", catalog=self.catalog),
        )

    def drawn(self, pipeline: fz.Pipeline, rng: Random, crash: int = 0) -> None:
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
        store = self.store.setdefault(pipeline.name, MemoryStore())
        Coordinator(prepare(pipeline, hook=hook, store=store), settings, hook=hook).run()

    def sent(self, changes: bool, sink: int, rng: Random, crash: int = 0) -> int:
        """One process that sends letters; how many there were."""
        pipeline = self.mirror(changes)
        assert pipeline.letters is not None
        place = self.folder / f"letters{rng.randrange(2**31)}"
        place.mkdir()
        made, found = replay_pipeline(pipeline, pipeline.letters, pipeline.sinks[sink], place)
        if made is not None:
            self.drawn(made, rng, crash)
        return 0 if found is None else found.count


def draw(rng: Random) -> list[Row]:
    """Changes of few keys in any order; some are bad."""
    rows = [
        {
            "id": rng.randrange(6),
            "version": version,
            "op": rng.choice("cuud"),
            "amount": rng.randrange(1, 7),
            "note": rng.choice([None, "x", "x"]),
        }
        for version in range(rng.choice([10, 40]))
    ]
    rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("changes", [True, False], ids=["changes", "rows"])
@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_crashes(seed: int, changes: bool, tmp_path: Path) -> None:
    """Runs and replays end at drawn steps, in any order; in the end all is mended and sent."""
    rng = Random(seed)
    mirror = Mirror(tmp_path)
    rows = given = draw(rng)
    while rows:
        some = rng.randrange(1, len(rows) + 1)
        mirror.write(*rows[:some])
        rows = rows[some:]
        for _ in range(rng.randrange(4)):
            Mend.single = rng.random() < 0.3
            crash = rng.choice([0, rng.randrange(3, 40)])
            with suppress(Crash):
                if rng.random() < 0.5:
                    mirror.drawn(mirror.mirror(changes), rng, crash)
                else:
                    mirror.sent(changes, rng.randrange(2), rng, crash)
    mirror.drawn(mirror.mirror(changes), rng)
    Mend.single = True
    mirror.optional("t.kept", "note")
    for sink in (0, 1):
        mirror.sent(changes, sink, rng)
    every = [{"id": r["id"], "version": r["version"], "one": r["amount"]} for r in given]
    assert counted(mirror.rows("t.every")) == counted(every)
    newest: dict[int, Row] = {}
    for row in sorted(given, key=lambda row: row["version"]):
        newest[row["id"]] = row
    left = [row for row in newest.values() if not changes or row["op"] != "d"]
    assert counted(mirror.rows("t.kept")) == counted(
        [
            {"id": r["id"], "version": r["version"], "one": r["amount"], "note": r["note"]}
            for r in left
        ]
    )
    # Once more changes nothing.
    for sink in (0, 1):
        mirror.sent(changes, sink, rng)
    assert len(mirror.rows("t.every")) == len(given)
    assert len(mirror.rows("t.kept")) == len(left)
