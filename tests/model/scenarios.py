"""What may happen in a search: small worlds in which each known mistake shows itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scenario:
    """Sizes of a world, and how often each fault may happen."""

    sources: int = 1
    rows: int = 2  # of each source
    sinks: tuple[int, ...] = (0,)  # table of each sink
    pending: int = 1  # epochs that may be accepted and not landed
    step: int = 2  # rows in an epoch at most
    squash: bool = False  # several epochs in one commit
    acks: bool = True  # sources forget what was acknowledged
    faults: dict[str, int] = field(default_factory=dict)

    def budget(self) -> dict[str, int]:
        names = (
            "starts timeouts empties foreign expire unset rollback lose gc orphans clean rewind"
        ).split()
        return {**dict.fromkeys(names, 0), "starts": 2, **self.faults}

    @property
    def tables(self) -> int:
        return max(self.sinks) + 1


SCENARIOS: dict[str, Scenario] = {
    "zombie": Scenario(faults={"starts": 3}),
    "two tables": Scenario(sinks=(0, 1), faults={"starts": 3}),
    "two sources": Scenario(sources=2, rows=1, sinks=(0, 1), faults={"starts": 3}),
    "two sinks": Scenario(sinks=(0, 0)),
    "late replies": Scenario(faults={"timeouts": 2, "clean": 1}),
    "foreign": Scenario(faults={"starts": 3, "foreign": 2}),
    "expiry": Scenario(faults={"foreign": 2, "expire": 1}),
    "property removed": Scenario(faults={"starts": 3, "unset": 1, "foreign": 1}),
    "rollback": Scenario(faults={"foreign": 1, "rollback": 1, "timeouts": 1}),
    "rollback, expiry": Scenario(faults={"foreign": 1, "rollback": 1, "expire": 1}),
    "aba": Scenario(faults={"rollback": 1, "timeouts": 1, "clean": 1}),
    "pending": Scenario(pending=3, rows=3, step=1, squash=True, faults={"timeouts": 1}),
    "pending, two tables": Scenario(pending=2, sinks=(0, 1), squash=True),
    "empty epochs": Scenario(rows=1, pending=2, faults={"starts": 3, "empties": 2}),
    "collection": Scenario(
        pending=2, step=1, faults={"starts": 3, "gc": 1, "empties": 2, "orphans": 1}
    ),
    "orphans": Scenario(faults={"starts": 3, "orphans": 2, "timeouts": 1}),
    "store loses": Scenario(step=1, faults={"starts": 3, "lose": 1}),
    "rewind": Scenario(pending=2, step=1, acks=False, faults={"starts": 3, "rewind": 1}),
    "mix": Scenario(
        sinks=(0, 1),
        pending=2,
        faults={
            "starts": 3,
            "timeouts": 1,
            "foreign": 1,
            "expire": 1,
            "gc": 1,
            "orphans": 1,
            "empties": 1,
        },
    ),
}
