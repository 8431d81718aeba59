"""Events as Parquet files: a folder for each kind, in it one for each lane, with files in order.

Beside them lies the table that q13 looks up in.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.cache import cache_dir
from bench.nexmark.generator import KINDS, Config, Generator

FILE_EVENTS = 250_000
ROW_GROUP_ROWS = 65_536
CONFIG = "config.json"
SIDE_ROWS = 10_000
DICTIONARIES = ["name", "city", "state", "channel", "url"]


def write(
    folder: Path, events: int, config: Config, *, lanes: int = 1, file_events: int = FILE_EVENTS
) -> None:
    """Write the first so many events; of each `file_events` the next lane has a file."""
    generator = Generator(config)
    for number, first in enumerate(range(0, events, file_events)):
        rows = generator.rows(first, min(file_events, events - first))
        for kind in KINDS:
            path = folder / kind / f"{number % lanes:02d}" / f"{number:06d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(
                path,
                rows[kind].schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=[name for name in rows[kind].schema.names if name in DICTIONARIES],
            ) as writer:
                writer.write_batch(rows[kind], row_group_size=ROW_GROUP_ROWS)
    (folder / CONFIG).write_text(json.dumps(asdict(config)))
    keys = pa.array(range(SIDE_ROWS))
    pq.write_table(pa.table({"key": keys, "value": keys.cast(pa.string())}), side_file(folder))


def config_of(folder: Path) -> Config:
    """With what a folder was written."""
    return Config(**json.loads((folder / CONFIG).read_text()))


def side_file(folder: Path) -> Path:
    """The table of q13: keys from 0, and for each a value."""
    return folder / "side.parquet"


def event_folder(
    events: int, config: Config, *, lanes: int = 1, file_events: int = FILE_EVENTS
) -> Path:
    """A folder in the cache folder, written unless it is there; complete or not at all."""
    of = f"{config.seed}-{config.events_per_second}-{config.out_of_order_group}-{lanes}-{events}"
    if min(events, file_events) != min(events, FILE_EVENTS):
        of += f"-by-{file_events}"
    folder = cache_dir() / "nexmark" / of
    if folder.exists():
        return folder
    partial = folder.with_suffix(f".{os.getpid()}.partial")
    try:
        write(partial, events, config, lanes=lanes, file_events=file_events)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def count_events(folder: Path, kinds: Sequence[str]) -> int:
    """How many events of these kinds a folder has."""
    return sum(
        pq.read_metadata(path).num_rows
        for kind in kinds
        for path in (folder / kind).rglob("*.parquet")
    )
