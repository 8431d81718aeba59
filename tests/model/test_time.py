"""The rules of event time by themselves: no interleaving of partitions changes what windows give.

Rules that judge otherwise are found wrong by the same search: without the floor of a row that is
late for some of its windows, or by the watermark of the stream at the moment of arrival.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

MIN, MAX = -(10**9), 10**9
SIZE, EVERY, GAP = 40, 10, 12
SEEDS, INTERLEAVINGS = 60, 5

Row = tuple[int, int]  # partition, position


def draw_partitions(rng: Random) -> list[list[int]]:
    """Times of the rows of each partition: rising, and some of them behind."""
    partitions = []
    for _ in range(rng.choice([1, 2, 4])):
        time, times = 0, []
        for _ in range(40):
            time += rng.randint(0, 6)
            times.append(max(0, time - rng.choice([0, 0, 0, 1, 3, 8, 15, 25, 60])))
        partitions.append(times)
    return partitions


def interleaved(rng: Random, partitions: list[list[int]]) -> Iterator[Row]:
    """All rows in some order that keeps that of each partition; some partitions are fast."""
    following = [0] * len(partitions)
    speeds = [rng.random() ** 3 + 0.01 for _ in partitions]
    while left := [p for p, times in enumerate(partitions) if following[p] < len(times)]:
        p = rng.choices(left, [speeds[p] for p in left])[0]
        for _ in range(min(rng.choice([1, 1, 3, 10]), len(partitions[p]) - following[p])):
            yield p, following[p]
            following[p] += 1


@dataclass
class Windows:
    """One operator behind the partitions.

    Attributes
    ----------
    floors
        A row that is late for the first of its windows is in none that ends before the first that
        took it, whether that is still open or not.
    by_row
        Lateness goes by the row's own watermark; else by that of the stream.
    """

    kind: str
    out_of_order: int
    lateness: int
    floors: bool = True
    by_row: bool = True
    watermark: int = 2 * MIN
    given: list[Any] = field(default_factory=list)
    late: int = 0
    contradictions: int = 0  # rows that were accepted for what had been given
    panes: dict[tuple[int, int], list[Row]] = field(default_factory=dict)  # by start and floor
    closed: set[int] = field(default_factory=set)  # ends
    sessions: list[tuple[int, int, list[Row]]] = field(default_factory=list)

    def run(self, rng: Random, partitions: list[list[int]]) -> Windows:
        """All rows; watermarks come after them, and may be left out."""
        frontiers = [MIN] * len(partitions)
        for p, position in interleaved(rng, partitions):
            time = partitions[p][position]
            of_row = frontiers[p] - self.out_of_order
            assert self.watermark <= of_row
            take = self.take_session if self.kind == "session" else self.take
            take(time, of_row if self.by_row else self.watermark, (p, position))
            frontiers[p] = max(frontiers[p], time)
            reached = min(frontiers) - self.out_of_order
            if reached > self.watermark and rng.random() < 0.7:
                self.advance(reached)
        self.advance(MAX)
        return self

    def take(self, time: int, watermark: int, row: Row) -> None:
        """A row of tumbling (of one pane) or hopping windows."""
        pane_size = SIZE if self.kind == "tumbling" else EVERY
        pane = time // pane_size * pane_size
        ends = range(pane + pane_size, pane + SIZE + 1, pane_size)
        accepted = [end for end in ends if end > watermark - self.lateness]
        self.late += len(ends) - len(accepted)
        if not accepted:
            return
        self.contradictions += any(end in self.closed for end in accepted)
        floor = accepted[0] if len(accepted) < len(ends) else MIN
        self.panes.setdefault((pane, floor), []).append(row)

    def take_session(self, time: int, watermark: int, row: Row) -> None:
        """A row of a session: those it touches become one."""
        if time < watermark - self.lateness:
            self.late += 1
            return
        self.contradictions += any(
            first - GAP <= time <= last + GAP for first, last, _ in self.given
        )
        first, last, rows = time, time, [row]
        while near := [s for s in self.sessions if s[0] - GAP <= last and first <= s[1] + GAP]:
            for each in near:
                self.sessions.remove(each)
                first, last = min(first, each[0]), max(last, each[1])
                rows = rows + each[2]
        self.sessions.append((first, last, rows))

    def advance(self, to: int) -> None:
        """The watermark of the stream; what has ended is given."""
        self.watermark = to
        due = to - self.lateness
        for session in [s for s in self.sessions if due > s[1] + GAP]:
            self.sessions.remove(session)
            self.given.append((session[0], session[1], tuple(sorted(session[2]))))
        size = SIZE if self.kind == "tumbling" else EVERY
        ends = {end for pane, _ in self.panes for end in range(pane + size, pane + SIZE + 1, size)}
        for end in sorted(end for end in ends if end <= due and end not in self.closed):
            self.closed.add(end)
            rows = [
                row
                for (pane, floor), members in self.panes.items()
                if end - SIZE <= pane < end and (floor <= end or not self.floors)
                for row in members
            ]
            if rows:
                self.given.append((end, tuple(sorted(rows))))
        self.panes = {name: rows for name, rows in self.panes.items() if name[0] + SIZE > due}


def search(kind: str, **rules: bool) -> tuple[int, int]:
    """How many random inputs have several answers, and rows that contradict what was given."""
    several = contradictions = 0
    for seed in range(SEEDS):
        rng = Random(seed)
        partitions = draw_partitions(rng)
        settings = (rng.choice([0, 5, 20]), rng.choice([0, 0, 10]))
        answers = []
        for n in range(INTERLEAVINGS):
            windows = Windows(kind, *settings, **rules).run(Random(seed * 100 + n), partitions)
            answers.append((Counter(windows.given), windows.late))
            contradictions += windows.contradictions
        several += any(answer != answers[0] for answer in answers)
    return several, contradictions


@pytest.mark.parametrize("kind", ["tumbling", "hopping", "session"])
def test_no_interleaving_changes_the_answer(kind: str) -> None:
    assert search(kind) == (0, 0)


@pytest.mark.parametrize("kind", ["tumbling", "hopping", "session"])
def test_lateness_by_the_stream_is_found(kind: str) -> None:
    assert search(kind, by_row=False)[0] > SEEDS // 2


def test_a_missing_floor_is_found() -> None:
    assert search("hopping", floors=False)[0] > SEEDS // 2
