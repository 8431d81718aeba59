"""Checkpoints of many keys: for how long they stop a worker, and how long a start takes with them.

Prints one line of JSON for each of two runs: the first fills a day's window with keys, and has them
all in its last checkpoint; the second begins from that, and writes all at its first checkpoint and
then what some more rows change.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import frazil as fz
from frazil import col


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("fill")
    parser.add_argument("more")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "rows")
        source.mkdir()
        for name, every in ((given.fill, "1h"), (given.more, "500ms")):
            Path(source, Path(name).name).symlink_to(name)
            rows = fz.read_files(f"{source}/*.parquet", format="parquet").event_time(
                "at", out_of_order="1d"
            )
            counted = (
                rows.group_by("key")
                .window(fz.tumbling("1d"))
                .agg(n=fz.count(), total=col("amount").sum())
            )
            pipeline = fz.Pipeline(
                "snapshots",
                counted.write_memory(),
                checkpoint=f"{folder}/checkpoint",
                checkpoint_every=every,
                memory_limit="8GiB",
                workers=given.workers,
            )
            handle = pipeline.start(until="now", quiet=True)
            report = handle.wait()
            status = handle.status
            print(
                json.dumps(
                    {
                        "read": sum(each.read for each in report.sources.values()),
                        "epochs": report.last_epoch - report.first_epoch + 1,
                        "seconds": report.seconds,
                        "longest_step_ms": status.metrics["longest_step_us"] / 1e3,
                        "longest_checkpoint_step_ms": status.metrics["longest_epoch_step_us"] / 1e3,
                        "restore_s": status.restore_seconds,
                    }
                )
            )


if __name__ == "__main__":
    main()
