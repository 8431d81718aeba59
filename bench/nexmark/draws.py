"""Random numbers that depend on a seed, an event and what is drawn, and on nothing else.

Drawing for one event or for a million at once gives the same: a draw is a hash (the finalizer of
SplitMix64) of event number and stream, not the next number of a generator.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def _mix(bits: Bits) -> Bits:
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))


class Draws:
    """What is drawn for some events."""

    def __init__(self, seed: int, events: Ints) -> None:
        self._seed = seed
        self._events = events.astype(np.uint64)

    def bits(self, what: str) -> Bits:
        """64 of them for each event; another `what` gives others."""
        name = np.array([(self._seed << 32) ^ zlib.crc32(what.encode())], dtype=np.uint64)
        return _mix(_mix(name) + (self._events + np.uint64(1)) * _STEP)

    def below(self, what: str, limit: int | Ints) -> Ints:
        """Whole numbers from 0 to less than a limit, which is below 2^31."""
        limits = np.asarray(limit).astype(np.uint64)
        high = self.bits(what) >> np.uint64(32)
        return (high * limits >> np.uint64(32)).astype(np.int64)

    def hot(self, what: str, ratio: int) -> npt.NDArray[np.bool_]:
        """True but for one in `ratio`."""
        return self.below(what, ratio) > 0
