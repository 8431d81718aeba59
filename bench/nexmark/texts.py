"""Random texts: pieces of a long one, so that a text costs a copy and no draw per character."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.nexmark.draws import Draws, Ints

LENGTH = 1 << 20


class Texts:
    """A long text of letters; every 13th, on average, may be something else."""

    def __init__(self, seed: int, name: str, special: str | None = None) -> None:
        places = Draws(seed, np.arange(LENGTH, dtype=np.int64))
        text = (places.below(f"{name} letter", 26) + ord("a")).astype(np.uint8)
        if special is not None:
            text[~places.hot(f"{name} special", 13)] = ord(special)
        self._text: npt.NDArray[np.uint8] = text
        self._name = name

    def pieces(self, draws: Draws, what: str, lengths: Ints) -> pa.StringArray:
        """A piece for each event, of the length given."""
        starts = draws.below(f"{what} {self._name}", LENGTH - lengths)
        ends = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=ends[1:])
        index = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)
        buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(self._text[index])]
        return pa.StringArray.from_buffers(len(lengths), *buffers[1:])

    def short(self, draws: Draws, what: str, limit: int) -> pa.StringArray:
        """Pieces of 3 characters to less than a limit."""
        return self.pieces(draws, what, 3 + draws.below(f"{what} length", limit - 3))
