"""q13: a lookup in a table that does not change."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query

KEYS = 10_000


def enrich(events: Events) -> fz.Stream:
    """All bids, with a value from the side table."""
    bids = events.bids.select("auction", "bidder", "price", "date_time", key=col("auction") % KEYS)
    return bids.join_lookup(events.side, on="key").drop("key")


SQL = f"""
SELECT auction, bidder, price, date_time, value
FROM bid JOIN side ON auction % {KEYS} = key
"""

QUERY = Query("Lookup in a side table", ["bid"], enrich, SQL)
