"""An endpoint as OpenAI has it: limits, failures, keys, and what it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import frazil as fz
import pytest
import structlog
from frazil.errors import AuthError, ConfigError, ConnectError, PlanError, UdfError
from frazil.testing import run_to_end

KEY = "sk-very-secret-1234"
TEXTS = ["drift ice", "frazil", None, "pack ice", "frazil"]


def vector_of(text: str) -> list[float]:
    return [float(len(text)), 0.5, -1.0]


def answer_of(texts: list[str]) -> bytes:
    data = [
        {"object": "embedding", "index": number, "embedding": vector_of(text)}
        for number, text in enumerate(texts)
    ]
    return json.dumps({"object": "list", "data": data[::-1], "model": "m"}).encode()


class Endpoint:
    """Answers what a test says first, then vectors."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.first: list[tuple[int, dict[str, str], bytes] | None] = []
        self.lock = threading.Lock()
        self.together: threading.Barrier | None = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if endpoint.together is not None:
                    endpoint.together.wait(20)
                with endpoint.lock:
                    endpoint.asked.append({"path": self.path, **body})
                    endpoint.headers.append(dict(self.headers))
                    given = (200, {}, answer_of(body["input"]))
                    if endpoint.first:
                        given = endpoint.first.pop(0) or given
                        if given[0] == 0:  # hangs up
                            self.close_connection = True
                            return
                self.send_response(given[0])
                for name, value in given[1].items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(given[2])))
                self.end_headers()
                self.wfile.write(given[2])

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def model(endpoint: Endpoint, **options: Any) -> fz.OpenAIEmbeddings:
    given = {"model": "m", "dimension": 3, "url": endpoint.url, "delay": "1ms", **options}
    return fz.OpenAIEmbeddings(**given)


def run(model: fz.OpenAIEmbeddings, **options: Any) -> list[Any]:
    pages = fz.read_memory([{"id": n, "text": text} for n, text in enumerate(TEXTS)])
    rows = run_to_end(pages.embed("text", into="vector", model=model, **options), batch_rows=2)
    return [row["vector"] for row in sorted(rows, key=lambda row: row["id"])]


EXPECTED = [None if text is None else vector_of(text) for text in TEXTS]


