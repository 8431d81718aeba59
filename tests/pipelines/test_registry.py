"""Rows that wait for their schema: nothing lost or doubled, whatever comes first.

Messages are lines of files here, so that the order of all work is drawn from a seed; the registry
is a small server that is away now and then.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import fastavro
import frazil as fz
import pytest
from frazil.checkpoint.memory_store import MemoryStore
from frazil.errors import AuthError, ConfigError
from frazil.run import schemas
from frazil.run.coordinator import Coordinator
from frazil.run.runner import prepare
from frazil.run.settings import RunSettings

from tests.pipelines.harness import EVERY_S, Crash, CrashAt
from tests.python.test_registry_client import Server

if TYPE_CHECKING:
    from frazil.report import RunReport

VERSIONS = 6
ROWS = 400


def schema(version: int) -> dict[str, Any]:
    fields: list[dict[str, Any]] = [{"name": "n", "type": "long"}]
    fields += [{"name": f"extra{number}", "type": "string"} for number in range(version)]
    return {"type": "record", "name": "R", "fields": fields}


def message(number: int) -> bytes:
    """A message whose bytes are a line; of what version it is follows from its number."""
    version = number * VERSIONS // ROWS
    row = {"n": number, **{f"extra{each}": "x" for each in range(version)}}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema(version)), row)
    return b"\0" + (100 + version).to_bytes(4, "big") + out.getvalue()


class World:
    """Files of messages, a registry, a checkpoint log and a sink."""

    def __init__(self, folder: Path, server: Server, random: Random) -> None:
        self.numbers = [n for n in range(ROWS) if not set(b"\r\n") & set(message(n))]
        for lane in range(3):
            (folder / f"lane{lane}").mkdir()
            lines = b"".join(message(n) + b"\n" for n in self.numbers[lane::3])
            (folder / f"lane{lane}" / "rows").write_bytes(lines)
        for version in range(VERSIONS):
            away = [(503, {"message": "away"})] * random.choice([0, 0, 5])
            known = (200, {"schema": json.dumps(schema(version))})
            server.answers[f"/schemas/ids/{100 + version}"] = [*away, known]
        self._server = server
        read = fz.read_files(
            str(folder / "lane*" / "rows"),
            format="json",
            schema={"n": int},
            lanes="by_folder",
            compression="none",
            name="rows",
        )
        self.sink = read.write_memory(name="found")
        self._store = MemoryStore()
        self.running: list[Coordinator] = []

    def run(
        self,
        *,
        seed: int | None,
        workers: int,
        hook: Callable[[str], None] = lambda _: None,
        beside: fz.Sink | None = None,
    ) -> RunReport:
        """Run to the end of the files; with a sink beside, until it is stopped."""
        sinks = [self.sink] if beside is None else [self.sink, beside]
        pipeline = fz.Pipeline("waiting", *sinks, checkpoint="unused")
        runnable = prepare(pipeline, hook=hook, store=self._store)
        for node in runnable.plan["nodes"]:
            if node.get("connector") == "file":
                node["format"] = {"kind": "avro", "registry": self._server.url}
        spec = {"url": self._server.url, "timeout_ms": 5_000}
        settings = RunSettings(
            workers=workers,
            bounded=beside is None,
            takeover=True,
            checkpoint_every_s=EVERY_S,
            simulated_seed=seed,
        )
        runnable = replace(runnable, registries={self._server.url: spec})
        self.running.append(Coordinator(runnable, settings, hook=hook))
        return self.running[-1].run()

    def found(self) -> int:
        return int(self.sink.table().num_rows)

    def check(self) -> None:
        assert Counter(self.sink.table()["n"].to_pylist()) == Counter(self.numbers)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(schemas, "RETRY_MIN_S", 0.001)
    monkeypatch.setattr(schemas, "RETRY_MAX_S", 0.004)
    made = Server()
    made.start()
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_wait_are_read_once(seed: int, server: Server, tmp_path: Path) -> None:
    world = World(tmp_path, server, Random(seed))
    world.run(seed=seed if seed % 2 else None, workers=1 + seed % 3)
    world.check()
    asked = Counter(path for path, _ in server.asked)
    assert set(asked) == set(server.answers)


@pytest.mark.parametrize("seed", range(8))
def test_a_crash_while_rows_wait(seed: int, server: Server, tmp_path: Path) -> None:
    world = World(tmp_path, server, Random(seed))
    for attempt in range(4):
        hook = CrashAt(Random(f"{seed} {attempt}").randrange(2, 40))
        try:
            world.run(seed=10 * seed + attempt, workers=2, hook=hook)
        except Crash:
            continue
        break
    else:
        world.run(seed=seed, workers=1)
    world.check()


def test_rows_that_wait_count_as_not_read(server: Server, tmp_path: Path) -> None:
    """Checkpoints beside rows that wait: the next start reads these."""
    world = World(tmp_path, server, Random(1))
    known = dict(server.answers)
    server.answers = {path: [(503, {"message": "away"})] for path in known}
    beside = fz.read_generator(rate=2_000, seed=1).select("id").write_memory(name="beside")
    landed = 0

    def stop_when(reached: Callable[[], bool]) -> Callable[[str], None]:
        def hook(name: str) -> None:
            nonlocal landed
            if name == "before_ack":
                landed = landed + 1 if reached() else 0
                # The second epoch that landed since then was cut behind it.
                if landed >= 2 or len(server.asked) > 100_000:
                    world.running[-1].stop()

        return hook

    world.run(seed=None, workers=1, hook=stop_when(lambda: bool(server.asked)), beside=beside)
    assert world.found() == 0
    server.answers, landed = known, 0
    before = beside.table().num_rows

    def over() -> bool:
        return world.found() == len(world.numbers) or beside.table().num_rows > before + 20_000

    world.run(seed=None, workers=1, hook=stop_when(over), beside=beside)
    world.check()


def test_a_registry_is_reached_in_one_way() -> None:
    spec = {"url": "http://r", "timeout_ms": 1_000}
    nodes = [{"name": "a"}, {"name": "b", "registry": spec}, {"name": "c", "registry": {**spec}}]
    assert schemas.registries({"nodes": nodes}) == {"http://r": spec}
    nodes.append({"name": "d", "registry": {**spec, "token": "t0ken"}})
    with pytest.raises(ConfigError, match="d reaches it in another way") as raised:
        schemas.registries({"nodes": nodes})
    assert "t0ken" not in str(raised.value)


def test_a_refused_login_ends_the_run(server: Server, tmp_path: Path) -> None:
    world = World(tmp_path, server, Random(1))
    server.answers["/schemas/ids/103"] = [(401, {"message": "who are you"})]
    with pytest.raises(AuthError, match="who are you"):
        world.run(seed=None, workers=1)
