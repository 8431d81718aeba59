"""Coroutines on rows: how many at a time, tries, time-outs, results that are kept."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import frazil as fz
import pytest
from frazil import col
from frazil.errors import PlanError, TypeMismatch, UdfError

NUMBERS = fz.read_memory([{"n": n, "name": f"r{n}"} for n in range(300)], name="numbers")


def run(stream: fz.Stream, folder: Path, workers: int = 1) -> list[Any]:
    sink = stream.write_memory()
    pipeline = fz.Pipeline("p", sink, checkpoint=str(folder), workers=workers)
    pipeline.run(until="now", quiet=True)
    return sorted(tuple(row.values()) for row in sink.table().to_pylist())


def async_udf(function: Callable[[int], Awaitable[Any]], **options: Any) -> Any:
    """A function of a number that may be null, to one."""

    async def called(n: int | None) -> int | None:
        assert n is not None
        result: int | None = await function(n)
        return result

    return fz.async_udf(**options)(called)


async def twice(n: int) -> int:
    return 2 * n


def plain(n: int) -> int:
    return n


async def unsaid(n: int):  # type: ignore[no-untyped-def]
    return n


@pytest.mark.parametrize(
    ("write", "error", "said"),
    [
        (lambda: fz.async_udf()(plain), TypeMismatch, "plain is no coroutine function.*fz.udf"),
        (lambda: fz.async_udf()(unsaid), PlanError, r"unsaid\(\) does not say what it returns"),
        (lambda: fz.udf(twice), PlanError, r"is asynchronous.*fz\.async_udf"),
        (lambda: fz.async_udf(concurrency=0), PlanError, "concurrency=0.*1 to 10000"),
        (lambda: fz.async_udf(retries=-1), PlanError, "retries=-1"),
        (lambda: fz.async_udf(cache=True), PlanError, "cache=True"),
        (lambda: fz.async_udf(timeout="2h"), PlanError, "timeout='2h' is too long"),
        (lambda: fz.async_udf(per_second=0), PlanError, "per_second=0"),
        (lambda: fz.async_udf(on_error="skip"), PlanError, "on_error='skip'"),  # type: ignore[arg-type]
        (
            lambda: NUMBERS.select(x=fz.async_udf()(twice)(col("n"))),
            TypeMismatch,
            "may be null, and .*twice.* does not take None",
        ),
    ],
)
def test_refused_where_it_is_written(
    write: Callable[[], object], error: type[PlanError], said: str
) -> None:
    with pytest.raises(error, match=f"(?s){said}"):
        write()


def test_explained(tmp_path: Path) -> None:
    function = async_udf(twice, concurrency=7, timeout="2s", retries=3, per_second=50, cache=9)
    stream = NUMBERS.with_columns(x=function(col("n")))
    text = fz.Pipeline("p", stream.write_memory(), checkpoint=str(tmp_path)).explain()
    how = "a call a row, up to 7 at a time, 2s each, tried 4 times, 50 per second, 9 results kept"
    assert f"in Python, {how}; consistent" in text
    exact = NUMBERS.with_columns(x=async_udf(twice, pure=True)(col("n")))
    assert "exact" in fz.Pipeline("p", exact.write_memory(), checkpoint=str(tmp_path)).explain()


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_at_a_time_and_in_order(workers: int, tmp_path: Path) -> None:
    running, most = 0, 0

    async def watched(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(n % 5):
            await asyncio.sleep(0)
        running -= 1
        return n * n

    stream = NUMBERS.with_columns(x=async_udf(watched, concurrency=10)(col("n"))).select("n", "x")
    assert run(stream, tmp_path, workers) == [(n, n * n) for n in range(300)]
    assert most == 10


def test_tries_again(tmp_path: Path) -> None:
    tries: dict[int, int] = {}

    async def shaky(n: int) -> int:
        tries[n] = tries.get(n, 0) + 1
        if tries[n] <= n % 3:
            raise ConnectionError("away")
        return tries[n]

    stream = NUMBERS.select("n", x=async_udf(shaky, retries=2, delay="1ms")(col("n")))
    assert run(stream, tmp_path) == [(n, n % 3 + 1) for n in range(300)]


def test_the_last_try_counts(tmp_path: Path) -> None:
    calls: list[int] = []

    async def away(n: int) -> int:
        calls.append(n)
        if n == 7:
            raise ConnectionError("away")
        return n

    function = async_udf(away, retries=2, delay="1ms", concurrency=1)
    with pytest.raises(UdfError, match=r"(?s)raised ConnectionError: away \(.*row 8 of 300: a0=7"):
        run(NUMBERS.select("n", x=function(col("n"))), tmp_path / "1")
    assert calls.count(7) == 3
    null = async_udf(away, on_error="null")
    found = run(NUMBERS.filter(col("n") < 9).select("n", x=null(col("n"))), tmp_path / "2")
    assert found == [(n, None if n == 7 else n) for n in range(9)]


def run_one(function: Any, folder: Path) -> list[Any]:
    return run(NUMBERS.filter(col("n") == 5).select(x=function(col("n"))), folder)


async def for_ever(n: int) -> int:
    await asyncio.Event().wait()
    return n


async def leaves(n: int) -> int:
    sys.exit(n)


async def leaves_in_a_task(n: int) -> int:
    return await asyncio.create_task(leaves(n))


async def leaves_in_a_group(n: int) -> int:
    async with asyncio.TaskGroup() as group:
        group.create_task(leaves(n))
    return n


async def leaves_and_is_waited_for(n: int) -> int:
    asyncio.get_running_loop().call_soon(sys.exit, n)
    await asyncio.sleep(0.01)
    return n


async def raises_cancelled(n: int) -> int:
    raise asyncio.CancelledError("enough")


async def waits_for_cancelled(n: int) -> int:
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task
    return n


async def cancels_itself(n: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)
    return n


async def cancels_itself_late(n: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return n


async def cancels_all(n: int) -> int:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(60)
    return n


async def text(n: int) -> Any:
    return "x"


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (for_ever, {"timeout": "20ms"}, "raised TimeoutError.*a0=5"),
        (leaves, {"retries": 3}, r"SystemExit\(5\)"),
        (leaves, {"cache": 3}, r"SystemExit\(5\)"),
        (leaves_in_a_task, {}, r"SystemExit\(5\).*a0=5"),
        (leaves_in_a_task, {"cache": 3}, r"SystemExit\(5\).*a0=5"),
        (leaves_in_a_group, {}, r"SystemExit\(5\).*a0=5"),
        (raises_cancelled, {}, r"it raised CancelledError\('enough'\).*a0=5"),
        (raises_cancelled, {"cache": 3, "retries": 1, "delay": "1ms"}, "it raised Can.*a0=5"),
        (waits_for_cancelled, {}, r"it raised CancelledError\(\).*a0=5"),
        (cancels_itself, {}, "it cancelled its task.*a0=5"),
        (cancels_itself, {"cache": 3}, "it cancelled its task.*a0=5"),
        (cancels_itself_late, {}, "the calls of .* were cancelled"),
        (cancels_all, {}, "cancelled"),
        (text, {}, "returned 'x', and is declared to return int64"),
    ],
)
def test_errors(function: Any, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UdfError, match=f"(?s){said}"):
        run_one(async_udf(function, **options), tmp_path / "1")
    assert run_one(async_udf(twice), tmp_path / "2") == [(10,)]  # the loop lives


def test_a_callback_that_leaves_ends_nothing(tmp_path: Path) -> None:
    assert run_one(async_udf(leaves_and_is_waited_for), tmp_path) == [(5,)]


@pytest.mark.parametrize(
    "function", [raises_cancelled, waits_for_cancelled, cancels_itself, leaves_in_a_task]
)
@pytest.mark.parametrize("cache", [0, 3])
def test_leaving_is_an_error_like_others(
    function: Callable[[int], Awaitable[int]], cache: int, tmp_path: Path
) -> None:
    async def some(n: int) -> int:
        return n if n % 2 else await function(n)

    null = async_udf(some, on_error="null", cache=cache, concurrency=3)
    found = run(NUMBERS.filter(col("n") < 9).select("n", x=null(col("n"))), tmp_path)
    assert found == [(n, n if n % 2 else None) for n in range(9)]


def test_results_are_kept(tmp_path: Path) -> None:
    calls: list[int] = []

    async def counted(n: int) -> int:
        calls.append(n)
        await asyncio.sleep(0)
        return n

    stream = NUMBERS.select("name", x=async_udf(counted, cache=10)(col("n") % 10))
    assert len(run(stream, tmp_path / "1")) == 300
    assert sorted(calls) == list(range(10))
    calls.clear()
    few = NUMBERS.select("name", x=async_udf(counted, cache=2, concurrency=1)(col("n") % 3))
    run(few, tmp_path / "2")
    assert len(calls) == 300  # three in turn, and two are kept


def test_no_more_per_second(tmp_path: Path) -> None:
    at: list[float] = []

    async def timed(n: int) -> int:
        at.append(asyncio.get_running_loop().time())
        return n

    limited = async_udf(timed, per_second=1000)
    run(NUMBERS.filter(col("n") < 50).select(x=limited(col("n"))), tmp_path)
    assert at[-1] - at[0] >= 0.045
