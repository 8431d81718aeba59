"""Putting a slot: the one step by which an epoch becomes committed, or not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from frazil.checkpoint.store import PutOutcome, Store
from frazil.errors import OutcomeUnknown, StoreUnavailable

T = TypeVar("T")

# How often a put or a read without an answer is tried, and the pauses between (seconds, doubled).
TRIES = 9
PAUSE_S = 0.1
PAUSE_MAX_S = 5.0


@dataclass(frozen=True)
class Clock:
    """Wall clock and sleep; tests give their own."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


def put_object(store: Store, key: str, data: bytes, clock: Clock) -> bytes:
    """Create an object, whatever it takes to know the outcome, and return what the key holds then.

    That is `data` if this call created it, in any of its tries, and somebody else's bytes if not.
    Nothing is inferred from "exists": an earlier try may have landed without its reply, and a busy
    store says it of a key that stays free. So the key is read, and an absent one put again.

    Raises
    ------
    OutcomeUnknown
        The store gives no answer.
    """
    last = "no answer"
    for attempt in range(TRIES):
        if attempt:
            clock.sleep(min(PAUSE_S * 2 ** (attempt - 1), PAUSE_MAX_S))
        outcome = store.put_new(key, data)
        if outcome is PutOutcome.CREATED:
            return data
        try:
            found = store.get(key)
        except StoreUnavailable as error:
            last = error.what
            continue
        if found is not None:
            return found
        last = f"the put was answered {outcome.value!r} and the key is free"
    raise OutcomeUnknown(
        f"{store.url}: putting {key}: whether it is there is not known after {TRIES} tries: {last}",
        "the next start will see; nothing that depends on it was done",
    )


def patiently(call: Callable[[], T], clock: Clock) -> T:
    """Read from a store that may be away for a while."""
    for attempt in range(TRIES - 1):
        try:
            return call()
        except StoreUnavailable:
            clock.sleep(min(PAUSE_S * 2**attempt, PAUSE_MAX_S))
    return call()
