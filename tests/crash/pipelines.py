"""The pipelines that are crashed. Every row has an `id` of 0 to n-1."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
from frazil.replay import replay_pipeline

from bench.nexmark.queries import QUERIES
from bench.nexmark.query import Events, Query
from tests.crash.embedding import NotedModel
from tests.crash.flushed import Flushed
from tests.crash.python_ids import ROWS, PythonIds
from tests.crash.python_sinks import Ledger, PythonFiles

# So that a run does not come to the end while it is to be killed.
RATE = 1_500.0

Catalog = Mapping[str, str]
Build = Callable[[Path, Catalog, float | None], fz.Pipeline]


def catalog_properties(folder: Path, timeout_s: float = 0.2) -> Catalog:
    """SQLite and local files. To a pipeline a locked database is soon an answer."""
    return {
        "type": "sql",
        "uri": f"sqlite:///{folder / 'catalog.db'}?timeout={timeout_s}",
        "warehouse": f"file://{folder / 'warehouse'}",
    }


def ids(rate: float | None, *, seed: int = 0) -> fz.Stream:
    """Rows 0 to ROWS-1; with a rate there are several epochs."""
    return fz.read_generator(rows=ROWS, rate=rate, partitions=2, seed=seed).select("id", "country")


def _pipeline(name: str, folder: Path, *sinks: fz.Sink) -> fz.Pipeline:
    return fz.Pipeline(name, *sinks, checkpoint=str(folder / "checkpoints"))


def one_table(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """One source into one table."""
    return _pipeline("one", folder, ids(rate).write_iceberg("t.one", catalog=catalog))


def second(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Another pipeline that writes to the same table."""
    rows = ids(rate, seed=1).with_columns(id=fz.col("id") + ROWS)
    return _pipeline("second", folder, rows.write_iceberg("t.one", catalog=catalog))


