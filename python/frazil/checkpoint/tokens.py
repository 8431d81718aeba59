"""Tokens too large for a manifest live in objects of their own, put before the manifest that names
them.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from frazil.checkpoint.manifest import (
    TOKEN_INLINE_BYTES_MAX,
    SinkToken,
    TokenObject,
    decode_parts,
    digest_of,
    encode_parts,
)
from frazil.checkpoint.slot_put import Clock, put_object
from frazil.errors import CheckpointError

if TYPE_CHECKING:
    from frazil.checkpoint.store import Store

_TOKEN_KEY = re.compile(r"tokens/([0-9]{1,18})/([0-9]{12})/[0-9a-f]{32}\.json")


def token_key(attempt: int, slot: int, sink: str) -> str:
    """Key of a token object. An attempt prepares a slot once, so the key is never used twice."""
    return f"tokens/{attempt}/{slot:012d}/{hashlib.sha256(sink.encode()).hexdigest()[:32]}.json"


def parse_token_key(key: str) -> tuple[int, int] | None:
    """Attempt and slot of a token object's key."""
    match = _TOKEN_KEY.fullmatch(key)
    return (int(match[1]), int(match[2])) if match else None


def store_token(
    store: Store, attempt: int, slot: int, sink: str, parts: tuple[str, ...], clock: Clock
) -> SinkToken:
    """Make the token of a manifest; a large one is put as an object first."""
    if sum(len(part.encode()) for part in parts) <= TOKEN_INLINE_BYTES_MAX:
        return SinkToken(parts)
    data = encode_parts(parts)
    key = token_key(attempt, slot, sink)
    if put_object(store, key, data, clock) != data:
        raise CheckpointError(f"{store.url}: {key} is there with other content")
    return SinkToken(stored=TokenObject(key, digest_of(data), len(data)))


def load_parts(store: Store, token: SinkToken) -> tuple[str, ...]:
    """The parts of a token, read from its object if it has one."""
    if token.stored is None:
        return token.parts
    data = store.get(token.stored.key)
    if data is None:
        raise CheckpointError(
            f"{store.url}: the checkpoint store lost the token object {token.stored.key}",
            "restore the store from its backup; nothing was changed",
        )
    return decode_parts(data, token.stored)
