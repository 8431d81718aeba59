"""W1 in Frazil."""

from __future__ import annotations

import argparse
from datetime import datetime

import frazil as fz


class Event(fz.Schema):
    """The columns that W1 reads."""

    id: int
    ts: datetime = fz.field(time_unit="ms")
    user: str
    page: str
    country: str
    amount: float
    quantity: int


def main() -> None:
    """Read what is there, write a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--path")
    parser.add_argument("--servers")
    parser.add_argument("--topic")
    parser.add_argument("--out", required=True)
    parser.add_argument("--forever", action="store_true", help="run until SIGTERM")
    given = parser.parse_args()
    if given.path:
        events = fz.read_files(given.path, format="json", schema=Event)
    else:
        events = fz.read_kafka(given.topic, servers=given.servers, schema=Event)
    rows = events.filter(Event.amount > 10).with_columns(total=Event.amount * Event.quantity)
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{given.out}/catalog.db",
        "warehouse": f"file://{given.out}",
    }
    pipeline = fz.Pipeline(
        "w1",
        rows.write_iceberg("bench.w1", catalog=catalog),
        checkpoint=f"{given.out}/checkpoint",
        checkpoint_every="1s",
    )
    print(pipeline.run(until=None if given.forever else "now", quiet=True))


if __name__ == "__main__":
    main()
