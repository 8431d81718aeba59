"""A program as a user writes one: files of the past, then a topic. Tests kill its process."""

import os
from datetime import datetime

import frazil as fz
from frazil import col


class Click(fz.Schema):
    page: str
    at: datetime
    n: int


folder = os.environ["E2E_FOLDER"]
past = fz.read_files(f"{folder}/past/*.jsonl", format="json", schema=Click, name="past")
present = fz.read_kafka(
    os.environ["E2E_TOPIC"], servers=os.environ["E2E_SERVERS"], format="json", schema=Click
)
clicks = fz.concat(
    past.event_time("at", out_of_order="10s"),
    present.event_time("at", out_of_order="10s", max_ahead=None),
)
minutes = clicks.group_by("page").window(fz.tumbling("1m")).agg(total=col("n").sum())
pipeline = fz.Pipeline(
    "clicks",
    minutes.write_files(f"{folder}/minutes", format="json"),
    minutes.late.write_files(f"{folder}/late", format="json"),
    checkpoint=f"{folder}/checkpoint",
    checkpoint_every="50ms",
    workers=2,
)
