"""The cache of fetched services: each entry is built once, in a temporary folder, then renamed."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Bounds one external command of a fetch (Maven, Go, pip), in seconds.
FETCH_SECONDS_MAX = 1200
# Lines of a command's output or a service's log quoted in an error.
TAIL_LINES = 25


class FetchError(Exception):
    """A service could not be fetched or built; the text says what to do."""


def cache_dir() -> Path:
    """Return the folder of all fetched services, created if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "frazil" / "services"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tail(text: str) -> str:
    """Return the last lines of a text, for an error message."""
    return "\n".join(text.rstrip().splitlines()[-TAIL_LINES:])


def digest(*parts: str | bytes) -> str:
    """Return a short name for what an entry is made from, so that a change makes a new entry."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()[:12]


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel frees it if the holder dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cache entry `name`, building it first if it is missing.

    `build` fills an empty folder. The folder gets its name only when `build` has returned, so an
    entry that exists is whole; two processes that want the same entry build it once.
    """
    cache = cache_dir()
    entry = cache / name
    if entry.is_dir():
        return entry
    with file_lock(cache / f"{name}.lock"):
        if entry.is_dir():
            return entry
        for stale in cache.glob(f".{name}.tmp-*"):  # left by a build that was killed
            shutil.rmtree(stale, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=cache))
        try:
            build(temporary)
            temporary.chmod(0o755)
            temporary.rename(entry)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return entry


def run_tool(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = FETCH_SECONDS_MAX,
) -> str:
    """Run one command of a fetch and return its output; raise FetchError with the output's tail."""
    try:
        done = subprocess.run(
            [str(arg) for arg in argv],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        raise FetchError(f"running {argv[0]}: no such command") from None
    except subprocess.TimeoutExpired as error:
        output = error.output.decode(errors="replace") if error.output else ""
        raise FetchError(
            f"running {argv[0]}: no end after {timeout_s} s:\n{tail(output)}"
        ) from None
    if done.returncode != 0:
        command = " ".join(str(arg) for arg in argv)
        raise FetchError(f"running `{command}`: exit code {done.returncode}:\n{tail(done.stdout)}")
    return done.stdout
