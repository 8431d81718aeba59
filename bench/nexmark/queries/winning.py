"""What q4 and q9 have in common: auctions with the bids that were made while they were open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frazil import col

from bench.nexmark.generator import LONGEST

if TYPE_CHECKING:
    import frazil as fz

    from bench.nexmark.query import Events


def valid_bids(events: Events, auctions: fz.Stream, bids: fz.Stream) -> fz.Stream:
    """Each bid beside its auction. Event time is that of the auction.

    So all bids of an auction are in one window, in which it was opened: the window closes when the
    longest of its auctions is over for sure.
    """
    joined = auctions.join(bids, on={"id": "auction"}, after=events.lasting(LONGEST))
    return joined.filter(col("date_time_b") <= col("expires"))


SQL = """
auction JOIN bid ON auction.id = bid.auction
                AND bid.date_time BETWEEN auction.date_time AND auction.expires
"""
