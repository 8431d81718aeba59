"""The outside halves of sinks: one class per connector, and the table that names them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil.checkpoint.orphan import file_scope
from frazil.connectors import console_commit, file_commit, memory_commit
from frazil.errors import ConfigError
from frazil.run.commit_loop import Committed

if TYPE_CHECKING:
    import pyarrow as pa
    from frazil.checkpoint import CheckpointLog, Entry, LogView, Pending
    from frazil.run.runnable import SinkTarget, TablePlace


@dataclass(frozen=True, kw_only=True)
class SinkSpec:
    """A sink as the plan has it, secrets resolved."""

    id: str
    name: str
    pipeline: str
    schema: pa.Schema
    options: Mapping[str, Any]
    objects: Mapping[str, Any]
    hook: Callable[[str], None] = lambda _: None


class _NoTable:
    """What is not a table: it is made as it is written to, and nothing of it is looked after."""

    missing = False

    def make(self, log: Sequence[Entry]) -> None:
        """Nothing."""

    def options(self, log: CheckpointLog) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def verify(self, log: LogView) -> int | None:
        """Nothing to check: what is gone was somebody's wish."""
        return None

    def maintain(self) -> None:
        """Nothing to tidy up."""

    def place(self) -> TablePlace | None:
        """Not a table."""
        return None

    def close(self) -> None:
        """Nothing to put away."""


class FileTarget(_NoTable):
    """Files in a local folder, visible when they are committed."""

    def __init__(self, spec: SinkSpec) -> None:
        self.name = spec.name
        self._spec = spec
        self._folder = Path(spec.options["folder"])

    def options(self, log: CheckpointLog) -> Mapping[str, Any]:
        """Which attempt the staged files are of, and whose."""
        return {"attempt": log.attempt, "prefix": self._prefix(log)}

    def recover(self, log: CheckpointLog) -> None:
        """Remove what dead attempts have staged in vain."""
        needed: set[str] = set()
        for pending in log.pending(self._spec.id):
            needed |= file_commit.staged_files(pending.parts)
        file_commit.remove_abandoned(
            self._folder, prefix=self._prefix(log), before_attempt=log.attempt, needed=needed
        )

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Rename the files of all tokens."""
        rows = sum(file_commit.commit(self._folder, token.parts) for token in pending)
        return Committed(pending[-1].slot, pending[-1].digest, rows=rows)

    def _prefix(self, log: CheckpointLog) -> str:
        return file_commit.file_prefix(self.name, file_scope(log.incarnation, self._spec.id))


class MemoryTarget(_NoTable):
    """Rows in a Python object of this process."""

    def __init__(self, spec: SinkSpec) -> None:
        self.name = spec.name
        self._rows = spec.objects["rows"]

    def recover(self, log: CheckpointLog) -> None:
        """Nothing is left of a dead process."""

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Add the batches of the tokens that an earlier run in this process did not add."""
        rows = 0
        landed = self._rows.landed
        for token in pending:
            if token.slot > landed.get(token.incarnation, -1):
                rows += memory_commit.commit(token.parts, self._rows.add)
                landed[token.incarnation] = token.slot
        return Committed(pending[-1].slot, pending[-1].digest, rows=rows)


class ConsoleTarget(_NoTable):
    """Standard output."""

    def __init__(self, spec: SinkSpec) -> None:
        self.name = spec.name

    def recover(self, log: CheckpointLog) -> None:
        """Printed is printed."""

    def commit(self, pending: Sequence[Pending], log: LogView) -> Committed:
        """Print the rows of all tokens."""
        rows = sum(console_commit.commit(token.parts, sys.stdout) for token in pending)
        return Committed(pending[-1].slot, pending[-1].digest, rows=rows)


def make_target(connector: str, spec: SinkSpec) -> SinkTarget:
    """Open what a sink writes to: tables are made or checked here.

    Raises
    ------
    FrazilError
        It cannot take the stream, or cannot be reached.
    """
    match connector:
        case "iceberg" if "route" in spec.options:
            from frazil.run.route_target import RouteTarget

            return RouteTarget(spec)
        case "iceberg":
            from frazil.run.iceberg_target import IcebergTarget

            return IcebergTarget(spec)
        case "file":
            return FileTarget(spec)
        case "kafka":
            from frazil.run.kafka_target import KafkaTarget

            return KafkaTarget(spec)
        case "python":
            from frazil.run.python_target import PythonTarget

            return PythonTarget(spec)
        case "memory":
            return MemoryTarget(spec)
        case "console":
            return ConsoleTarget(spec)
    raise ConfigError(f"sink {spec.name}: no connector {connector!r}")
