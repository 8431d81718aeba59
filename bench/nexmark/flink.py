"""Queries of the suite in Flink's SQL over the same events, for `--peers flink`.

They give each row once, when its window closes, as ours do, so that the rows can be compared:
written with the functions of Flink for windows, and not, as the suite has some of them, with
joins that keep all rows for ever (q7) and rows that are corrected with each event (q18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bench.nexmark.generator import SCHEMAS
from bench.systems import flink_sql

KINDS = {pa.int64(): "BIGINT", pa.string(): "STRING"}
TIME = "TIMESTAMP_LTZ(3)"  # the precision of event time in Flink
TEN = "'10' SECOND"
LATEST = "ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY date_time DESC)"


@dataclass(frozen=True)
class FlinkQuery:
    """A query.

    Attributes
    ----------
    writes
        Columns of its table.
    query
        Its rows, of the tables `{person}`, `{auction}` and `{bid}`.
    """

    writes: Sequence[str]
    query: str


def _window(rows: str, kind: str, *lengths: str) -> str:
    """Rows with the windows of such lengths that they are in."""
    intervals = ", ".join(f"INTERVAL {length}" for length in lengths)
    return f"TABLE({kind}(TABLE {rows}, DESCRIPTOR(date_time), {intervals}))"


_BID = ("auction BIGINT", "bidder BIGINT", "price BIGINT", "date_time TIMESTAMP_LTZ(6)")
_WINDOW = ("window_start TIMESTAMP(6)", "window_end TIMESTAMP(6)")
_SAME_WINDOW = "a.window_start = b.window_start AND a.window_end = b.window_end"

_COUNTS = f"""
SELECT auction, count(*) AS num, window_start, window_end
FROM {_window("{bid}", "HOP", "'2' SECOND", TEN)}
GROUP BY auction, window_start, window_end"""

_SESSIONS = "SESSION(TABLE {bid} PARTITION BY bidder, DESCRIPTOR(date_time), INTERVAL '10' SECOND)"

QUERIES: dict[str, FlinkQuery] = {
    "q0": FlinkQuery(
        (*_BID, "extra STRING"),
        "SELECT auction, bidder, price, date_time, extra FROM {bid}",
    ),
    "q5": FlinkQuery(
        ("auction BIGINT", "num BIGINT", "window_end TIMESTAMP(6)"),
        f"""SELECT a.auction, a.num, a.window_end
FROM ({_COUNTS}) AS a
JOIN (SELECT max(num) AS num, window_start, window_end FROM ({_COUNTS})
      GROUP BY window_start, window_end) AS b
ON {_SAME_WINDOW} AND a.num = b.num""",
    ),
    "q7": FlinkQuery(
        (*_BID, "extra STRING"),
        f"""SELECT a.auction, a.bidder, a.price, a.date_time, a.extra
FROM (SELECT * FROM {_window("{bid}", "TUMBLE", TEN)}) AS a
JOIN (SELECT max(price) AS price, window_start, window_end
      FROM {_window("{bid}", "TUMBLE", TEN)}
      GROUP BY window_start, window_end) AS b
ON {_SAME_WINDOW} AND a.price = b.price""",
    ),
    "q8": FlinkQuery(
        ("id BIGINT", "name STRING", "window_start TIMESTAMP(6)"),
        f"""SELECT a.id, a.name, a.window_start
FROM (SELECT id, name, window_start, window_end FROM {_window("{person}", "TUMBLE", TEN)}
      GROUP BY id, name, window_start, window_end) AS a
JOIN (SELECT seller, window_start, window_end FROM {_window("{auction}", "TUMBLE", TEN)}
      GROUP BY seller, window_start, window_end) AS b
ON {_SAME_WINDOW} AND a.id = b.seller""",
    ),
    "q11": FlinkQuery(
        ("bidder BIGINT", *_WINDOW, "bids BIGINT"),
        f"""SELECT bidder, window_start, window_end, count(*)
FROM TABLE({_SESSIONS})
GROUP BY bidder, window_start, window_end""",
    ),
    "q12": FlinkQuery(
        ("bidder BIGINT", *_WINDOW, "bids BIGINT"),
        f"""SELECT bidder, window_start, window_end, count(*)
FROM {_window("{bid}", "TUMBLE", TEN)}
GROUP BY bidder, window_start, window_end""",
    ),
    "q18": FlinkQuery(
        (*_BID[:3], "channel STRING", "url STRING", _BID[3], "extra STRING"),
        f"""SELECT auction, bidder, price, channel, url, date_time, extra
FROM (SELECT *, {LATEST.format(keys="window_start, window_end, bidder, auction")} AS number
      FROM {_window("{bid}", "TUMBLE", "'1' DAY")})
WHERE number = 1""",
    ),
}


def statements(name: str, reads: Sequence[str], events: Path, warm: Path, out: Path) -> list[str]:
    """All that a run does: the same job over a few events first, into a table of its own."""
    query = QUERIES[name]
    made = flink_sql.catalog(out)
    for prefix, table, folder, times in (
        ("few_", "warm", warm, flink_sql.WARM_JOBS),
        ("", name, events, 1),
    ):
        names = {kind: f"{prefix}{kind}" for kind in reads}
        for kind, named in names.items():
            made.append(_events(named, kind, folder))
        made.append(flink_sql.iceberg_table(table, query.writes))
        made += [flink_sql.insert(table, query.query.format(**names))] * times
    return made


def _events(named: str, kind: str, folder: Path) -> str:
    columns = [f"{field.name} {KINDS.get(field.type, TIME)}" for field in SCHEMAS[kind]]
    watermark = "WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND"
    files = sorted((folder / kind).rglob("*.parquet"))
    if len(files) != 1:
        raise ValueError(
            f"reading {folder / kind}: Flink reads files in any order, so that rows would be "
            f"late; there have to be one, not {len(files)}"
        )
    options = {**flink_sql.file_options(files[0], "parquet"), "parquet.utc-timezone": "true"}
    return flink_sql.events_table(named, [*columns, watermark], options)
