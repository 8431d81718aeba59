"""Streams into Apache Iceberg tables, exactly once; Python pipelines, a C++ engine inside."""

import atexit as _atexit

import pyarrow as _pyarrow  # noqa: F401  (its libarrow is the one the engine links to)

from frazil import _engine

_atexit.register(_engine.finalize)

__version__ = "0.1.0"
