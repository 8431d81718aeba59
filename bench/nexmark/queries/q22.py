"""q22: parts of a text."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query


def directories(events: Events) -> fz.Stream:
    """All bids, with the first three directories of the URL."""
    parts = col("url").str.split("/")
    return events.bids.select(
        "auction",
        "bidder",
        "price",
        "channel",
        dir1=parts.list.get(3),
        dir2=parts.list.get(4),
        dir3=parts.list.get(5),
    )


SQL = """
SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1,
       split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3
FROM bid
"""

QUERY = Query("Directories of URLs", ["bid"], directories, SQL)
