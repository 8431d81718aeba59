"""What q15, q16 and q17 have in common: prices in three ranks."""

from __future__ import annotations

from collections.abc import Callable

import frazil as fz
from frazil import col

LOW, HIGH = 10_000, 1_000_000


def by_rank(name: str, aggregate: Callable[[], fz.Aggregate]) -> dict[str, fz.Aggregate]:
    """The aggregate over all bids and over those of each rank."""
    price = col("price")
    return {
        f"total_{name}": aggregate(),
        f"rank1_{name}": aggregate().filter(price < LOW),
        f"rank2_{name}": aggregate().filter((price >= LOW) & (price < HIGH)),
        f"rank3_{name}": aggregate().filter(price >= HIGH),
    }


def bids_by_rank() -> dict[str, fz.Aggregate]:
    """How many bids."""
    return by_rank("bids", fz.count)


def statistics() -> dict[str, fz.Aggregate]:
    """How many bids, different bidders and different auctions."""
    return {
        **bids_by_rank(),
        **by_rank("bidders", lambda: col("bidder").count_distinct()),
        **by_rank("auctions", lambda: col("auction").count_distinct()),
    }


def ranks_sql(name: str, aggregate: str) -> str:
    """The same in SQL."""
    return f"""
       {aggregate} AS total_{name},
       {aggregate} FILTER (price < {LOW}) AS rank1_{name},
       {aggregate} FILTER (price >= {LOW} AND price < {HIGH}) AS rank2_{name},
       {aggregate} FILTER (price >= {HIGH}) AS rank3_{name}"""


BIDS_SQL = ranks_sql("bids", "count(*)")
STATISTICS_SQL = ",".join(
    [
        BIDS_SQL,
        ranks_sql("bidders", "count(DISTINCT bidder)"),
        ranks_sql("auctions", "count(DISTINCT auction)"),
    ]
)
DAY_SQL = "strftime(date_time, '%Y-%m-%d')"
