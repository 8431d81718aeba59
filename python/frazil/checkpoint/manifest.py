"""The manifest: one slot of the checkpoint log. Its format is described in
docs/formats/checkpoint.md.

A manifest is never changed after it was put. Its digest, the SHA-256 of its bytes, is what the next
manifest and the tables name it by.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from frazil.checkpoint import fields as f
from frazil.checkpoint.fields import Field
from frazil.errors import ManifestError

VERSION = 1

# Bounds of a manifest; what goes beyond is refused when it is written and when it is read.
MANIFEST_BYTES_MAX = 16 * 1024 * 1024
PARTITIONS_MAX = 100_000  # of one source
NAMES_MAX = 10_000  # sources, sinks, operators
TEXT_BYTES_MAX = 64 * 1024  # one position, one name
TOKEN_INLINE_BYTES_MAX = 64 * 1024  # of one sink; larger ones are objects of their own
TOKEN_PARTS_MAX = 65_536  # workers
OWNERS_MAX = 1024  # attempts remembered; older ones are forgotten, their files are left alone
GROUPS_MAX = 65_536
STATE_FILES_MAX = 100_000

Kind = Literal["fence", "epoch", "rewind"]


@dataclass(frozen=True, slots=True)
class Rows:
    """What became of the rows that a source, or a partition of it, gave in this epoch."""

    read: int = 0
    good: int = 0
    rejected: int = 0  # on `.rejected`
    dropped: int = 0  # left out by policy, counted

    def __add__(self, other: Rows) -> Rows:
        return Rows(
            self.read + other.read,
            self.good + other.good,
            self.rejected + other.rejected,
            self.dropped + other.dropped,
        )


@dataclass(frozen=True, slots=True)
class StepRows:
    """What became of the rows that a step was given in this epoch which sets some aside: one that
    calls a Python function whose errors do not end the run.
    """

    given: int = 0
    good: int = 0
    failed: int = 0  # on `.failed`
    dropped: int = 0  # left out by policy, counted

    def miscounted(self) -> str | None:
        """Say how they do not add up; None if they do."""
        if self.given == self.good + self.failed + self.dropped:
            return None
        return (
            f"{self.given} rows were given to it, but {self.good} good, {self.failed} failed and "
            f"{self.dropped} dropped do not add up to them"
        )


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a partition is: the position to read next, in the connector's own JSON; and the rows of
    it in this epoch.
    """

    name: str
    position: str
    rows: Rows = Rows()


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source. Its partitions are in the order of their admission: the index is the partition's
    ordinal. One that has `ended` is never read again.
    """

    partitions: tuple[Partition, ...] = ()
    rows: Rows = Rows()
    ended: bool = False

    def without_rows(self) -> SourceState:
        """Give its positions alone, for a slot that has no rows."""
        partitions = tuple(Partition(each.name, each.position) for each in self.partitions)
        return SourceState(partitions, ended=self.ended)

    def miscounted(self) -> str | None:
        """Say how its rows do not add up; None if they do.

        What was written before partitions were counted has no rows of them.
        """
        counted = [partition.rows for partition in self.partitions if partition.rows != Rows()]
        for rows in (self.rows, *counted):
            if rows.read != rows.good + rows.rejected + rows.dropped:
                return (
                    f"{rows.read} rows were read, but {rows.good} good, {rows.rejected} rejected "
                    f"and {rows.dropped} dropped do not add up to them"
                )
        total = sum(counted, Rows())
        if counted and total != self.rows:
            return f"its partitions' rows do not add up: {total}, together they are {self.rows}"
        return None

    def positions(self) -> dict[str, str]:
        """Position by partition name."""
        return {partition.name: partition.position for partition in self.partitions}


@dataclass(frozen=True, slots=True)
class TokenObject:
    """A token too large for the manifest: an object of the store that holds a JSON list of the
    parts.
    """

    key: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class SinkToken:
    """What a sink prepared: one part per worker that had rows. No parts: an empty commit, which a
    rewind needs.
    """

    parts: tuple[str, ...] = ()
    stored: TokenObject | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """The last token of a sink that is known to be in its table."""

    slot: int
    digest: str


@dataclass(frozen=True, slots=True)
class Owner:
    """An attempt, and the slot with which it took the log."""

    attempt: int
    slot: int


@dataclass(frozen=True, slots=True)
class StateFile:
    """A file of an operator's state."""

    operator: str
    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class LookupVersion:
    """A version of a lookup table: a snapshot, or a digest of its content."""

    version: str
    loaded_us: int = 0  # wall clock, for people
    rows: int = 0
    bytes: int = 0  # in memory


