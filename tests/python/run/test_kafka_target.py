"""What is sent again after a restart, by what the broker says and by what the log says."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from frazil.checkpoint import Pending
from frazil.checkpoint.manifest import Landed
from frazil.errors import CommitRefused, Fenced, SinkError
from frazil.run import kafka_target
from frazil.run.kafka_target import PROOF_S, KafkaTarget
from frazil.run.targets import SinkSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

LOG = "0123456789abcdef"


@dataclass
class Publisher:
    """A broker that knows `proof`, and what it is sent: (slot, messages to skip)."""

    proof: dict[str, Any] | None = None
    sent: list[tuple[int, int]] = field(default_factory=list)
    fails: bool = False

    def check(self) -> None:
        """The topic is there."""

    def recover(self) -> str:
        """What is known."""
        return "" if self.proof is None else json.dumps(self.proof)

    def publish(self, slot: int, digest: str, files: list[str], skip: int) -> int:
        """Take messages."""
        if self.fails:
            error = SinkError("sending: barred")
            error.retryable = True
            raise error
        self.sent.append((slot, skip))
        return 0


@dataclass
class View:
    """The log as a committer sees it."""

    landed: Landed | None = None
    landed_us: int | None = None
    newer: int | None = None
    incarnation: str = LOG
    attempt: int = 2
    floor: int = 0

    def newer_attempt(self) -> int | None:
        """Whoever took over."""
        return self.newer

    def remove_staged(self, names: Iterable[str]) -> None:
        """Nothing is staged."""
        assert list(names) == []


def pending(*slots: int, age_s: float = 1.0) -> list[Pending]:
    """Epochs of ten messages each."""
    part = json.dumps({"v": 1, "rows": 10, "files": [{"name": "f", "rows": 10}]})
    return [
        Pending(
            sink="sink",
            slot=slot,
            digest=f"digest-{slot}",
            attempt=1,
            incarnation=LOG,
            parts=(part,),
            sources={},
            created_us=int((time.time() - age_s) * 1e6),
        )
        for slot in slots
    ]


def proof(slot: int, messages: int = 10, digest: str | None = None) -> dict[str, Any]:
    """What a broker knows of an epoch."""
    text = f"digest-{slot}" if digest is None else digest
    return {"slot": slot, "digest": text, "messages": messages, "whole": messages == 10}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """The broker of all targets."""
    made = Publisher()
    monkeypatch.setattr(kafka_target._engine, "KafkaPublisher", lambda _: made)
    return made


def target(policy: str = "fail") -> KafkaTarget:
    """A sink of a pipeline."""
    options = {"topic": "t", "servers": "x:1", "on_lost_proof": policy}
    return KafkaTarget(
        SinkSpec(
            id="sink",
            name="kafka:t",
            pipeline="p",
            schema=pa.schema([]),
            options=options,
            objects={},
        )
    )


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, [(5, 0), (6, 0)]),
        (proof(4), [(5, 0), (6, 0)]),
        (proof(5, messages=7), [(5, 7), (6, 0)]),
        (proof(5), [(6, 0)]),
        (proof(6), []),
    ],
)
def test_what_the_broker_has_is_not_sent_again(
    broker: Publisher, known: dict[str, Any] | None, expected: list[tuple[int, int]]
) -> None:
    broker.proof = known
    view: Any = View(landed=None if known is None else Landed(3, "digest-3"))
    done = target().commit(pending(5, 6), view)
    assert broker.sent == expected
    assert (done.slot, done.digest) == (6, "digest-6")


@pytest.mark.parametrize(
    ("known", "landed"),
    [
        (proof(4), Landed(5, "digest-5")),  # the topic's cluster was put back
        (proof(6, digest="other"), Landed(5, "digest-5")),  # another epoch of that number
        (proof(9), Landed(5, "digest-5")),  # the log was put back
    ],
)
def test_both_sides_disagree(broker: Publisher, known: dict[str, Any], landed: Landed) -> None:
    broker.proof = known
    view: Any = View(landed=landed)
    with pytest.raises(CommitRefused, match="one of the two was put back"):
        target().commit(pending(6, 7), view)
    assert broker.sent == []


def test_a_proof_that_is_gone(broker: Publisher) -> None:
    """Old epochs may have been sent; so may young ones, if what landed is young too."""
    old = pending(6, 7, age_s=PROOF_S + 60)
    idle: Any = View(landed=Landed(5, "d"), landed_us=int((time.time() - 10 * PROOF_S) * 1e6))
    fresh: Any = View(landed=Landed(5, "d"), landed_us=int(time.time() * 1e6))
    first: Any = View()
    for epochs, view in ((old, first), (old, idle), (pending(6), fresh)):
        with pytest.raises(CommitRefused, match="may have been sent or not"):
            target().commit(epochs, view)
    assert broker.sent == []
    # A pipeline that was idle for long, and has new rows.
    target().commit(pending(6), idle)
    assert broker.sent == [(6, 0)]
    assert target("skip").commit(old, idle).slot == 7
    assert broker.sent == [(6, 0)]
    target("resend").commit(old, idle)
    assert broker.sent == [(6, 0), (6, 0), (7, 0)]


def test_who_is_barred_looks_for_the_one_who_took_over(broker: Publisher) -> None:
    broker.fails = True
    alone: Any = View()
    with pytest.raises(SinkError, match="barred"):
        target().commit(pending(6), alone)
    after: Any = View(newer=3)
    with pytest.raises(Fenced, match="attempt 3 has taken over from attempt 2"):
        target().commit(pending(6), after)
