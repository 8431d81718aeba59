"""Years of Parquet files and a live topic into one table, each row once, in one pipeline."""

from datetime import UTC, datetime

import frazil as fz
import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("sensor", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("value", pa.float64()),
    ]
)
CUT = datetime(2026, 1, 1, tzinfo=UTC)  # the files end where the topic begins

past = fz.read_files(
    "s3://lake/sensors/**/*.parquet",
    format="parquet",
    schema=SCHEMA,
    lanes="by_folder",
    name="past",
)
present = fz.read_kafka("sensors", servers="kafka:9092", schema=SCHEMA, start=CUT, name="present")
readings = past.filter(fz.col("at") < CUT).union(present)

pipeline = fz.Pipeline(
    "sensors",
    readings.write_iceberg("plant.readings", partition_by="day(at)"),
    checkpoint_every="1m",
    workers=4,
)

if __name__ == "__main__":
    pipeline.run()