@dataclass(frozen=True, slots=True)
class LookupState:
    """A lookup table: the version in which the rows of this epoch were looked up, and the one for
    the rows after it. Without the latter any version may follow.
    """

    used: LookupVersion | None = None
    next: LookupVersion | None = None


@dataclass(frozen=True, slots=True)
class KeyGroups:
    """How keys were spread: the worker of each key group, and the versions of what computes a key's
    group.
    """

    workers: tuple[int, ...]
    hash_version: int
    encoding_version: int


@dataclass(frozen=True, slots=True)
class OperatorPlan:
    """What of an operator has to fit when a checkpoint is restored, and its Python function's
    digest, which need not.
    """

    id: str
    kind: str
    name: str = ""
    identity: str = ""  # source: connector; sink: connector and table. Must not change
    state: str = ""  # what its state depends on, a JSON object of texts. Must not change
    function: str = ""  # digest of the Python function. May change, is reported


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan that wrote a manifest, as far as a checkpoint depends on it."""

    fingerprint: str
    operators: tuple[OperatorPlan, ...] = ()


@dataclass(frozen=True, slots=True)
class Writer:
    """The process that put a manifest; for people, and to see that it is gone."""

    host: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One slot. Attributes in the order of their numbers in the file."""

    incarnation: str  # of the log; made with slot 0
    slot: int  # also the epoch
    attempt: int
    nonce: str  # of the process
    prev: str  # digest of slot - 1; empty in slot 0
    kind: Kind
    rewind_to: int | None = None
    sources: Mapping[str, SourceState] = field(default_factory=dict)
    tokens: Mapping[str, SinkToken] = field(default_factory=dict)
    landed: Mapping[str, Landed] = field(default_factory=dict)
    heads: Mapping[str, int] = field(
        default_factory=dict
    )  # verified head snapshot of each sink's table
    owners: tuple[Owner, ...] = ()
    floor: int = 0
    state_files: tuple[StateFile, ...] = ()
    key_groups: KeyGroups | None = None
    plan: Plan | None = None
    created_us: int = 0  # wall clock of the writer, for people
    writer: Writer = Writer("", 0)
    last: bool = False  # the process meant to end after this one
    frontiers: Mapping[str, Mapping[str, int]] = field(
        default_factory=dict
    )  # largest event time by event_time step and partition; microseconds
    closed: bool = False  # event time has ended: every window is closed
    lookups: Mapping[str, LookupState] = field(default_factory=dict)  # lookup tables by name
    steps: Mapping[str, StepRows] = field(default_factory=dict)  # that set rows aside, by id
    unknown: Mapping[str, object] = field(
        default_factory=dict
    )  # fields of a newer writer, by number


@dataclass(frozen=True, slots=True)
class Entry:
    """An accepted manifest and the digest of its bytes."""

    manifest: Manifest
    digest: str

    @property
    def slot(self) -> int:
        """Its place in the log."""
        return self.manifest.slot


