"""q12: a count of each bidder and window.

The suite's windows go by the clock of the machine, so their results differ from run to run; here
they go by event time.
"""

from __future__ import annotations

import frazil as fz

from bench.nexmark.query import Events, Query


def per_bidder(events: Events) -> fz.Stream:
    """How many bids each bidder made in ten seconds."""
    return events.bids.group_by("bidder").window(fz.tumbling("10s")).agg(bids=fz.count())


SQL = """
SELECT bidder, time_bucket(INTERVAL 10 SECOND, date_time) AS window_start,
       time_bucket(INTERVAL 10 SECOND, date_time) + INTERVAL 10 SECOND AS window_end,
       count(*) AS bids
FROM bid
GROUP BY ALL
"""

QUERY = Query("Windows of bidders", ["bid"], per_bidder, SQL)
