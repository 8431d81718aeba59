"""The proof that a table carries of how far it has applied a log.

It has three carriers, written in one commit: the summary of the snapshot, a property of the table,
and a tag on the snapshot. The tag keeps the snapshot from expiring, is compared in every commit,
and stands in for the property if somebody removes it. Proofs are per pipeline, sink and branch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote

from frazil.checkpoint.manifest import Landed
from frazil.errors import CommitRefused

if TYPE_CHECKING:
    from frazil.iceberg.token import SinkIdentity
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

PROOF_VERSION = 1

# How long a tag that does not move any more keeps its snapshot's files (milliseconds): a pipeline
# that is gone must not do that for ever.
TAG_AGE_MAX_MS = 90 * 24 * 3600 * 1000

Refusal = Literal[
    "branch_missing",  # the branch is gone
    "claimed",  # another sink replaces rows of the branch by key
    "diverged",  # proof is not in the log
    "log_behind",  # the table has more than the log
    "not_empty",  # rows of others are there, which a sink that replaces rows knows nothing of
    "other_incarnation",  # another log of the same name
    "proof_damaged",  # the carriers disagree or cannot be read
    "proof_removed",  # no proof, but tokens have landed
    "rolled_back",  # the branch does not hold the snapshot of the proof any more
    "table_behind",  # the table has less than it had
    "table_missing",
    "table_replaced",  # another uuid
    "unprovable",  # history is too short to tell
    "unreadable_deletes",  # files of deletes by others are needed, and cannot be read
]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a table says was committed to it last by a sink."""

    incarnation: str
    slot: int
    digest: str
    snapshot: int
    sequence: int

    @property
    def landed(self) -> Landed:
        """The token."""
        return Landed(self.slot, self.digest)

    def __str__(self) -> str:
        return f"epoch {self.slot} ({self.digest[:12]})"

    def to_json(self) -> str:
        """The text of the property."""
        return json.dumps(
            {
                "v": PROOF_VERSION,
                "incarnation": self.incarnation,
                "slot": self.slot,
                "digest": self.digest,
                "snapshot": self.snapshot,
                "sequence": self.sequence,
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose rows replace each other by key in a branch of a table: of one sink only."""

    pipeline: str
    incarnation: str
    sink: str

    @staticmethod
    def of(identity: SinkIdentity) -> Claim:
        """The claim of a sink."""
        return Claim(identity.pipeline, identity.incarnation, identity.sink)

    def to_json(self) -> str:
        """The text of the property."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)


def claim_name(branch: str) -> str:
    """Name of the table property that says who replaces rows of a branch."""
    return f"frazil.upsert.{_escape(branch)}"


def is_claimed(metadata: TableMetadata, pipeline: str, sink: str, branch: str) -> bool:
    """Whether a sink replaces rows of a branch by key."""
    try:
        found = json.loads(metadata.properties.get(claim_name(branch), "{}"))
        return bool((found["pipeline"], found["sink"]) == (pipeline, sink))
    except (ValueError, KeyError, TypeError):
        return False


def check_claim(metadata: TableMetadata, identity: SinkIdentity, branch: str, table: str) -> None:
    """Refuse a branch in which another sink replaces rows by key.

    Raises
    ------
    CommitRefused
        With whose it is.
    """
    text = metadata.properties.get(claim_name(branch))
    if text is None or text == Claim.of(identity).to_json():
        return
    try:
        found = json.loads(text)
        whose = f"pipeline {found['pipeline']!r}, sink {found['sink']!r}"
    except (ValueError, KeyError, TypeError):
        whose = text[:80]
    raise CommitRefused(
        f"{identity}: rows of table {table}, branch {branch!r}, are replaced by key by another "
        f"sink already: {whose}",
        "each knows only the rows it wrote: write to another table or branch; if that pipeline is "
        "gone for good: frazil forget",
        kind="claimed",
    )


def proof_name(pipeline: str, sink: str, branch: str) -> str:
    """Name of the tag; parts are escaped so that no two sinks share one."""
    return f"frazil.{_escape(pipeline)}.{_escape(sink)}.{_escape(branch)}"


def property_name(pipeline: str, sink: str, branch: str) -> str:
    """Name of the table property."""
    return f"frazil.proof.{proof_name(pipeline, sink, branch).removeprefix('frazil.')}"


def parse_proof_name(name: str) -> tuple[str, str, str] | None:
    """Pipeline, sink and branch of a tag's name; None for names that are not ours."""
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "frazil":
        return None
    return unquote(parts[1]), unquote(parts[2]), unquote(parts[3])


def parse_property_name(name: str) -> tuple[str, str, str] | None:
    """Pipeline, sink and branch of a property's name; None for names that are not ours."""
    head = "frazil.proof."
    return parse_proof_name(f"frazil.{name.removeprefix(head)}") if name.startswith(head) else None


def _escape(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E").replace("~", "%7E")


def parse_property(text: str, name: str) -> Proof:
    """Read the property."""
    try:
        found = json.loads(text)
        if found["v"] != PROOF_VERSION:
            raise CommitRefused(
                f"table property {name} has version {found['v']!r}, this Frazil reads version "
                f"{PROOF_VERSION}",
                "use the version of Frazil that wrote it, or a newer one",
                kind="proof_damaged",
            )
        return Proof(
            incarnation=str(found["incarnation"]),
            slot=int(found["slot"]),
            digest=str(found["digest"]),
            snapshot=int(found["snapshot"]),
            sequence=int(found["sequence"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CommitRefused(
            f"table property {name} is not a proof of Frazil's: {text[:80]!r}",
            "somebody changed it: restore it from an older metadata.json, or from the tag's "
            "snapshot summary by removing the property",
            kind="proof_damaged",
        ) from error


def proof_in_summary(snapshot: Snapshot) -> Proof | None:
    """The proof in the summary of one of our snapshots."""
    summary = snapshot.summary
    if summary is None or summary["frazil.slot"] is None:
        return None
    try:
        return Proof(
            incarnation=str(summary["frazil.incarnation"]),
            slot=int(summary["frazil.slot"]),
            digest=str(summary["frazil.digest"]),
            snapshot=snapshot.snapshot_id,
            sequence=snapshot.sequence_number or 0,
        )
    except ValueError:
        return None


def is_of(snapshot: Snapshot, identity: SinkIdentity, branch: str) -> bool:
    """Whether a sink made a snapshot."""
    summary = snapshot.summary
    return summary is not None and (
        summary["frazil.pipeline"] == identity.pipeline
        and summary["frazil.sink"] == identity.sink
        and summary["frazil.branch"] == branch
    )


def read_proof(metadata: TableMetadata, identity: SinkIdentity, branch: str) -> Proof | None:
    """The proof of a sink in a table, None if there never was one.

    Raises
    ------
    CommitRefused
        Its carriers disagree.
    """
    tag = metadata.refs.get(proof_name(identity.pipeline, identity.sink, branch))
    name = property_name(identity.pipeline, identity.sink, branch)
    text = metadata.properties.get(name)
    proof = parse_property(text, name) if text is not None else None
    if tag is None:
        return proof
    if proof is not None and proof.snapshot != tag.snapshot_id:
        raise CommitRefused(
            f"{identity}: the table's property names snapshot {proof.snapshot} ({proof}), "
            f"the table's tag is on snapshot {tag.snapshot_id}",
            "one of them was changed by hand: put it back",
            kind="proof_damaged",
        )
    if proof is None:
        snapshot = metadata.snapshot_by_id(tag.snapshot_id)
        found = snapshot is not None and is_of(snapshot, identity, branch)
        proof = proof_in_summary(snapshot) if snapshot is not None and found else None
        if proof is None:
            raise CommitRefused(
                f"{identity}: the table's property {name} is gone, and the tag is on snapshot "
                f"{tag.snapshot_id}, which is not of this sink",
                "put the tag back on the sink's last snapshot",
                kind="proof_damaged",
            )
    return proof
