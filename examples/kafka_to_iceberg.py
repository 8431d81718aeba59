"""A topic of a secured Kafka broker into a table, with what lag tools and auditors want to know."""

from datetime import datetime

import frazil as fz


class Payment(fz.Schema):
    payment_id: str
    account: int
    amount: fz.Decimal[18, 4]
    booked_at: datetime = fz.field(time_unit="ms")
    reference: str | None


payments = fz.read_kafka(
    "payments",
    servers=["kafka-1:9093", "kafka-2:9093", "kafka-3:9093"],
    schema=Payment,
    security=fz.Sasl(
        username="frazil",
        password=fz.secret("KAFKA_PASSWORD"),
        tls=fz.Tls(ca="/etc/kafka/ca.pem"),
    ),
    metadata=["partition", "offset", "timestamp"],
    group="frazil-payments",  # for lag tools; positions are in the checkpoint
    tombstones="skip",
    give_up_after="10m",
)

pipeline = fz.Pipeline(
    "payments",
    payments.write_iceberg(
        "ledger.payments",
        partition_by=["day(booked_at)", "bucket(8, account)"],
        distribute_by="partition",
    ),
    payments.rejected.write_iceberg("ledger.payments_rejected"),
    checkpoint_every="30s",
    workers=4,
)

if __name__ == "__main__":
    pipeline.run()
