"""A child process that calls a function, as its parent has it."""

from __future__ import annotations

import base64
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from frazil.processes.shared import (
    PROGRESS_BYTES,
    REPLY,
    REQUEST,
    STACK_SIGNAL,
    Progress,
    Shared,
)
from frazil.stack_text import dump_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from frazil.node import Function

STACK_S = 1.0
"""How long a child may take to write its stack."""
STACK_QUIET_S = 0.05
"""It has been written when nothing more comes for this long."""
STACK_BYTES = 64 << 10
"""Bytes of a stack that are read."""
ENDING_S = 2.0
"""How long a child that does not answer any more may take to end."""
CLOSE_S = 2.0
"""How long an idle child may take to end."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from frazil.processes.serve import main; main(*map(int, sys.argv[2:]))"
)


def setup_of(function: Function) -> bytes:
    """What a child is told of its function, in front of all rows. JSON: nothing is executed."""
    call: Any = function.call
    module = sys.modules[call.__module__]
    file = getattr(module, "__file__", None)
    here = os.getcwd()
    prepare: dict[str, Any] = {
        "sys_path": [each or here for each in sys.path],
        "sys_argv": sys.argv,
        "dir": here,
    }
    if call.__module__ == "__main__":
        name = getattr(getattr(module, "__spec__", None), "name", None)
        if name is not None:
            prepare["init_main_from_name"] = name
        else:
            prepare["init_main_from_path"] = os.path.normpath(os.path.join(here, str(file)))
    told = {
        "prepare": prepare,
        "module": call.__module__,
        "name": call.__qualname__,
        "file": os.path.realpath(file) if file else "",
        "reference": function.reference,
        "kind": function.kind,
        "returns": base64.b64encode(function.returns.serialize().to_pybytes()).decode(),
        "on_error": function.on_error,
        "options": None if function.options is None else list(function.options),
    }
    return json.dumps(told).encode()


class _Starter:
    """The thread that starts children, for as long as this process lives.

    The kernel ends a child with the thread that has started it, so it may not be one that ends
    before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] | None = None
        self._process = 0

    def start(self, make: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._asked is None or self._process != os.getpid():
                self._process = os.getpid()
                self._asked = queue.SimpleQueue()
                threading.Thread(
                    target=self._run, args=(self._asked,), name="frazil-start", daemon=True
                ).start()
        done: Future[subprocess.Popen[bytes]] = Future()
        self._asked.put((make, done))
        return done.result()

    @staticmethod
    def _run(asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]]) -> None:
        while True:
            make, done = asked.get()
            try:
                done.set_result(make())
            except BaseException as error:
                done.set_exception(error)


_starter = _Starter()


