"""The log's rules, one by one (numbers as in docs/formats/checkpoint.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from frazil.checkpoint import CheckpointLog, Epoch, Rows, SourceState
from frazil.checkpoint.history import slot_key
from frazil.checkpoint.manifest import TOKEN_INLINE_BYTES_MAX, Landed, Owner, decode
from frazil.errors import CheckpointError, Fenced, OutcomeUnknown

if TYPE_CHECKING:
    from frazil.checkpoint.memory_store import MemoryStore

Open = Callable[..., CheckpointLog]
MakeEpoch = Callable[..., Epoch]


def test_first_start_makes_an_incarnation(open_log: Open, store: MemoryStore) -> None:
    log = open_log()
    assert (log.attempt, log.newest.slot, log.next_slot) == (1, 0, 1)
    assert log.newest.manifest.kind == "fence"
    assert sorted(store.objects) == [slot_key(0)]
    assert log.ack_positions() == {}


def test_epochs_are_linked_and_restored(open_log: Open, epoch: MakeEpoch) -> None:
    log = open_log()
    first = log.append(epoch(10, "a"))
    second = log.append(epoch(20, "a", "b"))
    assert second.manifest.prev == first.digest
    again = open_log()
    assert again.incarnation == log.incarnation
    assert again.attempt == 2
    assert again.newest.slot == 3
    assert again.newest.manifest.prev == second.digest
    assert again.newest.manifest.sources["s"].positions() == {"p0": '{"v":1,"at":20}'}
    assert again.owners == (Owner(1, 0), Owner(2, 3))
    assert [token.slot for token in again.pending("a")] == [1, 2]
    assert [token.slot for token in again.pending("b")] == [2]
    assert again.pending("a")[0].parts == ('{"v":1,"files":["a-10"]}',)


def test_l4_an_older_process_is_fenced(open_log: Open, epoch: MakeEpoch) -> None:
    old = open_log()
    new = open_log()
    assert old.newer_attempt() == 2
    assert new.newer_attempt() is None
    with pytest.raises(Fenced, match="slot 1 belongs to attempt 2"):
        old.append(epoch(1, "a"))
    with pytest.raises(Fenced):
        old.append(epoch(1, "a"))
    with pytest.raises(Fenced):
        old.ack_positions()
    new.append(epoch(1, "a"))


def test_l3_lost_reply_counts_as_accepted(
    open_log: Open, store: MemoryStore, epoch: MakeEpoch
) -> None:
    log = open_log()
    store.fail_put("lost_reply", "log/")
    entry = log.append(epoch(1, "a"))
    assert log.newest == entry
    assert decode(store.objects[slot_key(1)]) == entry.manifest


def test_l3_absent_put_is_put_again_with_the_same_bytes(
    open_log: Open, store: MemoryStore, epoch: MakeEpoch
) -> None:
    log = open_log()
    store.fail_put("late", "log/")
    entry = log.append(epoch(1, "a"))
    assert store.in_flight == [(slot_key(1), store.objects[slot_key(1)])]
    assert store.land_late().value == "exists"
    assert log.append(epoch(2, "a")).manifest.prev == entry.digest


def test_l3_no_answer_ends_the_process(
    open_log: Open, store: MemoryStore, epoch: MakeEpoch
) -> None:
    log = open_log()
    store.down = True
    with pytest.raises(OutcomeUnknown, match="whether it is there is not known after 9 tries"):
        log.append(epoch(1, "a"))
    store.down = False
    with pytest.raises(OutcomeUnknown):
        log.append(epoch(1, "a"))


def test_l5_floor_follows_what_landed(open_log: Open, epoch: MakeEpoch) -> None:
    log = open_log()
    first = log.append(epoch(1, "a", "b"))
    second = log.append(epoch(2, "a"))
    assert second.manifest.floor == 1
    log.record_landed("a", 2, second.digest)
    assert log.append(epoch(3)).manifest.floor == 1  # b has not got epoch 1
    log.record_landed("b", 1, first.digest)
    fourth = log.append(epoch(4))
    assert fourth.manifest.floor == 4
    assert fourth.manifest.landed == {"a": Landed(2, second.digest), "b": Landed(1, first.digest)}


def test_l5_landed_takes_only_what_is_in_the_log(open_log: Open, epoch: MakeEpoch) -> None:
    log = open_log()
    first = log.append(epoch(1, "a"))
    with pytest.raises(CheckpointError, match="no token in epoch 1"):
        log.record_landed("a", 1, "0" * 64)
    with pytest.raises(CheckpointError, match="no token in epoch 1"):
        log.record_landed("b", 1, first.digest)
    second = log.append(epoch(2, "a"))
    log.record_landed("a", 2, second.digest)
    log.record_landed("a", 2, second.digest, head=77)
    assert log.head("a") == 77
    with pytest.raises(CheckpointError, match="cannot be its last"):
        log.record_landed("a", 1, first.digest)


def test_g2_positions_are_acknowledged_when_every_table_has_them(
    open_log: Open, epoch: MakeEpoch
) -> None:
    log = open_log()
    first = log.append(epoch(1, "a", "b"))
    second = log.append(epoch(2, "a"))
    log.record_landed("a", 2, second.digest)
    assert log.ack_positions() == {}  # the fence's
    assert open_log(takeover=True).ack_positions() is None  # epoch 1 waits for b
    log = open_log()
    log.record_landed("a", 2, second.digest)
    log.record_landed("b", 1, first.digest)
    assert log.ack_positions() == {"s": {"p0": '{"v":1,"at":2}'}}


def test_g4_collects_below_the_accepted_floor_only(
    open_log: Open, store: MemoryStore, epoch: MakeEpoch
) -> None:
    log = open_log(retain=1)
    for position in range(1, 6):
        entry = log.append(epoch(position, "a"))
        log.record_landed("a", entry.slot, entry.digest)
    assert log.newest.manifest.floor == 5  # epoch 4 landed when epoch 5 was put
    assert log.collect() == [slot_key(slot) for slot in range(4)]
    assert sorted(store.objects) == [slot_key(4), slot_key(5)]
    log.append(epoch(6))
    assert log.collect() == [slot_key(4)]
    assert open_log().newest.slot == 7


def test_large_tokens_are_objects(open_log: Open, store: MemoryStore, epoch: MakeEpoch) -> None:
    log = open_log()
    big = "x" * (TOKEN_INLINE_BYTES_MAX + 1)
    store.fail_put("lost_reply", "tokens/")
    entry = log.append(Epoch(sources={}, tokens={"a": [big, "", "y"]}))
    stored = entry.manifest.tokens["a"].stored
    assert stored is not None
    assert stored.key in store.objects
    assert open_log().pending("a")[0].parts == (big, "y")
    log = open_log()
    log.record_landed("a", entry.slot, entry.digest)
    log.append(epoch(1))
    assert stored.key in log.collect()
    assert stored.key not in store.objects


def test_rows_have_to_add_up(open_log: Open) -> None:
    log = open_log()
    bad = SourceState((), Rows(read=10, good=8, rejected=1))
    with pytest.raises(CheckpointError, match="do not add up"):
        log.append(Epoch(sources={"s": bad}))
    log.append(Epoch(sources={"s": SourceState((), Rows(10, 8, 1, 1))}))


def test_a_manifest_is_told_before_what_comes_of_it(
    open_log: Open, epoch: MakeEpoch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may commit an entry as soon as it is there."""
    events: list[dict[str, object]] = []
    log = open_log(events=events)

    def commit_at_once(_: object) -> None:
        (pending,) = log.pending("a")
        log.record_landed("a", pending.slot, pending.digest)

    monkeypatch.setattr(log._collector, "add_manifest", commit_at_once)
    log.append(epoch(1, "a"))
    assert [event["kind"] for event in events][-3:] == ["put", "accepted", "landed"]
