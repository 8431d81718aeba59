"""A model that writes down in a file what it is asked, so that this outlives its process."""

from __future__ import annotations

import os
from pathlib import Path

DIMENSION = 3


def vector_of(text: str) -> list[float]:
    """The vector of a text."""
    return [float(len(text)), float(sum(map(ord, text))), 0.5]


class NotedModel:
    """A model of texts without line feeds."""

    name = "noted"
    dimension = DIMENSION

    def __init__(self, path: Path) -> None:
        self._path = path

    def encode(self, texts: list[str]) -> list[list[float]]:
        """Give vectors, having noted the texts."""
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, "".join(text + "\n" for text in texts).encode())
        os.close(file)
        return [vector_of(text) for text in texts]
