"""Every exception of frazil.

A message has at most four lines: what is wrong, what is there, what to do. Errors of the engine
arrive here through `from_engine`, so that there is one place where their classes are chosen.
"""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LINES_MAX = 4


class FrazilError(Exception):
    """The base of all exceptions of frazil.

    Parameters
    ----------
    what
        What is wrong, with the value and the place.
    lines
        What is there and what to do; at most three lines.
    """

    retryable = False

    def __init__(self, what: str, *lines: str) -> None:
        super().__init__(what, *lines)
        self.what = what
        self.lines = lines

    def __str__(self) -> str:
        return "\n  ".join((self.what, *self.lines)[:LINES_MAX])


class PlanError(FrazilError):
    """The program asks for something that cannot be done; found before anything runs."""


class ColumnNotFound(PlanError):
    """A name is not a column of the stream."""


class ColumnExists(PlanError):
    """Two columns of a stream would have the same name."""


class FunctionNotFound(PlanError):
    """An expression names a function that the engine does not have."""


class SchemaError(PlanError):
    """A schema cannot be made of what was declared."""


class TypeMismatch(PlanError):
    """A value has a type with which the operation does not work."""


class SchemaMismatch(PlanError):
    """Two schemas that have to agree do not."""


class NoTruthValue(PlanError, TypeError):
    """An expression was used with `and`, `or`, `not` or `if`."""


class ModeMismatch(PlanError):
    """A stream with updates and deletes goes where only new rows are understood."""


class WatermarkMissing(PlanError):
    """An operation on event time is used on a stream without one."""


class ConfigError(FrazilError):
    """An option or a setting is wrong."""


class ConnectError(FrazilError):
    """An external system cannot be reached, or refuses us."""


class AuthError(ConnectError):
    """An external system does not accept the credentials."""


class DataError(FrazilError):
    """A value of the data does not fit what the program does with it (overflow, a cast)."""


class DecodeError(DataError):
    """A row of a source cannot be decoded."""


class TooManyRejected(DataError):
    """More rows of a reader were rejected than the pipeline says may be."""


class UdfError(FrazilError):
    """A Python function of the pipeline raised."""


class SourceError(FrazilError):
    """A source written in Python raised, or gave what it did not declare."""


class CheckpointError(FrazilError):
    """The checkpoint log cannot be read or written, or does not fit the program."""


class Fenced(CheckpointError):
    """Another run of the same pipeline has taken over."""


class ManifestError(CheckpointError):
    """The bytes of a manifest are not one that this version can read."""


class StoreError(CheckpointError):
    """The checkpoint store refuses a request, or is not fit to hold a log."""


class StoreUnavailable(StoreError):
    """The checkpoint store does not answer; the same request may succeed later."""

    retryable = True


class OutcomeUnknown(CheckpointError):
    """Nobody says whether a put into the log was accepted. End the process; the next start will
    know.
    """


class LogAdvancing(CheckpointError):
    """Another process writes to the log right now."""


class PlanChanged(CheckpointError):
    """The program does not fit its checkpoint."""


class LookupChanged(CheckpointError):
    """A lookup table is not the one that the checkpoint names, and it was to stay the same."""


class RewindRefused(CheckpointError):
    """An older checkpoint cannot be restored without losing or doubling rows."""


class SinkError(FrazilError):
    """A sink cannot write."""


class CommitError(SinkError):
    """A commit did not get through."""


class CommitRefused(CommitError):
    """A commit would lose or double rows, so it was not made.

    Parameters
    ----------
    what, lines
        As in FrazilError; both sides that disagree are named.
    kind
        Which disagreement: see `frazil.iceberg.proof.Refusal`.
    """

    def __init__(self, what: str, *lines: str, kind: str = "") -> None:
        super().__init__(what, *lines)
        self.kind = kind


class CommitUnknown(CommitError):
    """The catalog does not say whether a commit landed, or is away; to be tried again later."""

    retryable = True


class EngineError(FrazilError):
    """The engine found a defect of its own."""


_BY_KIND: dict[str, type[FrazilError]] = {
    "user": PlanError,
    "config": ConfigError,
    "connect": ConnectError,
    "decode": DecodeError,
    "state": CheckpointError,
    "sink": SinkError,
    "internal": EngineError,
}


def _subclasses(of: type[FrazilError]) -> Iterable[type[FrazilError]]:
    for subclass in of.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


@functools.cache
def _by_name() -> dict[str, type[FrazilError]]:
    return {subclass.__name__: subclass for subclass in _subclasses(FrazilError)}


def from_engine(kind: str, name: str, text: str, retryable: bool) -> FrazilError:
    """Make the exception of an error of the engine.

    Parameters
    ----------
    kind
        Its ErrorKind in the engine ("user", "config", ...).
    name
        The name of a class of this file, or "" to choose by kind.
    text
        The message; further lines are separated by a line feed.
    retryable
        Whether the same call may succeed later.
    """
    what, *lines = (line.strip() for line in text.split("\n"))
    error = _by_name().get(name, _BY_KIND.get(kind, EngineError))(what, *lines)
    error.retryable = retryable
    return error


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like `name`, or None if there is none like it."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def on_user_line(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function so that its plan errors end one frame below the caller's line."""

    @functools.wraps(function)
    def frazil_call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (PlanError, ConfigError) as error:
            raise error.with_traceback(None)  # noqa: B904  (the same error, without our frames)

    return frazil_call


def user_line() -> str:
    """File and line of the program that calls us: "orders.py:31"."""
    frame = sys._getframe(1)
    while (frame.f_globals.get("__name__") or "").partition(".")[0] == "frazil":
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
