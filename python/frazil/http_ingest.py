"""Rows that are sent by HTTP: an endpoint (ASGI), a durable log, and a source that reads it."""

from __future__ import annotations

import asyncio
import hmac
import importlib
import ipaddress
import json
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from frazil import _engine
from frazil.duration import Size, size_bytes
from frazil.errors import ConfigError, ConnectError, DataError, PlanError, on_user_line
from frazil.node import Port, SourceNode
from frazil.python_source import End, PartitionedSource, PartitionReader, Position, Rows
from frazil.request_log import RequestLog
from frazil.schema import SchemaLike, checked, resolve
from frazil.secret import Secret, require_secret, resolve_secrets
from frazil.stream import Stream

WAIT_S = 0.5
"""How long a read waits for a request (seconds)."""
START_S = 10.0
"""How long the server may take to listen (seconds)."""
STOP_S = 5
"""How long requests under way may take when it stops (seconds)."""
CONNECTIONS_MAX = 256
"""Connections at once; each may hold a body in memory."""
WAITING_BYTES_MAX = 32 << 20
"""Bytes that may wait in memory to be written."""
RETRY_AFTER_S = 1
"""What a client that is refused for now is told to wait (seconds)."""

_FORMAT = json.dumps({"kind": "json"})
_TYPES = ("application/json", "application/x-ndjson")

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class HttpIngest(PartitionedSource):
    """An endpoint that takes rows, and answers 202 when they are on the disk.

    It is an ASGI application, to be mounted in a server of yours; or, with a port, it is served
    while the pipeline runs (needs the extra "http").

    Parameters
    ----------
    folder
        Where requests wait until every sink has their rows; on a local disk.
    schema
        What a row holds. A request with a row that does not fit is refused as a whole.
    token
        What clients have to send: ``Authorization: Bearer ...``.
    port
        Serve at this port; None: you serve it.
    host
        Address to listen on; one that is not of this machine only needs a token.
    max_body
        Bytes of a request.
    max_backlog
        Bytes that may wait; above it, requests are refused with 429.

    Examples
    --------
    >>> import frazil as fz
    >>> ingest = fz.HttpIngest("requests", schema={"id": int}, token=fz.secret("INGEST_TOKEN"))
    >>> fz.read_http(ingest)
    Stream(append) <- http:requests
      id: int64 not null
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        schema: SchemaLike,
        token: Secret | None = None,
        port: int | None = None,
        host: str = "127.0.0.1",
        max_body: Size = "1MB",
        max_backlog: Size = "1GiB",
    ) -> None:
        if token is not None:
            require_secret(token, "token")
        if token is None and not _is_loopback(host):
            raise PlanError(
                f"host={host!r} without a token: anybody who reaches it could write",
                'give token=fz.secret("INGEST_TOKEN"), or listen on 127.0.0.1',
            )
        if port is not None and not 0 < port < 65_536:
            raise ConfigError(f"port={port!r}", "1 to 65535")
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        self.schema = checked(resolve(schema))
        self._token = token
        self._host, self._port = host, port
        self._body_max = size_bytes(max_body, "max_body")
        self._backlog_max = size_bytes(max_backlog, "max_backlog")
        self._lock = threading.Lock()
        self._log: RequestLog | None = None
        self._server: Any = None
        self._serving: threading.Thread | None = None

    # -- the source ------------------------------------------------------------------------------

    def partitions(self) -> Sequence[str]:
        """The log is one partition.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.HttpIngest("requests", schema={"id": int}).partitions()
        ['requests']
        """
        return ["requests"]

    def open(self, partition: str, position: Position) -> PartitionReader:
        """Read the log from a position on, and serve.

        Parameters
        ----------
        partition
            Its only one.
        position
            A byte of the log.

        Examples
        --------
        >>> import frazil as fz
        >>> ingest = fz.HttpIngest("requests", schema={"id": int})
        >>> reader = ingest.open("requests", None)
        >>> reader.position
        0
        >>> ingest.close()
        """
        log = self._opened()
        at = log.begin if position is None else position
        log.passed(at)
        if self._token is not None:
            resolve_secrets(self._token.to_json())
        if self._port is not None and self._serving is None:
            self._serve(self._port)
        return _LogReader(log, self.schema, at)

    def close(self) -> None:
        """End the server, when it has answered, and let go of the folder.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.HttpIngest("requests", schema={"id": int}).close()
        """
        if self._serving is not None:
            self._server.should_exit = True
            self._serving.join()
            self._serving = None
        with self._lock:
            log, self._log = self._log, None
        if log is not None:
            log.close()

    def _opened(self) -> RequestLog:
        with self._lock:
            if self._log is None:
                self._log = RequestLog(self.folder)
            return self._log

    def _serve(self, port: int) -> None:
        try:
            uvicorn = importlib.import_module("uvicorn")
        except ImportError:
            raise ConfigError(
                "serving an endpoint needs uvicorn, which is not installed",
                'pip install "frazil[http]", or mount it in a server of yours: it is an ASGI '
                "application",
            ) from None
        config = uvicorn.Config(
            self,
            host=self._host,
            port=port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=STOP_S,
        )
        self._server = uvicorn.Server(config)
        self._serving = threading.Thread(target=self._run_server, name="frazil-http", daemon=True)
        self._serving.start()
        tick = threading.Event()
        for _ in range(round(START_S / 0.02)):
            if self._server.started or not self._serving.is_alive():
                break
            tick.wait(0.02)
        if not self._server.started:
            raise ConnectError(
                f"listening on {self._host}:{port}: the port is taken, or not allowed"
            )

    def _run_server(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # how it says that it cannot listen; `started` tells
            return

    # -- the application -------------------------------------------------------------------------

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"an endpoint for http was asked for {scope['type']}")
        try:
            await self._take(scope, receive)
        except _Refused as refused:
            await _answer(send, refused.status, {"error": refused.why}, refused.headers)
        else:
            await _answer(send, 202, {}, [])

    async def _take(self, scope: Mapping[str, Any], receive: Receive) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if scope["method"] != "POST":
            raise _Refused(405, "rows are sent by POST", (b"allow", b"POST"))
        self._check_token(headers)
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if kind not in _TYPES:
            raise _Refused(415, f"content-type {kind!r}: send one of {', '.join(_TYPES)}")
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise _Refused(415, "bodies are taken as they are, without content-encoding")
        log = self._opened()
        if log.backlog >= self._backlog_max or log.waiting >= WAITING_BYTES_MAX:
            raise _Refused(429, "too many rows wait", (b"retry-after", b"%d" % RETRY_AFTER_S))
        messages = _messages(await self._body(headers, receive), kind)
        if messages:
            self._check_rows(messages)
            await _durable(log, messages)

    def _check_token(self, headers: Mapping[bytes, bytes]) -> None:
        if self._token is None:
            return
        wanted = f"Bearer {resolve_secrets(self._token.to_json())}".encode()
        if not hmac.compare_digest(headers.get(b"authorization", b""), wanted):
            raise _Refused(401, "no token, or a wrong one", (b"www-authenticate", b"Bearer"))

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        too_large = _Refused(413, f"up to {self._body_max} bytes are taken in one request")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._body_max:
            raise too_large
        body = bytearray()
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise _Refused(400, "the body is not whole")
            body += event.get("body", b"")
            if len(body) > self._body_max:
                raise too_large
            if not event.get("more_body", False):
                return bytes(body)

    def _check_rows(self, messages: Sequence[bytes]) -> None:
        _, _, bad = _engine.decode(_FORMAT, self.schema, messages)
        if bad:
            number, column, reason = bad[0]
            field = f"field {column!r}: " if column else ""
            raise _Refused(400, f"row {number + 1}: {field}{reason}")


class _Refused(Exception):
    def __init__(self, status: int, why: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, list(headers)


def _messages(body: bytes, kind: str) -> list[bytes]:
    """One a line; a document of JSON may have several lines, which mean nothing in it."""
    if kind == "application/json":
        return [body.replace(b"\r", b" ").replace(b"\n", b" ")]
    return [line for line in body.split(b"\n") if line.strip()]


async def _durable(log: RequestLog, messages: Sequence[bytes]) -> None:
    loop = asyncio.get_running_loop()
    written: asyncio.Future[OSError | None] = loop.create_future()

    def done(error: OSError | None) -> None:
        loop.call_soon_threadsafe(lambda: None if written.done() else written.set_result(error))

    log.append(messages, done)
    error = await written
    if error is not None:
        raise _Refused(503, f"the rows cannot be written: {error.strerror}")


async def _answer(
    send: Send, status: int, body: Mapping[str, Any], headers: list[tuple[bytes, bytes]]
) -> None:
    data = json.dumps(body).encode()
    kind = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
    await send({"type": "http.response.body", "body": data})


class _LogReader(PartitionReader):
    def __init__(self, log: RequestLog, schema: pa.Schema, position: int) -> None:
        self._log = log
        self._schema = schema
        self._position = position

    def read(self) -> Rows | End:
        messages, self._position = self._log.read(self._position, WAIT_S)
        if not messages:
            return []
        batch, _, bad = _engine.decode(_FORMAT, self._schema, messages)
        if bad:
            number, column, reason = bad[0]
            raise DataError(
                f"message {number + 1} of those before byte {self._position} of the log: "
                f"{column} {reason}",
                "it was received under another schema: read the log to its end before changing it",
            )
        return pa.record_batch(batch)

    @property
    def position(self) -> Position:
        return self._position

    def committed(self, position: Position) -> None:
        self._log.forget(position)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@on_user_line
def read_http(ingest: HttpIngest, *, name: str | None = None) -> Stream:
    """Read the rows that an endpoint has taken, each exactly once.

    Parameters
    ----------
    ingest
        The endpoint.
    name
        Name of the source, under which its positions are kept; default from the folder.

    Returns
    -------
    Stream
        The columns of its schema.

    Examples
    --------
    >>> import frazil as fz
    >>> clicks = fz.HttpIngest("clicks", schema={"user": str, "page": str}, port=8080)
    >>> fz.read_http(clicks).filter(fz.col("page") != "/health")
    Stream(append) <- http:clicks
      user: string not null
      page: string not null
    """
    if not isinstance(ingest, HttpIngest):
        raise PlanError(f"read_http got a {type(ingest).__name__}", "give an fz.HttpIngest")
    columns = pa.schema([field.remove_metadata() for field in ingest.schema])
    return Stream(
        Port(
            SourceNode(
                columns,
                "python",
                {"class": "HttpIngest"},
                None,
                None,
                detail="by HTTP, from a local log",
                objects={"source": ingest},
                name=name or f"http:{ingest.folder.name}",
            )
        )
    )
