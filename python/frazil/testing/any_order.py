"""Checks that a result does not depend on order of work, batches, workers or crashes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frazil.errors import ConfigError, on_user_line
from frazil.testing.clock import Clock
from frazil.testing.rows import difference
from frazil.testing.run_to_end import Case

if TYPE_CHECKING:
    from frazil.stream import Stream
    from frazil.testing.given import Partitions, Rows

CRASHES_MAX = 3
"""Of one case; the process after the last one runs to the end."""


class OrderMatters(AssertionError):
    """The same rows gave another result: in another order, with other batches, or after a crash."""


class _Crash(BaseException):
    """The process is thought to be gone from here on; nothing handles it."""


class _CrashAt:
    """Raises at the n-th step of delivery; 0 never does, but counts."""

    def __init__(self, step: int = 0) -> None:
        self.step, self.steps = step, 0

    def __call__(self, name: str) -> None:
        if name == "before_orphan":
            return  # by a thread of its own, so not in the drawn order
        self.steps += 1
        if self.steps == self.step:
            raise _Crash(name)


@on_user_line
def check_any_order(
    streams: Stream | Mapping[str, Stream],
    /,
    *,
    inputs: Mapping[str, Rows | Partitions] | None = None,
    lookups: Mapping[str, Any] | None = None,
    cases: int = 20,
    seed: int = 0,
    crashes: bool = True,
    clock: Clock | None = None,
    **rows: Rows | Partitions,
) -> dict[str, list[dict[str, Any]]]:
    """Run streams over the same rows in drawn ways, and require the same result each time.

    Drawn are the order of work, the size of batches, 1, 2 or 4 workers, how often there is a
    checkpoint, and up to three crashes at any step of delivery, each with a start behind it.

    Parameters
    ----------
    streams, inputs, lookups, rows
        As for `run_to_end`.
    cases
        How many ways.
    seed
        What they follow from.
    crashes
        False: no process is ended on the way.
    clock
        What the machine's clock says at the start of each way.

    Returns
    -------
    dict of list of dict
        The result, by stream ("rows" if there is one only).

    Raises
    ------
    OrderMatters
        A case gave other rows; it says which, and how to run that case alone.

    Examples
    --------
    >>> import frazil as fz
    >>> from frazil import testing
    >>> orders = fz.read_files("orders.jsonl", format="json", schema={"user": str}, name="orders")
    >>> counts = orders.group_by("user").agg(orders=fz.count())
    >>> testing.check_any_order(counts, orders=[{"user": "ada"}] * 3, cases=5)["rows"]
    [{'user': 'ada', 'orders': 3}]
    """
    if cases < 1:
        raise ConfigError(f"cases={cases}", "a number from 1")
    named = streams if isinstance(streams, Mapping) else {"rows": streams}
    given = {**rows, **(inputs or {})}
    clock = clock or Clock()
    straight = Case(named, given, lookups or {}, clock._copy())
    straight.run()
    expected = straight.rows()
    for number in range(seed, seed + cases):
        case = Case(named, given, lookups or {}, clock._copy())
        how, found = _drawn(case, number, crashes)
        for name, wanted in expected.items():
            unlike = difference(found[name], wanted)
            if unlike:
                raise OrderMatters(
                    f"stream {name!r} gave other rows with {how}:\n{unlike}\n"
                    f"this case alone: check_any_order(..., seed={number}, cases=1)"
                )
    return expected


def _drawn(case: Case, seed: int, crashes: bool) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    rng = random.Random(seed)
    ways: list[str] = []
    left = rng.randint(0, CRASHES_MAX) if crashes else 0
    while True:
        workers, batch_rows = rng.choice([1, 2, 4]), rng.choice([1, 2, 7, 100])
        every_s = rng.choice([0.01, 0.05, 0.5])
        crash = _CrashAt(rng.randint(1, 40) if left else 0)
        way = f"workers={workers}, batches of {batch_rows}, a checkpoint every {every_s} s"
        try:
            case.run(
                workers=workers,
                batch_rows=batch_rows,
                every_s=every_s,
                close_windows=not left,  # who crashes may be at its end: its windows stay open
                seed=rng.randrange(2**31),
                hook=crash,
            )
        except _Crash as step:
            way += f" (a crash at {step})"
        ways.append(way)
        if not left:
            return "; then ".join(ways), case.rows()
        left -= 1