_name = f.text(1024)
_text = f.text(TEXT_BYTES_MAX, empty=True)
_digest = f.text(64, empty=True)
_owner = f.record(Owner, Field(1, "attempt", f.integer()), Field(2, "slot", f.integer()))
_landed = f.record(Landed, Field(1, "slot", f.integer()), Field(2, "digest", _digest))
_writer = f.record(Writer, Field(1, "host", f.text(256, empty=True)), Field(2, "pid", f.integer()))
_rows = f.record(
    Rows,
    *(
        Field(n, name, f.integer(), 0)
        for n, name in enumerate(("read", "good", "rejected", "dropped"), 1)
    ),
)
_step = f.record(
    StepRows,
    *(
        Field(n, name, f.integer(), 0)
        for n, name in enumerate(("given", "good", "failed", "dropped"), 1)
    ),
)
_partition = f.record(
    Partition,
    Field(1, "name", _name),
    Field(2, "position", _text),
    Field(3, "rows", _rows, Rows()),
)
_source = f.record(
    SourceState,
    Field(1, "partitions", f.list_of(_partition, PARTITIONS_MAX), ()),
    Field(2, "rows", _rows, Rows()),
    Field(3, "ended", f.flag(), False),
)
_token_object = f.record(
    TokenObject, Field(1, "key", _name), Field(2, "digest", _digest), Field(3, "size", f.integer())
)
_token = f.record(
    SinkToken,
    Field(1, "parts", f.list_of(f.text(TOKEN_INLINE_BYTES_MAX), TOKEN_PARTS_MAX), ()),
    Field(2, "stored", _token_object, None),
)
_state_file = f.record(
    StateFile,
    Field(1, "operator", _name),
    Field(2, "path", _text),
    Field(3, "size", f.integer()),
    Field(4, "digest", _digest),
)
_lookup_version = f.record(
    LookupVersion,
    Field(1, "version", _name),
    Field(2, "loaded_us", f.integer(-f.INT_MAX), 0),
    Field(3, "rows", f.integer(), 0),
    Field(4, "bytes", f.integer(), 0),
)
_lookup = f.record(
    LookupState,
    Field(1, "used", _lookup_version, None),
    Field(2, "next", _lookup_version, None),
)
_key_groups = f.record(
    KeyGroups,
    Field(1, "workers", f.list_of(f.integer(0, 65_535), GROUPS_MAX)),
    Field(2, "hash_version", f.integer()),
    Field(3, "encoding_version", f.integer()),
)
_operator = f.record(
    OperatorPlan,
    Field(1, "id", _name),
    Field(2, "kind", _name),
    Field(3, "name", _text, ""),
    Field(4, "identity", _text, ""),
    Field(5, "state", _text, ""),
    Field(6, "function", _text, ""),
)
_plan = f.record(
    Plan, Field(1, "fingerprint", _name), Field(2, "operators", f.list_of(_operator, NAMES_MAX), ())
)
_manifest = f.record(
    Manifest,
    Field(2, "incarnation", _name),
    Field(3, "slot", f.integer()),
    Field(4, "attempt", f.integer(1)),
    Field(5, "nonce", _name),
    Field(6, "prev", _digest),
    Field(7, "kind", f.choice("fence", "epoch", "rewind")),
    Field(8, "rewind_to", f.integer(), None),
    Field(9, "sources", f.map_of(_source, NAMES_MAX), {}),
    Field(10, "tokens", f.map_of(_token, NAMES_MAX), {}),
    Field(11, "landed", f.map_of(_landed, NAMES_MAX), {}),
    Field(12, "heads", f.map_of(f.integer(-f.INT_MAX), NAMES_MAX), {}),
    Field(13, "owners", f.list_of(_owner, OWNERS_MAX)),
    Field(14, "floor", f.integer()),
    Field(15, "state_files", f.list_of(_state_file, STATE_FILES_MAX), ()),
    Field(16, "key_groups", _key_groups, None),
    Field(17, "plan", _plan, None),
    Field(18, "created_us", f.integer(-f.INT_MAX), 0),
    Field(19, "writer", _writer, Writer("", 0)),
    Field(20, "last", f.flag(), False),
    Field(
        21,
        "frontiers",
        f.map_of(f.map_of(f.integer(-f.INT_MAX), PARTITIONS_MAX), NAMES_MAX),
        {},
    ),
    Field(22, "closed", f.flag(), False),
    Field(23, "lookups", f.map_of(_lookup, NAMES_MAX), {}),
    Field(24, "steps", f.map_of(_step, NAMES_MAX), {}),
    unknown="unknown",
)
_parts = f.list_of(f.text(MANIFEST_BYTES_MAX * 4), TOKEN_PARTS_MAX)
_HEX = re.compile(r"[0-9a-f]{64}")


