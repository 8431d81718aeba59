"""Random event streams, how windows are run over them, and what DuckDB says of the same rows.

DuckDB is given the definitions of docs/concepts/time.md and nothing of how the engine works: the
watermark of a row is the largest time before it in its partition, less `out_of_order`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import duckdb
import frazil as fz
import pyarrow as pa
from frazil import col

SECOND = 1_000_000  # us
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN_US = int(BEGIN.timestamp()) * SECOND
EVENT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("user", pa.string()),
        pa.field("n", pa.int64()),
        pa.field("x", pa.float64()),
    ]
)

Event = dict[str, Any]


@dataclass(frozen=True)
class Cut:
    """A kind of window; seconds. The size of sessions is their gap."""

    kind: str
    size: int
    every: int
    offset: int = 0

    @property
    def window(self) -> fz.Window:
        """The window as a program writes it."""
        size, every, offset = f"{self.size}s", f"{self.every}s", f"{self.offset}s"
        moved = {"offset": offset} if self.offset else {}
        if self.kind == "tumbling":
            return fz.tumbling(size, **moved)
        if self.kind == "hopping":
            return fz.hopping(size, every=every, **moved)
        if self.kind == "session":
            return fz.session(gap=size)
        return fz.cumulating(size, every=every, **moved)

    def late(self, lateness: int) -> str:
        """Whether a row is late for its window."""
        if self.kind == "session":
            return f"rw IS NOT NULL AND us < rw - {lateness * SECOND}"
        return f"rw IS NOT NULL AND we + {lateness * SECOND} <= rw"

    @property
    def closes(self) -> str:
        """How the end of a window that is closed is to the watermark, less the lateness."""
        return "<" if self.kind == "session" else "<="

    def sql(self, keys: Sequence[str], lateness: int) -> str:
        """Rows of `marked` with each window they are in: ws and we, in us, or null."""
        if self.kind == "session":
            by = "".join(f'"{key}", ' for key in keys)
            gap, late = self.size * SECOND, self.late(lateness)
            order = f"{'PARTITION BY ' + by[:-2] if keys else ''} ORDER BY us, p, pos"
            return (
                f"WITH accepted AS (SELECT * FROM marked WHERE NOT ({late})), "
                f"begun AS (SELECT *, us - lag(us) OVER ({order}) > {gap} AS far FROM accepted), "
                "numbered AS (SELECT *, sum(coalesce(far, true)::INT) OVER "
                f"({order} ROWS UNBOUNDED PRECEDING) AS s FROM begun) "
                f"SELECT * EXCLUDE (far, s), min(us) OVER (PARTITION BY {by}s) AS ws, "
                f"max(us) OVER (PARTITION BY {by}s) + {gap} AS we FROM numbered UNION ALL BY NAME "
                f"SELECT *, NULL::BIGINT AS ws, NULL::BIGINT AS we FROM marked WHERE {late}"
            )
        size, every, offset = (n * SECOND for n in (self.size, self.every, self.offset))
        if self.kind == "cumulating":
            begin = f"(us - {offset}) // {size} * {size} + {offset}"
            steps = f"generate_series((us - ({begin})) // {every} + 1, {size // every})"
            return f"SELECT *, {begin} AS ws, {begin} + unnest({steps}) * {every} AS we FROM marked"
        begin = f"(us - {offset}) // {every} * {every} + {offset}"
        starts = f"{begin} - unnest(generate_series(0, {size // every - 1})) * {every}"
        return f"SELECT *, ws + {size} AS we FROM (SELECT *, {starts} AS ws FROM marked)"


CUTS = (
    Cut("tumbling", 20, 20),
    Cut("tumbling", 30, 30, 7),
    Cut("hopping", 30, 10),
    Cut("hopping", 40, 20, 5),
    Cut("hopping", 20, 20),
    Cut("cumulating", 60, 20),
    Cut("cumulating", 40, 10, 10),
    Cut("session", 3, 0),
    Cut("session", 10, 0),
)

# An aggregate as a program writes it, and in SQL. Those of IN_ORDER need times that differ.
AGGREGATES: Mapping[str, tuple[Any, str]] = {
    "rows": (fz.count(), "count(*)"),
    "users": (col("user").count(), "count(user)"),
    "total": (col("n").sum(), "sum(n)::BIGINT"),
    "share": (col("x").sum(), "sum(x)"),
    "least": (col("n").min(), "min(n)"),
    "latest": (col("at").max(), 'max("at")'),
    "name": (col("user").max(), "max(user)"),
    "average": (col("n").mean(), "avg(n)"),
    "kinds": (col("n").count_distinct(), "count(DISTINCT n)"),
    "some": (fz.count().filter(col("n") > 2), "count(*) FILTER (WHERE n > 2)"),
    "part": (
        col("x").sum().filter(col("user") == "ada"),
        "sum(x) FILTER (WHERE \"user\" = 'ada')",
    ),
}
IN_ORDER: Mapping[str, tuple[Any, str]] = {
    "first": (col("n").first(), "first(n ORDER BY us, p, pos) FILTER (WHERE n IS NOT NULL)"),
    "last": (col("x").last(), "last(x ORDER BY us, p, pos) FILTER (WHERE x IS NOT NULL)"),
    "last_id": (col("id").last(), "last(id ORDER BY us, p, pos)"),
}


def draw_partitions(
    rng: Random, *, most: int = 4, rows: int = 40, whole: bool = False
) -> list[list[Event]]:
    """Partitions with times that rise at a speed of each its own, and rows behind that.

    `whole`: all have so many rows, and each row a time.
    """
    partitions = []
    number = 0
    apart = rng.random() < 0.5  # no two partitions have the same time
    nulls = rng.random() < 0.3 and not whole
    for p in range(rng.randint(1, most)):
        seconds, speed = rng.choice([0, 0, 0, 30]), rng.choice([3, 6, 6, 9])
        events: list[Event] = []
        for _ in range(rows if whole else rng.choice([1, rows // 4, *[rows] * 8])):
            seconds += rng.randint(0, speed)
            back = rng.choice([0, 0, 0, 0, 1, 5, 8, 20, 25, 60])
            at = BEGIN + timedelta(seconds=max(0, seconds - back), microseconds=p * apart)
            events.append(
                {
                    "id": number,
                    "at": None if nulls and rng.random() < 0.1 else at,
                    "user": rng.choice(["ada", "bob", "", None]),
                    "n": rng.choice([None, *range(-3, 6)]),
                    "x": rng.choice([None, rng.randint(-9_000, 9_000) / 8]),
                }
            )
            number += 1
        partitions.append(events)
    return partitions


def events_at(*seconds: int, user: str = "ada") -> list[Event]:
    """A partition with rows at these seconds."""
    return [
        {"id": n, "at": BEGIN + timedelta(seconds=s), "user": user, "n": n, "x": n / 8}
        for n, s in enumerate(seconds)
    ]


@dataclass(frozen=True, kw_only=True)
class Query:
    """A window over events, as a program and as SQL."""

    cut: Cut
    out_of_order: int  # s
    lateness: int = 0  # s
    keys: Sequence[str] = ("user",)
    aggregates: Sequence[str] = ("rows",)
    filter: str = "none"  # "before" event_time, or "after" it: rows with an id not divisible by 3
    names: Sequence[str] = field(default=())  # of the partitions

    def stream(self, events: fz.Stream) -> fz.Stream:
        """The windows of a stream of events."""
        return self.windows(self.timed(events))

    def timed(self, events: fz.Stream) -> fz.Stream:
        """Events with event time."""
        kept = col("id") % 3 != 0
        if self.filter == "before":
            events = events.filter(kept)
        timed = events.event_time("at", out_of_order=f"{self.out_of_order}s")
        if self.filter == "after":
            timed = timed.filter(kept)
        return timed

    def windows(self, timed: fz.Stream) -> fz.Stream:
        """The windows of events that have event time."""
        known = {**AGGREGATES, **IN_ORDER}
        return (
            timed.group_by(*self.keys)
            .window(self.cut.window, lateness=f"{self.lateness}s")
            .agg({name: known[name][0] for name in self.aggregates})
        )

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        """Everything to be kept of a stream of events."""
        windows = self.stream(events)
        return {
            "results": windows,
            "late": windows.late,
            "bad": events.rejected.drop("epoch", "log"),
        }

    def oracle(
        self,
        partitions: Sequence[Sequence[Event]],
        starts: Mapping[int, int] | None = None,
        over: int = 0,
    ) -> Oracle:
        """What DuckDB says.

        Parameters
        ----------
        starts
            Of partitions that came later: where event time stood then, plus out_of_order (us).
        over
            How many, the first ones, hold event time no more at the end.
        """
        known = {**AGGREGATES, **IN_ORDER}
        keys = "".join(f'"{key}", ' for key in self.keys)
        values = ", ".join(f"{known[name][1]} AS {name}" for name in self.aggregates)
        late = self.cut.late(self.lateness)
        ends = f"(SELECT min(f) - {(self.out_of_order + self.lateness) * SECOND} FROM frontiers)"
        closed = f"(SELECT count(f) = count(*) FROM frontiers) AND we {self.cut.closes} {ends}"
        bounds = "make_timestamptz(ws) AS window_start, make_timestamptz(we) AS window_end"
        results = (
            f"SELECT {keys}{bounds}, {values}, {closed} AS closed FROM spread "
            f"WHERE NOT ({late}) GROUP BY {keys}ws, we"
        )
        lates = (
            f'SELECT id, "at", "user", n, x, {bounds}, make_timestamptz(rw) AS watermark, '
            f"part AS partition, place AS position FROM spread WHERE {late}"
        )
        kept = "id % 3 <> 0"
        before = f"WHERE {kept}" if self.filter == "before" else ""
        after = f"WHERE {kept}" if self.filter == "after" else ""
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("given", self._table(partitions))
            given = [(starts or {}).get(p) for p in range(len(partitions))]
            parts = {"p": pa.array(range(len(partitions))), "begin": pa.array(given, pa.int64())}
            connection.register("parts", pa.table(parts))
            connection.execute(f"CREATE TABLE events AS SELECT * FROM given {before}")
            connection.execute(
                "CREATE TABLE frontiers AS SELECT p, greatest(max(us), begin) AS f "
                f"FROM parts LEFT JOIN events USING (p) WHERE p >= {over} GROUP BY p, begin"
            )
            connection.execute(
                "CREATE TABLE marked AS SELECT *, greatest(begin, max(us) OVER (PARTITION BY p "
                "ORDER BY pos ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) "
                f"- {self.out_of_order * SECOND} AS rw FROM events JOIN parts USING (p)"
            )
            connection.execute(
                f"DELETE FROM marked WHERE us IS NULL OR NOT ({after[6:] or 'true'})"
            )
            connection.execute(f"CREATE TABLE spread AS {self.cut.sql(self.keys, self.lateness)}")
            return Oracle(
                connection.execute(results).to_arrow_table().to_pylist(),
                connection.execute(lates).to_arrow_table().to_pylist(),
            )

    def _table(self, partitions: Sequence[Sequence[Event]]) -> pa.Table:
        rows = [
            {
                "p": p,
                "pos": pos,
                "part": self.names[p] if self.names else f"memory-{p}",
                "place": event.get("place", pos),
                "us": None if event["at"] is None else us_of(event["at"]),
                **{name: event[name] for name in EVENT_SCHEMA.names},
            }
            for p, events in enumerate(partitions)
            for pos, event in enumerate(events)
        ]
        added = [(name, pa.int64()) for name in ("p", "pos", "place", "us")]
        schema = pa.schema([*EVENT_SCHEMA, *map(pa.field, *zip(*added, strict=True))])
        return pa.Table.from_pylist(rows, schema.append(pa.field("part", pa.string())))


@dataclass(frozen=True)
class Oracle:
    """Rows of windows, each with whether the end of the rows closes it; and late rows."""

    rows: list[Event]
    late: list[Event]

    def results(self, *, all_closed: bool) -> list[Event]:
        """Rows that are given when all events have been read."""
        return [
            {name: value for name, value in row.items() if name != "closed"}
            for row in self.rows
            if all_closed or row["closed"]
        ]


def us_of(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def counted(rows: Sequence[Event]) -> Counter[tuple[tuple[str, str], ...]]:
    """Rows as a multiset in which doubles are equal only to the last bit."""
    return Counter(tuple(sorted((k, _plain(v)) for k, v in row.items())) for row in rows)


def _plain(value: object) -> str:
    return str(us_of(value)) if isinstance(value, datetime) else repr(value)


def draw_query(rng: Random, partitions: Sequence[Sequence[Event]], **fixed: Any) -> Query:
    """Any window over these partitions."""
    known = list(AGGREGATES)
    if not _meet(partitions):
        known += IN_ORDER
    query = Query(
        cut=rng.choice(CUTS),
        out_of_order=rng.choice([0, 5, 20]),
        lateness=rng.choice([0, 10]),
        keys=rng.choice([("user",), ("user",), (), ("user", "n")]),
        aggregates=rng.sample(known, rng.randint(1, 4)),
        filter=rng.choice(["none", "none", "before", "after"]),
    )
    return replace(query, **fixed)


def _meet(partitions: Sequence[Sequence[Event]]) -> bool:
    """Whether two partitions have a time in common: their order is no business of SQL."""
    sets = [{event["at"] for event in events} - {None} for events in partitions]
    return sum(map(len, sets)) != len(set[Any]().union(*sets))
