"""Whether what the code did is something the model allows, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from frazil.checkpoint.manifest import Landed, Manifest, decode, digest_of

from tests.model.protocol import Protocol
from tests.model.scenarios import Scenario
from tests.model.schedule import SINKS, Event, Schedule
from tests.model.steps import Label, Steps, initial
from tests.model.world import NOTHING, Commit, Entry, Owner, Put, Ref, World

if TYPE_CHECKING:
    from frazil.checkpoint.memory_store import MemoryStore

PLENTY = 10_000
SCENARIO = Scenario(
    sources=1,
    rows=PLENTY,
    sinks=tuple(range(len(SINKS))),
    pending=PLENTY,
    step=2,
    acks=True,
    faults=dict.fromkeys(("starts", "timeouts", "empties", "gc", "orphans", "rewind"), PLENTY),
)


class NotAllowed(AssertionError):
    """The code did what the model does not allow."""


class Follower:
    """Follows the events of a schedule in the model."""

    def __init__(self) -> None:
        self.protocol = Protocol(SCENARIO)
        self.steps = Steps(self.protocol)
        self.world: World = initial(SCENARIO)
        self.names: dict[int, int] = {}  # process of the schedule -> process of the model
        self.refs: dict[str, Ref] = {}  # digest -> manifest
        self.nonces: dict[str, int] = {}
        self.commits: dict[int, Commit] = {}  # by id of the code's
        self.followed: list[Label] = []

    def follow(self, events: list[Event]) -> None:
        """Take every event as a step of the model, or raise."""
        for event in linearised(events):
            self._take(event)

    def check_end(self, schedule: Schedule) -> None:
        """The shared state must be the same too."""
        found = {self.entry(decode(data)) for data in slots(schedule.store)}
        if found != self.world.log:
            raise NotAllowed(f"the store holds {found}, the model {self.world.log}")
        for at, sink in enumerate(SINKS):
            head = self.world.tables[at].snap(self.world.tables[at].head)
            rows = sorted(head.rows) if head else []
            if schedule.tables.rows(sink) != rows:
                raise NotAllowed(f"table {sink} holds {schedule.tables.rows(sink)}, model {rows}")
        if self.world.files != schedule.tables.files:
            raise NotAllowed(f"files are {schedule.tables.files}, in the model {self.world.files}")

    def _take(self, event: Event) -> None:
        if event.what == "start":
            self._start(event)
            return
        who = self.names[event.who]
        data = event.data
        if event.what == "collect":
            self._collect(who, data["slots"])
            return
        label: Label
        match event.what:
            case "prepare":
                manifest = data["manifest"]
                self._learn(manifest, who)
                label = ("prepare", who, manifest.slot, self.entry(manifest).positions)
            case "put lands":
                self._put_lands(who, data)
                return
            case "commit lands":
                label = ("commit lands", who, data["sink"], data["slot"], data["accepted"])
                self._lands(self.commits[id(data["commit"])], label)
                return
            case "send":
                label = ("send", who, data["sink"], data["slot"])
            case "seen" | "refused" | "fenced":
                label = (event.what, who, data["sink"])
            case "ack":
                label = ("ack", who, (data["ready"],))
            case "time out" | "read" | "put again" | "orphans":
                label = (event.what, who)
            case _:
                raise ValueError(event.what)
        self._step(label)
        if event.what == "send":
            self._learn_commit(who, data["commit"])
        if event.what == "prepare":
            self._expect_request(who, data["manifest"])

    def _start(self, event: Event) -> None:
        manifest = event.data["manifest"]
        who = self.names.setdefault(event.who, len(self.names) + 1)
        self._learn(manifest, who)
        label: Label = ("start", who)
        if manifest.rewind_to is not None:
            label = ("rewind", who, manifest.rewind_to)
        self._step(label)
        self._expect_request(who, manifest)

    def _expect_request(self, who: int, manifest: Manifest) -> None:
        process = next(p for p in self.world.processes if p.nonce == who)
        request = process.request
        if not isinstance(request, Put) or request.entry != self.entry(manifest):
            raise NotAllowed(f"the code puts {self.entry(manifest)}, the model {request}")

    def _put_lands(self, who: int, data: dict[str, Any]) -> None:
        """Which copy arrives matters: an earlier one may still be on its way."""
        for request in self.world.net:
            if not isinstance(request, Put) or request.nonce != who:
                continue
            if (request.entry.slot, request.copy) == (data["slot"], data["copy"]):
                self._lands(request, ("put lands", who, data["slot"], data["accepted"]))
                return
        raise NotAllowed(f"the model knows no put that could land: {data}")

    def _lands(self, request: Put | Commit, expected: Label) -> None:
        others = self.world.net - {request}
        alone = self.world._replace(net=frozenset({request}))
        (label, after), *_ = self.steps.arrivals(alone)
        if label != expected:
            raise NotAllowed(f"the code saw {expected}, the model {label}")
        self.world = after._replace(net=after.net | others)
        self.followed.append(label)

    def _collect(self, who: int, slots: list[int]) -> None:
        """Part of what the model would collect is as good as all of it."""
        process = next(p for p in self.world.processes if p.nonce == who)
        floor = process.history[-1].floor
        if process.doing != "run" or max(slots) >= floor:
            raise NotAllowed(f"process {who} ({process.doing}) collects {slots}, floor {floor}")
        kept = frozenset(entry for entry in self.world.log if entry.slot not in slots)
        self.world = self.world._replace(log=kept)
        self.followed.append(("collect", who, tuple(slots)))

    def _step(self, label: Label) -> None:
        found = [after for name, after in self._options(label) if name == label]
        if not found:
            process = [p for p in self.world.processes if p.nonce == label[1]]
            raise NotAllowed(
                f"the code did {label}, which the model does not allow now\n"
                f"  the process: {[(p.doing, p.history[-1:], p.landed) for p in process]}\n"
                f"  before: {self.followed[-12:]}"
            )
        self.world = found[0]
        self.followed.append(label)

    def _options(self, label: Label) -> list[tuple[Label, World]]:
        who = label[1]
        process = next((p for p in self.world.processes if p.nonce == who), None)
        if process is None:
            return list(self.steps.starts(self.world))
        return list(self.steps.of_process(self.world, process))

    def _learn_commit(self, who: int, sent: Commit) -> None:
        """What the code sends must be what the model sends."""
        request = next(p for p in self.world.processes if p.nonce == who).request
        if not isinstance(request, Commit) or (sent.head, sent.tag, sent.rows, sent.files) != (
            request.head,
            request.tag,
            request.rows,
            request.files,
        ):
            raise NotAllowed(f"the code sends {sent}, the model {request}")
        self.commits[id(sent)] = request

    # -- from the code's manifests to the model's
    # ------------------------------------------------------

    def _learn(self, manifest: Manifest, who: int) -> None:
        from frazil.checkpoint.manifest import encode

        self.nonces[manifest.nonce] = who
        self.refs[digest_of(encode(manifest))] = Ref(manifest.slot, manifest.attempt, who)

    def ref(self, landed: Landed | None) -> Ref:
        return NOTHING if landed is None else self.refs[landed.digest]

    def entry(self, manifest: Manifest) -> Entry:
        """The model's view of a manifest."""
        source = manifest.sources.get("s")
        return Entry(
            ref=Ref(manifest.slot, manifest.attempt, self.nonces[manifest.nonce]),
            prev=self.refs[manifest.prev] if manifest.prev else NOTHING,
            kind=manifest.kind,
            rewind_to=-1 if manifest.rewind_to is None else manifest.rewind_to,
            positions=(int(source.partitions[0].position) if source else 0,),
            tokens=tuple(_rows(manifest, sink) for sink in SINKS),
            landed=tuple(self.ref(manifest.landed.get(sink)) for sink in SINKS),
            owners=tuple(Owner(owner.attempt, owner.slot) for owner in manifest.owners),
            floor=manifest.floor,
        )


def linearised(events: list[Event]) -> list[Event]:
    """Move each start to the list on which it was built: that is when it took effect."""
    out: list[Event | None] = []
    listed: dict[int, int] = {}
    for event in events:
        if event.what == "list":
            listed[event.who] = len(out)
            out.append(None)
        elif event.what == "start":
            out[listed[event.who]] = replace(event)
        elif event.what != "ended":
            out.append(event)
    return [event for event in out if event is not None]


def slots(store: MemoryStore) -> list[bytes]:
    """The manifests that are there."""
    return [data for key, data in store.objects.items() if key.startswith("log/")]


def _rows(manifest: Manifest, sink: str) -> Any:
    import json

    token = manifest.tokens.get(sink)
    if token is None:
        return None
    return tuple(tuple(row) for part in token.parts for row in json.loads(part)["rows"])
