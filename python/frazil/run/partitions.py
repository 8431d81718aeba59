"""Which partitions there are, where each is, and which worker reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from frazil.checkpoint import Partition, Rows, SourceState
from frazil.run.engine_job import Assigned, Found, SourceCut


@dataclass
class SourcePartitions:
    """The partitions of one source, in the order of their admission; the index is the ordinal."""

    positions: dict[str, str] = field(default_factory=dict)
    counted: SourceCut | None = None  # what the engine had counted at the last epoch
    readers: set[int] = field(default_factory=set)  # workers that read some of it

    def admit(self, found: Sequence[Found]) -> list[Found]:
        """Take partitions that are not known yet; returns them."""
        new = [each for each in found if each.name not in self.positions]
        for each in new:
            self.positions[each.name] = each.start
        return new

    def ordinal(self, name: str) -> int:
        """Number of a partition in this pipeline."""
        return list(self.positions).index(name)


class Partitions:
    """All sources of a run.

    Parameters
    ----------
    restored
        The sources of the newest manifest.
    workers
        Number of workers; a partition's worker is its ordinal modulo this.
    diverting
        Sources whose rejected rows go to `.rejected`; those of the others are dropped, and counted.
    frontiers
        Largest event time by event_time step and partition, of the newest manifest.
    """

    def __init__(
        self,
        restored: Mapping[str, SourceState],
        *,
        workers: int,
        diverting: set[str],
        frontiers: Mapping[str, Mapping[str, int]],
    ) -> None:
        self._sources = {
            source: SourcePartitions(dict(state.positions())) for source, state in restored.items()
        }
        self._workers = workers
        self._diverting = diverting
        self._frontiers = {step: dict(known) for step, known in frontiers.items()}

    def admit(self, found: Mapping[str, Sequence[Found]]) -> dict[str, list[Found]]:
        """Take what was found and is new, by source."""
        new = {
            source: self._sources.setdefault(source, SourcePartitions()).admit(partitions)
            for source, partitions in found.items()
        }
        return {source: partitions for source, partitions in new.items() if partitions}

    def assign(self, found: Mapping[str, Sequence[Found]]) -> dict[str, list[Assigned]]:
        """Where to go on reading each of these partitions, and who does."""
        assigned = {
            source: [
                self._assigned(
                    self._sources[source], each, self._sources[source].ordinal(each.name)
                )
                for each in partitions
            ]
            for source, partitions in found.items()
        }
        for source, partitions in assigned.items():
            self._sources[source].readers |= {each.worker for each in partitions}
        return assigned

    def assign_new(self, found: Mapping[str, Sequence[Found]]) -> dict[str, list[Assigned]]:
        """Where partitions are going to be read that are not admitted yet."""
        return {
            source: [
                self._assigned(known, each, len(known.positions) + number)
                for number, each in enumerate(partitions)
            ]
            for source, partitions in found.items()
            for known in [self._sources.setdefault(source, SourcePartitions())]
        }

    def _assigned(self, source: SourcePartitions, found: Found, ordinal: int) -> Assigned:
        # Workers that read nothing of a source have told the others not to wait for them.
        workers = sorted(source.readers) or list(range(self._workers))
        return Assigned(
            ordinal,
            found.name,
            source.positions.get(found.name, found.start),
            found.end,
            workers[ordinal % len(workers)],
            {
                step: known[found.name]
                for step, known in self._frontiers.items()
                if found.name in known
            },
        )

    def passed(self, frontiers: Mapping[str, Mapping[str, int]]) -> None:
        """Take the frontiers of an epoch."""
        for step, known in frontiers.items():
            self._frontiers.setdefault(step, {}).update(known)

    def frontiers(self) -> dict[str, dict[str, int]]:
        """Largest event time by event_time step and partition; microseconds."""
        return {step: dict(known) for step, known in self._frontiers.items()}

    def positions(self) -> dict[str, dict[str, str]]:
        """Where the partitions known so far are, by source."""
        return {source: dict(known.positions) for source, known in self._sources.items()}

    def state(self) -> dict[str, SourceState]:
        """For a manifest without rows: where everything stands."""
        return {source: self._state(known, Rows()) for source, known in self._sources.items()}

    def cut(self, sources: Mapping[str, SourceCut]) -> dict[str, SourceState]:
        """For a manifest: positions and rows of the epoch that was cut."""
        states = self.state()
        for source, cut in sources.items():
            known = self._sources.setdefault(source, SourcePartitions())
            known.positions.update(cut.positions)
            states[source] = self._state(known, self._rows(source, known.counted, cut))
            known.counted = cut
        return states

    def _rows(self, source: str, before: SourceCut | None, cut: SourceCut) -> Rows:
        read, good, rejected = cut.read, cut.good, cut.rejected
        if before is not None:
            read, good, rejected = (
                read - before.read,
                good - before.good,
                rejected - before.rejected,
            )
        if source in self._diverting:
            return Rows(read=read, good=good, rejected=rejected)
        return Rows(read=read, good=good, dropped=rejected)

    @staticmethod
    def _state(known: SourcePartitions, rows: Rows) -> SourceState:
        partitions = tuple(Partition(name, at) for name, at in known.positions.items())
        return SourceState(partitions=partitions, rows=rows)
