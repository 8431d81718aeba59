"""Ports on 127.0.0.1 that stay ours while this process lives, also while a service is down."""

import fcntl
import os
import random
import socket

from tests.services.cache import cache_dir

# Below Linux's ephemeral range (32768 and up): an outgoing connection of another process cannot
# take the port of a service that is stopped and will be started again on it.
PORT_FIRST = 15_000
PORT_LAST = 32_000
PORT_TRIES_MAX = 500


def free_port() -> int:
    """Return a port nobody listens on and no other test process was given."""
    folder = cache_dir() / "ports"
    folder.mkdir(exist_ok=True)
    choose = random.Random(os.urandom(8))
    for _ in range(PORT_TRIES_MAX):
        port = choose.randint(PORT_FIRST, PORT_LAST)
        lease = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lease)
            continue
        return port  # the lease's lock goes when this process ends
    raise OSError(f"finding a free port in {PORT_FIRST}-{PORT_LAST}: {PORT_TRIES_MAX} were taken")


def accepts(port: int) -> bool:
    """Tell whether somebody accepts connections on 127.0.0.1:port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
