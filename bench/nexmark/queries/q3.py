"""q3: a join of two streams."""

from __future__ import annotations

import frazil as fz
from frazil import col

from bench.nexmark.generator import ACTIVE, CYCLE, LEAD
from bench.nexmark.query import Events, Query


def local_items(events: Events) -> fz.Stream:
    """Who sells what of a category in three states.

    A seller is one of the last 1,000 people or the next ten: that bounds how far apart a person and
    an auction can be, which the suite leaves open, so that it keeps everything for ever.
    """
    people = events.people.filter(col("state").is_in(["OR", "ID", "CA"]))
    auctions = events.auctions.filter(col("category") == 10)
    return auctions.join(
        people,
        on={"seller": "id"},
        before=events.lasting((ACTIVE + 1) * CYCLE),
        after=events.lasting((LEAD + 1) * CYCLE),
    ).select("name", "city", "state", "id")


SQL = """
SELECT name, city, state, auction.id
FROM auction JOIN person ON seller = person.id
WHERE category = 10 AND state IN ('OR', 'ID', 'CA')
"""

QUERY = Query("Local items", ["auction", "person"], local_items, SQL)
