"""q14: many expressions on few rows."""

from __future__ import annotations

from decimal import Decimal

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query


def calculate(events: Events) -> fz.Stream:
    """Bids of some size: in euros, with the time of day, and with the letters c counted."""
    price = col("price") * Decimal("0.908")
    hour = col("date_time").dt.hour()
    return events.bids.filter((price > 1_000_000) & (price < 50_000_000)).select(
        "auction",
        "bidder",
        "date_time",
        "extra",
        price=price,
        bid_time_type=fz.when((hour >= 8) & (hour <= 18))
        .then("day time")
        .when((hour <= 6) | (hour >= 20))
        .then("night time")
        .otherwise("other time"),
        c_counts=col("extra").str.count_matches("c", literal=True),
    )


SQL = """
SELECT auction, bidder, date_time, extra, price * 0.908 AS price,
       CASE WHEN hour(date_time) BETWEEN 8 AND 18 THEN 'day time'
            WHEN hour(date_time) <= 6 OR hour(date_time) >= 20 THEN 'night time'
            ELSE 'other time' END AS bid_time_type,
       length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bid
WHERE price * 0.908 > 1000000 AND price * 0.908 < 50000000
"""

QUERY = Query("Calculation", ["bid"], calculate, SQL)
