"""q20: a join of two streams that gives many rows, with a filter on one side."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.generator import AUCTIONS, CYCLE, HOT_OF, IN_FLIGHT, LEAD
from bench.nexmark.query import Events, Query

OLDEST = (max(HOT_OF, IN_FLIGHT) // AUCTIONS + 2) * CYCLE
NEWEST = (LEAD // AUCTIONS + 2) * CYCLE


def expand(events: Events) -> fz.Stream:
    """The bids for auctions of a category, with all there is to know about these.

    Bids are for one of the last hundred auctions or the next ten: that bounds how far apart they
    can be, which the suite leaves open, so that it keeps everything for ever.
    """
    auctions = events.auctions.filter(col("category") == 10)
    joined = events.bids.join(
        auctions,
        on={"auction": "id"},
        before=events.lasting(OLDEST),
        after=events.lasting(NEWEST),
    )
    return joined.rename(date_time_b="auction_date_time", extra_b="auction_extra")


SQL = """
SELECT bid.* EXCLUDE (place), item_name, description, initial_bid, reserve,
       auction.date_time AS auction_date_time, expires, seller, category,
       auction.extra AS auction_extra
FROM bid JOIN auction ON auction = auction.id
WHERE category = 10
"""

QUERY = Query("Bids with auctions", ["auction", "bid"], expand, SQL)
