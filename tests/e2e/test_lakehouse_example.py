"""The example of Kafka to a lakehouse, with a real broker."""

from __future__ import annotations

import json
import runpy
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from frazil.testing import assert_table

if TYPE_CHECKING:
    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service

EXAMPLE = Path(__file__).parents[2] / "examples" / "kafka_to_lakehouse.py"


def test_it_runs(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    monkeypatch.setenv("KAFKA", kafka.bootstrap)
    kafka.create_topic("orders")
    try:
        orders = [
            {
                "order_id": n,
                "country": "DE" if n % 3 else "FR",
                "amount": n,
                "created_at": f"2026-05-01T{n // 10:02}:00:00Z",
            }
            for n in range(50)
        ]
        kafka.produce("orders", [*(json.dumps(order).encode() for order in orders), b"no order"])
        pipeline = runpy.run_path(str(EXAMPLE))["pipeline"]
        report = pipeline.run(until="now", quiet=True)
    finally:
        kafka.delete_topic("orders")
    expected = [
        {
            "order_id": order["order_id"],
            "country": order["country"],
            "amount": Decimal(order["order_id"]),
            "created_at": datetime.fromisoformat(order["created_at"]),
        }
        for order in orders
    ]
    assert_table("shop.orders", expected)
    assert report.sinks["shop.dead_letters"].rows == 1
    assert report.sinks["shop.revenue_by_hour"].rows == 6  # three hours are complete
