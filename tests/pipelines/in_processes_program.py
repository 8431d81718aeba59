"""A program whose function runs in processes of its own, and waits in them where it is told to."""

import os
import sys
import threading

import frazil as fz
from frazil import col

ROWS = 200


@fz.udf(workers=2)
def name(n: int | None) -> str:
    if n is not None and n >= ROWS // 2 and sys.argv[2:] == ["hold"]:
        print(os.getpid(), flush=True)
        threading.Event().wait()
    return f"<{n}>"


if __name__ == "__main__":
    folder = sys.argv[1]
    rows = fz.read_generator(rows=ROWS, partitions=2, rate=1_000)
    sink = rows.select(name=name(col("id"))).write_files(f"{folder}/out", format="parquet")
    checkpoints = f"{folder}/checkpoints"
    pipeline = fz.Pipeline("p", sink, workers=2, checkpoint=checkpoints, checkpoint_every="20ms")
    pipeline.run(until="now", quiet=True)
