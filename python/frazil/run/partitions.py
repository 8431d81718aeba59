"""Which partitions there are, where each is, and which worker reads it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from frazil.checkpoint import KeyGroups, Partition, Rows, SourceState
from frazil.run.engine_job import Assigned, Found, SourceCut

KEY_GROUPS = 1024
KEY_HASH_VERSION = 1
KEY_ENCODING_VERSION = 1


Counts = tuple[int, int, int, int]
"""Rows read, good, rejected and dropped."""
_NONE: Counts = (0, 0, 0, 0)


def key_groups(workers: int) -> KeyGroups:
    """Which worker has the keys of which group."""
    return KeyGroups(
        workers=tuple(group * workers // KEY_GROUPS for group in range(KEY_GROUPS)),
        hash_version=KEY_HASH_VERSION,
        encoding_version=KEY_ENCODING_VERSION,
    )


@dataclass
class SourcePartitions:
    """The partitions of one source, in the order of their admission; the index is the ordinal."""

    positions: dict[str, str] = field(default_factory=dict)
    counted: SourceCut | None = None  # what the engine had counted at the last epoch
    readers: set[int] = field(default_factory=set)  # workers that read some of it
    ended: bool = False

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
    times
        Ids of event_time steps by source.
    """

    def __init__(
        self,
        restored: Mapping[str, SourceState],
        *,
        workers: int,
        diverting: set[str],
        frontiers: Mapping[str, Mapping[str, int]],
        times: Mapping[str, Collection[str]],
    ) -> None:
        self._sources = {
            source: SourcePartitions(dict(state.positions()), ended=state.ended)
            for source, state in restored.items()
        }
        self._workers = workers
        self._diverting = diverting
        self._frontiers = {step: dict(known) for step, known in frontiers.items()}
        self._times = times
        self._seams: dict[str, int] = {}
        self._away: dict[str, set[str]] = {}  # partitions that this run does not read, by source

    def begin_at(self, frontiers: Mapping[str, int]) -> None:
        """Say where partitions of event_time steps begin that have not begun: behind a history."""
        self._seams.update(frontiers)
        for source, steps in self._times.items():
            for step in steps:
                if step in self._seams and not self._frontiers.get(step):
                    known = self._sources.get(source, SourcePartitions()).positions
                    self._frontiers[step] = dict.fromkeys(known, self._seams[step])

    def end(self, sources: Collection[str]) -> None:
        """Note that they have been read to their end, and are never read again."""
        for source in sources:
            self._sources.setdefault(source, SourcePartitions()).ended = True

    def begin(self, found: Mapping[str, Sequence[Found]]) -> bool:
        """Take the partitions that a run begins with; True if some are new to the log.

        A new one begins where event time stood, as one that comes while a job is running does:
        its rows must not contradict windows that are closed.
        """
        for source, partitions in found.items():
            known = self._sources.setdefault(source, SourcePartitions()).positions
            new = [each.name for each in partitions if each.name not in known]
            for step in self._times.get(source, ()):
                frontier = self._least(step, known) if known else self._seams.get(step)
                if frontier is not None:
                    self._frontiers.setdefault(step, {}).update(dict.fromkeys(new, frontier))
            self._away[source] = set(known) - {each.name for each in partitions}
        return bool(self.admit(found))

    def _least(self, step: str, partitions: Collection[str]) -> int | None:
        """The least frontier of partitions, if there are any and each has one."""
        known = self._frontiers.get(step, {})
        if not partitions or any(name not in known for name in partitions):
            return None
        return min(known[name] for name in partitions)

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
            }
            | {step: first for step, first in self._seams.items() if not self._frontiers.get(step)},
        )

    def passed(self, frontiers: Mapping[str, Mapping[str, int]]) -> None:
        """Take the frontiers of an epoch.

        Partitions that are away do not hold event time: they come back where it stands.
        """
        for step, known in frontiers.items():
            self._frontiers.setdefault(step, {}).update(known)
        for source, away in self._away.items():
            here = self._sources[source].positions.keys() - away
            for step in self._times.get(source, ()):
                least = self._least(step, here)
                if least is None:
                    continue
                stood = self._frontiers[step]
                stood.update({name: max(stood.get(name, least), least) for name in away})

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
            before = known.counted
            total = self._rows(source, _total(before), _total(cut))
            counted = before.partitions if before is not None else {}
            rows = {
                name: self._rows(source, counted.get(name, _NONE), now)
                for name, now in cut.partitions.items()
            }
            states[source] = self._state(known, total, rows)
            known.counted = cut
        return states

    def _rows(self, source: str, before: Counts, now: Counts) -> Rows:
        """What came since; rejected rows that nobody takes are dropped."""
        read, good, rejected, dropped = (a - b for a, b in zip(now, before, strict=True))
        if source in self._diverting:
            return Rows(read=read, good=good, rejected=rejected, dropped=dropped)
        return Rows(read=read, good=good, dropped=dropped + rejected)

    @staticmethod
    def _state(
        known: SourcePartitions, total: Rows, rows: Mapping[str, Rows] | None = None
    ) -> SourceState:
        counted = rows or {}
        partitions = tuple(
            Partition(name, at, counted.get(name, Rows())) for name, at in known.positions.items()
        )
        return SourceState(partitions=partitions, rows=total, ended=known.ended)


def _total(cut: SourceCut | None) -> Counts:
    return _NONE if cut is None else (cut.read, cut.good, cut.rejected, cut.dropped)