def test_vectors_in_the_order_of_texts(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBED_KEY", KEY)
    assert run(model(endpoint, api_key=fz.secret("EMBED_KEY"))) == EXPECTED
    assert [each["input"] for each in endpoint.asked] == [["frazil", "drift ice"], ["pack ice"]]
    assert {each["path"] for each in endpoint.asked} == {"/v1/embeddings"}
    assert endpoint.asked[0]["model"] == "m"
    assert "dimensions" not in endpoint.asked[0]
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_several_calls_at_a_time(endpoint: Endpoint) -> None:
    endpoint.together = threading.Barrier(3)  # one alone would wait for ever
    pages = fz.read_memory([{"text": "x" * n} for n in range(1, 7)])
    asked = model(endpoint, concurrency=3, retries=0)
    rows = run_to_end(pages.embed("text", into="vector", model=asked, batch_rows=1))
    assert [row["vector"] for row in rows] == [vector_of(row["text"]) for row in rows]
    assert len(endpoint.asked) == 6


def test_one_call_of_several_fails(endpoint: Endpoint) -> None:
    endpoint.first = [(400, {}, b"too long")]
    pages = fz.read_memory([{"text": "x" * n} for n in range(1, 30)])
    with pytest.raises(UdfError, match="too long"):
        run_to_end(pages.embed("text", into="vector", model=model(endpoint), batch_rows=1))


def test_shortened(endpoint: Endpoint) -> None:
    run(model(endpoint, shorten=True))
    assert {each["dimensions"] for each in endpoint.asked} == {3}
    assert "Authorization" not in endpoint.headers[0]


LIMITED = (429, {"Retry-After": "0"}, b'{"error": {"message": "Rate limit reached"}}')
FAILURES = [
    LIMITED,
    (500, {}, b"oops"),
    (0, {}, b""),
    (429, {"Retry-After": "Fri, 27 Nov 2026 10:00:00 GMT"}, b""),
    (503, {"Retry-After": "0.001"}, b""),
]


def test_what_fails_for_now_is_asked_again(endpoint: Endpoint) -> None:
    endpoint.first = [*FAILURES, None, LIMITED]
    assert run(model(endpoint, retries=5)) == EXPECTED
    assert len(endpoint.asked) == len(FAILURES) + 3


def test_the_pause_that_is_asked_for_is_made(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("frazil.openai_embeddings.time.sleep", pauses.append)
    endpoint.first = [
        (429, {"Retry-After": "7"}, b""),
        (429, {"Retry-After": "7000"}, b""),
        (500, {}, b""),
        (500, {}, b""),
    ]
    model(endpoint, delay="100ms").encode(["a"])
    assert pauses[:2] == [7.0, 60.0]
    assert 0.2 <= pauses[2] <= 0.4
    assert 0.4 <= pauses[3] <= 0.8


def test_tries_end(endpoint: Endpoint) -> None:
    endpoint.first = [LIMITED] * 3
    with pytest.raises(ConnectError, match=r"3 calls were made, .*HTTP 429.*Rate limit") as caught:
        model(endpoint, retries=2).encode(["a"])
    assert caught.value.retryable
    endpoint.first = [LIMITED] * 3
    with pytest.raises(UdfError, match=r"(?s)embed:m.*ConnectError.*Rate limit reached"):
        run(model(endpoint, retries=2))


def test_nobody_is_there() -> None:
    gone = Endpoint()
    gone.close()
    with pytest.raises(ConnectError, match=r"gives no vectors: 2 calls"):
        model(gone, retries=1).encode(["a"])


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (
            (401, {}, f"Incorrect key {KEY}".encode()),
            AuthError,
            r"refuses secret.*Incorr.*\*\*\*",
        ),
        ((400, {}, b'{"error": "input is empty"}'), UdfError, "HTTP 400.*input is empty"),
        ((404, {}, b"no such model"), UdfError, "HTTP 404: no such model.*look at url= and model="),
        ((200, {}, b"<html>"), UdfError, "was asked for 1 vectors, and answered <html>"),
        ((200, {}, b'{"data": []}'), UdfError, "was asked for 1 vectors"),
        ((200, {}, f'{{"key": "{KEY}"}}'.encode()), UdfError, r"answered .*\*\*\*"),
    ],
)
def test_refusals_are_not_asked_again(
    given: Any,
    error: type[Exception],
    said: str,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMBED_KEY", KEY)
    endpoint.first = [given]
    asked = model(endpoint, api_key=fz.secret("EMBED_KEY"))
    with pytest.raises(error, match=f"(?s){said}") as caught:
        asked.encode(["a"])
    assert len(endpoint.asked) == 1
    assert KEY not in str(caught.value)


def test_the_key_is_nowhere(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBED_KEY", KEY)
    asked = model(endpoint, api_key=fz.secret("EMBED_KEY"), retries=1)
    stream = fz.read_memory([{"text": "a"}]).embed("text", into="vector", model=asked)
    pipeline = fz.Pipeline("p", stream.write_memory(), checkpoint=str(tmp_path / "log"))
    texts = [repr(asked), pipeline.explain(), pipeline.plan.text]
    endpoint.first = [(500, {}, KEY.encode())] * 2
    with structlog.testing.capture_logs() as logged, pytest.raises(UdfError) as caught:
        pipeline.run(until="now", quiet=True)
    texts += [str(caught.value), repr(caught.value.__context__), repr(logged)]
    pipeline.run(until="now", quiet=True)
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 6
    assert not [text for text in texts if KEY in text]


def test_no_key_in_the_environment(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="EMBED_KEY is not set"):
        model(endpoint, api_key=fz.secret("EMBED_KEY")).encode(["a"])


def test_another_dimension_says_the_row(endpoint: Endpoint) -> None:
    said = "embed:m returned a vector of 3 numbers, and the column has the dimension 4"
    with pytest.raises(UdfError, match=f"(?s){said}.*row 2 of 2: 'frazil'"):
        run(model(endpoint, dimension=4))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: fz.OpenAIEmbeddings(model="m", dimension=3, url="localhost"), "url='localhost'"),
        (lambda: fz.OpenAIEmbeddings(model="m", dimension=3, url="https://a:b@c"), "with a login"),
        (lambda: fz.OpenAIEmbeddings(model="", dimension=3), "model=''"),
        (
            lambda: fz.OpenAIEmbeddings(model="m", dimension=3, retries=1000),
            "retries=1000.*to 100",
        ),
        (lambda: fz.OpenAIEmbeddings(model="m", dimension=3, api_key=KEY), "api_key got a str"),  # type: ignore[arg-type]
    ],
)
def test_refused_where_it_is_written(make: Callable[[], object], said: str) -> None:
    with pytest.raises(PlanError, match=f"(?s){said}") as caught:
        make()
    assert KEY not in str(caught.value)
