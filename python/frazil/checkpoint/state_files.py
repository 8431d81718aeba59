"""Files of operators' state: objects of the store, put before the manifest that names them.

What is in one: docs/formats/state.md. The engine writes and reads that; here it is bytes.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from frazil.checkpoint.manifest import StateFile, digest_of
from frazil.checkpoint.slot_put import Clock, put_object
from frazil.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from frazil.checkpoint.store import Store

_STATE_KEY = re.compile(r"state/([0-9]{1,18})/([0-9]{12})/[0-9a-f]{16}-[0-9]{1,5}-[0-9]{1,6}\.fzs")


def state_key(attempt: int, slot: int, operator: str, worker: int, number: int) -> str:
    """Key of a state file. An attempt prepares a slot once, so the key is never used twice."""
    name = hashlib.sha256(operator.encode()).hexdigest()[:16]
    return f"state/{attempt}/{slot:012d}/{name}-{worker}-{number}.fzs"


def parse_state_key(key: str) -> tuple[int, int] | None:
    """Attempt and slot of a state file's key."""
    match = _STATE_KEY.fullmatch(key)
    return (int(match[1]), int(match[2])) if match else None


def state_by_operator(files: Iterable[StateFile]) -> dict[str, dict[str, dict[str, int]]]:
    """Count the files and bytes of each operator: those that hold everything, and changes since.

    An operator writes everything at one slot, on all workers, and then changes: the files of its
    lowest slot are the whole. A path that says no slot counts as it.
    """
    by_operator: dict[str, list[tuple[int, StateFile]]] = {}
    for file in files:
        _, slot = parse_state_key(file.path) or (0, -1)
        by_operator.setdefault(file.operator, []).append((slot, file))
    made = {}
    for operator, known in by_operator.items():
        first = min(slot for slot, _ in known)
        made[operator] = {
            kind: {"files": len(sizes), "bytes": sum(sizes)}
            for kind, sizes in (
                ("full", [file.size for slot, file in known if slot == first]),
                ("changes", [file.size for slot, file in known if slot != first]),
            )
        }
    return made


def store_state(store: Store, key: str, operator: str, data: bytes, clock: Clock) -> StateFile:
    """Put a state file; when this returns it is durable."""
    if put_object(store, key, data, clock) != data:
        raise CheckpointError(f"{store.url}: {key} is there with other content")
    return StateFile(operator, key, len(data), digest_of(data))


def load_state(store: Store, file: StateFile) -> bytes:
    """Read a state file and check that it is the one that the manifest names."""
    data = store.get(file.path)
    if data is None:
        raise CheckpointError(
            f"{store.url}: the checkpoint store lost the state file {file.path}",
            "restore the store from its backup; nothing was changed",
        )
    if len(data) != file.size or digest_of(data) != file.digest:
        raise CheckpointError(
            f"{store.url}: the state file {file.path} is damaged: expected {file.size} bytes with "
            f"digest {file.digest[:12]}, got {len(data)} with {digest_of(data)[:12]}",
            "restore the store from its backup; nothing was changed",
        )
    return data
