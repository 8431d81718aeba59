"""q1: a computed column, in decimals."""

from __future__ import annotations

from decimal import Decimal

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query

EUROS = Decimal("0.908")  # for a dollar


def in_euros(events: Events) -> fz.Stream:
    """All bids, their prices in euros."""
    return events.bids.select("auction", "bidder", "date_time", "extra", price=col("price") * EUROS)


SQL = """
SELECT auction, bidder, date_time, extra, price * 0.908 AS price FROM bid
"""

QUERY = Query("Currency conversion", ["bid"], in_euros, SQL)
