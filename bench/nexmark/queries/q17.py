"""q17: aggregates of each auction and day.

The suite updates its rows with every bid; here a day has one row for each auction, when it is over.
The average is a whole number, rounded down, as in SQL over whole numbers.
"""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.queries.ranks import BIDS_SQL, DAY_SQL, bids_by_rank
from bench.nexmark.query import Events, Query


def report(events: Events) -> fz.Stream:
    """Bids and prices of each auction and day."""
    price = col("price")
    days = (
        events.bids.group_by("auction")
        .window(fz.tumbling("1 day", zone="UTC"))
        .agg(
            **bids_by_rank(),
            min_price=price.min(),
            max_price=price.max(),
            avg_price=price.sum() // fz.count(),
            sum_price=price.sum(),
        )
    )
    return days.with_columns(day=col("window_start").dt.strftime("%Y-%m-%d")).drop(
        "window_start", "window_end"
    )


SQL = f"""
SELECT auction, {DAY_SQL} AS day, {BIDS_SQL},
       min(price) AS min_price, max(price) AS max_price,
       sum(price)::BIGINT // count(*) AS avg_price, sum(price)::BIGINT AS sum_price
FROM bid
GROUP BY auction, day
"""

QUERY = Query("Statistics of auctions", ["bid"], report, SQL)
