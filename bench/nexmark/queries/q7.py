"""q7: rows joined with the maximum of their window.

The suite's window has its end twice, so that it gives a bid at just the end of a window if its
price is the highest of the window before; here a window does not have its end.
"""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query


def highest_bids(events: Events) -> fz.Stream:
    """The highest bids of each ten seconds; all if prices are equal."""
    window = fz.tumbling("10s")
    bids = events.bids.select("auction", "bidder", "price", "date_time", "extra")
    highest = bids.group_by().window(window).agg(price=col("price").max())
    found = bids.assign_window(window).join(highest, on="price")  # of the same window
    return found.drop("window_start", "window_end")


SQL = """
SELECT auction, bidder, price, date_time, extra
FROM bid
QUALIFY price = max(price) OVER (PARTITION BY time_bucket(INTERVAL 10 SECOND, date_time))
"""

QUERY = Query("Highest bids", ["bid"], highest_bids, SQL)
