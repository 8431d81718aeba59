"""`frazil state ls|show|rm|rewind`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from frazil.checkpoint import CheckpointLog, Epoch, Landed
from frazil.checkpoint.commands import state
from frazil.checkpoint.history import slot_key
from frazil.checkpoint.inspect import list_state, remove_state, rewind_state
from frazil.checkpoint.local_store import LocalStore
from frazil.errors import CheckpointError, RewindRefused

MakeEpoch = Callable[..., Epoch]


@pytest.fixture
def folder(tmp_path: Path, epoch: MakeEpoch) -> str:
    """A log of three slots, of which sink "a" has landed the first epoch."""
    log = CheckpointLog.open(LocalStore(tmp_path), takeover=True)
    first = log.append(epoch(1, "a"))
    log.record_landed("a", 1, first.digest)
    log.append(epoch(2, "a", last=True))
    return str(tmp_path)


def run(*args: str) -> Result:
    return CliRunner().invoke(state, args, catch_exceptions=True, env={"COLUMNS": "200"})


def test_ls(folder: str) -> None:
    result = run("ls", folder)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split() == "slot kind attempt written positions tokens landed status".split()
    assert lines[3].split()[:3] == ["2", "epoch", "1"]
    assert "a 1" in lines[3]
    assert lines[3].endswith("newest")
    brief = [json.loads(line) for line in run("ls", "--json", folder).output.splitlines()]
    assert [info["slot"] for info in brief] == [0, 1, 2]
    assert brief[2]["positions"] == {"s/p0": '{"v":1,"at":2}'}


def test_ls_says_what_cannot_be_read(folder: str, tmp_path: Path) -> None:
    os.unlink(tmp_path / slot_key(1))
    (tmp_path / slot_key(1)).write_text("[bold]{")
    result = run("ls", folder)
    assert result.exit_code == 0
    assert "unreadable" in result.output
    assert [info.status for info in list_state(LocalStore(folder))] == [
        "kept",
        "unreadable",
        "newest",
    ]


def test_show(folder: str) -> None:
    shown = json.loads(run("show", folder, "1").output)
    assert (shown["slot"], shown["kind"], shown["tokens"]["a"]["parts"]) == (
        1,
        "epoch",
        ['{"v":1,"files":["a-1"]}'],
    )
    assert json.loads(run("show", folder).output)["slot"] == 2
    missing = run("show", folder, "9")
    assert isinstance(missing.exception, CheckpointError)
    assert "there is no slot 9; there are 0 to 2" in str(missing.exception)


def test_empty_folder(tmp_path: Path) -> None:
    assert "there is no checkpoint log" in run("ls", str(tmp_path)).output
    assert isinstance(run("show", str(tmp_path)).exception, CheckpointError)


def test_rm_asks(folder: str) -> None:
    asked = run("rm", folder)
    assert asked.exit_code == 2
    assert "3 slots would be removed" in asked.output
    assert "--yes" in asked.output
    assert "removed 3 objects" in run("rm", folder, "--yes").output
    assert "there is no checkpoint log" in run("ls", folder).output


def test_rm_begins_with_the_lowest_slot(tmp_path: Path, epoch: MakeEpoch) -> None:
    store = LocalStore(tmp_path)
    log = CheckpointLog.open(store, takeover=True)
    log.append(epoch(1, "a"))
    log.append(epoch(2, "a", last=True))
    removed: list[str] = []

    class Stopped(Exception):
        pass

    def delete(key: str) -> None:
        if len(removed) == 2:
            raise Stopped
        removed.append(key)
        LocalStore.delete(store, key)

    store.delete = delete  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        remove_state(store)
    assert removed == [slot_key(0), slot_key(1)]
    with pytest.raises(CheckpointError, match="lost slot 1"):
        CheckpointLog.open(LocalStore(tmp_path), takeover=True)


def test_rewind(folder: str) -> None:
    digest = json.loads(run("show", folder, "1").output)["digest"]
    result = run("rewind", folder, "1", "--proof", f"a=1:{digest}")
    assert result.exit_code == 0, result.exception
    assert "slot 3 goes back to slot 1" in result.output
    statuses = [info.status for info in list_state(LocalStore(folder))]
    assert statuses == ["kept", "kept", "cancelled", "newest"]


def test_rewind_is_refused(folder: str) -> None:
    needs = run("rewind", folder, "1")
    assert "the proof of sink 'a' is needed" in str(needs.exception)
    refused = run("rewind", folder, "1", "--proof", "a=none")
    assert isinstance(refused.exception, RewindRefused)
    assert run("rewind", folder, "1", "--proof", "a=1").exit_code == 2
    with pytest.raises(RewindRefused, match="sink 'a' shows epoch 7"):
        rewind_state(LocalStore(folder), 1, lambda _: Landed(7, "0" * 64))
    assert len(list_state(LocalStore(folder))) == 3
