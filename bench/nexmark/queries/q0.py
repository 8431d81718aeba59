"""q0: what passing on costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.nexmark.query import Events, Query

if TYPE_CHECKING:
    import frazil as fz


def pass_on(events: Events) -> fz.Stream:
    """All bids."""
    return events.bids.select("auction", "bidder", "price", "date_time", "extra")


SQL = """
SELECT auction, bidder, price, date_time, extra FROM bid
"""

QUERY = Query("Pass on", ["bid"], pass_on, SQL)
