"""One stream into several sinks: it is read once, and all share one checkpoint."""

import frazil as fz
from frazil import col

events = fz.read_generator(rows=20_000, seed=5, partitions=2)
priced = events.with_columns(total=col("amount") * col("quantity"))
large = priced.filter(col("total") > 400)

pipeline = fz.Pipeline(
    "several_sinks",
    priced.write_iceberg("shop.events", commit_every="10s"),
    large.write_iceberg("shop.large", partition_by="country", distribute_by="partition"),
    large.select("id", "user", "total").write_files("large", format="json"),
    priced.filter(col("total") > 4_000).select("id", "total").write_console(),
    checkpoint_every="5s",
    workers=2,
)

if __name__ == "__main__":
    print(pipeline.run())
