"""q21: cases and a regular expression."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query

IDS = {"apple": "0", "google": "1", "facebook": "2", "baidu": "3"}
PATTERN = "(&|^)channel_id=([^&]*)"


def channel_ids(events: Events) -> fz.Stream:
    """Bids of channels with an id, by name or in the URL."""
    channel = col("channel").str.to_lowercase()
    in_url = col("url").str.extract(PATTERN, 2)
    cases = fz.when(channel == "apple").then(IDS["apple"])
    for name in ("google", "facebook", "baidu"):
        cases = cases.when(channel == name).then(IDS[name])
    return events.bids.filter(in_url.is_not_null() | channel.is_in(list(IDS))).select(
        "auction", "bidder", "price", "channel", channel_id=cases.otherwise(in_url)
    )


# DuckDB gives an empty text where the pattern is not found; an id is never empty.
SQL = f"""
SELECT auction, bidder, price, channel,
       CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1'
                           WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
            ELSE regexp_extract(url, '{PATTERN}', 2) END AS channel_id
FROM bid
WHERE regexp_extract(url, '{PATTERN}', 2) <> ''
      OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')
"""

QUERY = Query("Channel ids", ["bid"], channel_ids, SQL)
