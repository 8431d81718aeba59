"""What the coordinator is given: a pipeline made ready, with the outside halves of its sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from frazil.run.commit_loop import Committer

if TYPE_CHECKING:
    from frazil import _engine
    from frazil.checkpoint import CheckpointLog, Entry, Plan, Store
    from frazil.run.lookups import LookupTable
    from frazil.run.source_readers import SourceReaders


LOG_CHARS = 8
"""Characters of a log's identity that stand in rejected rows."""


class SinkTarget(Committer, Protocol):
    """A sink's outside half: prepared before the log is taken, committing afterwards."""

    name: str

    @property
    def missing(self) -> bool:
        """Whether what is written to has to be made first."""
        ...

    def make(self, log: Sequence[Entry]) -> None:
        """Make it, unless the log says that it was there: then it was removed, and that is refused.

        Parameters
        ----------
        log
            What counts of the log, oldest slot first; empty if there is none.
        """
        ...

    def options(self, log: CheckpointLog) -> Mapping[str, Any]:
        """What the engine's half needs to know to write, for files of this attempt."""
        ...

    def recover(self, log: CheckpointLog) -> None:
        """After the fence: tie what is committed to this log, remove what dead attempts left."""
        ...

    def place(self) -> TablePlace | None:
        """Where its table is kept, if it is one."""
        ...

    def close(self) -> None:
        """Let go of connections and threads."""
        ...


@dataclass(frozen=True, slots=True)
class TablePlace:
    """Where a catalog keeps tables, and how that is reached; holds secrets."""

    warehouse: str | None
    s3: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Runnable:
    """A pipeline made ready to run: nothing of the user's program is needed beyond it."""

    name: str
    plan: Mapping[str, Any]  # the JSON plan; sinks' options are filled in by their targets
    functions: Mapping[str, Callable[[_engine.ArrowBatch], object]]
    targets: Mapping[str, SinkTarget]  # by sink id
    store: Store
    checkpoint_plan: Plan
    source_names: Mapping[str, str]  # by source id
    diverting: frozenset[str]  # sources whose `.rejected` is written, steps whose `.failed` is
    apart: Mapping[str, str] = field(
        default_factory=dict
    )  # names of steps that set failed rows aside, by id
    letters: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # these by the table that gets what they set aside, and nothing else
    lookups: Mapping[str, LookupTable] = field(default_factory=dict)  # by name
    registries: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict, repr=False
    )  # of schemas, by name; holds secrets
    commit_every_s: Mapping[str, float] = field(default_factory=dict)  # sinks that say so, by id
    readers: Sequence[SourceReaders] = ()  # of sources in Python, which the plan has by number

    def recover(self, log: CheckpointLog) -> None:
        """Have all targets tie themselves to the log; if one cannot, all are closed."""
        try:
            for target in self.targets.values():
                target.recover(log)
        except BaseException:
            for target in self.targets.values():
                target.close()
            raise

    def sources(self) -> list[Mapping[str, Any]]:
        """The steps of the plan that read."""
        return [node for node in self.plan["nodes"] if node["kind"] == "source"]

    def names(self) -> dict[str, str]:
        """Names of what may set rows aside, by id."""
        return {**self.source_names, **self.apart}

    def stateful(self) -> list[str]:
        """Ids of the steps that keep state over checkpoints."""
        return [node["id"] for node in self.plan["nodes"] if node.get("stateful")]

    def lasting(self) -> list[str]:
        """Those whose state outlives event time: it is not of windows, nor of rows in order."""
        return [
            node["id"]
            for node in self.plan["nodes"]
            if node.get("stateful")
            and (
                node["kind"] in ("sink", "unsent_values", "udf")
                or (node["kind"] == "group_aggregate" and node["window_end"] is None)
                or (node["kind"] == "keyed_function" and node["time"] is None)
            )
        ]

    def event_times(self) -> dict[str, list[str]]:
        """Ids of the event_time steps by the source whose rows they are given."""
        nodes = {node["id"]: node for node in self.plan["nodes"]}
        found: dict[str, list[str]] = {}
        for node in nodes.values():
            if node["kind"] != "event_time":
                continue
            at = node
            while at["kind"] != "source":
                at = nodes[at["input"][0]]
            found.setdefault(at["id"], []).append(node["id"])
        return found

    def with_sink_options(self, log: CheckpointLog) -> dict[str, Any]:
        """The plan with the options that targets know."""
        options = {
            node["id"]: {**node["options"], **target.options(log)}
            for node in self.plan["nodes"]
            if (target := self.targets.get(node["id"])) is not None
        }
        tables = {
            node["name"]: {**options[node["id"]], "name": node["name"]}
            for node in self.plan["nodes"]
            if node["id"] in options
        }
        return {
            **self.plan,
            "nodes": [self._told(node, log, options, tables) for node in self.plan["nodes"]],
        }

    def _told(
        self,
        node: Mapping[str, Any],
        log: CheckpointLog,
        options: Mapping[str, Any],
        tables: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """A step with what is known at the start only."""
        if node["id"] in options:
            return {**node, "options": options[node["id"]]}
        if node["kind"] == "source" or node["id"] in self.apart:
            # For the rows that it sets aside: an epoch is one of a log.
            node = {"pipeline": self.name, **node, "log": log.incarnation[:LOG_CHARS]}
        if node["kind"] == "constraints":
            node = {**node, "table": tables[node["sink"]]}
        return node
