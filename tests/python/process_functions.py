"""Functions that run in processes of their own, and how they misbehave; children import this."""

import os
import signal
import sys
import threading
from pathlib import Path

import frazil as fz
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@fz.udf(workers=3)
def thrice(n: int | None, word: str) -> str:
    return f"{n}:{word * 3}"


@fz.udf(workers=1)
def thrice_in_one(n: int | None, word: str) -> str:
    return f"{n}:{word * 3}"


@fz.udf(workers=2, on_error="divert")
def inverse(n: int) -> float:
    return 1 / n


@fz.udf(workers=1, on_error="null")
def parsed(word: str) -> int:
    return int(word)


@fz.batch_udf(returns=pa.float64(), workers=1)
def root(x: np.ndarray) -> np.ndarray:
    return np.sqrt(x)


@fz.batch_udf(returns=pa.int64(), workers=2, on_error="drop")
def not_seven(n: pa.Array) -> pa.Array:
    if 7 in n.to_pylist():
        raise ValueError("seven")
    return pc.add(n, 1)


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Two rows for each that is even, none for others; fails for 5."""
    ids = batch["id"].to_pylist()
    if 5 in ids:
        raise LookupError("five")
    twice = [i for i in ids if i % 2 == 0 for _ in range(2)]
    return pa.record_batch({"id": pa.array(twice, pa.int64())})


@fz.udf(workers=2)
def act(what: str, n: int) -> int:
    """Do something that a function should not."""
    verb, _, where = what.partition(" ")
    match verb:
        case "raise":
            raise ValueError(f"no {n}")
        case "text":
            return "no"  # type: ignore[return-value]
        case "exit":
            sys.exit(3)
        case "end":
            os._exit(7)
        case "fork":
            os.fork()
        case "wait":
            _wait()
        case "kill" if not Path(where).exists():  # the first time
            Path(where).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        case "leak":
            leaked.append(bytearray(b"x" * (64 << 20)))
            return len(leaked)
        case "pid":
            return os.getpid()
    return n


leaked: list[bytearray] = []


@fz.udf(workers=2, timeout="1s")
def hasty(what: str | None, n: int | None) -> int:
    return act.function(what or "", n or 0)


def _wait() -> None:
    threading.Event().wait()


@fz.batch_udf(returns=pa.int64(), workers=1)
def column(n: pa.Array) -> object:
    """Return something else than is declared, as the first value says."""
    if 1 in n.to_pylist():
        return n[:-1]
    if 2 in n.to_pylist():
        return n.cast(pa.float64())
    return n


@fz.udf(workers=1)
def long(n: int) -> bytes:
    return b"x" * n


def plain(n: int) -> int:
    return n


@fz.udf(workers=2)
def later(n: int | None) -> int:
    return -1


# Another function has its name.
shadowed = later


@fz.udf(workers=1)
def later(n: int | None) -> int:  # type: ignore[no-redef]
    return 1
