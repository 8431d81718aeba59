"""q8: a join of what was in the same window."""

from __future__ import annotations

import frazil as fz

from bench.nexmark.query import Events, Query


def new_sellers(events: Events) -> fz.Stream:
    """People who came and opened an auction in the same ten seconds."""
    window = fz.tumbling("10s")
    people = events.people.group_by("id", "name").window(window).agg(people=fz.count())
    sellers = events.auctions.group_by("seller").window(window).agg(auctions=fz.count())
    found = people.join(sellers, on={"id": "seller"})  # of the same window, as both are windowed
    return found.select("id", "name", "window_start")


SQL = """
SELECT id, name, time_bucket(INTERVAL 10 SECOND, date_time) AS window_start
FROM person
WHERE EXISTS (FROM auction
              WHERE seller = person.id
                AND time_bucket(INTERVAL 10 SECOND, auction.date_time)
                    = time_bucket(INTERVAL 10 SECOND, person.date_time))
"""

QUERY = Query("New sellers", ["auction", "person"], new_sellers, SQL)
