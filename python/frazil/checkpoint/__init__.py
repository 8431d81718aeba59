"""The checkpoint log: where an epoch becomes committed. The format is in
docs/formats/checkpoint.md.
"""

from frazil.checkpoint.log import EXIT_FENCED, CheckpointLog, Epoch, LogView, Pending
from frazil.checkpoint.manifest import (
    Entry,
    KeyGroups,
    Landed,
    LookupState,
    LookupVersion,
    Manifest,
    Partition,
    Plan,
    Rows,
    SourceState,
    StateFile,
    StepRows,
)
from frazil.checkpoint.orphan import file_scope, find_orphans, is_orphan, parse_file_name
from frazil.checkpoint.plan_fit import Fit, plan_of
from frazil.checkpoint.rewind import Rewind
from frazil.checkpoint.store import PutOutcome, Store, open_store

__all__ = [
    "EXIT_FENCED",
    "CheckpointLog",
    "Entry",
    "Epoch",
    "Fit",
    "KeyGroups",
    "Landed",
    "LogView",
    "LookupState",
    "LookupVersion",
    "Manifest",
    "Partition",
    "Pending",
    "Plan",
    "PutOutcome",
    "Rewind",
    "Rows",
    "SourceState",
    "StateFile",
    "StepRows",
    "Store",
    "file_scope",
    "find_orphans",
    "is_orphan",
    "open_store",
    "parse_file_name",
    "plan_of",
]
