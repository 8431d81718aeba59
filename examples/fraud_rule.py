"""A rule with memory: a tiny payment, and within a minute a large one by the same user."""

from datetime import datetime, timedelta
from typing import Any

import frazil as fz

TINY, LARGE, WITHIN = 1.05, 350.0, timedelta(minutes=1)


class Alert(fz.Schema):
    user: str
    tiny_at: datetime
    at: datetime
    amount: float


class FraudRule(fz.KeyedFunction):
    """What is kept of a user, in every checkpoint: when the last tiny payment was."""

    tiny_at: fz.State[datetime | None]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        for row in rows:
            since = self.tiny_at.value
            if since is not None and row.amount > LARGE:
                out.emit(user=key, tiny_at=since, at=row.at, amount=row.amount)
            if row.amount < TINY:
                if since is not None:
                    out.cancel_timer(since + WITHIN)
                self.tiny_at.value = row.at
                out.timer(row.at + WITHIN)

    def on_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        self.tiny_at.clear()  # a user without anything kept is forgotten


payments = fz.read_generator(rows=200_000, partitions=2, seed=23)
alerts = (
    payments.event_time("at", out_of_order="5s")
    .group_by("user")
    .process(FraudRule, schema=Alert, event_time="at")
)

pipeline = fz.Pipeline(
    "fraud_rule",
    alerts.write_iceberg("risk.alerts"),
    alerts.late.write_iceberg("risk.late_payments"),
    checkpoint_every="1s",
    workers=2,
)

if __name__ == "__main__":
    print(pipeline.explain())
    print(pipeline.run(until="now", close_windows=True))
