"""q11: sessions."""

from __future__ import annotations

import frazil as fz

from bench.nexmark.query import Events, Query


def sessions(events: Events) -> fz.Stream:
    """How many bids each bidder made in a row, with at most ten seconds between two."""
    return events.bids.group_by("bidder").window(fz.session(gap="10s")).agg(bids=fz.count())


SQL = """
SELECT bidder, min(date_time) AS window_start,
       max(date_time) + INTERVAL 10 SECOND AS window_end, count(*) AS bids
FROM (SELECT bidder, date_time,
             sum(begins) OVER (PARTITION BY bidder ORDER BY date_time) AS number
      FROM (SELECT bidder, date_time,
                   CASE WHEN date_time - lag(date_time) OVER bids <= INTERVAL 10 SECOND
                        THEN 0 ELSE 1 END AS begins
            FROM bid
            WINDOW bids AS (PARTITION BY bidder ORDER BY date_time)))
GROUP BY bidder, number
"""

QUERY = Query("User sessions", ["bid"], sessions, SQL)
