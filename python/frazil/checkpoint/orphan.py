"""Files that no epoch will ever name.

A data file's name says who made it and when: `<attempt>-<epoch>-<worker>-<uuid>.parquet`. Attempts
and epochs are numbers of one log, and several pipelines may write to one table, so the first eight
hex digits of the uuid say which log and sink the file is of (`file_scope`). Whether
it is an orphan follows from that and from the log's list of owners, never from "no manifest names
it": collected manifests name nothing. It may be asked only by a process whose fence was accepted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frazil.checkpoint.manifest import Owner

_FILE = re.compile(
    r"(?P<attempt>[0-9]{1,18})-(?P<epoch>[0-9]{12,18})-(?P<worker>[0-9]{1,9})-"
    r"(?P<uuid>[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})\.[a-z0-9.]{1,20}"
)


@dataclass(frozen=True, slots=True)
class DataFileName:
    """What the name of a data file says."""

    attempt: int
    epoch: int
    worker: int
    uuid: str  # 32 hex digits

    @property
    def scope(self) -> str:
        """Which log and sink it is of, see `file_scope`."""
        return self.uuid[:8]


def file_scope(incarnation: str, sink: str) -> str:
    """The eight hex digits with which the uuids of a sink's data files begin."""
    return hashlib.sha256(f"{incarnation}/{sink}".encode()).hexdigest()[:8]


def parse_file_name(path: str) -> DataFileName | None:
    """Read the last part of a path; None if it is not the name of a data file of ours."""
    match = _FILE.fullmatch(path.rsplit("/", 1)[-1])
    if not match:
        return None
    return DataFileName(
        int(match["attempt"]),
        int(match["epoch"]),
        int(match["worker"]),
        match["uuid"].replace("-", ""),
    )


def is_orphan(attempt: int, slot: int, owners: Sequence[Owner], me: int) -> bool:
    """Whether what `attempt` made for `slot` will never be named by an accepted manifest.

    Parameters
    ----------
    attempt, slot
        From the name of the file.
    owners
        The list in the newest accepted manifest of the asking process.
    me
        The attempt of the asking process; its own files and those of later ones are never orphans.
    """
    if attempt >= me or not owners:
        return False
    if attempt < owners[0].attempt:
        # Forgotten (the list is bounded): leave it. Attempts begin with 1, so below 1 nobody ever
        # was.
        return owners[0].attempt == 1
    for i, owner in enumerate(owners):
        if owner.attempt == attempt:
            end = owners[i + 1].slot if i + 1 < len(owners) else None
            return not (owner.slot < slot and (end is None or slot < end))
    return True  # an attempt that never had a slot


def find_orphans(
    paths: Iterable[str], *, scope: str, owners: Sequence[Owner], me: int
) -> list[str]:
    """Those paths that are data files of this log and sink and that no epoch will ever name.

    Files of other pipelines, and anything that is not named like a data file, are not looked at.
    """
    out = []
    for path in paths:
        name = parse_file_name(path)
        if name and name.scope == scope and is_orphan(name.attempt, name.epoch, owners, me):
            out.append(path)
    return out
