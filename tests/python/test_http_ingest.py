"""Rows by HTTP: what is answered, what is durable, and what is read."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import frazil as fz
import pytest
from frazil import request_log
from frazil.request_log import RequestLog

from tests.services.ports import free_port

SCHEMA = {"id": int, "name": str | None}
NDJSON = "application/x-ndjson"


async def _ask(app: fz.HttpIngest, scope: dict[str, Any], parts: list[bytes]) -> tuple[int, Any]:
    events = [
        {"type": "http.request", "body": each, "more_body": i + 1 < len(parts)}
        for i, each in enumerate(parts)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0)

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await app(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def post(
    app: fz.HttpIngest, *parts: bytes, kind: str = NDJSON, method: str = "POST", **headers: str
) -> tuple[int, str]:
    named = {"content-type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }
    status, body = asyncio.run(_ask(app, scope, list(parts) or [b""]))
    return status, body.get("error", "")


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[fz.HttpIngest]:
    made = fz.HttpIngest(tmp_path / "requests", schema=SCHEMA, max_body="1KB")
    yield made
    made.close()


def run(ingest: fz.HttpIngest, folder: Path) -> list[Any]:
    sink = fz.read_http(ingest).write_memory()
    fz.Pipeline("ingest", sink, checkpoint=str(folder / "log")).run(until="now", quiet=True)
    return sink.table().to_pylist()


def test_rows_are_read_once(ingest: fz.HttpIngest, tmp_path: Path) -> None:
    assert post(ingest, b'{"id": 1, "name": "a"}\n{"id"', b": 2}\n\n") == (202, "")
    assert post(ingest, b'{\n  "id": 3\n}', kind="application/json; charset=utf-8") == (202, "")
    assert post(ingest, b"") == (202, "")
    rows = [{"id": 1, "name": "a"}, {"id": 2, "name": None}, {"id": 3, "name": None}]
    assert run(ingest, tmp_path) == rows
    assert post(ingest, b'{"id": 4}') == (202, "")
    assert run(ingest, tmp_path) == [{"id": 4, "name": None}]


@pytest.mark.parametrize(
    ("body", "options", "status", "why"),
    [
        (b'{"id": 1}\n{"id": "x"}', {}, 400, "row 2: field 'id'"),
        (b"{}", {}, 400, "row 1: field 'id'"),
        (b"nonsense", {}, 400, "row 1"),
        (b'[{"id": 1}]', {}, 400, "row 1"),
        (b'{"id": 1}', {"kind": "text/csv"}, 415, "send one of application/json"),
        (b'{"id": 1}', {"content_encoding": "gzip"}, 415, "without content-encoding"),
        (b'{"id": 1}', {"method": "GET"}, 405, "by POST"),
        (b'{"id": 1}' + b" " * 2_000, {}, 413, "up to 1000 bytes"),
        (b'{"id": 1}', {"content_length": "5000"}, 413, "up to 1000 bytes"),
    ],
)
def test_what_is_refused(
    ingest: fz.HttpIngest, body: bytes, options: Any, status: int, why: str, tmp_path: Path
) -> None:
    got, said = post(ingest, body, **options)
    assert got == status
    assert why in said
    assert run(ingest, tmp_path) == []


def test_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGEST_TOKEN", "open sesame")
    token = fz.secret("INGEST_TOKEN")
    ingest = fz.HttpIngest(tmp_path, schema=SCHEMA, token=token)
    assert post(ingest, b'{"id": 1}')[0] == 401
    assert post(ingest, b'{"id": 1}', authorization="Bearer open")[0] == 401
    assert post(ingest, b'{"id": 1}', authorization="Bearer open sesame")[0] == 202
    ingest.close()
    fz.HttpIngest(tmp_path, schema=SCHEMA, token=token, host="0.0.0.0", port=80)
    with pytest.raises(fz.PlanError, match="anybody who reaches it"):
        fz.HttpIngest(tmp_path, schema=SCHEMA, host="0.0.0.0")
    with pytest.raises(fz.PlanError, match="secrets are not written into programs"):
        fz.HttpIngest(tmp_path, schema=SCHEMA, token="open sesame")  # type: ignore[arg-type]


def test_too_many_rows_wait(tmp_path: Path) -> None:
    """Until they are in the sink; a start without anything new does not count them again."""
    ingest = fz.HttpIngest(tmp_path / "requests", schema=SCHEMA, max_backlog="100B")
    taken = 0
    while (answer := post(ingest, b'{"id": 1}'))[0] == 202:
        taken += 1
    assert answer == (429, "too many rows wait")
    assert taken == 6
    assert len(run(ingest, tmp_path)) == 6
    again = fz.HttpIngest(tmp_path / "requests", schema=SCHEMA, max_backlog="100B")
    assert run(again, tmp_path) == []
    reader = again.open("requests", 102)
    assert post(again, b'{"id": 2}')[0] == 202
    reader.close()
    again.close()


def test_a_disk_that_fails_is_no_202(
    ingest: fz.HttpIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    assert post(ingest, b'{"id": 1}') == (202, "")
    with monkeypatch.context() as patch:
        patch.setattr("frazil.request_log.os.fsync", fail)
        assert post(ingest, b'{"id": 2}')[0] == 503
    # Nor is a later one: what is in the file is not known before a start looks.
    why = "the rows cannot be written: No space left on device"
    assert post(ingest, b'{"id": 3}') == (503, why)
    reader = ingest.open("requests", None)
    assert [row["id"] for row in reader.read().to_pylist()] == [1]  # type: ignore[union-attr]
    assert reader.read() == []


def test_it_is_served_while_the_pipeline_runs(tmp_path: Path) -> None:
    before = threads()  # those of the process, which others have begun
    port = free_port()
    ingest = fz.HttpIngest(tmp_path / "requests", schema=SCHEMA, port=port)
    sink = fz.read_http(ingest).write_memory()
    pipeline = fz.Pipeline("served", sink, checkpoint=str(tmp_path), checkpoint_every="20ms")
    handle = pipeline.start(quiet=True)
    wait_for(lambda: ask(port, b'{"id": 1}') == 202)
    wait_for(lambda: sink.table().num_rows == 1)
    assert ask(port, b'{"id": "x"}') == 400
    handle.stop()
    assert ask(port, b'{"id": 2}') == 0
    assert threads() <= before


def threads() -> set[str]:
    return {each.name for each in threading.enumerate() if each.name.startswith("frazil-")}


def ask(port: int, body: bytes) -> int:
    """The status; 0 if nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/rows", body, {"content-type": NDJSON})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def wait_for(holds: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3_000):
        if holds():
            return
        tick.wait(0.01)
    raise AssertionError("it does not come")


