"""Tests of pipelines and of connectors in Python, without services.

Pipelines: rows in, rows out, in any order of work, with crashes; see docs/testing.md. Connectors:
suites that do to them what crashes do: readers and writers are left as they are, and others are
made, as in a new process. What one gets wrong shows in one of these moments only.
"""

from frazil.testing.any_order import OrderMatters, check_any_order
from frazil.testing.clock import Clock, Wait, wait
from frazil.testing.given import Message, Partitions, Rows, change, partitions
from frazil.testing.not_conforming import NotConforming
from frazil.testing.rows import assert_rows, assert_table
from frazil.testing.run_to_end import run_to_end
from frazil.testing.sink_conformance import sink_conformance
from frazil.testing.source_conformance import source_conformance

__all__ = [
    "Clock",
    "Message",
    "NotConforming",
    "OrderMatters",
    "Partitions",
    "Rows",
    "Wait",
    "assert_rows",
    "assert_table",
    "change",
    "check_any_order",
    "partitions",
    "run_to_end",
    "sink_conformance",
    "source_conformance",
    "wait",
]