def digest_of(data: bytes) -> str:
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def encode(manifest: Manifest) -> bytes:
    """Bytes of a manifest. Checks it as reading does, so that what is written can be read."""
    body = cast("dict[str, object]", _manifest.write(manifest))
    data = f.dump({"1": VERSION, **body})
    if len(data) > MANIFEST_BYTES_MAX:
        raise ManifestError(
            f"manifest of slot {manifest.slot} has {len(data)} bytes, the limit is "
            f"{MANIFEST_BYTES_MAX}: "
            "use fewer partitions or sinks in one pipeline"
        )
    if decode(data) != manifest:
        raise ManifestError(
            f"manifest of slot {manifest.slot} does not read back as it was written"
        )
    return data


def decode(data: bytes) -> Manifest:
    """Read a manifest.

    Raises
    ------
    ManifestError
        The bytes are not a manifest, or one of a newer version; the text names the field.
    """
    value = f.load(data, MANIFEST_BYTES_MAX)
    if not isinstance(value, dict):
        raise f.wrong("of the manifest", "an object with numbered fields", value)
    version = f.integer(1).read(value.pop("1", None), "1 (version)")
    if version > VERSION:
        raise ManifestError(
            f"the manifest was written in format version {version}, this Frazil reads up to "
            f"{VERSION}",
            "use the Frazil version that wrote it, or a newer one",
        )
    manifest = _manifest.read(value, "")
    _check(manifest)
    return manifest


def encode_parts(parts: tuple[str, ...]) -> bytes:
    """Bytes of a token object."""
    return f.dump(_parts.write(parts))


def decode_parts(data: bytes, stored: TokenObject) -> tuple[str, ...]:
    """Read a token object and check that it is the one that the manifest names."""
    if len(data) != stored.size or digest_of(data) != stored.digest:
        raise ManifestError(
            f"token object {stored.key}: expected {stored.size} bytes with digest "
            f"{stored.digest[:12]}, "
            f"got {len(data)} with {digest_of(data)[:12]}"
        )
    return _parts.read(f.load(data, stored.size), stored.key)


def _check(manifest: Manifest) -> None:
    """Rules between fields."""
    rewind = manifest.rewind_to is not None
    if rewind != (manifest.kind == "rewind"):
        raise ManifestError("field 8 (rewind_to) and kind rewind go together")
    if manifest.rewind_to is not None and manifest.rewind_to >= manifest.slot:
        raise ManifestError(
            f"field 8 (rewind_to): {manifest.rewind_to} is not before slot {manifest.slot}"
        )
    if manifest.floor > manifest.slot:
        raise ManifestError(f"field 14 (floor): {manifest.floor} is after slot {manifest.slot}")
    if bool(manifest.prev) != (manifest.slot > 0) or (
        manifest.prev and not _HEX.fullmatch(manifest.prev)
    ):
        raise f.wrong("6 (prev)", "a SHA-256 in every slot but the first", manifest.prev)
    for before, after in zip(manifest.owners, manifest.owners[1:], strict=False):
        if before.attempt >= after.attempt or before.slot >= after.slot:
            raise ManifestError("field 13 (owners): attempts and slots must grow")
    if not manifest.owners or manifest.owners[-1].attempt != manifest.attempt:
        raise ManifestError("field 13 (owners): the last one must be the attempt of the manifest")
    if manifest.owners[-1].slot > manifest.slot:
        raise ManifestError("field 13 (owners): the fence must not be after the slot")
    if manifest.kind == "fence" and manifest.tokens:
        raise ManifestError("field 10 (tokens): a fence has none")
    for sink, token in manifest.tokens.items():
        if token.parts and token.stored:
            raise ManifestError(f"field 10 (tokens): sink {sink!r} has parts and an object")
    for sink, landed in manifest.landed.items():
        if landed.slot >= manifest.slot or not _HEX.fullmatch(landed.digest):
            raise ManifestError(
                f"field 11 (landed): sink {sink!r} names no earlier slot by its SHA-256"
            )
    for source, state in manifest.sources.items():
        if len(state.positions()) < len(state.partitions):
            raise ManifestError(
                f"field 9 (sources): source {source!r} has two partitions of one name"
            )
        if (wrong := state.miscounted()) is not None:
            raise ManifestError(f"field 9 (sources): source {source!r}: {wrong}")
    for step, rows in manifest.steps.items():
        if (wrong := rows.miscounted()) is not None:
            raise ManifestError(f"field 24 (steps): step {step!r}: {wrong}")
