"""Clicks -> visits of each user, and how long, how deep and how valuable each was."""

import frazil as fz
from frazil import col

# A visit is over after half a minute without a click; the generator's clicks are 5 s out of order.
clicks = fz.read_generator(rows=200_000, partitions=4, seed=11)
visits = (
    clicks.event_time("at", out_of_order="5s")
    .group_by("user")
    .window(fz.session(gap="30s"))
    .agg(
        clicks=fz.count(),
        pages=col("page").count_distinct(),
        entered_at=col("page").first(),
        left_at=col("page").last(),
        spent=(col("amount") * col("quantity")).sum(),
    )
)
# The last click is 30 s before the end of its visit.
long = visits.filter(col("clicks") > 1).with_columns(
    seconds=(col("window_end") - col("window_start")).dt.total_seconds() - 30
)

pipeline = fz.Pipeline(
    "clickstream",
    visits.write_iceberg("web.visits", partition_by="day(window_start)"),
    long.write_iceberg("web.long_visits"),
    visits.late.write_iceberg("web.late_clicks"),
    checkpoint_every="1s",
    workers=2,
)

if __name__ == "__main__":
    print(pipeline.explain())
    print(pipeline.run(until="now", close_windows=True))
