"""A topic as a sink's outside half: sends what the workers staged, epoch by epoch, each once.

The broker knows how far an epoch was sent, by an offset that is committed in the transactions that
send it (`engine/connector/kafka/publisher.h`). So whoever comes next, in this process or another,
takes over the transactional id and goes on where that says.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from frazil import _engine
from frazil.checkpoint.orphan import file_scope
from frazil.connectors.file_commit import file_prefix, read_token
from frazil.errors import CommitRefused, ConfigError, Fenced, FrazilError
from frazil.run.commit_loop import Committed
from frazil.run.message_schemas import message_schemas

if TYPE_CHECKING:
    from frazil.checkpoint import CheckpointLog, Entry, LogView, Pending
    from frazil.run.runnable import TablePlace
    from frazil.run.targets import SinkSpec

PROOF_S = 86_400.0
"""Seconds that brokers keep the offsets of a group at least, after the last of them: Kafka's own
default is seven days."""
NAME_CHARS_MAX = 150
"""Characters of pipeline and sink in the transactional id."""

_PUBLISHER = ("servers", "topic", "security", "client_options", "compression", "message_bytes_max")

log_ = structlog.get_logger("frazil")


@dataclass(frozen=True, slots=True)
class Sent:
    """How far the broker says that epochs were sent."""

    slot: int = -1
    digest: str = ""
    messages: int = 0  # of that epoch
    whole: bool = True

    def skip(self, token: Pending) -> int | None:
        """Messages of an epoch that are sent already; None: all."""
        if token.slot < self.slot or (token.slot == self.slot and self.whole):
            return None
        return self.messages if token.slot == self.slot else 0


class KafkaTarget:
    """One topic."""

    missing = False

    def __init__(self, spec: SinkSpec) -> None:
        self.name = spec.name
        self._spec = spec
        self._s3: Mapping[str, Any] | None = None
        self._place: Mapping[str, Any] = {}
        self._publisher: Any = None
        self._sent: Sent | None = None  # None: the broker has to be asked
        self._staged: list[tuple[int, list[str]]] = []  # of epochs that were sent, by slot
        _engine.KafkaPublisher(json.dumps({**self._connection(), "proof": "frazil"})).check()

    def make(self, log: Sequence[Entry]) -> None:
        """Nothing."""

    def stage_at(self, s3: Mapping[str, Any]) -> None:
        """Say how the checkpoint store is reached, which is where messages wait."""
        self._s3 = dict(s3) or None

    def options(self, log: CheckpointLog) -> Mapping[str, Any]:
        """Where the engine stages messages, whose, and their schemas, which are registered."""
        made = {**self._place, "attempt": log.attempt, "prefix": self._prefix(log.incarnation)}
        if "format" in self._spec.options:
            made["avro"] = message_schemas(self._spec)
        return made

    def recover(self, log: CheckpointLog) -> None:
        """Remove what dead attempts have staged in vain, and what has been sent."""
        if log.url.startswith("memory:"):
            raise ConfigError(
                f"sink {self.name}: messages wait in the checkpoint store, and {log.url} is none",
                "give the pipeline checkpoint=",
            )
        self._place = {"folder": f"{log.url}/{log.STAGED}", "s3": self._s3}
        needed: set[str] = set()
        for pending in log.pending(self._spec.id):
            needed |= {name for name, _ in _files(pending)}
        prefix = self._prefix(log.incarnation)
        log.remove_staged(
            name for name in log.staged() if name.startswith(f"{prefix}-") and name not in needed
        )

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Send the messages of all tokens, in order, but those that are sent already."""
        try:
            if self._sent is None:
                self._sent = self._take_over(pending, log)
            rows = 0
            for token in pending:
                rows += self._send(token, self._sent)
        except FrazilError as error:
            self._sent = None
            newer = log.newer_attempt() if error.retryable else None
            if newer is None:
                raise
            raise Fenced(
                f"sink {self.name}: attempt {newer} has taken over from attempt {log.attempt}",
                "nothing is lost; this process must end and must not be restarted by itself",
            ) from error
        self._forget(log)
        return Committed(pending[-1].slot, pending[-1].digest, rows=rows)

    def verify(self, log: LogView) -> int | None:
        """Nothing to check: a topic forgets."""
        return None

    def maintain(self) -> None:
        """Nothing to tidy up."""

    def place(self) -> TablePlace | None:
        """Not a table."""
        return None

    def close(self) -> None:
        """Let go of the connections."""
        self._publisher = None

    # -- inside ----------------------------------------------------------------------------------

    def _connection(self) -> dict[str, Any]:
        options = self._spec.options
        return {name: options[name] for name in _PUBLISHER if name in options}

    def _prefix(self, incarnation: str) -> str:
        return file_prefix(self.name, file_scope(incarnation, self._spec.id))

    def _take_over(self, pending: Sequence[Pending], log: LogView) -> Sent:
        """End what other processes have begun, and ask how far they came."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{self._spec.pipeline}.{self.name}")
        proof = f"frazil.{readable[:NAME_CHARS_MAX]}.{file_scope(log.incarnation, self._spec.id)}"
        if self._publisher is None:
            self._publisher = _engine.KafkaPublisher(
                json.dumps({**self._connection(), **self._place, "proof": proof})
            )
        text = self._publisher.recover()
        self._spec.hook("after_load")
        sent = Sent(**json.loads(text)) if text else None
        if sent is not None:
            self._require_same(sent, pending, log)
            return sent
        return self._without_proof(pending, log, proof)

    def _require_same(self, sent: Sent, pending: Sequence[Pending], log: LogView) -> None:
        """What was sent has to be an epoch of this log, and not one before what has landed."""
        landed = log.landed
        behind = landed is not None and sent.slot < landed.slot
        named = [token for token in pending if token.slot == sent.slot]
        other = any(token.digest != sent.digest for token in named)
        unknown = sent.slot >= pending[0].slot and not named
        if not (behind or other or unknown):
            return
        has = "nothing" if landed is None else f"epoch {landed.slot}"
        raise CommitRefused(
            f"pipeline {self._spec.pipeline!r}, sink {self.name!r}: the broker has epoch "
            f"{sent.slot} ({sent.digest[:12]}), the checkpoint log says that {has} landed and "
            f"epoch {pending[0].slot} ({pending[0].digest[:12]}) is next",
            "one of the two was put back to an older state; start anew under another name",
            kind="diverged",
        )

    def _without_proof(self, pending: Sequence[Pending], log: LogView, group: str) -> Sent:
        """Nothing was sent yet, or the broker has forgotten it: the age of the epochs tells."""
        policy = self._spec.options["on_lost_proof"]
        age_s = time.time() - pending[0].created_us / 1e6
        if log.landed is None and age_s < PROOF_S:
            return Sent()
        if log.landed is not None and age_s < PROOF_S and not self._fresh_proof_is_gone(log):
            return Sent()
        if policy == "resend":
            return Sent()
        last = pending[-1]
        if policy == "skip":
            return Sent(last.slot, last.digest)
        raise CommitRefused(
            f"pipeline {self._spec.pipeline!r}, sink {self.name!r}: epochs {pending[0].slot} to "
            f"{last.slot} may have been sent or not: the offset of group {group} that says it is "
            "gone (brokers keep it for some days after the last one)",
            f"look what topic {self._spec.options['topic']} has, and run once with "
            'on_lost_proof="resend" or "skip"',
            kind="unprovable",
        )

    def _fresh_proof_is_gone(self, log: LogView) -> bool:
        """What has landed is so young that the broker would still know it."""
        created_us = log.landed_us
        return created_us is not None and time.time() - created_us / 1e6 < PROOF_S

    def _send(self, token: Pending, sent: Sent) -> int:
        files = _files(token)
        total = sum(rows for _, rows in files)
        skip = sent.skip(token)
        if skip is not None:
            names = [name for name, _ in files]
            self._spec.hook("before_commit")
            self._publisher.publish(token.slot, token.digest, names, skip)
            self._spec.hook("after_commit")
            self._sent = Sent(token.slot, token.digest, total)
        self._staged.append((token.slot, [name for name, _ in files]))
        return total

    def _forget(self, log: LogView) -> None:
        """Remove files of epochs that no start asks for any more."""
        done = [each for each in self._staged if each[0] < log.floor]
        self._staged = [each for each in self._staged if each[0] >= log.floor]
        try:
            log.remove_staged(name for _, names in done for name in names)
        except FrazilError as error:  # they cost space only; the next start removes them
            log_.warning("staged", sink=self.name, error=str(error))


def _files(token: Pending) -> list[tuple[str, int]]:
    """Staged files of an epoch in the order in which they are sent, each with its messages."""
    return [
        (file["name"], file["rows"]) for part in token.parts for file in read_token(part)["files"]
    ]
