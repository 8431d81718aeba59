"""What runs in a child process: takes rows, calls one function, answers; until its parent ends."""

from __future__ import annotations

import base64
import ctypes
import faulthandler
import importlib
import json
import multiprocessing.spawn
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import pyarrow as pa
from frazil import processes, udf_call
from frazil.errors import UdfError
from frazil.node import Function
from frazil.processes.shared import (
    DONE,
    PROGRESS_BYTES,
    RAISED,
    REPLY,
    REQUEST,
    STACK_SIGNAL,
    TOO_LARGE,
    Noted,
    NotedWhole,
    Progress,
    Shared,
    TooLarge,
)

ERROR_BYTES = 16 << 10
"""Bytes of an error that are told."""

_PR_SET_PDEATHSIG = 1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main(parent: int, control: int, given: int, answer: int, progress: int, stack: int) -> NoReturn:
    """Serve a parent, over these file descriptors."""
    _end_with(parent)
    # Those of a terminal or a service manager are for the parent, which ends us in its time.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    faulthandler.register(STACK_SIGNAL, file=stack, all_threads=False)
    processes.mark_child()
    shared = Shared(progress, PROGRESS_BYTES)
    noted = Progress(shared.words())
    noted.set_ready()
    server = _Server(socket.socket(fileno=control), Shared(given), Shared(answer), noted)
    while server.serve():
        pass
    sys.exit()


def _end_with(parent: int) -> None:
    """Have the kernel end this process when the parent does, also by kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


class _Server:
    def __init__(
        self, control: socket.socket, given: Shared, answer: Shared, progress: Progress
    ) -> None:
        self._control = control
        self._given = given
        self._answer = answer
        self._progress = progress
        self._process = os.getpid()
        os.register_at_fork(after_in_child=progress.detach)
        length = REQUEST.unpack(self._received(REQUEST.size))[0]
        setup = json.loads(self._received(length))
        self._reference = str(setup["reference"])
        self._function: Function | None = None
        self._broken: UdfError | None = None
        try:
            self._function = _load(setup)
        except BaseException as error:  # the module is the user's: it may do anything
            self._broken = _not_loaded(setup, error)

    def serve(self) -> bool:
        """Answer one request; False if there will be no more."""
        asked = self._received(REQUEST.size)
        if not asked:
            return False
        size, first, rows = REQUEST.unpack(asked)
        batch = self._given.read(size)
        udf_call.part = udf_call.Part(first, rows)
        kind, written = self._answered(batch)
        if os.getpid() != self._process:  # the function has forked, and this is the other one
            os._exit(0)
        self._progress.end()
        self._control.sendall(REPLY.pack(kind, written, _resident_bytes()))
        return True

    def _answered(self, batch: pa.RecordBatch) -> tuple[int, int]:
        try:
            if self._function is None:
                assert self._broken is not None
                raise self._broken
            result = udf_call.run(_noted(self._function, self._progress), batch)
            if os.getpid() != self._process:
                return DONE, 0
            return DONE, self._answer.write(result)
        except TooLarge as error:
            return TOO_LARGE, error.size
        except UdfError as error:
            return RAISED, self._told(error)
        except BaseException as error:  # sys.exit() and the like: an error of the function as well
            row = self._progress.last_row() or 0
            function = self._function
            assert function is not None
            return RAISED, self._told(udf_call._raised(function, error, batch, row))

    def _told(self, error: UdfError) -> int:
        if os.getpid() != self._process:
            return 0
        parts = [error.what, *error.lines]
        most = ERROR_BYTES // (2 * len(parts))
        cut = [part if len(part) <= most else part[: most - 3] + "..." for part in parts]
        return self._answer.write_bytes(json.dumps(cut).encode())

    def _received(self, size: int) -> bytes:
        """So many bytes; none if the parent has closed."""
        data = b""
        while len(data) < size:
            try:
                more = self._control.recv(size - len(data))
            except ConnectionResetError:  # it has closed before it took an answer
                return b""
            if not more:
                return b""
            data += more
        return data


def _noted(function: Function, progress: Progress) -> Function:
    noted = (Noted if function.kind == "row" else NotedWhole)(function.call, progress)
    return Function(
        function.reference,
        noted,
        function.kind,
        function.returns,
        function.pure,
        function.on_error,
        function.source_hash,
        function.options,
    )


def _load(setup: Mapping[str, Any]) -> Function:
    """Find the function by its name, importing its module."""
    multiprocessing.spawn.prepare(dict(setup["prepare"]))
    module = importlib.import_module(setup["module"])
    file = os.path.realpath(getattr(module, "__file__", None) or "")
    if setup["file"] and file != setup["file"] and setup["module"] != "__main__":
        raise ImportError(f"{setup['module']} is {file} here, and {setup['file']} in its parent")
    call: Any = processes.found_by_name(module, setup["name"])
    returns = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(setup["returns"])))
    options = None if setup["options"] is None else tuple(setup["options"])
    return Function(
        setup["reference"], call, setup["kind"], returns, True, setup["on_error"], "", options
    )


def _not_loaded(setup: Mapping[str, Any], error: BaseException) -> UdfError:
    said = " ".join(str(error).split())
    return UdfError(
        f"{setup['reference']} cannot be had in a process of its own: "
        f"{type(error).__name__}: {udf_call._cut(said, 300)}",
        f"that process imports {setup['module']} anew and looks for {setup['name']} in it",
    )


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
