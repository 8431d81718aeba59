"""Joins of two streams: how they are run, and what DuckDB says of the same rows.

DuckDB is given the definitions of docs/joins.md and docs/concepts/time.md, and nothing of how the
engine works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import frazil as fz
import pyarrow as pa
from frazil.checkpoint.memory_store import MemoryStore

from tests.pipelines.events import EVENT_SCHEMA, SECOND, Event, us_of
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    from random import Random

Sides = tuple[Sequence[Sequence[Event]], Sequence[Sequence[Event]]]
HOWS = ("inner", "left", "right", "full", "semi", "anti")


class JoinProcesses(Processes):
    """A pipeline over two sources of events, "left" and "right", and its checkpoints."""

    NAMES = ("left", "right")

    def __init__(
        self, sides: Sides, build: Callable[[fz.Stream, fz.Stream], dict[str, fz.Stream]]
    ) -> None:
        self.sides: Mapping[str, Sequence[Sequence[Event]]] = dict(
            zip(self.NAMES, sides, strict=True)
        )
        readers = [
            fz.read_memory(
                pa.Table.from_pylist([e for part in parts for e in part], EVENT_SCHEMA),
                partitions=len(parts),
                name=name,
            )
            for name, parts in self.sides.items()
        ]
        streams = build(*readers)
        self.sinks = {name: stream.write_memory(name=name) for name, stream in streams.items()}
        self.store = MemoryStore()

    def partitions_of(self, source: str) -> Sequence[Sequence[Event]]:
        """The events of a source."""
        return self.sides[source]


@dataclass(frozen=True, kw_only=True)
class AnyJoin:
    """A join, as a program and as SQL; seconds."""

    how: str
    out_of_order: tuple[int, int]
    keys: Sequence[str] = ("user",)

    def streams(self, left: fz.Stream, right: fz.Stream) -> dict[str, fz.Stream]:
        """Everything to be kept."""
        bad = {"bad": left.rejected, "bad_right": right.rejected}
        # None of a right column's names is in the left one.
        names = {name: f"{name}_r" for name in EVENT_SCHEMA.names if name not in self.keys}
        joined = self.joined(
            left.event_time("at", out_of_order=f"{self.out_of_order[0]}s"),
            right.event_time("at", out_of_order=f"{self.out_of_order[1]}s").rename(names),
        )
        return {"results": joined, "late": joined.late, "late_right": joined.late_right, **bad}

    def joined(self, left: fz.Stream, right: fz.Stream) -> fz.Stream:
        """The join of two streams with event time."""
        raise NotImplementedError

    def sql(self) -> str:
        """Rows of the tables l and r, with whether each is known at the end of the rows."""
        raise NotImplementedError

    def oracle(self, sides: Sides) -> JoinOracle:
        """What DuckDB says."""
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for name, partitions, disorder in zip("lr", sides, self.out_of_order, strict=True):
                _mark(connection, name, partitions, disorder * SECOND)
            results = connection.execute(self.sql()).to_arrow_table().to_pylist()
            late = [connection.execute(_late(name)).to_arrow_table().to_pylist() for name in "lr"]
        rights = set(EVENT_SCHEMA.names) - set(self.keys)
        renamed = [
            {f"{name}_r" if name in rights else name: value for name, value in row.items()}
            for row in late[1]
        ]
        return JoinOracle(results, late[0], renamed)


@dataclass(frozen=True, kw_only=True)
class JoinQuery(AnyJoin):
    """An interval join."""

    before: int
    after: int

    def joined(self, left: fz.Stream, right: fz.Stream) -> fz.Stream:
        """The join of two streams with event time."""
        return left.join(
            right,
            on=list(self.keys),
            before=f"{self.before}s",
            after=f"{self.after}s",
            how=self.how,  # type: ignore[arg-type]
        )

    def sql(self) -> str:
        """Rows of the tables l and r, with whether each is known at the end of the rows."""
        on = " AND ".join(f'l."{key}" = r."{key}"' for key in self.keys)
        on += f" AND r.us BETWEEN l.us - {self.before * SECOND} AND l.us + {self.after * SECOND}"
        mine = ", ".join(f'l."{name}" AS "{name}"' for name in EVENT_SCHEMA.names)
        rest = [name for name in EVENT_SCHEMA.names if name not in self.keys]
        theirs = ", ".join(f'r."{name}" AS "{name}_r"' for name in rest)
        null = " OR ".join(f'"{key}" IS NULL' for key in self.keys)
        # When a row is known to have no partner: the other watermark is past all that could be one.
        left_over = f"coalesce(us + {self.after * SECOND} < (SELECT w FROM w_r), false) OR {null}"
        right_over = f"coalesce(us + {self.before * SECOND} < (SELECT w FROM w_l), false) OR {null}"
        lefts = f"SELECT {mine}, {{}} AS closed FROM l WHERE {{}} EXISTS (FROM r WHERE {on})"
        if self.how == "semi":
            return lefts.format("true", "")
        if self.how == "anti":
            return lefts.format(left_over, "NOT")
        parts = [f"SELECT {mine}, {theirs}, true AS closed FROM l JOIN r ON {on}"]
        if self.how in ("left", "full"):
            parts.append(lefts.format(left_over, "NOT"))
        if self.how in ("right", "full"):
            keys = ", ".join(f'"{key}"' for key in self.keys)
            alone = ", ".join(f'"{name}" AS "{name}_r"' for name in rest)
            parts.append(
                f"SELECT {keys}, {alone}, {right_over} AS closed FROM r "
                f"WHERE NOT EXISTS (FROM l WHERE {on})"
            )
        sql = " UNION ALL BY NAME ".join(parts)
        return (
            f'SELECT *, coalesce("at", at_r) AS event_time FROM ({sql})'
            if self.how == "full"
            else sql
        )


@dataclass(frozen=True, kw_only=True)
class AsofQuery(AnyJoin):
    """An as-of join. Right rows of one key and time have to be of one partition."""

    tolerance: int | None

    def joined(self, left: fz.Stream, right: fz.Stream) -> fz.Stream:
        """The join of two streams with event time."""
        return left.join_asof(
            right,
            on=list(self.keys),
            tolerance=None if self.tolerance is None else f"{self.tolerance}s",
            how=self.how,  # type: ignore[arg-type]
        )

    def sql(self) -> str:
        """Rows of the tables l and r, with whether each is known at the end of the rows."""
        on = " AND ".join(f'l."{key}" = r."{key}"' for key in self.keys) + " AND r.us <= l.us"
        if self.tolerance is not None:
            on += f" AND r.us >= l.us - {self.tolerance * SECOND}"
        mine = ", ".join(f'l."{name}" AS "{name}"' for name in EVENT_SCHEMA.names)
        rest = [name for name in EVENT_SCHEMA.names if name not in self.keys]
        theirs = ", ".join(f'r."{name}" AS "{name}_r"' for name in rest)
        null = " OR ".join(f'l."{key}" IS NULL' for key in self.keys)
        kind = "LEFT JOIN" if self.how == "left" else "JOIN"
        return (
            f"SELECT {mine}, {theirs}, {null} OR coalesce(l.us < (SELECT w FROM w_r), false) "
            f"AS closed FROM l {kind} r ON {on} "
            "QUALIFY row_number() OVER (PARTITION BY l.p, l.pos ORDER BY r.us DESC, r.pos DESC) = 1"
        )


@dataclass(frozen=True)
class JoinOracle:
    """Rows of a join, each with whether it is known at the end of the rows; and late rows."""

    rows: list[Event]
    late: list[Event]
    late_right: list[Event]

    def results(self, *, all_closed: bool) -> list[Event]:
        """Rows that are given when all events have been read."""
        return [
            {name: value for name, value in row.items() if name != "closed"}
            for row in self.rows
            if all_closed or row["closed"]
        ]


def _mark(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    partitions: Sequence[Sequence[Event]],
    disorder: int,
) -> None:
    """Make tables of a side: all rows with their watermarks, those not late, its watermark."""
    rows: list[dict[str, Any]] = [
        {
            "p": p,
            "pos": pos,
            "part": f"memory-{p}",
            "us": None if event["at"] is None else us_of(event["at"]),
            **event,
        }
        for p, events in enumerate(partitions)
        for pos, event in enumerate(events)
    ]
    schema = EVENT_SCHEMA
    for added in (
        ("p", pa.int64()),
        ("pos", pa.int64()),
        ("part", pa.string()),
        ("us", pa.int64()),
    ):
        schema = schema.append(pa.field(*added))
    connection.register("given", pa.Table.from_pylist(rows, schema))
    connection.register("parts", pa.table({"p": pa.array(range(len(partitions)), pa.int64())}))
    connection.execute(
        f"CREATE TABLE all_{name} AS SELECT *, max(us) OVER (PARTITION BY p ORDER BY pos "
        f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) - {disorder} AS rw FROM given"
    )
    connection.execute(
        f"CREATE TABLE {name} AS SELECT * FROM all_{name} WHERE us IS NOT NULL "
        "AND (rw IS NULL OR us >= rw)"
    )
    connection.execute(
        f"CREATE TABLE w_{name} AS SELECT CASE WHEN count(f) = count(*) THEN min(f) - {disorder} "
        f"END AS w FROM (SELECT p, max(us) AS f FROM parts LEFT JOIN all_{name} USING (p) "
        "GROUP BY p)"
    )


def _late(name: str) -> str:
    columns = ", ".join(f'"{column}"' for column in EVENT_SCHEMA.names)
    return (
        f"SELECT {columns}, NULL::TIMESTAMPTZ AS window_start, NULL::TIMESTAMPTZ AS window_end, "
        f"make_timestamptz(rw) AS watermark, part AS partition, pos AS position FROM all_{name} "
        "WHERE us < rw"
    )


def draw_join(rng: Random, **fixed: Any) -> JoinQuery:
    """Any interval join."""
    drawn = {
        "how": rng.choice(HOWS),
        "before": rng.choice([0, 2, 5, 30]),
        "after": rng.choice([0, 2, 5, 30]),
        "out_of_order": (rng.choice([0, 5, 20]), rng.choice([0, 5, 20])),
        "keys": rng.choice([("user",), ("user",), ("user", "n")]),
    }
    return JoinQuery(**{**drawn, **fixed})


def windows_joined(lefts: Sequence[Event], rights: Sequence[Event], how: str) -> list[Event]:
    """Join windows of users; the right ones' rows are rows_r."""
    kind = {"semi": "SEMI JOIN", "anti": "ANTI JOIN"}.get(how, f"{how.upper()} JOIN")
    on = 'USING ("user", window_start, window_end)'
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("left_rows", pa.Table.from_pylist(list(lefts)))
        connection.register("right_rows", pa.Table.from_pylist(list(rights)))
        connection.execute("CREATE TABLE l AS FROM left_rows")
        connection.execute(
            "CREATE TABLE r AS SELECT * EXCLUDE (rows), rows AS rows_r FROM right_rows"
        )
        return connection.execute(f"FROM l {kind} r {on}").to_arrow_table().to_pylist()


def draw_asof(rng: Random, **fixed: Any) -> AsofQuery:
    """Any as-of join."""
    drawn = {
        "how": rng.choice(["left", "inner"]),
        "tolerance": rng.choice([None, None, 0, 3, 30]),
        "out_of_order": (rng.choice([0, 5, 20]), rng.choice([0, 5, 20])),
        "keys": rng.choice([("user",), ("user",), ("user", "n")]),
    }
    return AsofQuery(**{**drawn, **fixed})


def apart(partitions: Sequence[Sequence[Event]]) -> list[list[Event]]:
    """The same, without two partitions that have a time in common."""
    return [
        [{**event, "at": event["at"] and event["at"].replace(microsecond=p)} for event in events]
        for p, events in enumerate(partitions)
    ]
