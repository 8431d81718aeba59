"""MariaDB of the Debian package, with a binary log of rows."""

import os
import shutil
from pathlib import Path
from typing import Any

import pymysql

from tests.services.cache import FetchError, run_tool
from tests.services.ports import accepts, free_port
from tests.services.process import Process

_USER, _PASSWORD, DATABASE = "frazil", "frazil-password", "crm"
# One session's wait for the server to answer, in seconds.
_CONNECT_SECONDS_MAX = 10


def mariadb_tool(command: str) -> str:
    """Return the path of a program of the server's package."""
    path = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if path is None:
        raise FetchError(
            f"looking for `{command}`: not there. `make services` installs the Debian package "
            "mariadb-server-core"
        )
    return path


class Mariadb:
    """A server that keeps its port and data over stop, kill and start."""

    def __init__(self, run_dir: Path) -> None:
        self._port = free_port()
        self._run_dir = run_dir
        self._data = run_dir / "data"
        run_dir.mkdir(parents=True, exist_ok=True)
        owner = ["--user=root"] if os.getuid() == 0 else []
        self._flags = [f"--datadir={self._data}", *owner]
        command = [
            mariadb_tool("mariadbd"), "--no-defaults", *self._flags, f"--port={self._port}",
            "--bind-address=127.0.0.1", f"--socket={run_dir}/socket", "--server-id=1",
            "--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL",
            "--binlog-row-metadata=FULL", "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0",
            "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M",
            "--character-set-server=utf8mb4", "--performance-schema=0",
            f"--init-file={run_dir}/users.sql",
        ]  # fmt: skip
        self._process = Process("mariadb", command, run_dir=run_dir)

    def start(self) -> None:
        """Start the server, on the data of the last run if there is any."""
        if not self._data.exists():
            (self._run_dir / "users.sql").write_text(
                f"create database if not exists {DATABASE};\n"
                f"create user if not exists '{_USER}'@'%' identified by '{_PASSWORD}';\n"
                f"grant all on *.* to '{_USER}'@'%';\n"
            )
            run_tool(
                [mariadb_tool("mariadb-install-db"), "--no-defaults", *self._flags,
                 "--auth-root-authentication-method=normal", "--skip-test-db"],
                cwd=self._run_dir,
            )  # fmt: skip
        self._process.start(self._answers)

    def stop(self) -> None:
        """Stop the server in good order."""
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

    def session(self, *, autocommit: bool = False) -> Any:
        """Open a session in the tests' database; the caller closes it."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self._port,
            user=_USER,
            password=_PASSWORD,
            database=DATABASE,
            autocommit=autocommit,
            connect_timeout=_CONNECT_SECONDS_MAX,
            charset="utf8mb4",
            init_command="set time_zone = '+00:00'",
        )

    def connector(self, table: str, *, bootstrap: str, server_id: int) -> dict[str, str]:
        """Return where Debezium's connector finds the server and a table ("crm.orders")."""
        return {
            "database.hostname": "127.0.0.1",
            "database.port": str(self._port),
            "database.user": _USER,
            "database.password": _PASSWORD,
            "database.server.id": str(server_id),
            "database.ssl.mode": "disable",
            "database.include.list": DATABASE,
            "table.include.list": table,
            "schema.history.internal.kafka.bootstrap.servers": bootstrap,
            "schema.history.internal.kafka.topic": f"history-{server_id}",
        }

    def _answers(self) -> bool:
        if not accepts(self._port):
            return False
        try:
            self.session().close()
        except pymysql.OperationalError:
            return False
        return True
