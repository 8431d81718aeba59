"""The systems that the benchmark knows, by name."""

from __future__ import annotations

from bench.systems.bare import BARE, CONSUME
from bench.systems.bytewax import BYTEWAX
from bench.systems.duckdb import DUCKDB
from bench.systems.flink import FLINK
from bench.systems.frazil import (
    FRAZIL,
    FRAZIL_BATCH_UDF,
    FRAZIL_GROUPS,
    FRAZIL_KEYED,
    FRAZIL_ROWS,
    FRAZIL_UDF,
)
from bench.systems.system import Input, System

_OWN = (FRAZIL, FRAZIL_UDF, FRAZIL_BATCH_UDF, FRAZIL_KEYED, FRAZIL_GROUPS, FRAZIL_ROWS)

SYSTEMS: dict[str, System] = {
    each.name: each for each in (*_OWN, BARE, CONSUME, DUCKDB, BYTEWAX, FLINK)
}

OTHER_ROWS: dict[tuple[str, str, str], str] = {
    ("flink", "w2", "kafka"): (
        "Flink goes by the least of the partitions' watermarks, not by that of each row's own, so "
        "that other rows are late, and which depends on how it reads"
    )
}
"""Why a system gives other rows than the rest, by its name, workload and source."""

__all__ = ["OTHER_ROWS", "SYSTEMS", "Input", "System"]
