"""The pipeline: changes out of a topic or a file into a table with one row for each key."""

from __future__ import annotations

import argparse
from pathlib import Path

import frazil as fz


class Order(fz.Schema):
    """A row of the table that is copied."""

    id: int
    customer: str
    product: str
    status: str
    amount: float
    quantity: int


def sqlite_catalog(out: Path) -> dict[str, str]:
    """A catalog and a warehouse in a folder."""
    return {
        "type": "sql",
        "uri": f"sqlite:///{out}/catalog.db",
        "warehouse": f"file://{out}",
    }


def copy_pipeline(changes: fz.Stream, out: Path, *, checkpoint_every: str) -> fz.Pipeline:
    """Changes into the table."""
    return fz.Pipeline(
        "orders",
        changes.write_iceberg(
            "bench.orders", catalog=sqlite_catalog(out), mode="upsert", key=["id"]
        ),
        checkpoint=f"{out}/checkpoint",
        checkpoint_every=checkpoint_every,
        memory_limit="2GiB",
    )


def main() -> None:
    """Read what is there, write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--path")
    parser.add_argument("--servers")
    parser.add_argument("--topic")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    debezium = fz.DebeziumJson()
    if given.path:
        changes = fz.read_files(given.path, format=debezium, schema=Order, key=["id"])
    else:
        changes = fz.read_kafka(
            given.topic, servers=given.servers, format=debezium, schema=Order, key=["id"]
        )
    print(copy_pipeline(changes, given.out, checkpoint_every="1s").run(until="now", quiet=True))


if __name__ == "__main__":
    main()