# -- the log ------------------------------------------------------------------------------------


def write(log: RequestLog, *messages: bytes) -> None:
    written = threading.Event()
    log.append(messages, lambda error: written.set())
    assert written.wait(30)


def read_all(log: RequestLog, position: int) -> list[bytes]:
    found: list[bytes] = []
    while True:
        messages, position = log.read(position, 0)
        if not messages:
            return found
        found += messages


def test_segments_go_when_they_are_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(request_log, "READ_BYTES", 30)
    log = RequestLog(tmp_path)
    texts = [b"%d" % n * 10 for n in range(1, 10)] * 4
    for each in texts:
        write(log, each)
    assert len(list(tmp_path.glob("*.log"))) > 3
    assert read_all(log, 0) == texts
    _, position = log.read(0, 0)
    end = log.backlog
    log.close()
    log = RequestLog(tmp_path)
    assert read_all(log, position) == texts[2:]
    log.forget(end - 10)
    assert len(list(tmp_path.glob("*.log"))) == 1
    assert log.backlog == 10
    with pytest.raises(fz.DataError, match="and 0 is asked for"):
        log.read(0, 0)
    with pytest.raises(fz.DataError, match="is asked for"):
        log.read(end + 1, 0)
    log.close()


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_is_not_whole_is_cut_off(tmp_path: Path, cut: int) -> None:
    log = RequestLog(tmp_path)
    write(log, b"one")
    write(log, b"two")
    log.close()
    (file,) = tmp_path.glob("*.log")
    data = file.read_bytes()
    file.write_bytes(data[:-cut])
    log = RequestLog(tmp_path)
    assert read_all(log, 0) == [b"one"]
    write(log, b"three", b"four")
    assert read_all(log, 0) == [b"one", b"three", b"four"]
    log.close()
    file.write_bytes(data[:5] + b"\x00" + data[6:])
    log = RequestLog(tmp_path)
    assert read_all(log, 0) == []
    log.close()


def test_one_process_has_the_folder(tmp_path: Path) -> None:
    log = RequestLog(tmp_path)
    with pytest.raises(fz.ConfigError, match="in use by another process"):
        RequestLog(tmp_path)
    log.close()
    RequestLog(tmp_path).close()
