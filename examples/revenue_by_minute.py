"""Windows over event time: revenue per country and minute, and the rows that came too late."""

import frazil as fz
from frazil import col

# The times of these rows are up to 5 s out of order.
sales = fz.read_generator(rows=300_000, partitions=3, seed=7)
minutes = (
    sales.event_time("at", out_of_order="1s")
    .group_by("country")
    .window(fz.tumbling("1m"))
    .agg(
        orders=fz.count(),
        revenue=(col("amount") * col("quantity")).sum(),
        buyers=col("user").count_distinct(),
        largest=col("amount").max(),
    )
)

pipeline = fz.Pipeline(
    "revenue_by_minute",
    minutes.write_iceberg("sales.revenue_by_minute"),
    minutes.late.write_iceberg("sales.late_orders"),
    checkpoint_every="1s",
    workers=2,
)

if __name__ == "__main__":
    print(pipeline.explain())
    # The generator ends, and event time with it; else the last minute would wait for a next run.
    print(pipeline.run(until="now", close_windows=True))
