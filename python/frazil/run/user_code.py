"""Calls methods of connectors that users write: errors say whose, where and on which line."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from frazil.errors import AuthError, CommitRefused, ConnectError, FrazilError

PASSING = (ConnectError, ConnectionError, TimeoutError)
"""Exceptions of users' code that may be another answer the next time."""

T = TypeVar("T")


class Caller:
    """Calls methods of one object.

    Parameters
    ----------
    user
        The object.
    error
        What is raised; a `ConnectError` that is retryable in the place of it if it may pass.
    where
        What is said before the method's name: whose it is.
    at
        What is said behind it: the partition, the epoch.
    """

    def __init__(
        self, user: object, error: type[FrazilError], *, where: str = "", at: str = ""
    ) -> None:
        self._user = user
        self._error = error
        self._where = where
        self._at = at

    def call(self, method: str, function: Callable[[], T]) -> T:
        """Call the function, which calls the method."""
        try:
            return function()
        except CommitRefused:
            raise  # it says all that is to be said
        except (Exception, SystemExit) as error:  # it is not for a connector to end the process
            said = " ".join(str(error).split())
            text = f"{type(error).__name__}: {said}" if said else type(error).__name__
            what = f"{self.what(method)} raised {text}{self._line(error)}"
            known = isinstance(error, FrazilError) and error.retryable
            if known or (isinstance(error, PASSING) and not isinstance(error, AuthError)):
                passing = ConnectError(what)
                passing.retryable = True
                raise passing from error
            raise self._error(what) from error

    def refuse(self, method: str, what: str, *lines: str) -> NoReturn:
        """Say what is wrong with what a method gave."""
        raise self._error(f"{self.what(method)} {what}", *lines)

    def encode(self, method: str, noun: str, value: Any, bytes_max: int) -> str:
        """JSON of a position or a token that a method gave."""
        try:
            text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            self.refuse(
                method,
                f"gave a {noun} that is no JSON: {error}",
                f"a {noun} is a number, a text, a list or a dict of these, or None",
            )
        if len(text) > bytes_max:
            self.refuse(method, f"gave a {noun} of {len(text)} bytes, up to {bytes_max} are kept")
        return text

    def what(self, method: str) -> str:
        """The method, and where it is."""
        return f"{self._where}{type(self._user).__qualname__}.{method}{self._at}"

    def _line(self, error: BaseException) -> str:
        """The innermost line in the file of the class: what it calls may be deep in a library."""
        module = sys.modules.get(type(self._user).__module__)
        file = getattr(module, "__file__", None)
        frames = traceback.extract_tb(error.__traceback__)[1:]  # without our own
        own = [each for each in frames if each.filename == file]
        shown = (own or [each for each in frames if "/frazil/run/" not in each.filename])[-1:]
        return "".join(f" ({each.filename}:{each.lineno})" for each in shown)


def error_text(error: FrazilError) -> str:
    """The lines of an error as the engine carries them."""
    return "\n".join((error.what, *error.lines))


def answer(ask: Callable[[], dict[str, Any]], error: type[FrazilError]) -> str:
    """What a call of the engine is answered: JSON of a result, or of an error."""
    try:
        return json.dumps(ask())
    except FrazilError as known:
        raised = known
    except Exception as other:
        raised = error(f"{type(other).__name__}: {other}")
    said = {"name": type(raised).__name__, "text": error_text(raised)}
    return json.dumps({"error": {**said, "retryable": raised.retryable}})
