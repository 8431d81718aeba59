"""q5: windows that overlap, joined with their own maximum."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.query import Events, Query


def hot_items(events: Events) -> fz.Stream:
    """The auctions with the most bids in the last ten seconds, every two seconds; all if equal."""
    counts = (
        events.bids.group_by("auction").window(fz.hopping("10s", every="2s")).agg(num=fz.count())
    )
    # A count has the time of its window's end, and windows end every two seconds.
    most = counts.group_by().window(fz.tumbling("2s")).agg(num=col("num").max())
    hot = counts.join(most.select("num", "window_end"), on=["num", "window_end"], within="0s")
    return hot.select("auction", "num", "window_end")


SQL = """
WITH counts AS (
    SELECT auction, count(*) AS num, first_end + to_seconds(2 * number) AS window_end
    FROM (SELECT auction, time_bucket(INTERVAL 2 SECOND, date_time) + INTERVAL 2 SECOND AS first_end
          FROM bid), range(5) AS numbers (number)
    GROUP BY auction, window_end)
SELECT auction, num, window_end
FROM counts
QUALIFY num = max(num) OVER (PARTITION BY window_end)
"""

QUERY = Query("Hot items", ["bid"], hot_items, SQL)
