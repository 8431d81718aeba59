"""Removing the proof of a pipeline that is gone for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frazil.errors import CommitError, ConfigError
from frazil.iceberg.audit import audit
from frazil.iceberg.proof import claim_name, is_claimed, proof_name, property_name
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
)

if TYPE_CHECKING:
    from pyiceberg.table import Table


def forget(table: Table, pipeline: str, sink: str, branch: str = MAIN_BRANCH) -> None:
    """Remove a sink's proof from a table: its pipeline is gone for good.

    Its rows stay. The files of its last snapshot are not held any more, and the same pipeline
    cannot go on writing there.

    Raises
    ------
    ConfigError
        The table has no proof of it.
    CommitError
        The table was changed at the same time; ask again.
    """
    metadata = table.metadata
    tag, text = proof_name(pipeline, sink, branch), property_name(pipeline, sink, branch)
    requirements: list[Any] = [AssertTableUUID(uuid=metadata.table_uuid)]
    updates: list[Any] = []
    if (ref := metadata.refs.get(tag)) is not None:
        requirements.append(
            AssertRefSnapshotId.model_validate({"ref": tag, "snapshot-id": ref.snapshot_id})
        )
        updates.append(RemoveSnapshotRefUpdate.model_validate({"ref-name": tag}))
    removals = [text] if text in metadata.properties else []
    if is_claimed(metadata, pipeline, sink, branch):
        removals.append(claim_name(branch))
    if removals:
        updates.append(RemovePropertiesUpdate(removals=removals))
    if not updates:
        known = [f"{s.pipeline!r} {s.sink!r} on {s.branch!r}" for s in audit(table).sinks]
        raise ConfigError(
            f"table {'.'.join(table.name())} has no proof of pipeline {pipeline!r}, sink {sink!r} "
            f"on branch {branch!r}",
            f"it has: {', '.join(known) or 'none'}",
        )
    try:
        table.catalog.commit_table(table, tuple(requirements), tuple(updates))
    except CommitFailedException as error:
        raise CommitError(f"forgetting {pipeline!r} {sink!r}: {error}", "try again") from error
