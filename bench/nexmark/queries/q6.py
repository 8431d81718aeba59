"""q6: an aggregate of the last rows of each key, which changes as they come."""

from __future__ import annotations

import frazil as fz
import pyarrow as pa
from frazil import col

from bench.nexmark.queries.winning import SQL as VALID_SQL
from bench.nexmark.queries.winning import valid_bids
from bench.nexmark.query import Events, Query

LAST = 10
"""Auctions of a seller that count."""


@fz.batch_udf(returns=pa.int64())
def average(prices: pa.Array) -> pa.Array:
    """The mean of each list, rounded towards zero."""
    return pa.array([sum(each) // len(each) for each in prices.to_pylist()], pa.int64())


def average_prices(events: Events) -> fz.Stream:
    """The average of the winning bids of the last auctions of each seller that were over."""
    auctions = events.auctions.select("id", "seller", "date_time", "expires")
    bids = events.bids.select("auction", "price", "date_time")
    finals = (
        valid_bids(events, auctions, bids)
        .group_by("id", "seller", "expires")
        .window(fz.tumbling("10s"))
        .agg(final=col("price").max())
        # Of those that are over at the same time the later one counts as the last.
        .with_columns(over=col("expires").dt.epoch("ms") * 1_000_000 + col("id") % 1_000_000)
    )
    # With the bounds of windows the aggregate would be one of each window.
    sold = finals.drop("window_start")
    last = sold.group_by("seller").agg(prices=col("final").top_k(LAST, by=col("over")))
    return last.select("seller", average=average(col("prices"))).as_log()


SQL = f"""
WITH finals AS (
  SELECT seller, auction.id, expires, max(price) AS final FROM {VALID_SQL} GROUP BY ALL
)
SELECT seller, sum(final)::BIGINT // count(*) AS average
FROM (FROM finals QUALIFY row_number() OVER (
  PARTITION BY seller ORDER BY epoch_ms(expires) DESC, id % 1000000 DESC) <= {LAST})
GROUP BY seller
"""

QUERY = Query(
    "Average of a seller's last prices", ["auction", "bid"], average_prices, SQL, changes=True
)
