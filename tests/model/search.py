"""Breadth-first search for a state in which the protocol is wrong. Traces found are shortest."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model.steps import Label, Step, Steps, initial

if TYPE_CHECKING:
    from tests.model.protocol import Protocol
    from tests.model.world import World

# A fresh process that runs alone comes to rest within this many steps.
ALONE_STEPS = 80


@dataclass
class Result:
    """What a search found."""

    wrong: str = ""  # empty: nothing
    trace: list[Label] = field(default_factory=list)
    states: int = 0
    complete: bool = True  # False: cut at the limit


class Search:
    """Checks every state: what is there, and what a clean restart from it comes to."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.steps = Steps(protocol)

    def run(self, limit: int) -> Result:
        """Search at most about `limit` states."""
        first = initial(self.protocol.scenario)
        came: dict[World, tuple[Label, World] | None] = {first: None}
        queue = collections.deque([first])
        alone: dict[object, str] = {}
        while queue:
            world = queue.popleft()
            shared = (world.log, world.tables, world.gone, world.acked, world.meddled)
            if shared not in alone:
                alone[shared] = self.alone(world)
            wrong = self.wrong(world) or alone[shared]
            if wrong:
                return Result(wrong, _trace(came, world), len(came))
            if len(came) >= limit:
                return Result(states=len(came), complete=False)
            for label, after in self.steps.all(world):
                if after not in came:
                    came[after] = (label, world)
                    queue.append(after)
        return Result(states=len(came))

    def wrong(self, world: World) -> str:
        """What is wrong in this state, empty if nothing."""
        for at, table in enumerate(world.tables):
            for snap in table.snaps:
                if snap.id == table.head and len(set(snap.rows)) < len(snap.rows):
                    return f"duplicate: table {at} holds {snap.rows}"
                if snap.files & world.gone:
                    lost = sorted(snap.files & world.gone, key=repr)
                    return f"dangling: snapshot {snap.id} of table {at} names deleted {lost}"
        refused = any(process.doing == "refused" for process in world.processes)
        if refused and not self.steps.excuse(world):
            return "refusal without a cause"
        return ""

    def alone(self, world: World) -> str:
        """A fresh process, no faults, all requests in flight lost: it ends with every row, once."""
        nonce = len(world.processes) + 1
        quiet = world._replace(net=frozenset(), left=world.left.nothing())
        quiet, process = self.protocol.start(quiet, nonce)
        quiet = quiet._replace(processes=(process,))
        for _ in range(ALONE_STEPS):
            if quiet.processes[0].doing in ("refused", "fenced"):
                return "" if self.steps.excuse(quiet) else "stuck: a clean restart is refused"
            if wrong := self.wrong(quiet):
                return f"after a clean restart: {wrong}"
            options = list(self.steps.all(quiet))
            if not options:
                break
            quiet = min(reversed(options), key=_urgency)[1]
        scenario = self.protocol.scenario
        zero, full = (0,) * scenario.sources, (scenario.rows,) * scenario.sources
        want = self.protocol.rows_between(zero, full)
        for at, table in enumerate(quiet.tables):
            head = table.snap(table.head)
            rows = sorted(head.rows) if head else []
            here = [sink for sink in self.protocol.sinks if scenario.sinks[sink] == at]
            need = sorted(row for sink in here for row in want[sink] or ())
            if rows != need:
                return f"loss: after a clean restart table {at} holds {rows}, not {need}"
        return ""


def _urgency(step: Step) -> int:
    word = step[0][0]
    return 0 if word in ("put lands", "commit lands") else 2 if word == "prepare" else 1


def _trace(came: dict[World, tuple[Label, World] | None], world: World) -> list[Label]:
    trace = []
    while (step := came[world]) is not None:
        label, world = step
        trace.append(label)
    return trace[::-1]
