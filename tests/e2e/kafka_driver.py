"""The C++ Kafka source in a process of its own, driven over its stdin and stdout."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BINARY = Path(__file__).parents[2] / "build" / "release" / "engine_tests"
# Milliseconds a read may wait for its rows; reached only when a test fails.
READ_MS_MAX = 60_000
ROWS_ALL = 1_000_000_000

Json = dict[str, Any]


class KafkaError(Exception):
    """An error of the source or the enumerator."""

    def __init__(self, answer: Json) -> None:
        super().__init__(answer["error"])
        self.kind: str = answer["kind"]
        self.retryable: bool = answer["retryable"]


class Read:
    """What a read gave: rows as (partition, offset, value)."""

    def __init__(self, answer: Json) -> None:
        self.rows = [(place, offset, value) for place, offset, value in answer["rows"]]
        self.rejected: list[list[Any]] = answer["rejected"]
        self.end: bool = answer["end"]
        self.condition: str = answer["condition"]

    @property
    def offsets(self) -> list[int]:
        return [offset for _, offset, _ in self.rows]


class KafkaDriver:
    """One enumerator and one source."""

    def __init__(self, options: Json) -> None:
        self.options = options
        self._process = subprocess.Popen(
            [BINARY, "--gtest_filter=KafkaDriver.*"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FRAZIL_TEST_KAFKA": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _, stderr = self._process.communicate(timeout=60)
        if error is None:
            assert self._process.returncode == 0
            assert stderr == ""  # the client's log lines do not leak

    def call(self, do: str, **arguments: Any) -> Json:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        stdin.flush()
        for line in stdout:
            if line.startswith("@"):
                answer: Json = json.loads(line[1:])
                if "error" in answer:
                    raise KafkaError(answer)
                return answer
        raise AssertionError(f"the driver ended during {do}")

    def enumerate(self, *, bounded: bool = False, known: list[str] | None = None) -> list[Json]:
        """Make an enumerator and discover with it."""
        self.call("enumerator", options=self.options, known=known or [])
        return self.discover(bounded=bounded)

    def discover(self, *, bounded: bool = False) -> list[Json]:
        partitions: list[Json] = self.call("discover", bounded=bounded)["partitions"]
        return partitions

    def open(self, partitions: list[Json]) -> None:
        """Make a source with these partitions."""
        self.call("source", options=self.options)
        self.call("assign", partitions=partitions)

    def read(
        self,
        rows: int = ROWS_ALL,
        *,
        condition: bool = False,
        batch: int = 16_384,
        timeout_ms: int = READ_MS_MAX,
    ) -> Read:
        return Read(
            self.call("read", rows=rows, condition=condition, batch=batch, timeout_ms=timeout_ms)
        )

    def read_all(self) -> Read:
        """Discover, read to the present end, and check that it is told."""
        self.open(self.enumerate(bounded=True))
        result = self.read()
        assert result.end
        return result

    def positions(self) -> dict[str, tuple[int, int]]:
        """(offset to read next, lag) by partition."""
        return {
            position["name"]: (json.loads(position["position"])["offset"], position["lag"])
            for position in self.call("positions")["positions"]
        }
