"""Looking for partitions beside the control loop, which a system that is away must not hold up."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from frazil.errors import FrazilError
from frazil.run.engine_job import EngineJob, Found

FoundBySource = dict[str, list[Found]]


class Discovery:
    """One look for partitions at a time.

    Parameters
    ----------
    job
        Whose sources are asked; it must not be stopped before `close`.
    threaded
        False: `begin` looks in the calling thread (the simulated scheduler).
    """

    def __init__(self, job: EngineJob, *, threaded: bool) -> None:
        self._job = job
        self._threaded = threaded
        self._thread: threading.Thread | None = None
        self._found: FoundBySource = {}
        self._error: FrazilError | None = None

    def begin(
        self,
        *,
        bounded: bool,
        known: Mapping[str, Mapping[str, str]],
        sources: Collection[str],
    ) -> None:
        """Begin to look for the partitions of `sources`, unless a look is under way."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(
            target=self._look, args=(bounded, known, sources), name="frazil-discover", daemon=True
        )
        if self._threaded:
            self._thread.start()
        else:
            self._thread.run()

    def take(self, timeout_s: float = 0.0) -> FoundBySource | None:
        """What the look has found, once; None as long as it is under way or none is.

        Raises
        ------
        FrazilError
            A source cannot be asked; with `retryable` set, begin again later.
        """
        if self._thread is None:
            return None
        if self._threaded:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return None
        self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._found

    def close(self) -> None:
        """Wait for a look under way; a question to a system that is away has its time limit."""
        if self._thread is not None and self._threaded:
            self._thread.join()

    def _look(
        self, bounded: bool, known: Mapping[str, Mapping[str, str]], sources: Collection[str]
    ) -> None:
        try:
            self._found = self._job.discover(bounded=bounded, known=known, sources=sources)
        except FrazilError as error:
            self._error = error
