"""A lake on S3: REST catalog, tables and checkpoints in a bucket, secrets from the environment."""

import frazil as fz
from frazil import col

LAKE = {
    "name": "lake",
    "type": "rest",
    "uri": "https://catalog.example.com",
    "warehouse": "s3://lake/tables",
    "token": fz.secret("CATALOG_TOKEN"),
    "s3.endpoint": "https://s3.example.com",
    "s3.region": "eu-central-1",
    "s3.access-key-id": fz.secret("S3_ACCESS_KEY"),
    "s3.secret-access-key": fz.secret("S3_SECRET_KEY"),
}

clicks = fz.read_kafka(
    "clicks",
    servers="kafka:9092",
    schema={"user": str, "page": str, "at": fz.Int64, "bot": bool},
    start="latest",
    on_bad_row="drop",  # counted and shown
)
people = clicks.filter(~col("bot")).drop("bot")

pipeline = fz.Pipeline(
    "clicks",
    people.write_iceberg("web.clicks", catalog=LAKE, partition_by="bucket(16, user)"),
    checkpoint="s3://lake/checkpoints",
    checkpoint_every="1m",
)

if __name__ == "__main__":
    pipeline.run()
