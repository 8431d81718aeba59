"""Vectors by the content of their texts: what a step of `Stream.embed` keeps."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

KEY_BYTES = 16
"""Of a key: the hash of a text, of the model's name and of the dimension."""
ENTRY_BYTES = 160
"""What an entry takes beside its vector, about."""


class VectorCache:
    """Vectors of one step in one process, for all of its workers; those used least recently go.

    It does not lock: its owner does.

    Parameters
    ----------
    seed
        What a vector depends on besides the text.
    entries_max, bytes_max
        What is kept at most.
    """

    def __init__(self, seed: str, entries_max: int, bytes_max: int) -> None:
        self._hash = hashlib.blake2b(seed.encode(), digest_size=KEY_BYTES)
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0
        # Whose rows have what is not in a checkpoint yet; only of vectors that are kept.
        self._users: dict[bytes, set[str]] = {}
        self._keeper: str | None = None

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def size_bytes(self) -> int:
        """Bytes of all entries, about."""
        return self._bytes

    def key(self, text: str) -> bytes:
        """The key of a text."""
        hashed = self._hash.copy()
        hashed.update(text.encode())
        return hashed.digest()

    def get(self, key: bytes, user: str) -> bytes | None:
        """The vector of a key, for rows of a user: a worker, which is asked for it then."""
        vector = self._vectors.get(key)
        if vector is None:
            return None
        self._vectors.move_to_end(key)
        if key in self._users:
            self._users[key].add(user)  # who made it may be behind a barrier that is yet to come
        return vector

    def put(self, key: bytes, vector: bytes, user: str | None = None) -> bytes:
        """Keep a vector, made for a user; of none if a checkpoint has it. Gives the one kept."""
        if user is not None and (kept := self.get(key, user)) is not None:
            return kept
        if key in self._vectors:
            return vector
        self._vectors[key] = vector
        self._bytes += len(vector) + ENTRY_BYTES
        if user is not None:
            self._users[key] = {user}
        while len(self._vectors) > self._entries_max or self._bytes > self._bytes_max:
            gone, old = self._vectors.popitem(last=False)
            self._bytes -= len(old) + ENTRY_BYTES
            self._users.pop(gone, None)
        return vector

    def take_new(self, user: str, *, full: bool) -> list[tuple[bytes, bytes]]:
        """What a checkpoint has to be given by one of the users.

        What is new of it since the last time; if `full`, one of all users gives everything.
        """
        if self._keeper is None:
            self._keeper = user
        new = [key for key, users in self._users.items() if user in users]
        for key in new:
            self._users[key].discard(user)
            if not self._users[key]:
                del self._users[key]
        if full and self._keeper == user:
            return list(self._vectors.items())
        return [(key, self._vectors[key]) for key in new]
