"""A join of two streams: each order with its payment, and the orders that nobody paid in time."""

import frazil as fz
from frazil import col

# Two readers stand for two topics. The times of their rows are up to 5 s out of order.
orders = (
    fz.read_generator(rows=50_000, partitions=2, seed=7, name="orders")
    .event_time("at", out_of_order="5s")
    .select("id", "user", "at", "amount")
)
payments = (
    fz.read_generator(rows=50_000, partitions=2, seed=7, name="payments")
    .event_time("at", out_of_order="5s")
    .filter(col("id") % 10 != 0)  # some are never paid
    .select(order_id=col("id"), paid_at=col("at"), method=col("country"))
)

paid = orders.join(payments, on={"id": "order_id"}, after="10m")
unpaid = orders.join(payments, on={"id": "order_id"}, after="10m", how="anti")
per_minute = unpaid.group_by().window(fz.tumbling("1m")).agg(orders=fz.count())

pipeline = fz.Pipeline(
    "orders_and_payments",
    paid.write_iceberg("sales.paid_orders"),
    per_minute.write_iceberg("sales.unpaid_by_minute"),
    checkpoint_every="1s",
    workers=2,
)

if __name__ == "__main__":
    print(pipeline.explain())
    # The generator ends, and event time with it; else the last orders would wait for payments.
    print(pipeline.run(until="now", close_windows=True))
