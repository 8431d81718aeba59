"""q2: a filter that few rows pass."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query


def of_some_auctions(events: Events) -> fz.Stream:
    """Prices offered in every 123rd auction."""
    return events.bids.filter(col("auction") % 123 == 0).select("auction", "price")


SQL = """
SELECT auction, price FROM bid WHERE auction % 123 = 0
"""

QUERY = Query("Selection", ["bid"], of_some_auctions, SQL)
