"""The commit loop against a log and committers that do as they are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from frazil.checkpoint import CheckpointLog, Epoch, LogView, Pending, SourceState
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import CommitError, CommitRefused, CommitUnknown
from frazil.run.commit_loop import MAINTAIN_EVERY, CommitLoop, Committed


class Table:
    """A committer that fails as often as it is told, then takes everything."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.slots: list[int] = []
        self.calls = self.tidied = self.verified = 0

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        self.slots += [token.slot for token in pending]
        return Committed(pending[-1].slot, pending[-1].digest, rows=len(pending))

    def verify(self, log: LogView) -> int | None:
        self.verified += 1
        return 4711

    def maintain(self) -> None:
        self.tidied += 1


def opened() -> CheckpointLog:
    return CheckpointLog.open(MemoryStore())


def epoch(log: CheckpointLog, *sinks: str) -> None:
    log.append(Epoch(sources={"s": SourceState()}, tokens={sink: ["{}"] for sink in sinks}))


def loop(log: CheckpointLog, tables: dict[str, Table], **more: Any) -> CommitLoop:
    return CommitLoop(log, tables, threaded=False, landed=lambda *_: None, **more)


def test_every_epoch_lands_in_order() -> None:
    log, table = opened(), Table()
    for _ in range(3):
        epoch(log, "a")
    loop(log, {"a": table}).request()
    assert table.slots == [1, 2, 3]
    assert log.pending_epochs() == 0


def test_a_table_that_is_away_holds_up_only_itself() -> None:
    log, good, away = opened(), Table(), Table(CommitUnknown("no answer"), CommitUnknown("no"))
    commits = loop(log, {"away": away, "good": good})
    epoch(log, "away", "good")
    commits.request()
    assert good.slots == [1]
    assert away.slots == []
    assert set(commits.trouble()) == {"away"}
    commits.drain(10.0)
    assert away.slots == [1]
    assert commits.trouble() == {}


def test_a_refusal_ends_it_for_good() -> None:
    log, table = opened(), Table(CommitRefused("went back", kind="table_behind"))
    commits = loop(log, {"a": table})
    epoch(log, "a")
    with pytest.raises(CommitRefused):
        commits.request()
    with pytest.raises(CommitRefused):
        commits.check()


def test_what_cannot_be_drained_is_said_and_stays() -> None:
    log, table = opened(), Table(*[CommitUnknown("catalog away")] * 1000)
    commits = loop(log, {"a": table})
    epoch(log, "a")
    with pytest.raises(CommitError, match="did not take them"):
        commits.drain(0.0)
    assert log.pending_epochs() == 1


def test_a_sink_commits_less_often_than_epochs_are_cut() -> None:
    now = 0.0
    log, slow, quick = opened(), Table(), Table()
    commits = loop(log, {"slow": slow, "quick": quick}, every_s={"slow": 10.0}, now=lambda: now)
    for _ in range(4):
        epoch(log, "slow", "quick")
        now += 3.0
        commits.request()
    assert quick.slots == [1, 2, 3, 4]
    assert (slow.slots, slow.calls) == ([1, 2, 3, 4], 1)
    epoch(log, "slow", "quick")
    commits.request()
    assert slow.calls == 1
    commits.drain(10.0)
    assert slow.slots == [1, 2, 3, 4, 5]


def test_what_landed_is_verified_on_request_and_its_head_remembered() -> None:
    log, table = opened(), Table()
    commits = loop(log, {"a": table})
    epoch(log, "a")
    commits.request()
    assert (table.verified, log.head("a")) == (0, None)
    commits.verify()
    assert (table.verified, log.head("a")) == (1, 4711)


def test_a_table_is_tidied_after_some_commits() -> None:
    log, table = opened(), Table()
    commits = loop(log, {"a": table})
    for _ in range(2 * MAINTAIN_EVERY):
        epoch(log, "a")
        commits.request()
    assert table.tidied == 2
