"""The pipeline of the demo, as a user writes one.

Its input comes from the environment so that the demo can point it at a file or at Kafka and S3.
"""

import os
from datetime import datetime

import frazil as fz
from frazil import col


class Event(fz.Schema):
    id: int
    ts: datetime = fz.field(time_unit="ms")
    user: str
    page: str
    country: str
    amount: float
    quantity: int


if topic := os.environ.get("DEMO_TOPIC"):
    events = fz.read_kafka(topic, servers=os.environ["DEMO_SERVERS"], format="json", schema=Event)
else:
    events = fz.read_files(os.environ["DEMO_EVENTS"], format="json", schema=Event)

catalog = None
if warehouse := os.environ.get("DEMO_WAREHOUSE"):
    catalog = {
        "type": "sql",
        "uri": os.environ["DEMO_CATALOG"],
        "warehouse": warehouse,
        "s3.endpoint": os.environ["DEMO_S3"],
        "s3.access-key-id": fz.secret("DEMO_S3_KEY"),
        "s3.secret-access-key": fz.secret("DEMO_S3_SECRET"),
        "s3.region": "us-east-1",
    }

sales = events.filter(col("amount") > 10).with_columns(total=col("amount") * col("quantity"))

pipeline = fz.Pipeline(
    "demo",
    sales.write_iceberg("shop.sales", catalog=catalog, partition_by="day(ts)"),
    checkpoint_every="250ms",
    workers=2,
)

if __name__ == "__main__":
    bounded = os.environ.get("DEMO_UNTIL", "now") == "now"
    print(pipeline.run(until="now" if bounded else None).to_json())
