"""q15: different values, counted with filters, of a day.

The suite updates its row with every bid; here a day has one row, when it is over.
"""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.queries.ranks import DAY_SQL, STATISTICS_SQL, statistics
from bench.nexmark.query import Events, Query


def report(events: Events) -> fz.Stream:
    """Bids, bidders and auctions of each day by rank of price."""
    days = events.bids.group_by().window(fz.tumbling("1 day", zone="UTC")).agg(**statistics())
    return days.with_columns(day=col("window_start").dt.strftime("%Y-%m-%d")).drop(
        "window_start", "window_end"
    )


SQL = f"""
SELECT {DAY_SQL} AS day, {STATISTICS_SQL}
FROM bid
GROUP BY day
"""

QUERY = Query("Statistics of bidding", ["bid"], report, SQL)
