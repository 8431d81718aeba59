"""What runs in a process that is killed or stopped at a step."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from frazil.checkpoint.log import EXIT_FENCED
from frazil.errors import Fenced
from frazil.run.coordinator import Coordinator
from frazil.run.interrupt import on_interrupt
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings
from pyiceberg.catalog.sql import SqlCatalog

from tests.crash.pipelines import PIPELINES, RATE, catalog_properties

EXIT_ERROR = 3


@dataclass(frozen=True, kw_only=True)
class Run:
    """One process.

    Attributes
    ----------
    folder
        Catalog, tables and checkpoints are here.
    pipeline
        Name in `PIPELINES`.
    point, count
        Which step, and which time it is reached; "" is none.
    action
        "kill" ends the process there, "stop" stops it until somebody resumes it, "raise" raises an
        error in the place of what the step would have answered.
    bounded
        False: until SIGTERM.
    rate
        Rows of the source per second.
    """

    folder: Path
    pipeline: str
    point: str = ""
    count: int = 1
    action: str = "kill"
    takeover: bool = False
    bounded: bool = True
    rate: float | None = RATE
    every_s: float = 0.03
    workers: int = 1
    drain_s: float = 60.0
    close_windows: bool = False


class Events(list[dict[str, Any]]):
    """Events of the log, in a file that survives the process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("ab", buffering=0)

    def append(self, event: dict[str, Any]) -> None:
        self._file.write(json.dumps(event).encode() + b"\n")


class Reached(Exception):
    """Raised at a step."""


# A process that is stopped within a transaction of SQLite would lock out all others, which no
# catalog server does: it is stopped between transactions.
_database = threading.RLock()


def _serialize_database() -> None:
    reads = ("load_table", "namespace_exists")
    for name in (*reads, "commit_table", "create_table", "create_namespace"):
        setattr(SqlCatalog, name, _locked(getattr(SqlCatalog, name)))


def _locked(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        with _database:
            return method(*args, **named)

    return call


def make_hook(run: Run) -> Callable[[str], None]:
    """The hook that ends, stops or disturbs this process."""
    left = run.count

    def hook(reached: str) -> None:
        nonlocal left
        if reached != run.point:
            return
        left -= 1
        if left != 0:
            return
        match run.action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                # To this thread: of a signal to the process another thread may be the first to
                # know, and this one would go on for a while, into a transaction.
                with _database:
                    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            case "raise":
                raise Reached(reached)

    return hook


def main(run: Run, number: int) -> None:
    """Run the pipeline; exits with 0, EXIT_FENCED or EXIT_ERROR."""
    output = (run.folder / f"run-{number}.txt").open("w")
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    code = 0
    _serialize_database()
    try:
        pipeline = PIPELINES[run.pipeline](run.folder, catalog_properties(run.folder), run.rate)
        hook = make_hook(run)
        coordinator = Coordinator(
            prepare(pipeline, hook=hook),
            RunSettings(
                workers=run.workers,
                checkpoint_every_s=run.every_s,
                bounded=run.bounded,
                takeover=run.takeover,
                drain_s=run.drain_s,
                close_windows=run.close_windows,
            ),
            hook=hook,
            events=Events(run.folder / f"events-{pipeline.name}.jsonl"),
        )
        with on_interrupt(coordinator.stop, coordinator.abort):
            report = coordinator.run()
        print(report)
    except Fenced as error:
        print(error)
        code = EXIT_FENCED
    except BaseException as error:
        traceback.print_exc()
        (run.folder / f"error-{number}.txt").write_text(f"{type(error).__name__}: {error}")
        code = EXIT_ERROR
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
