"""The systems that the benchmark knows, by name."""

from __future__ import annotations

from bench.systems.bare import BARE, CONSUME
from bench.systems.bytewax import BYTEWAX
from bench.systems.duckdb import DUCKDB
from bench.systems.flink import FLINK
from bench.systems.frazil import FRAZIL
from bench.systems.system import Input, System

SYSTEMS: dict[str, System] = {
    each.name: each for each in (FRAZIL, BARE, CONSUME, DUCKDB, BYTEWAX, FLINK)
}

__all__ = ["SYSTEMS", "Input", "System"]
