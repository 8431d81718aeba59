"""Two sets of the same events: as they are made, and in mixed order in two lanes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.nexmark.files import write
from bench.nexmark.generator import Config
from bench.nexmark.oracle import Oracle

EVENTS = 6_000
IN_ORDER = Config(events_per_second=100)  # a minute
MIXED = Config(events_per_second=100, out_of_order_group=100)  # up to a second late


@pytest.fixture(scope="session")
def event_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of events by their number of lanes; two lanes have them out of order."""
    folders = {}
    for lanes, config in ((1, IN_ORDER), (2, MIXED)):
        folders[lanes] = tmp_path_factory.mktemp(f"nexmark-{lanes}")
        write(folders[lanes], EVENTS, config, lanes=lanes, file_events=1_000)
    return folders


@pytest.fixture(scope="session")
def oracles(event_folders: dict[int, Path]) -> Iterator[dict[int, Oracle]]:
    """What DuckDB says of each folder."""
    made = {lanes: Oracle(folder) for lanes, folder in event_folders.items()}
    yield made
    for oracle in made.values():
        oracle.close()
