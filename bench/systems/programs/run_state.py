"""A count and a sum of each key and window of a Parquet file, into a sink that takes no row."""

from __future__ import annotations

import argparse
import tempfile

import frazil as fz
from frazil import col

WINDOWS = {
    "none": None,
    "day": fz.tumbling("1d"),
    "minute": fz.tumbling("1m"),
    "hour every minute": fz.hopping("1h", every="1m"),
}


def main() -> None:
    """Run to the end of the file; every window closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("window", choices=WINDOWS)
    parser.add_argument("--memory", default="4GiB")
    given = parser.parse_args()
    rows = fz.read_files(given.file, format="parquet").event_time("at", out_of_order="1s")
    window = WINDOWS[given.window]
    if window is None:
        taken = rows.filter(col("key") < 0)
    else:
        groups = rows.group_by("key").window(window)
        taken = groups.agg(n=fz.count(), total=col("amount").sum()).filter(col("n") < 0)
    with tempfile.TemporaryDirectory() as checkpoint:
        pipeline = fz.Pipeline(
            "state", taken.write_memory(), checkpoint=checkpoint, memory_limit=given.memory
        )
        report = pipeline.run(until="now", close_windows=True, quiet=True)
    print(sum(source.read for source in report.sources.values()))


if __name__ == "__main__":
    main()
