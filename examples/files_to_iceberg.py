"""JSON files into a partitioned table; rows that cannot be decoded into a table of their own."""

import json
from datetime import datetime
from pathlib import Path

import frazil as fz
from frazil import col


class Item(fz.Schema):
    sku: str
    price: fz.Decimal[10, 2]


class Order(fz.Schema):
    order_id: int
    created_at: datetime
    country: str | None
    items: list[Item]
    ip: str | None = fz.field(source="client.ip")


orders = fz.read_files("in/*.jsonl", format="json", schema=Order, metadata=["path"], name="orders")
cleaned = orders.with_columns(country=fz.coalesce(col("country"), "unknown").str.to_uppercase())

pipeline = fz.Pipeline(
    "orders_from_files",
    cleaned.write_iceberg("shop.orders", partition_by=["day(created_at)", "country"]),
    orders.rejected.write_iceberg("shop.orders_rejected"),
    checkpoint_every="5s",
    workers=2,
)


def make_some(folder: Path) -> None:
    """Write a hundred orders, one of which is bad."""
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "order_id": n if n != 42 else "forty-two",
            "created_at": f"2026-01-{n % 28 + 1:02}T12:00:00Z",
            "country": "de" if n % 2 else None,
            "items": [{"sku": "a", "price": "9.90"}],
            "client": {"ip": "::1"},
        }
        for n in range(100)
    ]
    (folder / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    make_some(Path("in"))
    print(pipeline.run(until="now"))