class Child:
    """One process. One thread uses it at a time; `kill` and `stack` are for any."""

    def __init__(self, setup: bytes) -> None:
        self._lock = threading.Lock()
        self._gone = False
        self._given = Shared.make("frazil-given")
        self._answer = Shared.make("frazil-answer")
        self._progress_memory = Shared.make("frazil-progress", PROGRESS_BYTES)
        self._progress = Progress(self._progress_memory.words())
        self._stack, stack = os.pipe()
        os.set_blocking(self._stack, False)
        self._control, control = socket.socketpair()
        shared = (self._given.fd, self._answer.fd, self._progress_memory.fd)
        numbers = (control.fileno(), *shared, stack)
        path = [each or os.getcwd() for each in sys.path]
        command = [sys.executable, "-c", _START, json.dumps(path), str(os.getpid())]
        try:
            self._process = _starter.start(
                lambda: subprocess.Popen(
                    [*command, *map(str, numbers)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=numbers,
                    start_new_session=True,
                )
            )
        finally:
            control.close()
            os.close(stack)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._sent_at = time.monotonic()
        self.used = False  # it has answered
        self.first_bytes = 0  # of its memory, after its first answer
        self._send(REQUEST.pack(len(setup), 0, 0) + setup)

    def fileno(self) -> int:
        """Readable when there is an answer."""
        return self._control.fileno()

    @property
    def pidfd(self) -> int:
        """Readable when the process has ended."""
        return self._pidfd

    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._wait_ended(0)

    def give(self, batch: pa.RecordBatch, first: int, rows: int) -> None:
        """Have it call the function with rows; what becomes of it, `fileno` and `pidfd` say.

        Raises
        ------
        TooLarge
            They do not fit; nothing was given.
        """
        size = self._given.write(batch)
        self._size = size
        self._sent_at = time.monotonic()
        self._send(REQUEST.pack(size, first, rows))

    def take(self) -> tuple[int, int, int] | None:
        """Its answer, as `shared.REPLY`; None if it has ended instead."""
        data = b""
        try:
            while len(data) < REPLY.size:
                more = self._control.recv(REPLY.size - len(data))
                if not more:
                    return None
                data += more
        except ConnectionError:
            return None
        kind, size, resident = REPLY.unpack(data)
        self._given.trim(self._size)
        return kind, size, resident

    def rows(self, size: int) -> pa.RecordBatch:
        """The rows of an answer; checked, as another process has made them."""
        batch = self._answer.read(size)
        self._answer.trim(size)
        batch.validate(full=True)
        return batch

    def told(self, size: int) -> list[str]:
        """The lines of the error of an answer."""
        return [str(each) for each in json.loads(self._answer.read_bytes(size))]

    def progress(self) -> tuple[float | None, int | None]:
        """For how long it has been calling the function (seconds), and with which row.

        None if the function is not being called; row None if with all of them.
        """
        since, row = self._progress.now()
        return (time.monotonic_ns() - since) / 1e9 if since else None, row

    def waited(self) -> float:
        """Seconds since it was given rows."""
        return time.monotonic() - self._sent_at

    def stack(self) -> str:
        """Where in Python it is, on one line: innermost first; "" if it does not say."""
        with self._lock:
            if self._gone or not self._progress.ready:
                return ""
            self._read_stack(0.0)  # what was too late before
            os.kill(self.pid, STACK_SIGNAL)
            return dump_text(self._read_stack(STACK_S))

    def kill(self) -> None:
        """End it at once, with what it has started."""
        with self._lock:
            if not self._gone:
                self._kill_group()

    def discard(self, *, ending: bool = False) -> str:
        """End it, and say how it has ended.

        Parameters
        ----------
        ending
            Whether it is about to end by itself, in which case that is how.
        """
        with self._lock:
            if ending:
                self._wait_ended(ENDING_S)
            self._kill_group()
            return self._let_go()

    def close(self) -> None:
        """End it in order: it is idle."""
        self._control.close()
        with self._lock:
            try:
                self._process.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                self._kill_group()
            self._let_go()

    def _wait_ended(self, patience_s: float) -> bool:
        waiting = select.poll()
        waiting.register(self._pidfd, select.POLLIN)
        return bool(waiting.poll(patience_s * 1000))

    def _kill_group(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)  # not reaped yet, so nobody else has its number

    def _let_go(self) -> str:
        code = self._process.wait()
        self._gone = True
        self._control.close()
        self._progress.release()
        for shared in (self._given, self._answer, self._progress_memory):
            shared.close()
        os.close(self._stack)
        os.close(self._pidfd)
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"

    def _send(self, data: bytes) -> None:
        try:
            self._control.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has ended, which `pidfd` says

    def _read_stack(self, patience_s: float) -> str:
        waiting = select.poll()
        waiting.register(self._stack, select.POLLIN)
        data = b""
        while len(data) < STACK_BYTES and waiting.poll(patience_s * 1000):
            more = os.read(self._stack, STACK_BYTES)
            if not more:
                break
            data += more
            patience_s = min(patience_s, STACK_QUIET_S)
        return data.decode(errors="replace")
