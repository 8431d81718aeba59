"""q4: a join, and an aggregate of aggregates.

The suite updates its averages with every bid; here a day has one row for each category.
"""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.queries.winning import SQL as VALID_SQL
from bench.nexmark.queries.winning import valid_bids
from bench.nexmark.query import Events, Query


def average_prices(events: Events) -> fz.Stream:
    """The average of winning bids in each category."""
    auctions = events.auctions.select("id", "category", "date_time", "expires")
    bids = events.bids.select("auction", "price", "date_time")
    finals = (
        valid_bids(events, auctions, bids)
        .group_by("id", "category")
        .window(fz.tumbling("10s"))
        .agg(final=col("price").max())
    )
    days = (
        finals.group_by("category")
        .window(fz.tumbling("1 day", zone="UTC"))
        .agg(final=col("final").sum() // fz.count())
    )
    return days.select("category", "final")


SQL = f"""
SELECT category, sum(final)::BIGINT // count(*) AS final
FROM (SELECT auction.id, category, max(price) AS final FROM {VALID_SQL} GROUP BY ALL)
GROUP BY category
"""

QUERY = Query("Average prices", ["auction", "bid"], average_prices, SQL)
