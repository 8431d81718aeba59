"""Which state files a checkpoint names: of each operator and worker all state, then changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frazil.checkpoint import StateFile
    from frazil.run.engine_job import StateCut

# A chain is written anew, as a whole, when it has changes of more epochs than this, or when what
# changed since is larger than the whole was (bytes below which that does not count).
CHAIN_CHANGES_MAX = 16
CHANGES_BYTES_MIN = 64 * 1024


@dataclass
class _Chain:
    """The files of one operator and worker, oldest first; those up to `base` hold everything."""

    files: list[StateFile] = field(default_factory=list)
    base: int = 0
    changes: int = 0  # epochs since

    def is_long(self) -> bool:
        size = sum(file.size for file in self.files[self.base :])
        whole = sum(file.size for file in self.files[: self.base])
        return self.changes > CHAIN_CHANGES_MAX or size > max(whole, CHANGES_BYTES_MIN)


@dataclass(frozen=True)
class _Made:
    """A file of the epoch that is being cut; without one the worker's part is whole."""

    worker: int
    full: bool
    file: StateFile | None


class StateChains:
    """The state files of a run.

    Parameters
    ----------
    operators
        Ids of the steps that keep state.
    restored
        The files of the newest manifest.
    lasting
        Those steps whose state outlives event time: a run that closes all windows keeps it.
    closed
        Whether the newest manifest is of such a run.

    The first epoch of a run writes all state anew: keys may be spread over other workers than those
    that wrote the files.
    """

    def __init__(
        self,
        operators: Collection[str],
        restored: Sequence[StateFile],
        *,
        lasting: Collection[str] = (),
        closed: bool = False,
    ) -> None:
        self._operators = set(operators)
        self._lasting = set(lasting)
        known = self._lasting if closed else self._operators
        self._restored = [file for file in restored if file.operator in known]
        self._chains: dict[str, dict[int, _Chain]] = {}
        self._made: dict[str, list[_Made]] = {}

    def restored(self) -> list[StateFile]:
        """What to restore, in order."""
        return list(self._restored)

    def due(self) -> set[str]:
        """Operators that write all of their state at the next barrier."""
        return {
            operator
            for operator in self._operators
            if operator not in self._chains
            or any(chain.is_long() for chain in self._chains[operator].values())
        }

    def store(
        self,
        cuts: Iterable[StateCut],
        put: Callable[[StateCut, int], StateFile],
        *,
        closing: bool = False,
    ) -> None:
        """Store files of the epoch that is being cut; `put` is called with a number for each.

        If it closes all windows, only state that outlives that is stored.
        """
        for cut in cuts:
            if closing and cut.operator not in self._lasting:
                continue
            made = self._made.setdefault(cut.operator, [])
            file = None
            if cut.data is not None:
                file = put(cut, sum(each.file is not None for each in made))
            made.append(_Made(cut.worker, cut.full, file))

    def accept(self) -> None:
        """Have what was stored be part of the next manifest: the epoch's files are all there."""
        for operator, parts in self._made.items():
            if parts[0].full:
                self._chains[operator] = {}
                self._restored = [file for file in self._restored if file.operator != operator]
            chains = self._chains.setdefault(operator, {})
            for worker in dict.fromkeys(part.worker for part in parts):
                chain = chains.setdefault(worker, _Chain())
                chain.files += [p.file for p in parts if p.worker == worker and p.file is not None]
                chain.changes += 1
                if parts[0].full:
                    chain.base, chain.changes = len(chain.files), 0
        self._made = {}

    def files(self, *, closed: bool = False) -> tuple[StateFile, ...]:
        """For a manifest, with all windows closed or not."""
        files = self._restored + [
            file
            for chains in self._chains.values()
            for _, chain in sorted(chains.items())
            for file in chain.files
        ]
        return tuple(file for file in files if not closed or file.operator in self._lasting)

    def bytes(self) -> Mapping[str, int]:
        """Bytes in the checkpoint by operator."""
        sizes: dict[str, int] = {}
        for file in self.files():
            sizes[file.operator] = sizes.get(file.operator, 0) + file.size
        return sizes
