"""A small box beside machines: readings from files -> minutes, alarms; 128 MiB, no service."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import frazil as fz
from frazil import col

START = datetime(2026, 1, 1, tzinfo=UTC)


class Reading(fz.Schema):
    sensor: str
    at: datetime
    celsius: float


def make_readings(path: Path) -> None:
    """Write what a gateway would: each sensor each 10 s; one gets hot, then falls silent."""
    with path.open("w") as file:
        for n in range(3_600):
            sensor, at = f"s{n % 10}", START + timedelta(seconds=n)
            if n % 10 or n < 1_800:
                celsius = 20.0 + n % 7 + (n / 30 if sensor == "s0" else 0)
                row = {"sensor": sensor, "at": at.isoformat(), "celsius": celsius}
                file.write(json.dumps(row) + "\n")


Path("readings").mkdir(exist_ok=True)
make_readings(Path("readings/1.jsonl"))
readings = fz.read_files("readings/*.jsonl", format="json", schema=Reading, name="readings")
by_sensor = readings.event_time("at", out_of_order="30s").group_by("sensor")
minutes = by_sensor.window(fz.tumbling("1m")).agg(
    readings=fz.count(), mean=col("celsius").mean(), highest=col("celsius").max()
)
# A sensor that says nothing has minutes without readings, for ten minutes.
all_minutes = minutes.fill_gaps(readings=0, lasting="10m")
silent = all_minutes.filter(col("readings") == 0).select("sensor", "window_start")
hot = [fz.step(name, col("celsius") > 50, columns=["at"]) for name in ("first", "second", "third")]
alarms = by_sensor.pattern(hot, within="1m")

pipeline = fz.Pipeline(
    "iot_edge",
    all_minutes.write_iceberg("plant.minutes"),
    silent.write_files("silent", format="json", name="silent"),
    alarms.write_iceberg("plant.alarms"),
    readings.rejected.write_iceberg("plant.rejected"),
    memory_limit="128MiB",
)

if __name__ == "__main__":
    print(pipeline.run(until="now", close_windows=True))
