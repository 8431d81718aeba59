"""The testing kit finds what depends on order, batches, workers or crashes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col, testing

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = [{"user": f"u{n % 5}", "n": n, "at": START + timedelta(seconds=n)} for n in range(60)]


def events() -> fz.Stream:
    schema = {"user": str, "n": int, "at": datetime}
    return fz.read_kafka("events", servers="kafka:9092", schema=schema)


def test_what_is_exact_passes() -> None:
    given = events()
    timed = given.event_time("at", out_of_order="5s")
    sums = timed.group_by("user").window(fz.tumbling("10s")).agg(total=col("n").sum())
    totals = given.group_by("user").agg(rows=fz.count())
    parts = testing.partitions(EVENTS[::2], EVENTS[1::2])
    found = testing.check_any_order({"sums": sums, "totals": totals}, cases=10, events=parts)
    assert sum(row["total"] for row in found["sums"]) == sum(range(60))
    testing.assert_rows(found["totals"], [{"user": f"u{n}", "rows": 12} for n in range(5)])


def test_a_function_that_looks_at_the_batch_is_found() -> None:
    def first_only(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.slice(0, 1)

    stream = events().map_batches(first_only, schema=events().schema)
    with pytest.raises(testing.OrderMatters, match=r"seed=\d+, cases=1"):
        testing.check_any_order(stream, cases=5, crashes=False, events=EVENTS)


def test_a_function_that_remembers_is_found_by_crashes_or_order() -> None:
    seen: list[int] = []

    def numbered(batch: pa.RecordBatch) -> pa.RecordBatch:
        seen.extend(batch.column("n").to_pylist())
        return batch.append_column("place", pa.array(range(len(seen) - len(batch), len(seen))))

    schema = pa.schema([*events().schema, pa.field("place", pa.int64())])
    stream = events().map_batches(numbered, schema=schema)
    with pytest.raises(testing.OrderMatters, match="gave other rows with workers="):
        testing.check_any_order(stream, events=EVENTS)


def test_crashes_are_made() -> None:
    """Cases are ended at steps of delivery, and lose and double nothing."""
    calls: list[int] = []

    def counted(batch: pa.RecordBatch) -> pa.RecordBatch:
        calls.append(batch.num_rows)
        return batch

    stream = events().map_batches(counted, schema=events().schema)
    found = testing.check_any_order(stream, cases=10, events=EVENTS)
    assert len(found["rows"]) == len(EVENTS)
    assert sum(calls) > 11 * len(EVENTS)  # rows were read again


def test_cases_follow_from_the_seed() -> None:
    def texts(seed: int) -> str:
        first: list[Any] = []

        def one(batch: pa.RecordBatch) -> pa.RecordBatch:
            first.append(batch.num_rows)
            return batch if len(first) == 1 else batch.slice(0, 0)

        stream = events().map_batches(one, schema=events().schema)
        with pytest.raises(testing.OrderMatters) as caught:
            testing.check_any_order(stream, seed=seed, cases=1, events=EVENTS)
        return str(caught.value)

    assert texts(3) == texts(3)


def test_cases_have_a_bound() -> None:
    with pytest.raises(fz.ConfigError, match="cases=0"):
        testing.check_any_order(events(), cases=0, events=[])
