"""PostgreSQL of the Debian package, with logical replication."""

import glob
import os
import pwd
import shutil
import tempfile
import weakref
from pathlib import Path

import psycopg

from tests.services.cache import FetchError, run_tool
from tests.services.ports import free_port
from tests.services.process import Process

# PostgreSQL does not run as root; its package brings a user.
_USER = "postgres"
# Memory is small, and what only a power cut needs is off: the tests kill processes, not machines.
_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
wal_level = logical
max_wal_senders = 8
max_replication_slots = 8
max_connections = 40
shared_buffers = 32MB
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
deadlock_timeout = 100ms
"""


def postgres_tool(command: str) -> str:
    """Return the path of a program of the newest version that is installed."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{command}"))
    path = found[-1] if found else shutil.which(command)
    if path is None:
        raise FetchError(
            f"looking for PostgreSQL's `{command}`: not there. `make services` installs the Debian "
            "package postgresql"
        )
    return path


class Postgres:
    """A server that keeps its port and data over stop, kill and start."""

    def __init__(self, run_dir: Path) -> None:
        self._port = free_port()
        self._data = run_dir / "data"
        self._as: list[str] = []
        run_dir.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            user = pwd.getpwnam(_USER)
            self._as = ["setpriv", f"--reuid={_USER}", f"--regid={user.pw_gid}", "--clear-groups"]
            # Not below pytest's folders: each of its processes closes these to all but root anew.
            self._data = Path(tempfile.mkdtemp(prefix="frazil-postgres-"))
            weakref.finalize(self, shutil.rmtree, self._data, ignore_errors=True)
            os.chown(self._data, user.pw_uid, user.pw_gid)
        server = [*self._as, postgres_tool("postgres"), "-D", str(self._data)]
        self._process = Process("postgres", server, run_dir=run_dir)
        self.conninfo = f"host=127.0.0.1 port={self._port} user={_USER} dbname=postgres"

    def start(self) -> None:
        """Start the server, on the data of the last run if there is any."""
        if not (self._data / "PG_VERSION").exists():
            run_tool(
                [*self._as, postgres_tool("initdb"), "-D", self._data, "-U", _USER, "-A", "trust",
                 "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
                cwd=Path("/"),
            )  # fmt: skip
            with (self._data / "postgresql.conf").open("a") as settings:
                settings.write(_SETTINGS.format(port=self._port))
        self._process.start(self._answers)

    def stop(self) -> None:
        """Stop the server in good order; sessions that are open are ended by their clients."""
        self._process.stop()

    def kill(self) -> None:
        """End the server at once (kill -9)."""
        self._process.kill()

    def resume(self) -> None:
        """Let a paused server go on."""
        self._process.resume()

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process.running

    def session(self, *, autocommit: bool = False) -> psycopg.Connection:
        """Open a session; the caller closes it."""
        return psycopg.connect(self.conninfo, autocommit=autocommit)

    def connector(self, table: str) -> dict[str, str]:
        """Return where Debezium's connector finds the server and a table ("public.orders")."""
        return {
            "database.hostname": "127.0.0.1",
            "database.port": str(self._port),
            "database.user": _USER,
            "database.password": "",
            "database.dbname": "postgres",
            "table.include.list": table,
        }

    def _answers(self) -> bool:
        try:
            self.session().close()
        except psycopg.OperationalError:
            return False
        return True
