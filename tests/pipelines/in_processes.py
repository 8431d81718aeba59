"""Functions of pipelines that run in processes of their own; children import this."""

import asyncio
import threading

import frazil as fz
import pyarrow as pa
import pyarrow.compute as pc


@fz.udf(workers=2, on_error="divert")
def name(id: int) -> str:
    if id % 5 == 0:
        raise ValueError(f"{id} is a multiple of five")
    return f"<{id}>"


@fz.udf
def plus_one(n: int) -> int:
    return n + 1


@fz.batch_udf(returns=pa.int64(), nullable=False)
def by_column(n: pa.Array) -> pa.Array:
    return pc.add(n, 1)


@fz.batch_udf(returns=pa.int64(), nullable=False)
def in_thread(n: pa.Array) -> pa.Array:
    """A function that has a thread of its own do it."""
    found: list[pa.Array] = []
    thread = threading.Thread(target=lambda: found.append(pc.add(n, 1)))
    thread.start()
    thread.join()
    return found[0]


@fz.batch_udf(returns=pa.int64(), nullable=False, workers=2)
def in_others(n: pa.Array) -> pa.Array:
    return pc.add(n, 1)


@fz.async_udf(concurrency=1_000, pure=True)
async def later(n: int) -> int:
    await asyncio.sleep(0)
    return n


def whole(batch: pa.RecordBatch) -> pa.RecordBatch:
    total = batch["n"]
    for other in "abcde":
        total = pc.add(total, batch[other])
    return pa.record_batch({"n": batch["n"], "sum": total})
