"""Python functions in processes of their own: ``workers=`` of `udf`, `batch_udf` and `map_batches`.

`Processes` is what a program says of it; `call` is what the engine calls, `child` one process as
its parent has it, `serve` what runs in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frazil.duration import Duration, duration_ms, duration_text
from frazil.errors import PlanError

WORKERS_MAX = 256
"""Processes of one function."""
TIMEOUT_MS_MAX = 86_400_000
"""The longest time-out of one call."""


@dataclass(frozen=True)
class Processes:
    """How many processes call a function, and how long one call may take."""

    workers: int
    timeout_ms: int | None = None

    def __str__(self) -> str:
        """Say it to people: ``in 4 processes, up to 10s a call``."""
        said = "in 1 process" if self.workers == 1 else f"in {self.workers} processes"
        if self.timeout_ms is not None:
            said += f", up to {duration_text(self.timeout_ms)} a call"
        return said


def processes_of(
    function: Callable[..., Any], workers: int, timeout: Duration | None
) -> Processes | None:
    """What ``workers=`` and ``timeout=`` of a function ask for; None: this process calls it.

    Raises
    ------
    PlanError
        If another process could not find the function by its name.
    """
    if not isinstance(workers, int) or isinstance(workers, bool) or not 0 <= workers <= WORKERS_MAX:
        raise PlanError(f"workers={workers!r}", f"0 (no process of its own) to {WORKERS_MAX}")
    if workers == 0:
        if timeout is not None:
            raise PlanError(
                f"timeout={timeout!r} without workers=",
                "a call in this process cannot be ended; one in a process of its own can",
                "say workers=1 as well",
            )
        return None
    name = getattr(function, "__qualname__", None)
    if name is None or "<" in name:
        raise PlanError(
            f"workers={workers} of {name or repr(function)}",
            "another process finds a function by its module and name",
            "define it by def at the top of a module",
        )
    timeout_ms = None if timeout is None else duration_ms(timeout, "timeout", least=1)
    if timeout_ms is not None and timeout_ms > TIMEOUT_MS_MAX:
        longest = duration_text(TIMEOUT_MS_MAX)
        raise PlanError(f"timeout={timeout!r} is too long", f"up to {longest}")
    return Processes(workers, timeout_ms)


def found_by_name(module: object, name: str) -> object:
    """What stands in a module under a qualified name; of a decorated function what it decorates."""
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    from frazil.udf import Udf

    return found.function if isinstance(found, Udf) else found


def require_found(function: Callable[..., Any]) -> None:
    """Refuse a function that another process would not find, or of which it would find another.

    Raises
    ------
    PlanError
        It says which.
    """
    name, module_name = function.__qualname__, str(function.__module__)
    module = sys.modules.get(module_name)
    try:
        found = found_by_name(module, name)
    except AttributeError:
        found = None
    if found is not function:
        raise PlanError(
            f"{module_name}:{name} is not what stands in {module_name} under this name",
            "another process finds a function by its module and name",
            "define it by def at the top of a module, and give the name to nothing else",
        )
    file = getattr(module, "__file__", None)
    if module_name == "__main__" and (file is None or not Path(file).is_file()):
        raise PlanError(
            f"{name} is a function of an interactive session, which no other process can import",
            "put it into a module and import it from there",
        )


_in_child = False


def mark_child() -> None:
    """Say that this process is one that calls a function for its parent."""
    global _in_child
    _in_child = True


def refuse_in_child(what: str) -> None:
    """Refuse what a program does at its top level, where a child imports it.

    Raises
    ------
    PlanError
        If this process is a child.
    """
    if _in_child:
        raise PlanError(
            f"{what} in a process that calls a function with workers=",
            "it imports the module of the function anew, and so runs what stands at its top level",
            'put what starts the pipeline under if __name__ == "__main__":',
        )


__all__ = [
    "Processes",
    "found_by_name",
    "mark_child",
    "processes_of",
    "refuse_in_child",
    "require_found",
]
