"""q9: the best of the rows of a join."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.queries.winning import SQL as VALID_SQL
from bench.nexmark.queries.winning import valid_bids
from bench.nexmark.query import Events, Query


def winning_bids(events: Events) -> fz.Stream:
    """The highest bid of each auction, the earlier of two; given when the auction is over."""
    bids = events.bids.select("auction", "bidder", "price", "date_time", "extra")
    ranked = valid_bids(events, events.auctions, bids).with_columns(
        early=-col("date_time_b").dt.epoch("us")
    )
    best = ranked.assign_window(fz.tumbling("10s")).group_by("id").top_n(1, by=["price", "early"])
    return best.drop("early", "window_start", "window_end").rename(
        date_time_b="bid_date_time", extra_b="bid_extra"
    )


SQL = f"""
SELECT auction.* EXCLUDE (place), bidder, price, bid.date_time AS bid_date_time,
       bid.extra AS bid_extra
FROM {VALID_SQL}
QUALIFY row_number() OVER (PARTITION BY auction.id ORDER BY price DESC, bid.date_time) = 1
"""

QUERY = Query("Winning bids", ["auction", "bid"], winning_bids, SQL)
