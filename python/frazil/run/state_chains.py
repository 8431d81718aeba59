"""Which state files a checkpoint names: of each operator and worker all state, then changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frazil.checkpoint import StateFile
    from frazil.run.engine_job import StateCut

# A chain of files is written anew, as one, when it has more than this many, or when what changed
# since is larger than the whole was (bytes below which that does not count).
CHAIN_FILES_MAX = 16
CHANGES_BYTES_MIN = 64 * 1024


@dataclass
class _Chain:
    """The files of one operator and worker, oldest first; those up to `base` hold everything."""

    files: list[StateFile] = field(default_factory=list)
    base: int = 0

    def is_long(self) -> bool:
        changes = self.files[self.base :]
        size = sum(file.size for file in changes)
        whole = sum(file.size for file in self.files[: self.base])
        return len(changes) > CHAIN_FILES_MAX or size > max(whole, CHANGES_BYTES_MIN)


class StateChains:
    """The state files of a run.

    Parameters
    ----------
    operators
        Ids of the steps that keep state.
    restored
        The files of the newest manifest.

    The first epoch of a run writes all state anew: keys may be spread over other workers than those
    that wrote the files.
    """

    def __init__(self, operators: Collection[str], restored: Sequence[StateFile]) -> None:
        self._operators = set(operators)
        self._restored = [file for file in restored if file.operator in self._operators]
        self._chains: dict[str, dict[int, _Chain]] = {}

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

    def take(self, cuts: Iterable[StateCut], put: Callable[[StateCut, int], StateFile]) -> None:
        """Store what an epoch gave; `put` is called with a number for each file of the epoch."""
        by_operator: dict[str, list[StateCut]] = {}
        for cut in cuts:
            by_operator.setdefault(cut.operator, []).append(cut)
        for operator, parts in by_operator.items():
            if parts[0].full:
                self._chains[operator] = {}
                self._restored = [file for file in self._restored if file.operator != operator]
            chains = self._chains.setdefault(operator, {})
            for number, part in enumerate(parts):
                chain = chains.setdefault(part.worker, _Chain())
                if part.data is not None:
                    chain.files.append(put(part, number))
                if part.full:
                    chain.base = len(chain.files)

    def files(self) -> tuple[StateFile, ...]:
        """For a manifest."""
        return tuple(
            self._restored
            + [
                file
                for chains in self._chains.values()
                for _, chain in sorted(chains.items())
                for file in chain.files
            ]
        )

    def bytes(self) -> Mapping[str, int]:
        """Bytes in the checkpoint by operator."""
        sizes: dict[str, int] = {}
        for file in self.files():
            sizes[file.operator] = sizes.get(file.operator, 0) + file.size
        return sizes
