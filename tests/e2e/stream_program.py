"""A program as a user writes one: a topic into a table. Tests run it as a process and kill it."""

import os

import frazil as fz

orders = fz.read_kafka(
    os.environ["E2E_TOPIC"], servers=os.environ["E2E_SERVERS"], schema={"id": int}
)
catalog = {
    "type": "rest",
    "uri": os.environ["E2E_CATALOG"],
    "s3.endpoint": os.environ["E2E_S3"],
    "s3.region": "us-east-1",
    "s3.access-key-id": fz.secret("FRAZIL_TEST_S3_KEY"),
    "s3.secret-access-key": fz.secret("FRAZIL_TEST_S3_SECRET"),
    "s3.path-style-access": "true",
}
pipeline = fz.Pipeline(
    os.environ["E2E_TABLE"],
    orders.write_iceberg(os.environ["E2E_TABLE"], catalog=catalog),
    checkpoint=os.environ["E2E_CHECKPOINT"],
    checkpoint_every="100ms",
    workers=2,
)
