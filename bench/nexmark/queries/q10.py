"""q10: a log, partitioned by day and minute.

The suite writes folders of CSV files; here the table is partitioned, so that a reader of a minute
opens the files of that minute only.
"""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query


def log(events: Events) -> fz.Stream:
    """All bids, with their day and minute."""
    return events.bids.select(
        "auction",
        "bidder",
        "price",
        "date_time",
        "extra",
        day=col("date_time").dt.strftime("%Y-%m-%d"),
        minute=col("date_time").dt.strftime("%H:%M"),
    )


SQL = """
SELECT auction, bidder, price, date_time, extra,
       strftime(date_time, '%Y-%m-%d') AS day, strftime(date_time, '%H:%M') AS minute
FROM bid
"""

QUERY = Query("Log to files by time", ["bid"], log, SQL, partition_by=["day", "minute"])
