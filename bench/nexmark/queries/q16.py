"""q16: the same as q15 for each channel, with the minute of the last bid."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.queries.ranks import DAY_SQL, STATISTICS_SQL, statistics
from bench.nexmark.query import Events, Query


def report(events: Events) -> fz.Stream:
    """Bids, bidders and auctions of each channel and day by rank of price."""
    minute = col("date_time").dt.strftime("%H:%M")
    days = (
        events.bids.group_by("channel")
        .window(fz.tumbling("1 day", zone="UTC"))
        .agg(minute=minute.max(), **statistics())
    )
    return days.with_columns(day=col("window_start").dt.strftime("%Y-%m-%d")).drop(
        "window_start", "window_end"
    )


SQL = f"""
SELECT channel, {DAY_SQL} AS day, max(strftime(date_time, '%H:%M')) AS minute, {STATISTICS_SQL}
FROM bid
GROUP BY channel, day
"""

QUERY = Query("Statistics of channels", ["bid"], report, SQL)
