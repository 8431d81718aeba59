"""Two copies of a pipeline do not fence each other for ever (L7)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from frazil.checkpoint import CheckpointLog, Epoch, takeover
from frazil.checkpoint.history import slot_key
from frazil.checkpoint.manifest import Writer, decode, encode
from frazil.errors import LogAdvancing

if TYPE_CHECKING:
    from frazil.checkpoint.memory_store import MemoryStore

Open = Callable[..., CheckpointLog]
MakeEpoch = Callable[..., Epoch]
STRANGER = Writer("elsewhere", 1)


@pytest.fixture
def stranger(store: MemoryStore, open_log: Open, monkeypatch: pytest.MonkeyPatch) -> CheckpointLog:
    """A log that a process on another machine has just opened."""
    log = open_log()
    monkeypatch.setattr(takeover, "_own_nonces", set())
    return log


def write_as(store: MemoryStore, writer: Writer, **changes: object) -> None:
    manifest = decode(store.objects[slot_key(0)])
    store.objects[slot_key(0)] = encode(replace(manifest, writer=writer, **changes))  # type: ignore[arg-type]


def test_waits_until_the_newest_slot_is_old(
    open_log: Open, store: MemoryStore, stranger: CheckpointLog, clock: object
) -> None:
    write_as(store, STRANGER)
    log = open_log(takeover=False, patience_s=30)
    assert log.attempt == 2
    assert sum(clock.slept) == pytest.approx(30)  # type: ignore[attr-defined]


def test_does_not_wait_for_an_old_slot(
    open_log: Open, store: MemoryStore, stranger: CheckpointLog, clock: object
) -> None:
    write_as(store, STRANGER)
    clock.time += 31  # type: ignore[attr-defined]
    open_log(takeover=False, patience_s=30)
    assert clock.slept == []  # type: ignore[attr-defined]


def test_a_clock_that_is_behind_waits_no_longer(
    open_log: Open, store: MemoryStore, stranger: CheckpointLog, clock: object
) -> None:
    write_as(store, STRANGER)
    clock.time -= 1000  # type: ignore[attr-defined]
    open_log(takeover=False, patience_s=30)
    assert sum(clock.slept) == pytest.approx(30)  # type: ignore[attr-defined]


def test_refuses_when_the_log_advances_meanwhile(
    open_log: Open,
    store: MemoryStore,
    clock: object,
    epoch: MakeEpoch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = open_log()
    monkeypatch.setattr(takeover, "_own_nonces", set())
    monkeypatch.setattr(takeover, "_gone", lambda writer: False)
    real = clock.sleep  # type: ignore[attr-defined]

    def sleep(seconds: float) -> None:
        real(seconds)
        if len(clock.slept) == 3:  # type: ignore[attr-defined]
            running.append(epoch(1, "a"))

    clock.sleep = sleep  # type: ignore[attr-defined]
    with pytest.raises(LogAdvancing, match="--takeover"):
        open_log(takeover=False)
    assert sorted(store.objects) == [slot_key(0), slot_key(1)]
    running.append(epoch(2, "a"))  # was not disturbed
    assert open_log(takeover=True).attempt == 2


@pytest.mark.parametrize("why", ["own", "last", "gone"])
def test_does_not_wait_for_nobody(
    open_log: Open, store: MemoryStore, clock: object, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    open_log()
    if why == "last":
        write_as(store, STRANGER, last=True)
    if why == "gone":
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        write_as(store, Writer(takeover.this_writer().host, ended.pid))
    if why != "own":
        monkeypatch.setattr(takeover, "_own_nonces", set())
    open_log(takeover=False)
    assert clock.slept == []  # type: ignore[attr-defined]


def test_a_process_that_runs_here_is_not_gone() -> None:
    host = takeover.this_writer().host
    assert not takeover._gone(Writer(host, os.getpid()))
    assert not takeover._gone(Writer(host, 1))
    assert not takeover._gone(Writer("elsewhere", 2**22 + 1))