def two_sinks(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Two sinks on one table."""
    rows = ids(rate)
    even = rows.filter(fz.col("id") % 2 == 0).write_iceberg("t.one", catalog=catalog, name="even")
    odd = rows.filter(fz.col("id") % 2 == 1).write_iceberg("t.one", catalog=catalog, name="odd")
    return _pipeline("sinks", folder, even, odd)


def two_tables(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """One stream into two tables."""
    rows = ids(rate)
    tables = [rows.write_iceberg(name, catalog=catalog) for name in ("t.one", "t.two")]
    return _pipeline("tables", folder, *tables)


def few_rows(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Rows at the beginning and at the end: the epochs between have none for the table."""
    rows = ids(rate).filter(is_few(fz.col("id")))
    return _pipeline("few", folder, rows.write_iceberg("t.one", catalog=catalog))


def is_few(number: Any) -> Any:
    """Whether `few_rows` keeps it; a number or a column."""
    return (number < 100) | (number >= ROWS - 100)


def by_country(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Through an exchange, to the worker that writes the partition."""
    sink = ids(rate).write_iceberg(
        "t.one", catalog=catalog, partition_by="country", distribute_by="partition"
    )
    return _pipeline("country", folder, sink)


def to_files(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Into files of a folder."""
    return _pipeline("files", folder, ids(rate).write_files(folder / "out", format="parquet"))


def to_kafka(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Into a topic that the file "topic" of the folder names; in Avro, if it names a registry."""
    servers, topic, *registry = (folder / "topic").read_text().split()
    if registry:
        sink = ids(rate).write_kafka(
            topic, servers=servers, key="id", format="avro", registry=registry[0]
        )
    else:
        sink = ids(rate).write_kafka(topic, servers=servers, key="id")
    return _pipeline("topic", folder, sink)


def embedded(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Texts that come several times, also in several epochs, and their vectors."""
    text = fz.concat_str(fz.lit("document "), (fz.col("id") // 40).cast(str))
    rows = ids(rate).select("id", text=text)
    vectors = rows.embed("text", into="vector", model=NotedModel(folder / "asked.txt"))
    return _pipeline("embedded", folder, vectors.write_iceberg("t.embedded", catalog=catalog))


def bad_rows(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """A file of which every third row is bad, and a table of these."""
    return _bad_rows(folder, catalog, int)


@fz.udf(on_error="divert")
def odd(number: int) -> int:
    """Raise for every third row."""
    if number % 3 == 0:
        raise ValueError(number)
    return number


def failing(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """A function that raises for every third row, and a table of these."""
    kept = ids(rate).filter(odd(fz.coalesce(fz.col("id"), 0)) >= 0)
    return fz.Pipeline(
        "failing",
        kept.write_iceberg("t.one", catalog=catalog),
        dead_letters="t.letters",
        checkpoint=str(folder / "checkpoints"),
    )


def replayed(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """The program mended, and the bad rows sent again."""
    mended = _bad_rows(folder, catalog, str)
    assert mended.letters is not None
    place = Path(tempfile.mkdtemp(dir=folder))
    made, _ = replay_pipeline(mended, mended.letters, mended.sinks[0], place)
    assert made is not None
    return made


def _bad_rows(folder: Path, catalog: Catalog, country: type) -> fz.Pipeline:
    lines = folder / "lines.jsonl"
    if not lines.exists():
        bad = ['"XX"', "7", '"YY"']
        rows = [f'{{"id": {i}, "country": {bad[i % 3]}}}' for i in range(ROWS)]
        lines.write_text("\n".join(rows))
    given = fz.read_files(
        str(lines), format="json", schema={"id": int, "country": country}, name="lines"
    )
    rows_of = given.with_columns(country=fz.col("country").cast(str))
    return fz.Pipeline(
        "bad",
        rows_of.write_iceberg("t.one", catalog=catalog),
        dead_letters="t.letters",
        checkpoint=str(folder / "checkpoints"),
    )


def window_streams(rate: float | None) -> tuple[fz.Stream, fz.Stream]:
    """Windows of a quarter of a second, and the rows that are too late for theirs."""
    rows = fz.read_generator(rows=ROWS, rate=rate, partitions=2)
    kept = rows.select("id", "country", "amount", "at")
    windows = (
        kept.event_time("at", out_of_order="1s")
        .group_by("country")
        .window(fz.hopping("500ms", every="250ms"))
        .agg(rows=fz.count(), total=fz.col("amount").sum(), last=fz.col("id").last())
    )
    return windows, windows.late


def windowed(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Windows into one table, late rows into another."""
    windows, late = window_streams(rate)
    sinks = [windows.write_iceberg("t.one", catalog=catalog)]
    sinks.append(late.write_iceberg("t.late", catalog=catalog))
    return _pipeline("windows", folder, *sinks)


def ordered_streams(rate: float | None) -> dict[str, fz.Stream]:
    """Rows of a country in event-time order: one of several, totals up to each, the best ones."""
    rows = fz.read_generator(rows=ROWS, rate=rate, partitions=2)
    timed = rows.select("id", "country", "user", "amount", "at").event_time("at", out_of_order="1s")
    kept = timed.group_by("country").rate_limit(20, per="1s")
    windows = timed.group_by("user").window(fz.tumbling("100ms"))
    sums = windows.agg(rows=fz.count(), last=fz.col("id").last())
    spent = {"total": fz.col("amount").sum(), "kinds": fz.col("user").count_distinct()}
    return {
        "t.first": timed.deduplicate("user", within="2s", keep="first"),
        "t.last": timed.deduplicate("user", within="2s", keep="last"),
        "t.totals": timed.group_by("user").running(spent, ttl="3s"),
        "t.pairs": timed.group_by("user").pattern(
            [
                fz.step("low", fz.col("amount") < 20),
                fz.without(fz.col("amount").is_between(40, 50)),
                fz.step("high", fz.col("amount") > 60, columns=["id", "amount"]),
            ],
            within="3s",
        ),
        "t.alone": timed.group_by("user").pattern(
            [fz.step("low", fz.col("amount") < 20), fz.without(fz.col("amount") > 60)],
            within="2s",
        ),
        "t.kept": kept,
        "t.limited": kept.limited,
        "t.filled": sums.fill_gaps(rows=0, last=fz.previous(), lasting="500ms"),
        "t.best": timed.assign_window(fz.hopping("500ms", every="250ms"))
        .group_by("country")
        .top_n(3, by="amount", rank="place"),
    }


def ordered(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """A table for each of them."""
    streams = ordered_streams(rate)
    sinks = [stream.write_iceberg(name, catalog=catalog) for name, stream in streams.items()]
    return _pipeline("ordered", folder, *sinks)


class Visits(fz.KeyedFunction):
    """Rows of a user with no more than 100 ms between them, given by a timer."""

    ids: fz.State[list[int]]
    closes: fz.State[datetime | None]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        for row in rows:
            self.ids.value.append(row.id)
            if self.closes.value is not None:
                out.cancel_timer(self.closes.value)
            self.closes.value = row.at + timedelta(milliseconds=100)
            out.timer(self.closes.value)

    def on_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        out.emit(user=key, ids=",".join(map(str, self.ids.value)), end=time)
        self.ids.clear()
        self.closes.clear()


class Totals(fz.KeyedFunction):
    """Totals of a country up to each row."""

    totals: fz.State[dict[str, float]]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        for row in rows:
            totals = self.totals.value
            totals[row.user] = totals.get(row.user, 0.0) + row.amount
            out.emit(id=row.id, users=len(totals), total=totals[row.user])


class Numbers(fz.KeyedFunction):
    """The number of rows of a country, as columns."""

    rows: fz.State[int]

    def on_groups(
        self, batch: pa.RecordBatch, offsets: pa.Int32Array, state: fz.GroupStates, out: fz.Out
    ) -> None:
        numbers = state.rows.to_pylist()
        made = []
        for key, (first, last) in enumerate(pairwise(offsets.to_pylist())):
            made += range(numbers[key] + 1, numbers[key] + 1 + last - first)
            numbers[key] += last - first
        state.rows = numbers
        columns = [batch.column("id"), pa.array(made, pa.int64())]
        out.batch(pa.RecordBatch.from_arrays(columns, names=["id", "number"]))


@fz.async_udf(concurrency=50, cache=100, pure=True)
async def label(user: str | None, id: int) -> str:
    """What a service would say of a row."""
    await asyncio.sleep(0.001)
    return f"{user}/{id}"


class Range:
    """Between the least and the largest amount."""

    def create(self) -> list[float]:
        return []

    def add(self, state: list[float], x: float) -> list[float]:
        return self.merge(state, [x])

    def merge(self, state: list[float], other: list[float]) -> list[float]:
        return [min(state + other), max(state + other)]

    def finish(self, state: list[float]) -> float | None:
        return state[1] - state[0] if state else None


def keyed_streams(rate: float | None) -> dict[str, fz.Stream]:
    """Python functions with state and timers, an aggregate of a class, coroutines."""
    rows = fz.read_generator(rows=ROWS, rate=rate, partitions=2)
    timed = rows.select("id", "country", "user", "amount", "at").event_time("at", out_of_order="1s")
    visit = {"user": pa.string(), "ids": pa.string(), "end": datetime}
    total = {"id": pa.int64(), "users": pa.int64(), "total": pa.float64()}
    number = {"id": pa.int64(), "number": pa.int64()}
    visits = timed.group_by("user").process(Visits, schema=visit, event_time="end")
    return {
        "t.visits": visits,
        "t.windows": visits.group_by().window(fz.tumbling("100ms")).agg(rows=fz.count()),
        "t.totals": timed.group_by("country").process(Totals, schema=total),
        "t.labels": timed.select("id", label=label(fz.col("user"), fz.col("id"))),
        "t.ranges": timed.group_by("country")
        .window(fz.hopping("500ms", every="250ms"))
        .agg(range=fz.aggregate(Range)(fz.col("amount"))),
        "t.numbers": timed.group_by("country").process(Numbers, schema=number),
    }


def keyed(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """A table for each of them."""
    streams = keyed_streams(rate)
    sinks = [stream.write_iceberg(name, catalog=catalog) for name, stream in streams.items()]
    return _pipeline("keyed", folder, *sinks)


def by_clock(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Rows that go on by the machine's clock; the last of them in the next run."""
    schema = {"id": int, "country": str}
    flushed = ids(rate).group_by("country").process(Flushed(folder / "kill-at"), schema=schema)
    return _pipeline("by_clock", folder, flushed.write_iceberg("t.one", catalog=catalog))


def changing_streams(rate: float | None) -> dict[str, fz.Stream]:
    """Logs of totals that change, of some of them, and of windows before they close."""
    rows = fz.read_generator(rows=ROWS, rate=rate, partitions=2)
    timed = rows.select("id", "country", "user", "amount", "at").event_time("at", out_of_order="1s")
    spent = {"rows": fz.count(), "total": fz.col("amount").sum(), "last": fz.col("id").last()}
    totals = timed.group_by("user").agg(spent)
    windows = timed.group_by("country").window(fz.hopping("500ms", every="250ms"), early="100ms")
    per_size = {"users": fz.count(), "total": fz.col("total").sum()}
    sizes = totals.group_by(size=fz.col("rows") % 37).agg(per_size)
    return {
        "t.totals": totals.as_log(),
        "t.sizes": sizes.as_log(),
        "t.range": totals.filter(fz.col("rows").is_between(3, 8)).as_log(),
        "t.early": windows.agg(spent).as_log(),
    }


def changing(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """A table for each of them."""
    streams = changing_streams(rate)
    sinks = [stream.write_iceberg(name, catalog=catalog) for name, stream in streams.items()]
    return _pipeline("changing", folder, *sinks)


def by_key_streams(rate: float | None) -> dict[str, tuple[fz.Stream, list[str]]]:
    """Totals that change, some of them, and rows that replace each other; each with its key."""
    rows = fz.read_generator(rows=ROWS, rate=rate, partitions=2)
    spent = {"rows": fz.count(), "total": fz.col("amount").sum()}
    totals = rows.group_by(k=fz.col("id") % 300).agg(spent)
    return {
        "t.totals": (totals, ["k"]),
        "t.range": (totals.filter(fz.col("rows") % 4 != 0), ["k"]),
        "t.rows": (rows.select("id", "country", "amount"), ["id"]),
    }


def by_key(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """A table for each of them, of both format versions; in one of them rows move between
    partitions.
    """
    partition_by = {"t.totals": ["bucket(3, rows)"]}
    sinks = [
        stream.write_iceberg(
            name,
            catalog=catalog,
            mode="upsert",
            key=key,
            partition_by=partition_by.get(name, ()),
            format_version=2 if name == "t.range" else 3,
        )
        for name, (stream, key) in by_key_streams(rate).items()
    ]
    return _pipeline("by_key", folder, *sinks)


def joined_streams(rate: float | None) -> dict[str, fz.Stream]:
    """Two streams side by side, of two readers: by time, by window, and as of a time."""

    def timed(name: str, seed: int) -> fz.Stream:
        rows = fz.read_generator(rows=ROWS, rate=rate, partitions=2, seed=seed, name=name)
        return rows.select("id", "user", "amount", "at").event_time("at", out_of_order="500ms")

    def per_second(rows: fz.Stream) -> fz.Stream:
        return rows.group_by("user").window(fz.tumbling("1s")).agg(rows=fz.count())

    left, right = timed("left", 0), timed("right", 1)
    return {
        "t.full": left.join(right, on="user", before="300ms", after="50ms", how="full"),
        "t.semi": left.join(right, on="user", within="40ms", how="semi"),
        "t.windows": per_second(left).join(per_second(right), on="user", how="left"),
        "t.asof": left.join_asof(right, on="user"),
    }


def joined(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """A table for each of them."""
    streams = joined_streams(rate)
    sinks = [stream.write_iceberg(name, catalog=catalog) for name, stream in streams.items()]
    return _pipeline("joined", folder, *sinks)


def many_tables(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """A table for each country, made as rows come: all rows, or the newest of 500 keys."""
    rows = ids(rate)
    newest = rows.with_columns(k=fz.col("id") % 500)
    sinks = [
        rows.write_iceberg(fz.route("t.all_{country}"), catalog=catalog, name="all"),
        newest.write_iceberg(
            fz.route("t.new_{country}"), catalog=catalog, mode="upsert", key=["k"], name="new"
        ),
    ]
    return _pipeline("many", folder, *sinks)


def expanding(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Rows of which a seventh has a field that nobody declared, another one every 1500 rows."""
    number = fz.col("id")
    field = fz.concat_str('{"f', (number // 1500).cast(str), '": ', number.cast(str), "}")
    rows = ids(rate).with_columns(
        k=number % 500, part=(number % 3).cast(str), rest=fz.when(number % 7 == 3).then(field)
    )
    drift = fz.Drift(on_new_column="evolve", expand="rest")
    sinks = [
        rows.write_iceberg("t.all", catalog=catalog, name="all", drift=drift),
        rows.write_iceberg(
            "t.new", catalog=catalog, mode="upsert", key=["k"], name="new", drift=drift
        ),
        rows.write_iceberg(fz.route("t.of_{part}"), catalog=catalog, name="of", drift=drift),
    ]
    return _pipeline("expanding", folder, *sinks)


def _nexmark(query: Query) -> Build:
    """A query of Nexmark over the events in the folder."""

    def build(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
        rows = query.build(Events(folder / "in"))
        sink = rows.write_iceberg("t.one", catalog=catalog, partition_by=list(query.partition_by))
        return _pipeline("nexmark", folder, sink)

    return build


def from_python(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """From a source in Python whose reads are of other sizes in each run, into a table."""
    rows = fz.read_python(PythonIds(rate), schema={"id": int, "country": str})
    return _pipeline("from_python", folder, rows.write_iceberg("t.one", catalog=catalog))


def to_python(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Into a sink in Python, which renames files."""
    return _pipeline("to_python", folder, ids(rate).write_python(PythonFiles(folder / "out")))


def to_ledger(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Into a sink in Python that is given rows to commit, with their epoch, to SQLite."""
    return _pipeline("to_ledger", folder, ids(rate).write_python(Ledger(folder / "ledger.db")))


def to_postgres(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Into tables of the server that the file "postgres" names: rows, and totals by key."""
    dsn = (folder / "postgres").read_text()
    rows = ids(rate)
    totals = rows.group_by(k=fz.col("id") % 300).agg(n=fz.count(), last=fz.col("id").sum())
    some = totals.filter(fz.col("n") % 4 != 0)
    sinks = [
        rows.write_postgres("rows", dsn=dsn),
        totals.write_postgres("totals", dsn=dsn, mode="upsert", key="k"),
        some.write_postgres("some", dsn=dsn, mode="upsert", key="k"),
    ]
    return _pipeline("to_postgres", folder, *sinks)


def from_http(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """From an endpoint at the port that the file "port" names."""
    port = int((folder / "port").read_text())
    ingest = fz.HttpIngest(folder / "requests", schema={"id": int}, port=port)
    return _pipeline(
        "from_http", folder, fz.read_http(ingest).write_iceberg("t.one", catalog=catalog)
    )


def from_objects(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """From objects of which the topic in the file "objects" tells."""
    servers, topic, endpoint, key, secret = (folder / "objects").read_text().split()
    os.environ |= {"OBJECTS_KEY": key, "OBJECTS_SECRET": secret}
    access = fz.S3(
        endpoint=endpoint,
        access_key=fz.secret("OBJECTS_KEY"),
        secret_key=fz.secret("OBJECTS_SECRET"),
    )
    rows = fz.read_object_notifications(
        topic, servers=servers, format="json", schema={"id": int}, s3=access
    )
    return _pipeline("from_objects", folder, rows.write_iceberg("t.one", catalog=catalog))


def from_sql(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """From the table `orders` of the database whose URL is in the file "sql"."""
    rows = fz.read_sql(
        "orders",
        url=(folder / "sql").read_text(),
        schema={"id": int},
        cursor=("at", "id"),
        every="20ms",
        lag="400ms",
        max_rows=50,
    )
    return _pipeline("from_sql", folder, rows.write_iceberg("t.one", catalog=catalog))


def to_lancedb(folder: Path, catalog: Catalog, rate: float | None) -> fz.Pipeline:
    """Into tables of LanceDB: rows with vectors, and the last row of each key."""
    rows = ids(rate)
    vectors = rows.map_batches(with_vectors, schema=VECTORS)
    last = rows.select("id", k=fz.col("id") % 300)
    sinks = [
        vectors.write_lancedb(str(folder / "lance"), "rows", vectors={"vector": 2}),
        last.write_lancedb(str(folder / "lance"), "last", mode="upsert", key="k"),
    ]
    return _pipeline("to_lancedb", folder, *sinks)


VECTORS = pa.schema([pa.field("id", pa.int64(), False), ("vector", pa.list_(pa.float32()))])


def with_vectors(rows: pa.RecordBatch) -> pa.RecordBatch:
    """A point of the parabola for each row."""
    numbers = rows["id"].to_pylist()
    points = [[float(n), float(n) ** 2] for n in numbers]
    return pa.RecordBatch.from_arrays(
        [rows["id"], pa.array(points, VECTORS.field("vector").type)], schema=VECTORS
    )


PIPELINES: Mapping[str, Build] = {
    build.__name__: build
    for build in (
        one_table,
        second,
        two_sinks,
        two_tables,
        few_rows,
        by_country,
        to_files,
        to_kafka,
        embedded,
        bad_rows,
        failing,
        replayed,
        windowed,
        ordered,
        keyed,
        by_clock,
        changing,
        by_key,
        joined,
        many_tables,
        expanding,
        from_python,
        to_python,
        to_ledger,
        to_postgres,
        from_http,
        from_objects,
        from_sql,
        to_lancedb,
    )
} | {f"nexmark_{name}": _nexmark(query) for name, query in QUERIES.items()}
