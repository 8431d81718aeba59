"""Coroutines on rows: each row has its result, in any order of work, crashed anywhere."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import frazil as fz
import pytest
from frazil import col

from tests.pipelines.crashes import check_crashes, check_every_crash
from tests.pipelines.events import Event, counted
from tests.pipelines.ordered import draw_apart

if TYPE_CHECKING:
    from tests.pipelines.processes import Processes


@fz.async_udf(concurrency=5, cache=3, pure=True)
async def name(n: int | None, id: int) -> str:
    for _ in range(id % 4):
        await asyncio.sleep(0)
    return f"{id}:{n}"


class Named:
    """Each row once, with its own result."""

    def streams(self, events: fz.Stream) -> dict[str, fz.Stream]:
        named = events.with_columns(name=name(col("n"), col("id")))
        return {"named": named.select("id", "name"), "few": named.filter(col("n") > 2).select("id")}

    def check(
        self, processes: Processes, partitions: list[list[Event]], *, ended: bool = False
    ) -> None:
        events = [event for part in partitions for event in part]
        expected = [{"id": each["id"], "name": f"{each['id']}:{each['n']}"} for each in events]
        assert processes.rows("named") == counted(expected)
        few = [{"id": each["id"]} for each in events if (each["n"] or 0) > 2]
        assert processes.rows("few") == counted(few)


@pytest.mark.parametrize("seed", range(8))
def test_any_order_and_crashes(seed: int) -> None:
    rng = Random(seed)
    check_crashes(Named(), draw_apart(rng), rng)


def test_crashed_at_every_step() -> None:
    check_every_crash(Named(), draw_apart(Random(5), most=2, rows=20, whole=True), given=["named"])
