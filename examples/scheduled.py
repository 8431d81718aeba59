"""A bounded run, as a scheduler calls it: read what is there, commit, say what was done.

In Airflow, `land` is the body of a task: its result becomes the XCom, and a retry is safe.
"""

from typing import Any

import frazil as fz
from frazil import col

events = fz.read_generator(rows=10_000, seed=11)
pipeline = fz.Pipeline("nightly", events.filter(col("flag")).write_iceberg("shop.flagged"))


def land() -> dict[str, Any]:
    """Continue where the last run ended, up to what is there now."""
    report = pipeline.run(until="now", quiet=True)
    return report.to_dict()


if __name__ == "__main__":
    done = land()
    for name, source in done["sources"].items():
        print(f"{name}: {source['read']} rows read, {source['rejected']} rejected")
    for name, sink in done["sinks"].items():
        print(f"{name}: {sink['rows']} rows in snapshots {sink['snapshots']}")
