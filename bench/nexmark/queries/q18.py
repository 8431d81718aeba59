"""q18: the last row of a key.

The suite keeps every key for ever and corrects its row; here a row is the last one of a day, which
begins with the first bid of this bidder for this auction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.nexmark.query import Events, Query

if TYPE_CHECKING:
    import frazil as fz


def last_bids(events: Events) -> fz.Stream:
    """The last bid of each bidder for each auction."""
    return events.bids.deduplicate("bidder", "auction", within="1d", keep="last")


SQL = """
SELECT * EXCLUDE (place)
FROM bid
QUALIFY row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, place DESC) = 1
"""

QUERY = Query("Last bids", ["bid"], last_bids, SQL)
