"""A pipeline that runs while the program, or a notebook, does something else."""

import time

import frazil as fz

events = fz.read_generator(rate=20_000, seed=2)  # without end
sink = events.select("id", "user").write_memory()
pipeline = fz.Pipeline("background", sink, checkpoint="memory://notebook", checkpoint_every="200ms")

if __name__ == "__main__":
    handle = pipeline.start(quiet=True)
    while handle.running and sink.table().num_rows < 5_000:
        time.sleep(0.05)
        print(f"epoch {handle.status.epoch}: {sink.table().num_rows} rows")
    report = handle.stop()  # a last checkpoint, then the end
    assert report.sinks["memory"].rows == sink.table().num_rows
    print(report)
