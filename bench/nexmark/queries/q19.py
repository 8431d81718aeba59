"""q19: the first rows of a key.

The suite updates its rows with every bid; here a day has its ten rows when it is over.
"""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query


def top_prices(events: Events) -> fz.Stream:
    """The ten highest bids for each auction, of equal ones the earlier first."""
    bids = events.bids.with_columns(early=-col("date_time").dt.epoch("us"))
    days = bids.assign_window(fz.tumbling("1 day", zone="UTC"))
    best = days.group_by("auction").top_n(10, by=["price", "early"], rank="rank_number")
    return best.drop("early", "window_start", "window_end")


SQL = """
SELECT * EXCLUDE (place),
       row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, place) AS rank_number
FROM bid
QUALIFY rank_number <= 10
"""

QUERY = Query("Top ten prices", ["bid"], top_prices, SQL)
