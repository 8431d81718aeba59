"""What DuckDB says of rows that are taken one after the other, in event-time order.

It is given the definitions of docs/concepts/time.md and docs/ordered.md, and nothing of how the
engine works.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import duckdb
import pyarrow as pa

from tests.pipelines.events import EVENT_SCHEMA, SECOND, Event, draw_partitions, us_of

COLUMNS = 'id, "at", "user", n, x'


def draw_apart(rng: Random, **options: Any) -> list[list[Event]]:
    """Partitions of which no two rows have the same time: their order is said by it alone."""
    partitions = draw_partitions(rng, **options)
    return [
        [
            {**event, "at": event["at"] and event["at"].replace(microsecond=event["id"] * 7)}
            for event in events
        ]
        for events in partitions
    ]


class Ordered:
    """The events of a run, in DuckDB: which are late, and how far the watermark comes.

    Table `accepted` has the rows that are not late (with `us`), `late` those that are, with
    `watermark`, `partition` and `position`; and `w` is the watermark when all has been read, null
    while a partition has none.
    """

    def __init__(
        self, partitions: Sequence[Sequence[Event]], out_of_order: int, *, ended: bool = False
    ) -> None:
        self._connection = duckdb.connect()
        rows = [
            {
                "p": p,
                "pos": pos,
                "us": None if event["at"] is None else us_of(event["at"]),
                **{name: event[name] for name in EVENT_SCHEMA.names},
            }
            for p, events in enumerate(partitions)
            for pos, event in enumerate(events)
        ]
        added = [pa.field(name, pa.int64()) for name in ("p", "pos", "us")]
        table = pa.Table.from_pylist(rows, pa.schema([*EVENT_SCHEMA, *added]))
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.register("given", table)
        self.run(
            "CREATE TABLE marked AS SELECT *, max(us) OVER (PARTITION BY p ORDER BY pos ROWS "
            f"BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) - {out_of_order * SECOND} AS rw "
            "FROM given"
        )
        self.run("DELETE FROM marked WHERE us IS NULL")
        self.run(
            "CREATE TABLE accepted AS SELECT * EXCLUDE (p, pos, rw) FROM marked "
            "WHERE rw IS NULL OR us >= rw"
        )
        self.run(
            f"CREATE TABLE late AS SELECT {COLUMNS}, NULL::TIMESTAMPTZ AS window_start, "
            "NULL::TIMESTAMPTZ AS window_end, make_timestamptz(rw) AS watermark, "
            "'memory-' || p AS partition, pos AS position FROM marked WHERE us < rw"
        )
        self.run("CREATE TABLE frontiers AS SELECT p, max(us) AS f FROM marked GROUP BY p")
        known = self.rows("SELECT count(*) AS n, min(f) AS f FROM frontiers")[0]
        if ended:
            self.w: int | None = 2**62
        else:
            whole = known["n"] == len(partitions)
            self.w = known["f"] - out_of_order * SECOND if whole else None
        self.run(f"CREATE MACRO w() AS {'NULL' if self.w is None else self.w}::BIGINT")

    def run(self, sql: str) -> None:
        """Execute it."""
        self._connection.execute(sql)

    def rows(self, sql: str) -> list[Event]:
        """The rows of a query."""
        return self._connection.execute(sql).to_arrow_table().to_pylist()

    def late(self) -> list[Event]:
        """Rows that are set aside."""
        return self.rows("SELECT * FROM late")

    def groups(self, within: int, keys: str = '"user"') -> None:
        """Make table `grouped`: accepted rows with the beginning of their group (`start`).

        A group of a key begins with a row that is `within` seconds or more behind the beginning of
        the one before, and has the rows up to the next beginning.
        """
        self.run(
            f"CREATE OR REPLACE TABLE numbered AS SELECT *, row_number() OVER (PARTITION BY {keys} "
            f"ORDER BY us) AS nth, dense_rank() OVER (ORDER BY {keys}) AS k FROM accepted"
        )
        self.run(
            "CREATE OR REPLACE TABLE grouped AS WITH RECURSIVE walk AS ("
            "SELECT *, us AS start FROM numbered WHERE nth = 1 UNION ALL "
            f"SELECT o.*, CASE WHEN o.us >= w.start + {within * SECOND} THEN o.us ELSE w.start END "
            "FROM walk w JOIN numbered o ON o.k = w.k AND o.nth = w.nth + 1) SELECT * FROM walk"
        )
