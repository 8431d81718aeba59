"""Whether somebody else is at work in the log.

Two supervised copies of a pipeline must not fence each other for ever.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import structlog
from frazil.checkpoint.manifest import Entry, Writer
from frazil.checkpoint.reader import list_slots
from frazil.errors import LogAdvancing

if TYPE_CHECKING:
    from frazil.checkpoint.slot_put import Clock
    from frazil.checkpoint.store import Store

_log = structlog.get_logger("frazil")

# How often the log is looked at while waiting (times).
LOOKS = 10

_own_nonces: set[str] = set()


def this_writer() -> Writer:
    """This process."""
    return Writer(socket.gethostname()[:200], os.getpid())


def remember_nonce(nonce: str) -> None:
    """Say that a nonce is this process's: its slots are not a stranger's."""
    _own_nonces.add(nonce)


def wait_until_quiet(store: Store, newest: Entry, patience_s: float, clock: Clock) -> None:
    """Return when nobody but this process can be at work, as far as one can tell.

    At once if the newest slot is ours, is older than `patience_s`, was meant to be its writer's
    last, or its writer ran on this machine and is gone. Else wait until it is that old. This is a
    courtesy, and may be wrong: safe is only the fence.

    Raises
    ------
    LogAdvancing
        A new slot came meanwhile.
    """
    manifest = newest.manifest
    if manifest.nonce in _own_nonces or manifest.last or _gone(manifest.writer):
        return
    age = clock.now() - manifest.created_us / 1e6
    left = patience_s - max(age, 0.0)
    if left <= 0:
        return
    _log.info(
        "waiting to see whether another process runs this pipeline",
        seconds=round(left, 1),
        slot=newest.slot,
        host=manifest.writer.host,
        pid=manifest.writer.pid,
    )
    for _ in range(LOOKS):
        clock.sleep(left / LOOKS)
        newer = list_slots(store, after=newest.slot)
        if newer:
            raise LogAdvancing(
                f"{store.url}: another process is running this pipeline: slot {newer[-1]} came "
                "while "
                f"this one waited (slot {newest.slot} is by pid {manifest.writer.pid} "
                f"on {manifest.writer.host or 'an unknown host'})",
                "stop it first, or start with --takeover to end it",
            )


def _gone(writer: Writer) -> bool:
    """Whether the writer ran on this machine and does not run now."""
    if not writer.pid or writer.host != this_writer().host:
        return False
    try:
        os.kill(writer.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
