"""Processes that take rows by HTTP are killed: what was acknowledged is there once."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.services.ports import free_port

if TYPE_CHECKING:
    from tests.crash.scene import Scene

pytestmark = pytest.mark.slow


class Client:
    """Sends rows, a few in a request, and notes which were acknowledged."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []  # the answer was lost: there, or not
        self._next = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.002):
            ids = list(range(self._next, self._next + random.randint(1, 5)))
            self._next = ids[-1] + 1
            body = "\n".join(f'{{"id": {each}}}' for each in ids)
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                headers = {"content-type": "application/x-ndjson"}
                connection.request("POST", "/", body, headers)
                taken = connection.getresponse().status == 202
            except (OSError, http.client.HTTPException):
                taken = False
            finally:
                connection.close()
            (self.acknowledged if taken else self.unknown).extend(ids)


@pytest.fixture
def client(scene: Scene) -> Iterator[Client]:
    port = free_port()
    (scene.folder / "port").write_text(str(port))
    with Client(port) as client:
        yield client


def test_killed_while_rows_come(scene: Scene, client: Client) -> None:
    rng = random.Random(4)
    for _ in range(3):
        process = scene.start("from_http", bounded=False, takeover=True)
        before = len(client.acknowledged)
        deadline = time.monotonic() + 60
        while len(client.acknowledged) < before + 50:
            assert process.alive, process.output
            assert time.monotonic() < deadline, process.output
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
    client.__exit__()
    process = scene.start("from_http", bounded=True, takeover=True)
    assert process.wait() == 0, process.output
    found = Counter(scene.ids())
    assert found.keys() >= set(client.acknowledged)
    assert found.keys() <= {*client.acknowledged, *client.unknown}
    assert set(found.values()) == {1}
    scene.check_log("from_http")
