"""Sources that are read to their end, for ever, before others begin: the seams of `concat`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from frazil.errors import PlanChanged

if TYPE_CHECKING:
    from frazil.run.discovery import FoundBySource


class Histories:
    """Who waits for whom, and what has been read to its end.

    Parameters
    ----------
    plan
        The JSON plan: "after" of its sources and event_time steps.
    times
        Ids of event_time steps by source.
    ended
        Sources that are read to their end, by the newest manifest.
    """

    def __init__(
        self,
        plan: Mapping[str, Any],
        times: Mapping[str, Collection[str]],
        ended: Collection[str],
    ) -> None:
        sources = [node for node in plan["nodes"] if node["kind"] == "source"]
        self._sources = [node["id"] for node in sources]
        self._after = {node["id"]: frozenset(node["after"]) for node in sources if "after" in node}
        self._all = frozenset[str]().union(*self._after.values())
        steps = [node for node in plan["nodes"] if node["kind"] == "event_time"]
        self._out_of_order = {node["id"]: node["out_of_order_us"] for node in steps}
        self._steps_after = {node["id"]: node["after"] for node in steps if "after" in node}
        self._times = times
        self.ended = self._all & frozenset(ended)

    @property
    def pending(self) -> bool:
        """Whether there are any that have not been read to their end."""
        return self.ended != self._all

    def waits(self, source: str) -> bool:
        """Whether it is not to be read yet."""
        return not self._after.get(source, frozenset()) <= self.ended

    def split(self, found: FoundBySource) -> tuple[FoundBySource, FoundBySource]:
        """Partitions of those that wait, and of those that do not."""
        waiting = {source: each for source, each in found.items() if self.waits(source)}
        return waiting, {s: each for s, each in found.items() if s not in waiting}

    def left(self) -> list[str]:
        """Sources that are read in this run, or later."""
        return [source for source in self._sources if source not in self.ended]

    def growing(self) -> list[str]:
        """Sources that may have new partitions: a history ends where it ended at the start."""
        return [source for source in self._sources if source not in self._all]

    def is_one(self, source: str) -> bool:
        """Whether some source waits for its end."""
        return source in self._all

    def due(self, metrics: Mapping[str, Any]) -> frozenset[str]:
        """Histories of which every row has been read, all that some source waits for.

        Parameters
        ----------
        metrics
            The engine's, from before the barrier of the epoch with which they are to end.
        """
        if not self.pending:
            return frozenset()
        nodes = metrics.get("nodes", {})
        found: set[str] = set()
        for after in self._after.values():
            left = after - self.ended
            if all(nodes.get(source, {}).get("at_end") for source in left):
                found |= left
        return frozenset(found)

    def end(self, sources: Collection[str]) -> None:
        """Note that they are read to their end, with the epoch in the making."""
        self.ended |= frozenset(sources)

    def seams(self, frontiers: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        """The frontier with which partitions begin, by event_time step, where histories ended.

        Their first rows stand at the watermark that the history would have if all its partitions
        had come as far as the one that came furthest: none of it is to come any more.
        """
        found = {}
        for source in self._after:
            for step in () if self.waits(source) else self._times.get(source, ()):
                furthest = [
                    max(frontiers[other].values()) - self._out_of_order[other]
                    for other in self._steps_after.get(step, ())
                    if frontiers.get(other)
                ]
                if furthest:
                    found[step] = max(furthest) + self._out_of_order[step]
        return found

    def require_order(
        self, frontiers: Mapping[str, Mapping[str, int]], names: Mapping[str, str]
    ) -> None:
        """Refuse a history that was put before a source of which rows have been read."""
        for source in filter(self.waits, self._after):
            if any(frontiers.get(step) for step in self._times.get(source, ())):
                raise PlanChanged(
                    f"{names[source]} has been read already, and now waits for a history",
                    "rows of that would come into windows that are closed",
                    "begin with the history: another pipeline name, or another checkpoint folder",
                )
