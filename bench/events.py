"""Seeded shop events as JSON lines: the input of every benchmark.

A row has ten fields and about 243 bytes: id, ts (epoch ms), user (100 k, skewed), page (10 k),
country (200), amount (log-normal; 75.8 % above 10), quantity, device, flag, session. Arrival order
is id order, a row each millisecond of event time; one in five is up to 5 s early. Rows are made in
chunks of their own seed, so a longer file begins with a shorter one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.cache import cache_dir

CHUNK = 100_000
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DEVICES = ("mobile", "desktop", "tablet", "tv", "console")
USERS, PAGES, COUNTRIES = 100_000, 10_000, 200


def _cumulated_zipf(count: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return np.cumsum(weights) / weights.sum()


class Events:
    """The event stream of a seed."""

    def __init__(self, seed: int = 42) -> None:
        self._seed = seed
        shuffle = np.random.default_rng(seed)
        self._users = [f"user_{n:08d}" for n in shuffle.permutation(USERS)]
        self._pages = [
            f"/shop/category-{n % 97:02d}/product-{n:06d}.html" for n in shuffle.permutation(PAGES)
        ]
        self._countries = [f"C{n:03d}" for n in shuffle.permutation(COUNTRIES)]
        self._skew = [
            _cumulated_zipf(count, exponent)
            for count, exponent in ((USERS, 1.1), (PAGES, 1.05), (COUNTRIES, 1.2))
        ]

    def lines(self, rows: int) -> Iterator[list[str]]:
        """The first `rows` events, a chunk of lines at a time."""
        for chunk in range(-(-rows // CHUNK)):
            yield self._chunk(chunk, min(CHUNK, rows - chunk * CHUNK))

    def _chunk(self, chunk: int, rows: int) -> list[str]:
        """The first rows of a chunk; the draws do not depend on how many."""
        draw = np.random.default_rng((self._seed, chunk))
        user, page, country = (
            np.searchsorted(skew, draw.random(CHUNK)).tolist() for skew in self._skew
        )
        amount = np.round(np.exp(3.0 + draw.standard_normal(CHUNK)), 2).tolist()
        quantity = draw.integers(1, 21, CHUNK).tolist()
        device = draw.integers(0, len(DEVICES), CHUNK).tolist()
        flag = (draw.random(CHUNK) < 0.3).tolist()
        early = np.where(
            draw.random(CHUNK) < 0.2, draw.integers(0, 5000, CHUNK), draw.integers(0, 100, CHUNK)
        )
        ids = np.arange(CHUNK) + chunk * CHUNK
        times = (START_MS + ids - early).tolist()
        token = draw.integers(0, 1 << 62, CHUNK).tolist()
        first = chunk * CHUNK
        return [
            f'{{"id": {first + i}, "ts": {times[i]}, "user": "{self._users[user[i]]}", '
            f'"page": "{self._pages[page[i]]}", "country": "{self._countries[country[i]]}", '
            f'"amount": {amount[i]}, "quantity": {quantity[i]}, "device": "{DEVICES[device[i]]}", '
            f'"flag": {"true" if flag[i] else "false"}, '
            f'"session": "{user[i]:08x}{token[i]:024x}"}}\n'
            for i in range(rows)
        ]


def event_file(rows: int, seed: int = 42) -> Path:
    """A file of events in the cache folder, written unless it is there; complete or not at all."""
    path = cache_dir() / "events" / f"{seed}-{rows}.jsonl"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("w", encoding="ascii") as out:
        for lines in Events(seed).lines(rows):
            out.writelines(lines)
    partial.rename(path)
    return path
