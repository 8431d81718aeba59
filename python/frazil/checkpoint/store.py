"""What the checkpoint log needs of a store, and the test that a store can do it.

A store maps keys ("log/000000000042.json") to small objects. Everything the log promises rests on
one operation: `put_new`, which creates an object only if its key is free, atomically. All methods
may be called by any thread.
"""

from __future__ import annotations

import concurrent.futures
import enum
import re
import uuid
from collections.abc import Mapping
from typing import Protocol

from frazil.errors import StoreError

# An object larger than this is not ours. Manifests are far smaller; a token object of 100,000 files
# is about 30 MB.
OBJECT_BYTES_MAX = 64 * 1024 * 1024

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class PutOutcome(enum.Enum):
    """What is known after a put."""

    CREATED = "created"  # the object is there, and this call made it
    EXISTS = "exists"  # the store says that the key is taken; maybe by an earlier try of ours
    UNKNOWN = "unknown"  # no answer, or one that does not tell: it may be there, or come later


class Store(Protocol):
    """A place for a checkpoint log."""

    @property
    def url(self) -> str:
        """Where it is, for people. Holds no secret."""
        ...

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Create an object if `key` is free. When it says CREATED the object is durable.

        Raises
        ------
        StoreError
            The object was certainly not created (no rights, no such bucket, disk full).
        """
        ...

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none. At most `OBJECT_BYTES_MAX` bytes."""
        ...

    def list(self, prefix: str, after: str = "") -> list[str]:
        """Keys in the folder `prefix` ("log/"), sorted, those greater than `after` only."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        ...

    def probe(self) -> None:
        """Refuse a store whose `put_new` is not create-only.

        Raises
        ------
        StoreError
            What the store did, and what it should have done.
        """
        ...


def check_key(key: str) -> str:
    """Return `key` if every store can hold it; keys come from this package, so a bad one is a bug
    or an attack.
    """
    if not _KEY.fullmatch(key) or len(key) > 512:
        raise StoreError(f"checkpoint key {key!r} is not of the form folder/name")
    return key


def check_size(url: str, key: str, size: int) -> None:
    """Refuse objects that cannot be ours."""
    if size > OBJECT_BYTES_MAX:
        raise StoreError(
            f"{url}: object {key} has {size} bytes, more than the limit of {OBJECT_BYTES_MAX}"
        )


def probe_puts(store: Store, *, writers: int = 8, rounds: int = 2) -> None:
    """Test that puts are create-only: in sequence, and `writers` at once, `rounds` times."""
    made: list[str] = []
    try:
        _probe_sequence(store, made)
        for _ in range(rounds):
            _probe_race(store, made, writers)
    finally:
        for key in made:
            store.delete(key)


def _probe_key(made: list[str]) -> str:
    key = f"probe/{uuid.uuid4().hex}"
    made.append(key)
    return key


def _probe_sequence(store: Store, made: list[str]) -> None:
    key = _probe_key(made)
    first = store.put_new(key, b"first")
    if first is PutOutcome.UNKNOWN:
        raise StoreError(f"{store.url}: the store gives no clear answer to a put of {key}")
    if first is PutOutcome.EXISTS:
        raise StoreError(f"{store.url}: the store says that the new key {key} exists already")
    second = store.put_new(key, b"second")
    seen = store.get(key)
    if second is not PutOutcome.EXISTS or seen != b"first":
        raise StoreError(
            f"{store.url}: the store does not keep puts create-only: a second put of {key} was "
            "answered "
            f"{second.value!r} and the object then was {seen!r}, expected 'exists' and b'first'. "
            "A checkpoint log needs conditional puts (If-None-Match: *): use another store"
        )
    if key not in store.list("probe/"):
        raise StoreError(
            f"{store.url}: the store does not list {key} right after its put was accepted"
        )


def _probe_race(store: Store, made: list[str], writers: int) -> None:
    key = _probe_key(made)
    bodies = [f"writer {i}".encode() for i in range(writers)]
    with concurrent.futures.ThreadPoolExecutor(writers) as pool:
        outcomes = list(pool.map(lambda body: store.put_new(key, body), bodies))
    winners = [
        body
        for body, outcome in zip(bodies, outcomes, strict=True)
        if outcome is PutOutcome.CREATED
    ]
    seen = store.get(key)
    unknown = PutOutcome.UNKNOWN in outcomes
    if len(winners) > 1 or (winners and seen != winners[0]) or (not winners and not unknown):
        raise StoreError(
            f"{store.url}: of {writers} concurrent puts of one key {len(winners)} were accepted "
            "and the object then "
            f"was {seen!r}; exactly one may be, and it must stay. A checkpoint log needs atomic "
            "conditional puts: "
            "use another store"
        )


def open_store(url: str, options: Mapping[str, str] | None = None) -> Store:
    """Open the store at `url`: a folder path, "file:///folder", "s3://bucket/prefix", or
    "memory://name".

    Parameters
    ----------
    url
        Where the log is. A folder is made when it does not exist.
    options
        For S3: see `frazil.checkpoint.s3_store.S3Options`. Others take none.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "s3":
        from frazil.checkpoint.s3_store import S3Options, S3Store

        return S3Store(url, S3Options.resolve(options or {}))
    if options:
        raise StoreError(f"{url}: options {sorted(options)} are for s3:// only")
    if separator and scheme == "memory":
        from frazil.checkpoint.memory_store import MemoryStore

        return MemoryStore.named(rest)
    if separator and scheme != "file":
        raise StoreError(
            f"{url}: a checkpoint store is a folder, file://, s3:// or memory://, not {scheme}://"
        )
    from frazil.checkpoint.local_store import LocalStore

    return LocalStore(rest if separator else url)
