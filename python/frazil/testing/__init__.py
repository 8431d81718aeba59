"""Tests of pipelines: rows in, rows out, in any order of work and with crashes; without services.

See docs/testing.md.
"""

from frazil.testing.any_order import OrderMatters, check_any_order
from frazil.testing.given import Message, Partitions, Rows, change, partitions
from frazil.testing.rows import assert_rows, assert_table
from frazil.testing.run_to_end import run_to_end

__all__ = [
    "Message",
    "OrderMatters",
    "Partitions",
    "Rows",
    "assert_rows",
    "assert_table",
    "change",
    "check_any_order",
    "partitions",
    "run_to_end",
]
