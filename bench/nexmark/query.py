"""A query of the suite: a pipeline, and the same in SQL over the events at rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import frazil as fz

from bench.nexmark.files import config_of, side_file
from bench.nexmark.generator import SCHEMAS

OUT_OF_ORDER = "4s"
"""What the suite allows; its generator, in order or in mixed groups, stays below."""


@dataclass(frozen=True)
class Events:
    """The streams of a folder of events, which is named once in a pipeline each."""

    folder: Path

    @property
    def people(self) -> fz.Stream:
        """Those who sell and bid."""
        return self._stream("person")

    @property
    def auctions(self) -> fz.Stream:
        """What they sell."""
        return self._stream("auction")

    @property
    def bids(self) -> fz.Stream:
        """What they offer for it."""
        return self._stream("bid")

    @property
    def side(self) -> fz.Lookup:
        """The table of q13."""
        return fz.lookup_parquet(side_file(self.folder), name="side")

    def lasting(self, events: int) -> str:
        """How long it takes until so many more events have come: a bound for joins."""
        per_second = config_of(self.folder).events_per_second
        return f"{-(-events * 1000 // per_second) + 1}ms"

    def _stream(self, kind: str) -> fz.Stream:
        files = fz.read_files(
            self.folder / kind / "**",
            format="parquet",
            schema=SCHEMAS[kind],
            lanes="by_folder",
            name=kind,
        )
        return files.event_time("date_time", out_of_order=OUT_OF_ORDER)


@dataclass(frozen=True)
class Query:
    """A query.

    Attributes
    ----------
    title
        What it asks for.
    reads
        The kinds of events that it reads: "person", "auction", "bid".
    build
        Makes its stream.
    sql
        Its rows, over views of that name in which times are in UTC, in DuckDB's SQL.
    partition_by
        Columns by which its table is partitioned.
    changes
        Whether its table is a log of changes: the rows that are left have to be those of `sql`.
    """

    title: str
    reads: Sequence[str]
    build: Callable[[Events], fz.Stream]
    sql: str
    partition_by: Sequence[str] = ()
    changes: bool = False
