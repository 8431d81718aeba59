"""Kafka to a lakehouse in 30 lines: rows, revenue by hour, and what is bad, each exactly once."""

import os
from datetime import datetime

import frazil as fz
from frazil import col


class Order(fz.Schema):
    order_id: int
    country: str
    amount: fz.Decimal[12, 2]
    created_at: datetime


KAFKA = os.environ.get("KAFKA", "localhost:9092")
orders = fz.read_kafka("orders", servers=KAFKA, schema=Order)
timed = orders.event_time("created_at", out_of_order="1m")
hours = timed.group_by("country").window(fz.tumbling("1h"))
revenue = hours.agg(orders=fz.count(), revenue=col("amount").sum())
pipeline = fz.Pipeline(
    "lakehouse",
    timed.write_iceberg("shop.orders", partition_by="day(created_at)"),
    revenue.write_iceberg("shop.revenue_by_hour", partition_by="month(window_start)"),
    dead_letters="shop.dead_letters",
)

if __name__ == "__main__":
    pipeline.run()
