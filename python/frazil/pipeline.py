"""The pipeline: named sinks, a checkpoint, and the verb."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from frazil.constraints import check_letters, constrained
from frazil.dead_letters import dead_letter_sink
from frazil.duration import Duration, Size, duration_ms, duration_text, size_bytes
from frazil.errors import ConfigError, PlanError, TypeMismatch, on_user_line
from frazil.plan import Plan, compile_plan
from frazil.run.reject_limit import checked_limit
from frazil.write import Sink

if TYPE_CHECKING:
    from frazil.report import RunReport
    from frazil.run.runner import Handle

SINKS_MAX = 256
"""Sinks of one pipeline."""
WORKERS_MAX = 256
"""Workers of one process."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Pipeline:
    """Sinks that run together and share one checkpoint.

    Parameters
    ----------
    name
        Under which its checkpoints and its proof in tables are kept: letters, digits, ``_ . -``.
    sinks
        What the ``write_`` methods of streams gave.
    checkpoint
        Folder or ``s3://bucket/prefix`` of checkpoints, which pipelines may share. Default: beside
        the embedded warehouse, or ``_frazil/`` in the catalog's warehouse.
    checkpoint_every
        How often rows become visible in the sinks.
    workers
        Threads that read, compute and write.
    memory_limit
        Bytes of all batches, writers and state together; near it, sources wait.
    spill_limit
        Bytes of state that go to a disk when it takes more than half of that; None: none, and state
        has to fit into memory.
    spill_folder
        Where: a folder on a local disk. Default: the system's folder for temporary files.
    dead_letters
        Table ("namespace.table") for the rejected rows of all readers that do not say otherwise,
        for rows that functions divert, and for those that a table refuses; in the catalog of the
        first table that is written.
    max_rejected
        How many rows of a reader may be rejected, or fail in a step: a share (0.01) of those read,
        in blocks of 1,000 or an epoch if that has more; or a number of rows in an epoch. More end
        the run before that epoch is committed.
    retain
        Slots of the checkpoint log that are kept to go back to, besides those that a restart needs.

    Raises
    ------
    PlanError
        If names are not unique, or something cannot be run.

    Examples
    --------
    >>> import frazil as fz
    >>> orders = fz.read_memory([{"id": 1, "amount": 12.5}])
    >>> pipeline = fz.Pipeline("orders", orders.write_iceberg("shop.orders"))
    >>> pipeline
    Pipeline(orders) memory -> iceberg shop.orders, checkpoint every 10s
    """

    @on_user_line
    def __init__(
        self,
        name: str,
        *sinks: Sink,
        checkpoint: str | None = None,
        checkpoint_every: Duration = "10s",
        workers: int = 1,
        memory_limit: Size = "512MiB",
        spill_limit: Size | None = "64GiB",
        spill_folder: str | None = None,
        dead_letters: str | None = None,
        max_rejected: int | float | None = None,
        retain: int = 0,
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PlanError(
                f"{name!r} names no pipeline", "up to 100 letters, digits, '_', '.' and '-'"
            )
        for sink in sinks:
            if not isinstance(sink, Sink):
                raise TypeMismatch(
                    f"pipeline {name} got a {type(sink).__name__}",
                    "give sinks: stream.write_iceberg(...)",
                )
            check_letters(sink, dead_letters)
        letters: Sink | None = None
        if dead_letters is not None and sinks:
            sinks = tuple(map(constrained, sinks))
            letters = dead_letter_sink(dead_letters, sinks)
            sinks = (*sinks, letters)
        if not 1 <= len(sinks) <= SINKS_MAX:
            raise PlanError(
                f"pipeline {name} has {len(sinks)} sinks", f"1 to {SINKS_MAX}: stream.write_...()"
            )
        if not isinstance(workers, int) or not 1 <= workers <= WORKERS_MAX:
            raise ConfigError(f"workers={workers!r}", f"1 to {WORKERS_MAX}")
        if not isinstance(retain, int) or retain < 0:
            raise ConfigError(f"retain={retain!r}", "a number of slots, 0 or more")
        if checkpoint is not None and (not isinstance(checkpoint, str) or not checkpoint):
            raise ConfigError(f"checkpoint={checkpoint!r}", "a folder, or s3://bucket/prefix")
        self._name = name
        self._sinks = sinks
        self.letters = letters
        self.max_rejected = checked_limit(max_rejected)
        self.checkpoint = checkpoint
        self.checkpoint_every_ms = duration_ms(checkpoint_every, "checkpoint_every")
        self.workers = workers
        self.retain = retain
        self.memory_bytes = size_bytes(memory_limit, "memory_limit")
        self.spill_bytes = 0 if spill_limit is None else size_bytes(spill_limit, "spill_limit")
        self.spill_folder = _spill_folder(spill_folder)
        for sink in sinks:
            every = sink._node.options.get("commit_every_ms", self.checkpoint_every_ms)
            if every % self.checkpoint_every_ms:
                raise ConfigError(
                    f"sink {sink.name}: commit_every={duration_text(every)}",
                    f"a multiple of checkpoint_every={duration_text(self.checkpoint_every_ms)}",
                )
        self._plan = compile_plan(name, [sink._node for sink in sinks])

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Its sinks."""
        return self._sinks

    @property
    def plan(self) -> Plan:
        """What the engine runs."""
        return self._plan

    def explain(self) -> str:
        """Describe what it does, from the sinks back to the sources.

        Says the exactness class (exact: the output is a function of the input; consistent: it
        depends on something else too), what runs in Python, which fields are read, and how each
        sink delivers.

        Returns
        -------
        str
            To be printed.

        Examples
        --------
        >>> import frazil as fz
        >>> numbers = fz.read_memory([{"id": 1, "note": "x"}]).filter(fz.col("id") > 0)
        >>> print(fz.Pipeline("ids", numbers.select("id").write_memory()).explain())
        pipeline ids                                  exact, 1 worker, memory up to 512 MiB
        <BLANKLINE>
        write_memory memory                           commit with checkpoint every 10s, ...
          <- select id
            <- filter id > 0
              <- read_memory memory                   1 of 2 fields read, 1 rows
        """
        from frazil.explain import explain

        return explain(self)

    def run(
        self,
        *,
        until: Literal["now"] | None = None,
        takeover: bool = False,
        close_windows: bool = False,
        reopen: bool = False,
        metrics_port: int | None = None,
        quiet: bool = False,
    ) -> RunReport:
        """Run, in this thread, and commit.

        SIGTERM and SIGINT ask for a last checkpoint, its commit and the end; a second one aborts,
        which loses nothing: uncommitted rows are read again by the next run.

        Parameters
        ----------
        until
            "now": read to the positions that partitions have at the start, commit, return. The
            next run goes on from there. None: run until stopped, or until bounded sources end.
        takeover
            End another process that runs this pipeline, instead of refusing to start beside it.
        close_windows
            The pipeline is finished when its sources are at their end: every open window closes.
            Without it, windows that are open at the end stay so for the next run.
        reopen
            Go on after a run that closed all windows: event time begins anew, and a window that
            was closed may be written once more, of the rows that come now.
        metrics_port
            Serve metrics for Prometheus at this port of 127.0.0.1.
        quiet
            No live line and no log lines.

        Returns
        -------
        RunReport
            Rows of each source and sink, positions, snapshots.

        Raises
        ------
        FrazilError
            What ended the run; it says where.

        Examples
        --------
        >>> import frazil as fz
        >>> sink = fz.read_memory([{"id": 1}, {"id": 2}]).write_memory()
        >>> report = fz.Pipeline("doc_run", sink).run(until="now", quiet=True)
        >>> report.sinks["memory"].rows
        2
        """
        from frazil.run import runner

        return runner.run(
            self,
            bounded=_bounded(until),
            takeover=takeover,
            close_windows=close_windows,
            reopen=reopen,
            metrics_port=metrics_port,
            quiet=quiet,
        )

    def start(
        self,
        *,
        until: Literal["now"] | None = None,
        takeover: bool = False,
        close_windows: bool = False,
        reopen: bool = False,
        quiet: bool = False,
    ) -> Handle:
        """Run in the background, for notebooks and programs.

        Parameters
        ----------
        until, takeover, close_windows, reopen, quiet
            As for `run`.

        Returns
        -------
        Handle
            With `status`, `stop` and `wait`.

        Examples
        --------
        >>> import frazil as fz
        >>> sink = fz.read_memory([{"id": 1}, {"id": 2}]).write_memory()
        >>> handle = fz.Pipeline("doc_start", sink).start(until="now", quiet=True)
        >>> handle.wait().sinks["memory"].rows
        2
        """
        from frazil.run.runner import Handle

        return Handle(
            self,
            bounded=_bounded(until),
            takeover=takeover,
            close_windows=close_windows,
            reopen=reopen,
            quiet=quiet,
        )

    def __repr__(self) -> str:
        from frazil.stream import source_names

        sources = dict.fromkeys(name for sink in self._sinks for name in source_names(sink._node))
        targets = ", ".join(f"{sink._node.connector} {sink.name}" for sink in self._sinks)
        every = duration_text(self.checkpoint_every_ms)
        return f"Pipeline({self.name}) {', '.join(sources)} -> {targets}, checkpoint every {every}"


def _spill_folder(folder: str | None) -> str:
    """The folder that is meant; one that the user names has to be there."""
    if folder is None:
        return tempfile.gettempdir()
    if not isinstance(folder, str) or not Path(folder).is_dir():
        raise ConfigError(f"spill_folder={folder!r} is no folder", "one on a local disk")
    return folder


def _bounded(until: str | None) -> bool:
    if until not in (None, "now"):
        raise ConfigError(f"until={until!r} is not offered", '"now", or leave it out')
    return until == "now"
